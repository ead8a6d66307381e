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

finish
