# What every test of the command shares; sourced. LAMINA, PLUGINS and SOURCE come from CTest.
: "${LAMINA:?}" "${PLUGINS:?}" "${SOURCE:?}"
unset OMP_NUM_THREADS
# Steps of microseconds on a machine that is busy with other tests: threads that wait should sleep.
export OMP_WAIT_POLICY=passive

folder=$(mktemp -d "${TMPDIR:-/tmp}/lamina-test-XXXXXX") || exit 1
children=
cleanup() {
    for child in $children; do kill -KILL "$child" 2>/dev/null; done
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
cd "$folder" || exit 1
# Plans are measured once for a test, and nothing is left behind.
export LAMINA_CACHE="$folder/cache"

failures=0
fail() {
    failures=$((failures + 1))
    echo "FAILED: $*" >&2
}

# Ends the script: with 1 when anything failed.
finish() {
    [ "$failures" -eq 0 ] || { echo "$failures failed" >&2; exit 1; }
    exit 0
}

# expect STATUS COMMAND...: runs it, keeps its output in the files out and err, checks the status.
expect() {
    wanted=$1
    shift
    "$@" >out 2>err
    got=$?
    if [ "$got" -ne "$wanted" ]; then
        fail "status $got instead of $wanted: $*"
        sed 's/^/    /' err >&2
    fi
}

# says FILE TEXT: one line of the file contains the text, as it stands.
says() {
    grep -F -e "$2" "$1" >/dev/null || {
        fail "$1 does not say: $2"
        sed 's/^/    /' "$1" >&2
    }
}

# config NAME: writes NAME, a small network on made-up images: 200 samples in batches of 16, so 13
# steps in an epoch, the last with 8 samples.
config() {
    cat >"$1" <<'END'
seed: 3
data:
  train: {type: synthetic, samples: 200, height: 12, width: 12, classes: 4}
  test: {type: synthetic, samples: 50, first: 200, height: 12, width: 12, classes: 4}
  normalize: {mean: 0.5, std: 0.25}
network:
  - conv: {name: conv1, filters: 4, kernel: 3}
  - relu
  - max_pool: {kernel: 2, stride: 2}
  - linear: {name: fc1, units: 4}
  - softmax_loss
train:
  epochs: 2
  batch: 16
  log_every: 1
  optimizer: {type: sgd, learning_rate: 0.01, momentum: 0.9, weight_decay: 0.0005}
  schedule: {type: inverse, gamma: 0.001, power: 0.75}
END
}

# What two runs share: all of the metrics but the times.
untimed() {
    sed -e 's/"seconds":[^,}]*/"seconds":0/' -e 's/"images_per_second":[^,}]*/"images_per_second":0/' "$1"
}

# same_run A B: two run folders with the same last.h5, best.h5 and metrics, to the bit.
same_run() {
    for file in last best; do
        "$LAMINA" checkpoint diff "$1/checkpoints/$file.h5" "$2/checkpoints/$file.h5" >out 2>&1 || {
            fail "$file.h5 of $1 and $2 differ"
            sed 's/^/    /' out >&2
        }
    done
    untimed "$1/metrics.jsonl" >metrics.a
    untimed "$2/metrics.jsonl" >metrics.b
    cmp -s metrics.a metrics.b || fail "metrics.jsonl of $1 and $2 differ: $(diff metrics.a metrics.b | head -5)"
}
