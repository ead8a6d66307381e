# The bench: its configs are the networks they say, the peer's are the same, and the driver measures,
# prints, writes and compares.
. "$SOURCE/tests/cli/support.sh"

# network NAME PARAMETERS MULTIPLY-ADDS BATCH
network() {
    expect 0 "$LAMINA" summary "$SOURCE/bench/configs/$1.yaml"
    says out "parameters     $2"
    says out "multiply-adds  $3 for"
    says out "batch          $4,"
}
network lenet-64 431,080 2,293,000 64
network lenet-256 431,080 2,293,000 256
network lenet-inference-1 431,080 2,293,000 1
network lenet-inference-64 431,080 2,293,000 64
network mlp-128 669,706 668,672 128
network plain3x3-64 201,578 21,964,544 64
network vgg11-64 9,225,610 152,769,536 64
network resnet20-128 272,474 40,813,184 128
network mobilenet-v2-32 3,504,872 56,289,152 32
network resnet50-16 25,557,032 4,089,184,256 16
[ "$(ls "$SOURCE/bench/configs" | wc -l)" -eq 10 ] || fail "a config without a line here"
for config in "$SOURCE"/bench/configs/*; do
    grep -F 'optimizer: {type: sgd, learning_rate: 0.01, momentum: 0.9}' "$config" >/dev/null ||
        fail "$config: another optimizer than the peer's"
done

python=/usr/bin/python3
[ -x "$python" ] || finish
bench() { TMPDIR=$folder/tmp "$python" -B "$SOURCE/bench/bench.py" --lamina "$LAMINA" "$@"; }
mkdir tmp

if "$python" -c 'import torch' 2>/dev/null; then
    expect 0 "$python" -B -c 'import sys
sys.path.insert(0, sys.argv[1])
import peer
for name, make in sorted(peer.NETWORKS.items()):
    print(name, sum(weight.numel() for weight in make()[1].parameters()))' "$SOURCE/bench"
    printf '%s\n' 'lenet 431080' 'mlp 669706' 'mobilenet-v2 3504872' 'plain3x3 201578' \
        'resnet20 272474' 'resnet50 25557032' 'vgg11 9225610' >wanted
    cmp -s out wanted || fail "the peer's networks are others: $(cat out)"
fi

expect 2 bench lenet-65
says err 'unknown row lenet-65; there are: lenet-64, '
expect 2 bench --turns 0
expect 1 bench lenet-64 --without-peer --lamina /bin/false
says err 'status 1 of: /'

# A row: printed, with the same on one thread, written, compared.
expect 0 bench lenet-inference-64 --quick --without-peer --threads 2 --out result.json
says out 'lenet-inference-64        2'
says out 'lenet-inference-64  Lamina '
for key in date machine versions commit program row config images_per_second memory first_step plan_seconds turns; do
    says result.json "\"$key\": "
done
expect 0 "$python" -c 'import json
row = json.load(open("result.json"))["rows"][0]
assert row["threads"] == 2 and [at["threads"] for at in row["scaling"]] == [1]
for at in (row, *row["scaling"]):
    assert at["plan_seconds"] > 0 and at["lamina"]["images_per_second"] > 0
assert row["lamina"]["first_step"] > 0 and row["lamina"]["memory"] > 0'
expect 0 bench lenet-inference-64 --quick --without-peer --threads 1 --against result.json
says out 'images/s of Lamina against result.json'
! grep 'threads:' out >/dev/null || fail "one thread was compared with itself"

# The same row again goes to the same file. Over other figures nothing is written.
expect 0 bench lenet-inference-64 --quick --without-peer --threads 1 --results kept
says err 'bench: written: kept/'
expect 0 bench lenet-inference-64 --quick --without-peer --threads 1 --results kept
says err 'bench: added to kept/'
says err '1 row, 1 of them again (the earlier ones: under "earlier")'
[ "$(ls -A kept | wc -l)" -eq 1 ] || fail "not one file: $(ls -A kept)"
expect 1 bench lenet-inference-64 --quick --without-peer --threads 1 --turns 2 --out kept/*.json
says err 'holds other results'

# A bench that is ended keeps the rows that it has done.
TMPDIR=$folder/tmp "$python" -B "$SOURCE/bench/bench.py" --lamina "$LAMINA" lenet-64 vgg11-64 --quick \
    --without-peer --threads 1 --results ended >out 2>err &
children=$!
while kill -0 "$children" 2>/dev/null && ! ls ended/*.json >/dev/null 2>&1; do sleep 0.05; done
kill -TERM "$children" 2>/dev/null
wait "$children"
[ $? -eq 143 ] || fail "not 143 after SIGTERM: $(cat err)"
says err 'bench: written: ended/'
says out 'lenet-64        1'
[ "$(ls -A ended | wc -l)" -eq 1 ] || fail "not one file: $(ls -A ended)"
"$python" -c 'import json, sys
sys.exit(json.load(open(sys.argv[1]))["rows"][0]["row"] != "lenet-64")' ended/*.json ||
    fail "the row that was done is not kept"
[ -z "$(ls -A tmp)" ] || fail "left: $(ls -A tmp)"

finish
