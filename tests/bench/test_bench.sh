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
[ "$(ls "$SOURCE/bench/configs" | wc -l)" -eq 7 ] || fail "a config without a line here"
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
    printf '%s\n' 'lenet 431080' 'mlp 669706' 'plain3x3 201578' 'vgg11 9225610' >wanted
    cmp -s out wanted || fail "the peer's networks are others: $(cat out)"
fi

expect 2 bench lenet-65
says err 'unknown row lenet-65; there are: lenet-64, '
expect 2 bench --turns 0
expect 1 bench lenet-64 --without-peer --lamina /bin/false
says err 'status 1 of: /'

expect 0 bench lenet-inference-64 --quick --without-peer --threads 1 --out result.json
says out 'lenet-inference-64         1'
for key in date machine versions commit row config images_per_second memory first_step turns; do
    says result.json "\"$key\": "
done
expect 0 bench lenet-inference-64 --quick --without-peer --threads 1 --against result.json
says out 'images/s of Lamina against result.json'
[ -z "$(ls -A tmp)" ] || fail "left: $(ls -A tmp)"

finish
