# What tests against PyTorch share; sourced. The interpreter is Debian's, which has Debian's
# PyTorch; elsewhere any python3 that has one.
python=/usr/bin/python3
[ -x "$python" ] || python=python3
export PYTHONDONTWRITEBYTECODE=1

# need MODULE PACKAGE: ends the script as skipped when Python has no such module.
need() {
    find="import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"
    "$python" -c "$find" 2>/dev/null && return
    echo "skipped: $python has no module $1; on Debian: apt-get install $2"
    exit 77
}
