# lamina profile: a table and a JSON object whose parts add up; nothing is written.
. "$SOURCE/tests/cli/support.sh"

config run.yaml

# near A B: the same up to a hundredth.
near() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && b > 0 && a / b > 0.99 && a / b < 1.01) }'
}

# is_json FILE: strings become S, numbers V; what holds only such becomes V in turn, until V is
# left. null, nan and inf are no numbers here.
is_json() {
    left=$(sed -E -e 's/"([^"\\]|\\.)*"/S/g' -e 's/-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?/V/g' \
        -e ':again' -e 's/\{(S:[SV](,S:[SV])*)?\}/V/g; s/\[([SV](,[SV])*)?\]/V/g' -e 't again' "$1")
    [ "$left" = V ] || fail "$1 is no JSON of finite numbers: $left"
}

# The table: the rows are the step.
expect 0 "$LAMINA" profile run.yaml --steps 20 --threads 2
says out 'run.yaml: training, batch 16, '
says out 'conv1          forward '
says out 'conv1          backward_weights '
says out 'softmax_loss1  backward '
! grep 'conv1 *backward_data' out >/dev/null || fail "a gradient of the images"
for line in 'waiting for data' 'normalising images' 'repacking weights' 'reduction and optimizer' \
    'waiting for other threads' 'other ' 'Without the clock a step takes '; do
    says out "$line"
done
[ "$(grep -vc 'measuring kernels' err)" -eq 0 ] || fail "something on stderr: $(cat err)"
# The milliseconds stand before the first percentage.
awk '/%$/ || /% / {
    for (i = 1; i <= NF && $i !~ /%$/; i++) {}
    if (/^a step/) { step = $(i - 1) } else if (i <= NF) { sum += $(i - 1); n++ }
} END { exit !(n > 10 && sum > 0.97 * step && sum < 1.03 * step) }' out ||
    fail "the rows are not the step: $(cat out)"

# JSON says the same.
for options in '--threads 1' '--threads 2' '--threads 2 --kernels reference' '--inference' \
    '--inference --set train.batch=1'; do
    expect 0 "$LAMINA" profile run.yaml --steps 20 --json $options
    [ "$(wc -l <out)" -eq 1 ] || fail "$options: not one line"
    is_json out
    sed 's/.*"timed":{\([^}]*\)}.*/\1/' out | tr ',' '\n' >timed
    awk -F: '/seconds/ { step = $2 }
        /passes|data_wait|input|prepare|update|waiting|other/ { sum += $2; n++ }
        END { exit !(n == 7 && sum > 0.999 * step && sum < 1.001 * step) }' timed ||
        fail "$options: the parts are not the step: $(cat timed)"
    grep -o '"kernel":"[^"]*","seconds":[-0-9.e+]*' out | sed 's/.*://' >passes
    near "$(awk '{ sum += $1 } END { print sum }' passes)" "$(sed -n 's/^"passes"://p' timed)" ||
        fail "$options: the passes do not add up"
    for key in config mode batch threads shards slices steps step_seconds net_seconds \
        images_per_second layers multiply_adds gflops peak_share processor isa peak_gflops \
        versions lamina onednn; do
        says out "\"$key\":"
    done
done
says out '"mode":"inference","batch":1,'
! grep backward out >/dev/null || fail "a backward pass in inference"
expect 0 "$LAMINA" profile run.yaml --steps 20 --json --kernels reference
says out '"kernel":"reference"'
! grep '"kernel":"onednn"' out >/dev/null || fail "--kernels reference: onednn"
images=$(sed 's/.*"images_per_second":\([-0-9.e+]*\).*/\1/' out)
seconds=$(sed 's/.*"step_seconds":\([-0-9.e+]*\).*/\1/' out)
near "$images" "$(echo "$seconds" | awk '{ print 16 / $1 }')" || fail "images per second"

# A path that JSON must escape.
cp run.yaml 'a\"b.yaml'
expect 0 "$LAMINA" profile 'a\"b.yaml' --steps 2 --json
is_json out
says out '"config":"a\\\"b.yaml"'

# Errors, as from any other command.
expect 2 "$LAMINA" profile
expect 2 "$LAMINA" profile none.yaml
expect 2 "$LAMINA" profile run.yaml --steps 0
says err '--steps needs a whole number'
expect 2 "$LAMINA" profile run.yaml --step 5
says err 'did you mean --steps?'
expect 2 "$LAMINA" profile run.yaml --kernels refrence
says err 'did you mean "reference"?'
sed 's/kernel: 3/kernal: 3/' run.yaml >broken.yaml
expect 2 "$LAMINA" profile broken.yaml
says err 'broken.yaml:7:37: error: layer "conv1" (conv): unknown key "kernal"'
[ ! -s out ] || fail "a broken config was profiled"
expect 1 "$LAMINA" profile run.yaml --set data.train='{type: idx, images: none, labels: none}'
says err 'data.train: none'
expect 4 "$LAMINA" profile run.yaml --steps 5 --set train.optimizer.learning_rate=1e30
says err 'not finite'
if [ -w /dev/full ]; then
    "$LAMINA" profile run.yaml --steps 2 >/dev/full 2>err
    [ $? -eq 1 ] || fail "a full disk on stdout went unnoticed"
fi

# Nothing is left behind.
rm -rf out err timed passes cache # of plans: LAMINA_CACHE
[ "$(ls -A | LC_ALL=C sort | tr '\n' ' ')" = 'a\"b.yaml broken.yaml run.yaml ' ] || fail "left: $(ls -A)"

finish
