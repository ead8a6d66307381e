# Broken configs: each is told with file, line and column, ends with the right status, and leaves
# nothing behind.
. "$SOURCE/tests/cli/support.sh"

# broken STATUS MESSAGE: config broken.yaml must fail so.
broken() {
    expect "$1" "$LAMINA" train broken.yaml --out run
    says err "$2"
    [ ! -e run ] || { fail "left a run folder: $2"; rm -rf run; }
    [ ! -s out ] || fail "said something on stdout: $2"
}

edit() {
    config good.yaml
    sed "$@" good.yaml >broken.yaml
    ! cmp -s good.yaml broken.yaml || fail "the edit changed nothing: $*"
}

config good.yaml
expect 0 "$LAMINA" train good.yaml --out good --quiet
[ ! -s out ] || fail "--quiet said something"

edit 's/kernel: 3/kernal: 3/'
broken 2 'broken.yaml:7:37: error: layer "conv1" (conv): unknown key "kernal"; did you mean "kernel"?'
says err 'in broken.yaml; nothing was written'

edit 's/units: 4//'
broken 2 'broken.yaml:10:'
says err '"units"'

edit 's/kernel: 3}/kernel: 30}/'
broken 2 'broken.yaml:7:5: error: layer "conv1" (conv): '

edit 's/name: fc1/name: conv1/'
broken 2 'broken.yaml:10:20: error: '
says err '"conv1"'

edit 's/train: {type: synthetic.*/train: {type: idx, images: none.idx, labels: none.idx}/'
broken 1 'lamina: broken.yaml:3:10: data.train: none.idx'
expect 1 "$LAMINA" train good.yaml --out run --set data.test='{type: idx, images: none.idx, labels: none.idx}'
says err 'lamina: --set data.test={type: idx, images: none.idx, labels: none.idx}: data.test: none.idx'

edit 's/epochs: 2/epochs: 2x/'
broken 2 'broken.yaml:13:11: error: train: "epochs"'

edit 's/relu/rleu/'
broken 2 'broken.yaml:8:5: error: '
says err 'did you mean "relu"?'

edit 's/name: fc1/name: fc1, from: [softmax_loss1]/'
broken 2 'broken.yaml:10:'

printf '\000\000\010\003\000\000\000\005\000\000\000\002\000\000\000\002abc' >images.idx
printf '\000\000\010\001\000\000\000\005\000\001\002\003\000' >labels.idx
edit 's/train: {type: synthetic.*/train: {type: idx, images: images.idx, labels: labels.idx}/'
broken 1 'images.idx'

edit 's/units: 4/units: 2/'
broken 1 "but the network's loss has 2 outputs"

edit 's/^seed: 3/sed: 3/'
broken 2 'broken.yaml:1:1: error: the config: unknown key "sed"; did you mean "seed"?'

edit 's/type: sgd/type: sdg/'
broken 2 'train.optimizer: unknown type "sdg"; did you mean "sgd"?'

edit 's/momentum: 0.9/momentum: 0, nesterov: true/'
broken 2 'nesterov needs a momentum above 0'

edit 's/mean: 0.5/mean: [0.5, 0.4, 0.3]/'
broken 2 'data.normalize: mean has 3 values, but the images have 1 channel'

edit 's/std: 0.25/std: 0/'
broken 2 'broken.yaml:5:31: error: data.normalize: "std": must be above 0, got 0'
edit 's/std: 0.25/std: [0.25, -1]/'
broken 2 'broken.yaml:5:38: error: data.normalize: "std": must be above 0, got -1'
edit 's/std: 0.25/std: nan/'
broken 2 'broken.yaml:5:'
expect 2 "$LAMINA" train good.yaml --out run --set data.normalize.std=0
says err '--set data.normalize.std=0: error: data.normalize: "std": must be above 0'

edit 's/first: 200, height: 12/first: 200, height: 14/'
broken 1 'both splits need the same'

edit 's/^seed: 3/plugins: [none.so]/'
broken 2 'broken.yaml:1:11: error: '
says err 'none.so'

edit 's/^seed.*/seed: 1\nseed: 2/'
broken 2 'broken.yaml:2:1: error: '

edit '/softmax_loss/d'
broken 2 'softmax_loss'

: >broken.yaml
broken 2 'the config is empty'

rm broken.yaml
broken 2 'broken.yaml'

# All mistakes at once, each on its line, and a count.
edit -e 's/kernel: 3/kernal: 3/' -e 's/relu/rleu/' -e 's/epochs: 2/epochs: -1/' -e 's/^seed/sed/'
broken 2 'unknown key "sed"'
says err 'rleu'
says err 'kernal'
says err 'train: "epochs"'
[ "$(grep -c '^broken.yaml:[0-9]*:[0-9]*: error: ' err)" -ge 4 ] || fail "not every mistake has its line"

# --set is checked like the file.
expect 2 "$LAMINA" train good.yaml --out run --set train.epochs=three
says err '--set train.epochs=three'
expect 2 "$LAMINA" train good.yaml --out run --set train.epoch=3
says err 'did you mean "epochs"?'
[ ! -e run ] || fail "a wrong --set left a run folder"

# The network must have an output for each label, the folder must be one that can be made.
expect 1 "$LAMINA" train good.yaml --out good.yaml/run
says err 'good.yaml'

finish
