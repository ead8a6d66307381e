#!/usr/bin/env python3
"""Compares one training step of configs/mnist-lenet.yaml with PyTorch's, in double precision.

    build/lamina dump configs/mnist-lenet.yaml -o step.h5
    python3 tests/parity/compare_lenet.py step.h5

PyTorch gets the weights, images and labels of the file; outputs, gradients by every layer's output
and by every weight, and the weights after the step are compared: largest difference over largest
value. Exit status 1 when one is over 1e-4. Debian packages: python3-torch python3-h5py.
"""
import sys

import h5py
import torch
import torch.nn.functional as F

TOLERANCE = 1e-4


def network(x, weights, keep):
    """LeNet as the config describes it; keep(name, tensor) remembers each layer's output."""
    layer = lambda name: (weights[name, "weight"], weights[name, "bias"])
    h = keep("conv1", F.conv2d(x, *layer("conv1")))
    h = keep("max_pool1", F.max_pool2d(h, 2))
    h = keep("conv2", F.conv2d(h, *layer("conv2")))
    h = keep("max_pool2", F.max_pool2d(h, 2))
    h = keep("fc1", F.linear(h.flatten(1), *layer("fc1")))
    h = keep("relu1", F.relu(h))
    return keep("fc2", F.linear(h, *layer("fc2")))


def main(path):
    file = h5py.File(path)
    read = lambda name: torch.tensor(file[name][()]).double()
    weights = {
        (layer, name): read(f"/weights/{layer}/{name}").requires_grad_()
        for layer in ("conv1", "conv2", "fc1", "fc2")
        for name in ("weight", "bias")
    }
    outputs = {}

    def keep(name, tensor):
        tensor.retain_grad()
        outputs[name] = tensor
        return tensor

    loss = F.cross_entropy(network(read("/input"), weights, keep), read("/labels").long())
    loss.backward()

    worst = 0.0

    def compare(what, ours, theirs):
        nonlocal worst
        difference = float((ours - theirs).abs().max() / theirs.abs().max())
        worst = max(worst, difference)
        print(f"{what:32s} {difference:.1e}")

    compare("loss", read("/loss").mean(), loss.detach())
    for name, tensor in outputs.items():
        compare(f"{name} output", read(f"/layers/{name}/output"), tensor.detach())
        compare(f"{name} d_output", read(f"/layers/{name}/d_output"), tensor.grad)
    for (layer, name), weight in weights.items():
        compare(f"{layer} {name} gradient", read(f"/gradients/{layer}/{name}"), weight.grad)

    decayed = [w for (_, name), w in weights.items() if name == "weight"]
    biases = [w for (_, name), w in weights.items() if name == "bias"]
    torch.optim.SGD(
        [{"params": decayed, "weight_decay": 0.0005}, {"params": biases, "weight_decay": 0.0}],
        lr=0.01,
        momentum=0.9,
    ).step()
    for (layer, name), weight in weights.items():
        compare(f"{layer} {name} updated", read(f"/updated/{layer}/{name}"), weight.detach())

    print(f"largest {worst:.1e}, allowed {TOLERANCE:.0e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
