#!/bin/sh
# Fewer threads than asked for: the result is that of the shards, whoever takes them.
. "$(dirname "$0")/support.sh"

config net.yaml
expect 0 "$LAMINA" train net.yaml --out free --threads 3 --quiet
expect 0 env OMP_THREAD_LIMIT=1 "$LAMINA" train net.yaml --out one --threads 3 --quiet
expect 0 env OMP_THREAD_LIMIT=2 "$LAMINA" train net.yaml --out two --threads 3 --quiet
expect 0 env OMP_DYNAMIC=true "$LAMINA" train net.yaml --out dynamic --threads 3 --quiet
for run in one two dynamic; do
    same_run free $run
done

# One shard on several threads, of which there is one.
expect 0 env OMP_THREAD_LIMIT=1 "$LAMINA" train net.yaml --out single --threads 3 --quiet \
    --set train.batch=1 --set train.epochs=1

# A layer called on the whole batch, of which a thread that is not there has no part. (With
# OMP_WAIT_POLICY=active all threads are OpenMP's.)
sed -i 's/^  - linear: {name: fc1/  - linear: {units: 600}\n  - relu\n  - linear: {units: 64}\n  - relu\n&/' net.yaml
expect 0 "$LAMINA" train net.yaml --out whole --threads 2 --set train.max_steps=8
loss() { sed -n 's/.*"event":"step".*"train_loss":\([-0-9.e+]*\).*/\1/p' "$1/metrics.jsonl" | tail -1; }
expect 0 env OMP_WAIT_POLICY=active OMP_THREAD_LIMIT=1 "$LAMINA" train net.yaml --out limited \
    --threads 2 --quiet --set train.max_steps=8
awk -v a="$(loss whole)" -v b="$(loss limited)" 'BEGIN { exit !(a > 0 && a - b < 1e-4 && b - a < 1e-4) }' ||
    fail "a loss of $(loss limited) with one thread of two, of $(loss whole) with both"

finish
