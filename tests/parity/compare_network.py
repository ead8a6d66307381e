#!/usr/bin/env python3
"""Compares training steps of a config with PyTorch's, in double precision.

    python3 tests/parity/compare_network.py configs/mnist-lenet.yaml --steps 10 --threads 2

Lamina writes its steps with `lamina dump`. PyTorch gets the weights, running statistics, images and
targets of that file. Of the first step are compared: every layer's output and the gradient by it,
the gradient by every weight, the weights and running statistics after it; of all steps the losses.
Each is the largest difference over the largest value, and allowed are 1e-4 for the first step, 1e-3
for later losses. What should be 0 but for rounding, as the gradient of a bias before batch_norm, is
measured by the largest of its kind. Exit status 1 when a figure is over.

A relu whose input is 0 but for rounding passes its gradient on or not as the rounding falls, and in
millions of them there are some; the first step of PyTorch's takes these decisions from Lamina's
output, and only these. In later steps they are taken as they fall, and a large learning rate makes
much of them: --float32 shows what PyTorch itself makes of its own rounding.

Debian packages: python3-torch python3-h5py.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch

from network import Network

FIRST, LATER = 1e-4, 1e-3  # allowed
UNDECIDED = 1e-4  # of the largest input of a relu: nearer to 0 than that is 0 but for rounding
LEAST = 1e-2  # of the largest of its kind: smaller values are compared as if they were so large


def dump(options, path):
    command = [options.lamina, "dump", options.config, "-o", path, "--steps", str(options.steps)]
    if options.threads is not None:
        command += ["--threads", str(options.threads)]
    for assignment in options.set:
        command += ["--set", assignment]
    subprocess.run(command, check=True)


def tree(file, group):
    """{layer: {name: array}}; empty when there is no such group."""
    if group not in file:
        return {}
    return {
        layer: {name: data[()] for name, data in found.items()}
        for layer, found in file[group].items()
    }


def to_torch(array, labels):
    return torch.from_numpy(array.astype(np.int64 if labels else np.float64))


def batch(file, prefix):
    labels = f"{prefix}/labels" in file
    target = file[f"{prefix}/labels" if labels else f"{prefix}/target"][()]
    return to_torch(file[f"{prefix}/input"][()], False), to_torch(target, labels)


class Comparison:
    """Kinds of tensors, each {name: (Lamina's, PyTorch's)}."""

    def __init__(self):
        self.kinds = {}

    def add(self, kind, name, ours, theirs):
        theirs = theirs.detach().numpy() if torch.is_tensor(theirs) else theirs
        ours, theirs = np.array(ours, np.float64), np.array(theirs, np.float64)  # copies
        if ours.shape != theirs.shape:
            raise ValueError(f"{kind} {name}: {ours.shape}, PyTorch's {theirs.shape}")
        self.kinds.setdefault(kind, {})[name] = (ours, theirs)

    def report(self, verbose):
        """The largest difference of all; a line for each kind."""
        largest = 0.0
        for kind, found in self.kinds.items():
            most = max(float(np.abs(theirs).max()) for _, theirs in found.values())
            errors = {}
            for name, (ours, theirs) in found.items():
                size = max(float(np.abs(theirs).max()), LEAST * most, 1e-30)
                errors[name] = float(np.abs(ours - theirs).max()) / size
                if not np.isfinite(ours).all():
                    errors[name] = float("inf")
                if verbose:
                    print(f"  {kind} {name}: {errors[name]:.1e}")
            worst = max(errors, key=errors.get)
            print(f"{kind:18s} {len(errors):4d} compared, largest {errors[worst]:.1e} ({worst})")
            largest = max(largest, errors[worst])
        return largest


def settle_by(file):
    """For Network.step: undecided relus as Lamina decided."""

    def settle(layer, inputs):
        if layer.type != "relu":
            return None
        x = inputs[0]
        passes = torch.from_numpy(file[f"layers/{layer.name}/output"][()] > 0)
        undecided = x.detach().abs() < UNDECIDED * x.detach().abs().max()
        return x * torch.where(undecided, passes, x.detach() > 0)

    return settle


def make_network(file, dtype):
    weights, states = tree(file, "weights"), tree(file, "state")
    return Network(file["config/resolved"][()], weights, states, dtype)


def compare_losses(file, steps, dtype):
    """PyTorch's losses in another precision."""
    network, losses = make_network(file, dtype), []
    for step in range(1, steps + 1):
        rate = float(file[f"steps/{step}/learning_rate"][0])
        losses.append(network.step(*batch(file, f"steps/{step}"), rate))
    return losses


def compare(file, steps, verbose):
    network = make_network(file, torch.float64)
    found, outputs = Comparison(), []

    def keep(layer, number, tensor):
        if tensor.requires_grad:
            tensor.retain_grad()
        outputs.append((layer.name, f"_{number}" if number else "", tensor))

    losses = []
    for step in range(1, steps + 1):
        prefix = f"steps/{step}"
        rate = float(file[f"{prefix}/learning_rate"][0])
        first = {"keep": keep, "settle": settle_by(file)} if step == 1 else {}
        loss = network.step(*batch(file, prefix), rate, **first)
        losses.append((float(file[f"{prefix}/loss"][0]), loss))
        if step == 1:
            add_first_step(file, network, outputs, losses[0], found)
            outputs.clear()
    return found.report(verbose), losses


def add_first_step(file, network, outputs, loss, found):
    found.add("loss", "mean", *loss)
    for name, suffix, tensor in outputs:
        if tensor.grad is None and f"layers/{name}" not in file:
            continue  # only a metric reads it: no part of a training step
        found.add("output", name + suffix, file[f"layers/{name}/output{suffix}"], tensor)
        if tensor.grad is not None:
            ours = file[f"layers/{name}/d_output{suffix}"]
            found.add("d_output", name + suffix, ours, tensor.grad)
    for layer in network.layers:
        if layer.shares is not None:
            continue
        for name, tensor in network.tensors(layer):
            full = f"{layer.name}/{name}"
            if not isinstance(tensor, torch.nn.Parameter):
                found.add("updated state", full, file[f"updated_state/{full}"], tensor)
                continue
            found.add("updated", full, file[f"updated/{full}"], tensor)
            if tensor.grad is not None:
                found.add("gradient", full, file[f"gradients/{full}"], tensor.grad)


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", metavar="CONFIG")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="(10)")
    parser.add_argument("--threads", type=int, metavar="N", help="Lamina's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--float32", action="store_true", help="PyTorch's losses in float32, too")
    parser.add_argument("--verbose", action="store_true", help="every tensor's figure")
    parser.add_argument(
        "--lamina", default=os.path.join(folder, "../../build/lamina"), metavar="FILE"
    )
    options = parser.parse_args()
    options.steps = max(options.steps, 2)  # one alone is not written as a step
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "steps.h5")
        dump(options, path)
        with h5py.File(path) as file:
            first, losses = compare(file, options.steps, options.verbose)
            if options.float32:
                singles = compare_losses(file, options.steps, torch.float32)
    later = max(abs(ours - theirs) / abs(theirs) for ours, theirs in losses)
    for step, (ours, theirs) in enumerate(losses, 1):
        own = f", {singles[step - 1]:.6f} in float32" if options.float32 else ""
        print(f"step {step:3d}: loss {ours:.6f}, PyTorch's {theirs:.6f}{own}")
    good = first <= FIRST and later <= LATER
    print(
        f"{options.config}: first step {first:.1e} (allowed {FIRST:.0e}), losses of "
        f"{len(losses)} steps {later:.1e} (allowed {LATER:.0e}): {'ok' if good else 'FAILED'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
