# Subcommands, options and help; output that cannot be written.
. "$SOURCE/tests/cli/support.sh"

config run.yaml

# Help of every command that the help lists, and of none that it does not.
expect 0 "$LAMINA" --help
cp out commands
for command in train test summary profile layers dump plugin checkpoint version; do
    says commands "  $command"
    expect 0 "$LAMINA" $command --help
    says out "usage: lamina $command"
done
expect 0 "$LAMINA" --version
says out 'lamina 0.'
expect 2 "$LAMINA"
expect 2 "$LAMINA" trian
says err 'did you mean "train"?'
expect 2 "$LAMINA" train run.yaml --thread 2
says err 'unknown option --thread; did you mean --threads?'
expect 2 "$LAMINA" train run.yaml --threads none
says err '--threads needs a whole number from 1 to 1024, got "none"'
expect 2 "$LAMINA" train run.yaml --out
says err '--out needs a value: --out DIR'
expect 2 "$LAMINA" train
says err 'train: needs CONFIG'
expect 2 "$LAMINA" train run.yaml other.yaml
says err 'other.yaml'
expect 2 "$LAMINA" train --resume run.yaml
says err '--resume took "run.yaml"'
expect 2 "$LAMINA" train run.yaml --quiet=yes

# An empty value is no path: "" plus "/config.yaml" would be in the root of the file system.
expect 2 "$LAMINA" train run.yaml --out ""
says err '--out was given an empty value; it takes DIR'
expect 2 "$LAMINA" train run.yaml --out=
expect 2 "$LAMINA" train run.yaml --resume ""
says err '--resume was given an empty value; it takes CHECKPOINT'
expect 2 "$LAMINA" train run.yaml --resume=
expect 2 "$LAMINA" train run.yaml --plugin ""
expect 2 "$LAMINA" train ""
says err 'train: an argument is empty; it takes CONFIG'
expect 2 "$LAMINA" dump run.yaml -o ""
says err '-o was given an empty value; it takes FILE'
expect 2 "$LAMINA" dump run.yaml -o dump.h5 --checkpoint ""
[ ! -e dump.h5 ] || fail "an empty checkpoint was none"

# Training on a pipe: rows, and no control characters.
expect 0 "$LAMINA" train run.yaml --out=run --epochs=1 --threads=1
says out " on 1 thread;" # of one shard, in as many slices as were measured to be best
says out 'epoch'
says out 'done: best accuracy'
! LC_ALL=C grep '[^ -~]' out >/dev/null || fail "control characters on a pipe"
expect 0 "$LAMINA" train run.yaml --out two --epochs 2 --threads 1 --quiet
[ ! -s out ] || fail "--quiet said something"

# test: as good as the metrics say; the matrix has a row for each class.
expect 0 "$LAMINA" test run/checkpoints/last.h5
says out '50 samples, accuracy '
[ "$(sed -n '/^confusion/,$p' out | grep -c '^ *[0-3] ')" -ge 4 ] || fail "no confusion matrix"
accuracy=$(sed -n 's/.*"test_accuracy":\([0-9.]*\).*/\1/p' run/metrics.jsonl)
percent=$(echo "$accuracy" | awk '{printf "%.2f%%", 100 * $1}')
says out "accuracy $percent"
expect 0 "$LAMINA" test run/checkpoints/last.h5 --set data.test.samples=20 --quiet
says out '20 samples'
expect 1 "$LAMINA" test run.yaml
# An HDF5 file of something else: only that is said.
expect 0 "$LAMINA" dump run.yaml -o foreign.h5
for command in 'test foreign.h5' 'dump run.yaml -o other.h5 --checkpoint foreign.h5'; do
    expect 1 "$LAMINA" $command
    says err 'lamina: foreign.h5: is an HDF5 file, but no checkpoint of Lamina'
    [ "$(wc -l <err)" -eq 1 ] || fail "more was said: $(cat err)"
done
expect 1 "$LAMINA" test none.h5
says err 'none.h5'

# A plugin is loaded when the user names it, never because a checkpoint does.
sed "s|^seed: 3|plugins: [$PLUGINS/mish.so]|; s|  - relu|  - sample.mish|" run.yaml >mish.yaml
expect 0 "$LAMINA" train mish.yaml --out mish --epochs 1 --quiet
expect 2 "$LAMINA" test mish/checkpoints/last.h5
says err 'sample.mish'
says err '--plugin FILE'
expect 0 "$LAMINA" test mish/checkpoints/last.h5 --plugin "$PLUGINS/mish.so"
says out '50 samples'
# A plugin's path is relative to the config; config.yaml can be used from anywhere.
mkdir -p configs plugins
cp "$PLUGINS/mish.so" plugins/
sed 's|^plugins.*|plugins: [../plugins/mish.so]|' mish.yaml >configs/mish.yaml
expect 0 "$LAMINA" train configs/mish.yaml --out mish2 --epochs 1 --quiet
cp mish2/config.yaml elsewhere.yaml
expect 0 "$LAMINA" train elsewhere.yaml --out mish3 --quiet
same_run mish mish3
expect 0 "$LAMINA" train run.yaml --plugin plugins/mish.so --set network.conv1.kernels=reference --out mish4 --epochs 1 --quiet

