# Every layer type against PyTorch; see layers.py. Skipped (77) where there is no PyTorch.
: "${BUILD:?}" "${SOURCE:?}"
. "$SOURCE/tests/parity/support.sh"
need torch python3-torch
exec "$python" "$SOURCE/tests/parity/layers.py" --driver "$BUILD/tests/layer_driver"
