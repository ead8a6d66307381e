# A second signal ends a run at once, in the middle of a step, and harms no file. (The first: see
# test_resume.sh.)
. "$SOURCE/tests/cli/support.sh"

# A step of seconds: only the second signal can end the run before the step is done.
cat >slow.yaml <<'END'
data:
  train: {type: synthetic, samples: 1200, height: 20, width: 20, classes: 4}
network:
  - conv: {filters: 48, kernel: 3, padding: 1}
  - conv: {filters: 48, kernel: 3, padding: 1}
  - conv: {filters: 48, kernel: 3, padding: 1}
  - linear: {units: 4}
  - softmax_loss
train: {epochs: 9, batch: 600, log_every: 1, optimizer: {type: sgd, learning_rate: 0.001}}
END

expect 0 "$LAMINA" train slow.yaml --out run --threads 1 --kernels reference --set train.max_steps=1
cp run/metrics.jsonl before.jsonl
cp run/checkpoints/last.h5 before.h5

# wait_for FILE TEXT PID: until the file says so, or the process is gone.
wait_for() {
    while kill -0 "$3" 2>/dev/null && ! grep -F "$2" "$1" >/dev/null; do sleep 0.02; done
}

"$LAMINA" train slow.yaml --out run --threads 1 --resume >out 2>err &
children=$!
wait_for out 'going on from' "$children"
sleep 0.2 # into the step
kill -TERM "$children"
wait_for err 'finishing the step' "$children"
kill -TERM "$children"
wait "$children"
status=$?
[ "$status" -eq 143 ] || fail "status $status instead of 143"
says err 'lamina: finishing the step and writing a checkpoint; again to exit at once'
[ "$(wc -l <err)" -eq 1 ] || fail "more was said: $(cat err)"
cmp -s run/metrics.jsonl before.jsonl || fail "the step was finished, or the metrics were harmed"
cmp -s run/checkpoints/last.h5 before.h5 || fail "the second signal changed last.h5"
expect 0 "$LAMINA" checkpoint verify run/checkpoints/last.h5
[ -z "$(find run -name '*.tmp')" ] || fail "temporary files stayed"
# The folder is not locked any more: the run can go on (it is at the end of what it may do).
expect 3 "$LAMINA" train slow.yaml --out run --threads 1 --resume --set train.max_steps=1

# While kernels are measured: the run ends, and there is no folder and no plan.
LAMINA_CACHE=$folder/plans "$LAMINA" train slow.yaml --out measured --threads 2 >out 2>err &
children=$!
wait_for err 'measuring kernels' "$children"
kill -INT "$children"
wait "$children"
status=$?
[ "$status" -eq 130 ] || fail "status $status instead of 130"
says err 'stopped while measuring kernels; nothing was written'
[ ! -e measured ] || fail "there is a folder"
[ ! -e plans ] || fail "there is a plan"

finish
