# Resume is exact: a run that was stopped or killed, at whatever step, ends with the same bits as one
# that was not.
. "$SOURCE/tests/cli/support.sh"

# wait_for FILE LINES PID: until the file has so many lines, or the process is gone.
wait_for() {
    while kill -0 "$3" 2>/dev/null; do
        [ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ] && return
        sleep 0.02
    done
}

config run.yaml
# Half a second for the 114 steps, so that a signal at a certain step comes before the end.
slow='--set data.train.samples=600 --set train.epochs=3 --set train.batch=16'
slow="$slow --set network.conv1.filters=16 --set network.conv1.kernels=reference"
for split in train test; do
    slow="$slow --set data.$split.height=24 --set data.$split.width=24"
done
slow="$slow --quiet"

expect 0 "$LAMINA" train run.yaml --out whole $slow
[ "$(grep -c '"event":"epoch"' whole/metrics.jsonl)" -eq 3 ] || fail "not one epoch line for each epoch"
[ "$(grep -c '"event":"step"' whole/metrics.jsonl)" -eq 114 ] || fail "not one step line for each step"

# Ended by max_steps in the middle of an epoch, at an epoch's end, and again in the middle.
expect 0 "$LAMINA" train run.yaml --out cut $slow --set train.max_steps=25
for steps in 38 39 90; do
    expect 0 "$LAMINA" train run.yaml --out cut $slow --resume --set train.max_steps=$steps
    expect 3 "$LAMINA" train run.yaml --out cut $slow --resume --set train.max_steps=$steps
done
expect 0 "$LAMINA" train run.yaml --out cut $slow --resume
same_run whole cut
expect 3 "$LAMINA" train run.yaml --out cut $slow --resume
says err 'nothing to do'

# The number of threads may change: the plan of the checkpoint stays.
expect 0 "$LAMINA" train run.yaml --out threads $slow --set train.max_steps=50
expect 0 "$LAMINA" train run.yaml --out threads $slow --resume --threads 1
same_run whole threads

# With one shard they stay as they were unless told otherwise, which is said.
expect 0 "$LAMINA" train run.yaml --out one $slow --threads 1
expect 0 "$LAMINA" train run.yaml --out single $slow --threads 1 --set train.max_steps=50
cp -r single told
expect 0 env OMP_NUM_THREADS=2 "$LAMINA" train run.yaml --out single $slow --resume
same_run one single
expect 0 "$LAMINA" train run.yaml --out told ${slow%--quiet} --resume --threads 2
says err 'made with --threads 1, this is 2, and '

# SIGTERM in the middle of an epoch: 143, and a checkpoint of that very step.
"$LAMINA" train run.yaml --out term $slow 2>err &
children=$!
wait_for term/metrics.jsonl 15 "$children"
kill -TERM "$children"
wait "$children"
status=$?
[ "$status" -eq 143 ] || fail "status $status instead of 143 after SIGTERM"
steps=$(grep -c '"event":"step"' term/metrics.jsonl)
says err "stopped after step $steps; go on with --resume"
expect 0 "$LAMINA" checkpoint verify term/checkpoints/last.h5
expect 0 "$LAMINA" train run.yaml --out term $slow --resume
same_run whole term

# SIGINT: 130. A shell's background jobs ignore it, so through env.
if command -v env >/dev/null && env --default-signal=INT true 2>/dev/null; then
    env --default-signal=INT "$LAMINA" train run.yaml --out int $slow 2>err &
    children=$!
    wait_for int/metrics.jsonl 45 "$children"
    kill -INT "$children"
    wait "$children"
    status=$?
    [ "$status" -eq 130 ] || fail "status $status instead of 130 after SIGINT"
    expect 0 "$LAMINA" train run.yaml --out int $slow --resume
    same_run whole int
fi

# Killed again and again: before the first checkpoint, between checkpoints by steps, wherever.
more="--set checkpoint.every_steps=11"
"$LAMINA" train run.yaml --out killed $slow $more 2>err &
children=$!
wait_for killed/metrics.jsonl 5 "$children"
kill -KILL "$children"
wait "$children" 2>/dev/null
for lines in 30 44 70 100; do
    "$LAMINA" train run.yaml --out killed $slow $more --resume 2>err &
    children=$!
    wait_for killed/metrics.jsonl $lines "$children"
    kill -KILL "$children" 2>/dev/null
    wait "$children" 2>/dev/null
    [ ! -e killed/checkpoints/last.h5 ] || expect 0 "$LAMINA" checkpoint verify killed/checkpoints/last.h5
done
expect 0 "$LAMINA" train run.yaml --out killed $slow $more --resume
"$LAMINA" train run.yaml --out killed $slow $more --resume 2>err
same_run whole killed
[ -z "$(find killed -name '*.tmp')" ] || fail "temporary files stayed: $(find killed -name '*.tmp')"

# From a checkpoint by name, into another folder: the metrics of its epochs come along.
expect 0 "$LAMINA" train run.yaml --out other $slow --resume whole/checkpoints/epoch-0002.h5
"$LAMINA" checkpoint diff whole/checkpoints/last.h5 other/checkpoints/last.h5 >out || fail "resumed elsewhere: differs"
[ "$(grep -c '"event":"epoch"' other/metrics.jsonl)" -eq 3 ] || fail "resumed elsewhere: epochs missing"

# A network with a plugin's operator is no different.
sed "s|^seed: 3|seed: 4\nplugins: [$PLUGINS/mish.so]|; s|  - relu|  - sample.mish|" run.yaml >mish.yaml
expect 0 "$LAMINA" train mish.yaml --out mish $slow
expect 0 "$LAMINA" train mish.yaml --out mish-cut $slow --set train.max_steps=47
expect 0 "$LAMINA" train mish.yaml --out mish-cut $slow --resume
same_run mish mish-cut

finish