# summary
expect 0 "$LAMINA" summary run.yaml
says out '[16, 4, 10, 10]'
says out 'parameters     444'
says out 'multiply-adds  '
expect 1 "$LAMINA" summary run.yaml --set data.train='{type: idx, images: none, labels: none}'
says err '--input 1x28x28'
expect 0 "$LAMINA" summary run.yaml --set data.train='{type: idx, images: none, labels: none}' --input 3x9x9
says out '[16, 4, 7, 7]'
expect 2 "$LAMINA" summary run.yaml --input 3x9
expect 2 "$LAMINA" summary run.yaml --input 1x2x2

# --kernels: a name that no layer has is refused, before any data is opened or file written.
for command in 'train run.yaml --out kernels' 'dump run.yaml -o kernels' 'summary run.yaml' 'test run/checkpoints/last.h5'; do
    expect 2 "$LAMINA" $command --kernels refrence
    says err 'no layer of this network has a kernel "refrence"; there are auto, reference, '
    says err '; did you mean "reference"?'
    expect 2 "$LAMINA" $command --kernels foo
    says err 'has a kernel "foo"; there are auto, reference'
    [ ! -e kernels ] || fail "$command wrote something"
    expect 0 "$LAMINA" $command --kernels reference
    rm -rf kernels
done
expect 0 "$LAMINA" train run.yaml --out kernels --kernels auto --quiet

# Control characters in paths and in other people's files are shown, not sent to the terminal.
escape=$(printf '\033')
bad=$(printf 'a\033[31m\302\233b\nc\351\303\251')
shown=$(printf 'a\\x1b[31m\\xc2\\x9bb\\x0ac\\xe9\303\251')
clean() {
    ! LC_ALL=C grep -e "$escape" -e "$(printf '\302\233')" out err >/dev/null || fail "control characters: $1"
}
cp run.yaml "$bad"
expect 0 "$LAMINA" train "$bad" --out "$bad.run" --epochs 1
says out "$shown: 5 layers"
says out "($shown.run/checkpoints/best.h5)"
clean train
expect 2 "$LAMINA" train "$bad" --out "$bad.run"
says err "$shown.run: holds a run already"
clean 'a message'
expect 0 "$LAMINA" test "$bad.run/checkpoints/last.h5"
says out "$shown.run/checkpoints/last.h5: epoch 1"
clean test
expect 0 "$LAMINA" checkpoint show "$bad.run/checkpoints/last.h5"
clean 'checkpoint show'
expect 1 "$LAMINA" checkpoint verify "$bad"
says err "$shown: is no checkpoint"
clean 'checkpoint verify'
expect 2 "$LAMINA" "$bad"
says err "unknown command \"$shown\""
expect 2 "$LAMINA" train "$bad" --out x --set "$bad=1"
clean --set
expect 1 "$LAMINA" plugin check "$bad"
clean 'plugin check'

# layers
expect 0 "$LAMINA" layers
says out 'conv '
says out 'softmax_loss'
expect 0 "$LAMINA" layers conv
says out 'filters'
expect 2 "$LAMINA" layers cnv
says err 'did you mean "conv"?'
expect 0 "$LAMINA" layers --markdown
says out '| `filters` |'
expect 0 "$LAMINA" layers --sections
says out '| `learning_rate` |'
expect 0 "$LAMINA" layers sample.mish --plugin "$PLUGINS/mish.so"
expect 1 "$LAMINA" layers --plugin none.so

# checkpoint
expect 0 "$LAMINA" checkpoint show run/checkpoints/last.h5
says out 'conv1'
expect 0 "$LAMINA" checkpoint verify run/checkpoints/last.h5 run/checkpoints/best.h5
expect 1 "$LAMINA" checkpoint verify run/checkpoints/last.h5 run.yaml
expect 0 "$LAMINA" checkpoint diff run/checkpoints/last.h5 run/checkpoints/epoch-0001.h5
says out 'identical: weights, state, optimizer, progress, metrics'
expect 1 "$LAMINA" checkpoint diff run/checkpoints/last.h5 two/checkpoints/last.h5
says out 'conv1'
expect 2 "$LAMINA" checkpoint diff run/checkpoints/last.h5
expect 2 "$LAMINA" checkpoint dif a b

# Output that does not arrive is an error.
if [ -w /dev/full ]; then
    "$LAMINA" layers >/dev/full 2>err
    [ $? -eq 1 ] || fail "a full disk on stdout went unnoticed"
    says err 'output could not be written'
fi
{ "$LAMINA" train run.yaml --out pipe; echo $? >status; } 2>err | true
[ "$(cat status)" -eq 1 ] || fail "a closed pipe went unnoticed"
[ -e pipe/checkpoints/last.h5 ] || fail "a closed pipe ended the training"

# Closed standard descriptors: nothing that is printed goes into a file that the run opens.
"$LAMINA" train run.yaml --out closed --epochs 1 --threads 1 <&- >&- 2>&-
[ $? -eq 0 ] || fail "closed descriptors: not 0"
[ "$(grep -vc '^{"event":.*}$' closed/metrics.jsonl)" -eq 0 ] || fail "output went into metrics.jsonl"
same_run run closed
"$LAMINA" train none.yaml <&- >&- 2>&-
[ $? -eq 2 ] || fail "closed descriptors: not 2"

finish
