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
# Steps of milliseconds, 38 in an epoch.
slow='--set data.train.samples=600 --set train.batch=16'
slow="$slow --set network.conv1.filters=16 --set network.conv1.kernels=reference"
for split in train test; do
    slow="$slow --set data.$split.height=24 --set data.$split.width=24"
done
slow="$slow --quiet"
epochs='--epochs 3' # 114 steps

expect 0 "$LAMINA" train run.yaml --out whole $slow $epochs
[ "$(grep -c '"event":"epoch"' whole/metrics.jsonl)" -eq 3 ] || fail "not one epoch line for each epoch"
[ "$(grep -c '"event":"step"' whole/metrics.jsonl)" -eq 114 ] || fail "not one step line for each step"

# Ended by max_steps in the middle of an epoch, at an epoch's end, and again in the middle.
expect 0 "$LAMINA" train run.yaml --out cut $slow $epochs --set train.max_steps=25
for steps in 38 39 90; do
    expect 0 "$LAMINA" train run.yaml --out cut $slow $epochs --resume --set train.max_steps=$steps
    expect 3 "$LAMINA" train run.yaml --out cut $slow $epochs --resume --set train.max_steps=$steps
done
expect 0 "$LAMINA" train run.yaml --out cut $slow $epochs --resume
same_run whole cut
expect 3 "$LAMINA" train run.yaml --out cut $slow $epochs --resume
says err 'nothing to do'

# The number of threads may change: the plan of the checkpoint stays.
expect 0 "$LAMINA" train run.yaml --out threads $slow $epochs --set train.max_steps=50
expect 0 "$LAMINA" train run.yaml --out threads $slow $epochs --resume --threads 1
same_run whole threads

# With one shard they stay as they were unless told otherwise, which is said.
expect 0 "$LAMINA" train run.yaml --out one $slow $epochs --threads 1
expect 0 "$LAMINA" train run.yaml --out single $slow $epochs --threads 1 --set train.max_steps=50
cp -r single told
expect 0 env OMP_NUM_THREADS=2 "$LAMINA" train run.yaml --out single $slow $epochs --resume
same_run one single
expect 0 "$LAMINA" train run.yaml --out told ${slow%--quiet} $epochs --resume --threads 2
says err 'made with --threads 1, this is 2, and '

# A signal comes at no certain step: on a busy machine the shell may be late by hundreds of them. So a
# run that gets one has more epochs than it can train. How many it is then led to, and what it is
# compared with, follows from where it was stopped.
endless='--epochs 1000000'

# led_to_an_end RUN [OPTION...]: resumed, a stopped run comes to the same as one that was not stopped.
led_to_an_end() {
    run=$1
    shift
    further="--epochs $(($(grep -c '"event":"step"' "$run/metrics.jsonl") / 38 + 2))"
    expect 0 "$LAMINA" train run.yaml --out "$run" $slow $further --resume "$@"
    expect 3 "$LAMINA" train run.yaml --out "$run" $slow $further --resume "$@"
    expect 0 "$LAMINA" train run.yaml --out "$run-whole" $slow $further
    same_run "$run-whole" "$run"
}

# SIGTERM in the middle of an epoch: 143, and a checkpoint of that very step.
"$LAMINA" train run.yaml --out term $slow $endless 2>err &
children=$!
wait_for term/metrics.jsonl 15 "$children"
kill -TERM "$children"
wait "$children"
status=$?
[ "$status" -eq 143 ] || fail "status $status instead of 143 after SIGTERM"
steps=$(grep -c '"event":"step"' term/metrics.jsonl)
says err "stopped after step $steps; go on with --resume"
expect 0 "$LAMINA" checkpoint verify term/checkpoints/last.h5
led_to_an_end term

# SIGINT: 130. A shell's background jobs ignore it, so through env.
if command -v env >/dev/null && env --default-signal=INT true 2>/dev/null; then
    env --default-signal=INT "$LAMINA" train run.yaml --out int $slow $endless 2>err &
    children=$!
    wait_for int/metrics.jsonl 45 "$children"
    kill -INT "$children"
    wait "$children"
    status=$?
    [ "$status" -eq 130 ] || fail "status $status instead of 130 after SIGINT"
    led_to_an_end int
fi

# Killed again and again: before the first checkpoint, before a resume has begun, between
# checkpoints by steps, wherever.
more="--set checkpoint.every_steps=11"
"$LAMINA" train run.yaml --out killed $slow $more $endless 2>err &
children=$!
wait_for killed/metrics.jsonl 5 "$children"
kill -KILL "$children"
wait "$children" 2>/dev/null
for further in 0 25 14 26 30; do
    lines=$(wc -l <killed/metrics.jsonl)
    "$LAMINA" train run.yaml --out killed $slow $more $endless --resume 2>err &
    children=$!
    wait_for killed/metrics.jsonl $((lines + further)) "$children"
    kill -KILL "$children"
    wait "$children" 2>/dev/null
    [ ! -e killed/checkpoints/last.h5 ] || expect 0 "$LAMINA" checkpoint verify killed/checkpoints/last.h5
done
led_to_an_end killed $more
[ -z "$(find killed -name '*.tmp')" ] || fail "temporary files stayed: $(find killed -name '*.tmp')"

# From a checkpoint by name, into another folder: the metrics of its epochs come along.
expect 0 "$LAMINA" train run.yaml --out other $slow $epochs --resume whole/checkpoints/epoch-0002.h5
"$LAMINA" checkpoint diff whole/checkpoints/last.h5 other/checkpoints/last.h5 >out || fail "resumed elsewhere: differs"
[ "$(grep -c '"event":"epoch"' other/metrics.jsonl)" -eq 3 ] || fail "resumed elsewhere: epochs missing"

# A network with a plugin's operator is no different.
sed "s|^seed: 3|seed: 4\nplugins: [$PLUGINS/mish.so]|; s|  - relu|  - sample.mish|" run.yaml >mish.yaml
expect 0 "$LAMINA" train mish.yaml --out mish $slow $epochs
expect 0 "$LAMINA" train mish.yaml --out mish-cut $slow $epochs --set train.max_steps=47
expect 0 "$LAMINA" train mish.yaml --out mish-cut $slow $epochs --resume
same_run mish mish-cut

finish
