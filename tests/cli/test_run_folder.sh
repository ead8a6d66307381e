# The folder of a run: what is in it, when it may be used again, and what a resume is refused for.
. "$SOURCE/tests/cli/support.sh"

config run.yaml
train() {
    status=$1
    shift
    expect "$status" "$LAMINA" train run.yaml --quiet "$@"
}

# The default folder, its contents, and the order of columns in metrics.jsonl.
train 0
for file in config.yaml metrics.jsonl checkpoints/last.h5 checkpoints/best.h5 checkpoints/epoch-0001.h5 checkpoints/epoch-0002.h5; do
    [ -s "runs/run/$file" ] || fail "no runs/run/$file"
done
number='-\{0,1\}[0-9][-+.0-9e]*'
times="\"learning_rate\":$number,\"images_per_second\":$number,\"seconds\":$number}\$"
lines() {
    grep -c "$1" runs/run/metrics.jsonl
}
[ "$(lines "^{\"event\":\"epoch\",\"epoch\":[12],\"step\":[0-9]*,\"train_loss\":$number,\"test_loss\":$number,\"test_accuracy\":$number,$times")" -eq 2 ] ||
    fail "epoch lines are not as they should be: $(grep epoch runs/run/metrics.jsonl)"
[ "$(lines "^{\"event\":\"step\",\"epoch\":[12],\"step\":[0-9]*,\"train_loss\":$number,$times")" -eq 26 ] ||
    fail "step lines are not as they should be"

# The resolved config is a config, and gives the same run.
expect 0 "$LAMINA" train runs/run/config.yaml --out again --quiet
same_run runs/run again
cmp -s runs/run/config.yaml again/config.yaml || fail "the resolved config of the resolved config differs"

# A folder that holds a run needs --resume or --overwrite, and stays as it is.
cksum runs/run/checkpoints/* runs/run/metrics.jsonl >before
train 2
says err 'runs/run: holds a run already; go on with --resume, replace it with --overwrite'
train 2 --resume --overwrite
train 2 --resume --out nowhere
says err 'nowhere: there is no run to resume'
[ ! -e nowhere ] || fail "--resume made a folder"
train 2 --resume runs/run/checkpoints/last.h5 --out again
says err 'holds another run'
cksum runs/run/checkpoints/* runs/run/metrics.jsonl >after
cmp -s before after || fail "a refused start changed the run"
echo mine >runs/run/notes.txt
echo mine >runs/run/checkpoints/epoch-7.h5
train 0 --overwrite --set train.epochs=1
[ -e runs/run/notes.txt ] && [ -e runs/run/checkpoints/epoch-7.h5 ] || fail "--overwrite removed a file that is not its own"
[ ! -e runs/run/checkpoints/epoch-0002.h5 ] || fail "--overwrite left the old run's checkpoint"
[ "$(wc -l <runs/run/metrics.jsonl)" -eq 14 ] || fail "--overwrite left the old run's metrics"

# A config that lies where the run writes its own is not replaced, but by a run that goes on.
mkdir own
(echo '# my notes' && cat run.yaml) >own/config.yaml
cp own/config.yaml mine.yaml
own() {
    expect 2 "$LAMINA" train own/config.yaml --out own "$@"
    cmp -s own/config.yaml mine.yaml || { fail "the config was replaced: $*"; cp mine.yaml own/config.yaml; }
}
own
own --overwrite
says err 'own/config.yaml: this run would write its resolved config over it; copy it elsewhere first'
own --resume
own --overwrite --resume again/checkpoints/last.h5
cp mine.yaml own.yaml
expect 0 "$LAMINA" train own.yaml --out own --overwrite --quiet --epochs 1
expect 0 "$LAMINA" train own/config.yaml --out own --resume --quiet --epochs 2
same_run again own
rm -r own/checkpoints/*
expect 0 "$LAMINA" train own/config.yaml --out own --resume --quiet
same_run again own

# keep: the newest stay.
train 0 --out keep --set checkpoint.keep=2 --set train.epochs=5
[ "$(cd keep/checkpoints && echo epoch-*)" = "epoch-0004.h5 epoch-0005.h5" ] || fail "keep=2 kept $(ls keep/checkpoints)"
train 0 --out none --set checkpoint.keep=0 --set checkpoint.every_epochs=0
[ "$(cd none/checkpoints && echo *)" = "best.h5 last.h5" ] || fail "keep=0 kept $(ls none/checkpoints)"
"$LAMINA" checkpoint diff none/checkpoints/last.h5 again/checkpoints/last.h5 >out || fail "keep changed the training"

# A resume that would not be exact is refused, saying what differs.
train 0 --out base --set train.max_steps=5
refused() {
    expect 1 "$LAMINA" train run.yaml --quiet --out base --resume --set "$2"
    says err "$1"
}
refused 'was trained with seed 3, the config says 4' seed=4
refused 'was trained with train.batch 16, the config says 8' train.batch=8
refused 'data.train had 200 samples' data.train.samples=150
refused 'data.train has other contents' data.train.seed=9
refused 'data.test' data.test.first=300
refused 'was trained with the layer' network.fc1.name=fc2
refused 'was trained with the layer' network.conv1.filters=5
refused 'was trained with data.normalize' data.normalize.std=0.5

train 2 --out base --resume --kernels reference
says err '--kernels: an exact resume computes with the kernels that base/checkpoints/last.h5 names'
train 1 --out base --resume none/such.h5
says err 'none/such.h5: cannot be opened: No such file'

cp base/checkpoints/last.h5 whole.h5
head -c 3000 whole.h5 >base/checkpoints/last.h5
train 1 --out base --resume
says err 'base/checkpoints/last.h5'
! grep 'an older one' err >/dev/null || fail "an older checkpoint was named where there is none"
cp whole.h5 base/checkpoints/last.h5

# A damaged last.h5: the newest whole one beside it is named, and can be gone on from.
train 0 --out hurt --epochs 3
cp hurt/checkpoints/last.h5 hurt.h5
for file in last epoch-0003; do
    { head -c 3000 hurt.h5; printf x; tail -c +3002 hurt.h5; } >hurt/checkpoints/new
    mv hurt/checkpoints/new "hurt/checkpoints/$file.h5"
done
train 1 --out hurt --resume --epochs 3
says err '; --resume hurt/checkpoints/epoch-0002.h5 goes on from an older one'
rm hurt/checkpoints/epoch-*
cp keep/checkpoints/epoch-0004.h5 hurt/checkpoints/best.h5
train 1 --out hurt --resume --epochs 3
says err '; --resume hurt/checkpoints/best.h5 goes on from an older one'
train 0 --out hurt --resume hurt/checkpoints/best.h5 --epochs 5
"$LAMINA" checkpoint diff hurt/checkpoints/last.h5 keep/checkpoints/last.h5 >out || fail "the older checkpoint led elsewhere"

# What may differ is said, and goes on.
expect 0 "$LAMINA" train run.yaml --out base --resume --set train.optimizer.learning_rate=0.001 --epochs 3
says err 'train.optimizer.learning_rate was 0.01 and is now 0.001'

# A learning rate that is far too high: 4, naming step and layer; the checkpoint before stays.
train 0 --out huge --set train.max_steps=13
cp huge/checkpoints/last.h5 huge.h5
train 4 --out huge --resume --set train.optimizer.learning_rate=1e30
says err 'lamina: epoch 2, step '
says err 'not finite'
says err 'huge/checkpoints/last.h5 of step 13 is intact'
cmp -s huge.h5 huge/checkpoints/last.h5 || fail "a numeric failure changed last.h5"
train 4 --out huge2 --set train.optimizer.learning_rate=1e30
[ ! -e huge2/checkpoints/last.h5 ] || fail "a numeric failure wrote a checkpoint"

# Files that cannot be written: 1, and the old checkpoint stays. (A file size limit of 2048 bytes:
# first it is the metrics that grow beyond it, then, without step lines, the checkpoint.)
train 0 --out full --set train.max_steps=5
cp full/checkpoints/last.h5 full.h5
limited() {
    (
        ulimit -f 4
        "$LAMINA" train run.yaml --quiet --out full --resume "$@" 2>err
        echo $? >status
    )
    [ "$(cat status)" -eq 1 ] || fail "a full disk did not end with 1"
    cmp -s full.h5 full/checkpoints/last.h5 || fail "a full disk changed last.h5"
}
limited
says err 'full/metrics.jsonl: cannot write: File too large'
[ -z "$(tail -c 1 full/metrics.jsonl)" ] || fail "half a line stayed in metrics.jsonl"
limited --set train.log_every=0
says err 'full/checkpoints/'
says err 'File too large'
train 0 --out full --resume
train 0 --out full-ref
same_run full full-ref

# Two at once in one folder: the second is refused.
"$LAMINA" train run.yaml --quiet --out busy --set train.epochs=100000 2>err.busy &
children=$!
while kill -0 "$children" 2>/dev/null && [ ! -s busy/metrics.jsonl ]; do sleep 0.02; done
train 2 --out busy --overwrite
says err 'another lamina is training there'
kill -TERM "$children"
wait "$children"
[ $? -eq 143 ] || fail "not 143 after SIGTERM"

finish
