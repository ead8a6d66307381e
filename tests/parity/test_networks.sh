# Training steps of whole networks against PyTorch's; see compare_network.py. Skipped (77) where
# there is no PyTorch, or no h5py.
: "${LAMINA:?}" "${SOURCE:?}"
. "$SOURCE/tests/parity/support.sh"
need torch python3-torch
need h5py python3-h5py
need yaml python3-yaml

folder=$(mktemp -d "${TMPDIR:-/tmp}/lamina-test-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
export LAMINA_CACHE="$folder/cache"

# Residuals with a projection, a gate, a depthwise and a strided convolution, branches that are
# joined, every normalisation, shared and frozen weights, scales of learning rate and decay.
cat >"$folder/resnet.yaml" <<'END'
seed: 5
data:
  train: {type: synthetic, samples: 72, channels: 3, height: 16, width: 14, classes: 5}
  normalize: {mean: 0.5, std: 0.25}
network:
  - conv: {name: conv1, filters: 8, kernel: 3, padding: 1, bias: false, init: he}
  - batch_norm: {name: bn1}
  - relu: {name: relu1}
  - conv: {name: conv2, filters: 8, kernel: 3, padding: 1, bias: false, learning_rate_scale: 0.5}
  - batch_norm: {name: bn2, momentum: 0.2, eps: 0.001}
  - relu: {name: relu2}
  - conv: {name: conv3, share: conv2, filters: 8, kernel: 3, padding: 1, bias: false}
  - batch_norm: {name: bn3}
  - add: {name: add1, from: [bn3, relu1]}
  - relu: {name: block1}
  - conv: {name: conv4, filters: 16, kernel: 3, stride: 2, padding: 1, bias: false}
  - batch_norm: {name: bn4}
  - leaky_relu: {name: leaky1}
  - conv: {name: depthwise, filters: 16, groups: 16, kernel: 3, padding: same}
  - batch_norm: {name: bn5, affine: false}
  - conv: {name: shortcut, from: block1, filters: 16, kernel: 1, stride: 2, bias: false}
  - batch_norm: {name: bn6, frozen: true}
  - add: {name: add2, from: [bn5, bn6]}
  - hard_swish: {name: block2}
  - global_avg_pool: {name: squeeze}
  - conv: {name: gate1, filters: 4, kernel: 1}
  - silu
  - conv: {name: gate2, filters: 16, kernel: 1, weight_decay_scale: 2}
  - sigmoid: {name: gate}
  - multiply: {name: excited, from: [block2, gate]}
  - group_norm: {name: gn, groups: 4}
  - conv: {name: branch1, filters: 6, kernel: [3, 1], padding: [1, 0]}
  - instance_norm: {name: in1, affine: true}
  - avg_pool: {name: branch2, from: gn, kernel: 3, stride: 1, padding: 1}
  - concat: {name: joined, from: [in1, branch2]}
  - prelu: {shared: false}
  - lrn: {size: 5, alpha: 0.1}
  - max_pool: {kernel: 2}
  - linear: {name: fc1, units: 24}
  - layer_norm: {name: ln}
  - gelu
  - linear: {name: fc2, units: 5}
  - softmax_loss
train:
  epochs: 10
  batch: 16
  optimizer: {type: sgd, learning_rate: 0.02, momentum: 0.9, nesterov: true, weight_decay: 0.001}
  schedule: {type: inverse, gamma: 0.05, power: 0.75}
END

# Two losses, one of them of the image itself, each with its weight; a metric, which takes no part.
cat >"$folder/losses.yaml" <<'END'
seed: 6
data:
  train: {type: synthetic, samples: 50, channels: 2, height: 8, width: 7, classes: 4}
  normalize: {mean: 0.5, std: 0.25}
network:
  - conv: {name: conv1, filters: 6, kernel: 3, stride: 2}
  - tanh: {name: code}
  - conv_transpose: {name: image, filters: 2, kernel: [4, 3], stride: 2}
  - mse_loss: {name: rebuilt, from: [image, data], loss_weight: 0.7}
  - linear: {name: scores, from: code, units: 4}
  - softmax_loss: {name: class, label_smoothing: 0.1, class_weights: [1, 2, 0.5, 1.5]}
  - accuracy: {from: scores, top: 2}
train:
  epochs: 10
  batch: 20
  optimizer: {type: sgd, learning_rate: 0.05, momentum: 0.5, weight_decay: 0.001, decay_bias: true}
END

failures=0
# compare CONFIG [OPTION...]: with 1 and 2 threads
compare() {
    for threads in 1 2; do
        "$python" "$SOURCE/tests/parity/compare_network.py" "$@" --lamina "$LAMINA" \
            --threads "$threads" --steps 10 || failures=$((failures + 1))
    done
}
compare "$SOURCE/configs/synthetic-lenet.yaml" --set train.batch=32
compare "$folder/resnet.yaml"
compare "$folder/losses.yaml"
[ "$failures" -eq 0 ] || { echo "$failures failed" >&2; exit 1; }
