# lamina dump: what it does not write over, and what it does.
. "$SOURCE/tests/cli/support.sh"

config run.yaml
config sound.yaml
expect 0 "$LAMINA" train run.yaml --out run --epochs 1 --threads 1 --quiet
cp run/checkpoints/last.h5 sound.h5

# refused MESSAGE ARGUMENTS...: 2, and config and checkpoint are as they were.
refused() {
    message=$1
    shift
    expect 2 "$LAMINA" dump run.yaml "$@"
    says err "$message"
    cmp -s run.yaml sound.yaml || { fail "the config was replaced: $*"; cp sound.yaml run.yaml; }
    cmp -s run/checkpoints/last.h5 sound.h5 || {
        fail "the checkpoint was replaced: $*"
        cp sound.h5 run/checkpoints/last.h5
    }
}

refused 'dump: -o run.yaml is the config itself' -o run.yaml
ln -s run.yaml link
refused 'is the config itself' -o link
ln run.yaml hard
refused 'is the config itself' -o ./hard
refused 'is the checkpoint itself' -o run/checkpoints/last.h5 --checkpoint run/checkpoints/last.h5
refused 'is the checkpoint itself' -o run/../run/checkpoints/last.h5 --checkpoint run/checkpoints/epoch-0001.h5

# Any other file that is no HDF5, however short.
echo mine >notes.txt
refused 'dump: -o notes.txt is there already and is not replaced: it is no HDF5 file' -o notes.txt
[ "$(cat notes.txt)" = mine ] || fail "notes.txt was replaced"
expect 0 "$LAMINA" dump run.yaml -o once.h5
cp once.h5 images.h5
cp once.h5 once.sound
expect 2 "$LAMINA" dump run.yaml -o images.h5 --set data.test='{type: idx, images: images.h5, labels: none}'
says err "dump: -o images.h5 is the config's data.test.images"
cmp -s images.h5 once.h5 || fail "a data file was replaced"

# An older dump and an empty file are.
expect 0 "$LAMINA" dump run.yaml -o once.h5 --set seed=4
! cmp -s once.h5 once.sound || fail "an older dump was not replaced"
: >empty
expect 0 "$LAMINA" dump run.yaml -o empty
[ -s empty ] || fail "an empty file was not replaced"
[ -z "$(find . -name '*.tmp')" ] || fail "temporary files stayed"

finish
