#!/usr/bin/env python3
"""Compares every layer type of Lamina with PyTorch: outputs, gradients by inputs and weights, and
running statistics, over random configurations.

    cmake --build build --target layer_driver
    /usr/bin/python3 tests/parity/layers.py              every type
    /usr/bin/python3 tests/parity/layers.py conv relu    these
    /usr/bin/python3 tests/parity/layers.py conv --case 17     one case, with all that was compared

The table of types is in cases_*.py: a function for each draws parameters, shapes and numbers;
modules.py makes PyTorch's modules of them. Both get the same float32 numbers; PyTorch computes in
float64. Every kernel of a type that applies is run, and calls with two threads and batches cut into
shards.

What is allowed. A float32 sum of products can be no nearer than the rounding of what is added, so
errors are measured by that: SIZE of a tensor is the root mean square of how much its numbers
change, as PyTorch computes them, when every number that goes in (inputs, weights, statistics,
gradients) moves by one part in 2^24 up or down, times 2^24. Without cancelling it is about the size
of the numbers themselves. Where a formula subtracts what it has computed, as in 1 - y^2, SIZE is at
least that of the terms, which a case gives (Case.terms). An error is |Lamina - PyTorch| /
max(|PyTorch|, root mean square of the tensor, SIZE), and ALLOWED * 2^-24 is the most it may be,
times what a kernel says of its own rounding (lamina_kernel.rounding: fast convolutions).

One line is printed for each type. Exit status 1 when a case disagrees, or a type of Lamina's is in
neither the table nor EXEMPT. Debian package: python3-torch.
"""
import argparse
import collections
import concurrent.futures
import multiprocessing
import os
import sys
import time
import zlib

import numpy as np
import torch

import cases_losses  # noqa: F401: fill the table
import cases_norms  # noqa: F401
import cases_pointwise  # noqa: F401
import cases_spatial  # noqa: F401
import cases_wiring  # noqa: F401
from case import TABLE, Draw
from driver import COUPLES_BATCH, Driver, Refused
from modules import MODULES, NoSuchLayer, Params

UNIT = 2.0**-24  # half the distance of float32 numbers near 1, from below: one rounding
ALLOWED = 100  # roundings
MOVES = 3  # times that all numbers are moved, to measure by
EXEMPT = {}  # layer type -> why it has no entry in the table
ROLES = ("out", "d_in", "d_weight", "state")
PIECE = 50  # cases that a process takes at a time
SHOWN = 3  # disagreements told for each piece


# ---- PyTorch's side ------------------------------------------------------------------------------


def last_part(name):
    return name.rsplit(".", 1)[-1]


def draw_weights(draw, module):
    """Numbers of the size that keeps sums near 1; what scales is near 1, what is added near 0.
    By the last part of the name, as are the running statistics."""
    weights, states = {}, {}
    for name, weight in module.named_parameters():
        name, shape = last_part(name), tuple(weight.shape)
        if len(shape) > 1:
            weights[name] = draw.numbers(shape, (weight.numel() / shape[0]) ** -0.5)
        else:
            weights[name] = draw.numbers(shape, 0.3) + np.float32(name == "weight")
    for name, state in module.named_buffers():
        if state.is_floating_point():
            name, shape = last_part(name), tuple(state.shape)
            low, high = (0.3, 2.0) if name == "running_var" else (-1.0, 1.0)
            states[name] = draw.between(shape, low, high)
    return weights, states


def to_torch(array):
    if array.dtype == np.int32:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(array.astype(np.float64))


def make_case(type_name, draw):
    """A case and its module."""
    while True:
        case = TABLE[type_name](draw)
        try:
            if case is not None:
                return case, MODULES[type_name](Params(case.params), case.shapes()).double()
        except NoSuchLayer:
            pass


def compute(module, phase, inputs, weights, states, d_outs):
    """Outputs, gradients and statistics after the call, by (role, name). d_outs: a function of the
    outputs' shapes that gives the gradients by the outputs."""
    module.train(phase == "train")
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(to_torch(weights[last_part(name)]))
        for name, state in module.named_buffers():
            if state.is_floating_point():
                state.copy_(to_torch(states[last_part(name)]))
    xs = [to_torch(x) for x in inputs]
    for x in xs:
        x.requires_grad_(x.is_floating_point())
    outs = module(*xs)
    outs = list(outs) if isinstance(outs, (list, tuple)) else [outs]
    found = {("out", str(i)): out.detach().numpy() for i, out in enumerate(outs)}
    if phase != "eval":
        reals = [x for x in xs if x.requires_grad]
        names = [("d_in", str(i)) for i, x in enumerate(xs) if x.requires_grad]
        names += [("d_weight", last_part(name)) for name, _ in module.named_parameters()]
        gradients = torch.autograd.grad(
            outs,
            reals + list(module.parameters()),
            [to_torch(d) for d in d_outs([tuple(out.shape) for out in outs])],
            allow_unused=True,
        )
        for name, gradient, of in zip(names, gradients, reals + list(module.parameters())):
            found[name] = (torch.zeros_like(of) if gradient is None else gradient).numpy()
    for name, state in module.named_buffers():
        if state.is_floating_point():
            found["state", last_part(name)] = state.numpy().copy()
    return found


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def moved(draw, array):
    if array.dtype == np.int32:
        return array
    return array.astype(np.float64) * (1 + UNIT * draw.rng.choice([-1.0, 1.0], array.shape))


class Truth:
    """What PyTorch has for a case, and the numbers that both are given."""

    def __init__(self, case, module, draw):
        self.case, self.module = case, module
        self.weights, self.states = draw_weights(draw, module)
        self.d_outs = []

        def draw_gradients(shapes):
            self.d_outs = [draw.numbers(shape) for shape in shapes]
            return self.d_outs

        self.values = compute(
            module, case.phase, case.inputs, self.weights, self.states, draw_gradients
        )
        if case.check is None:
            self.sizes = self.measure(draw)

    def measure(self, draw):
        """SIZE of every tensor, or its root mean square where that is more."""
        moves = [self.compute_moved(draw) for _ in range(MOVES)]
        sizes = {}
        for name, value in self.values.items():
            changes = np.stack([(moved[name] - value) / UNIT for moved in moves])
            least = self.case.terms.get(name[0], 0.0)
            sizes[name] = max(root_mean_square(value), root_mean_square(changes), least, 1e-30)
        return sizes

    def compute_moved(self, draw):
        move = lambda arrays: {name: moved(draw, array) for name, array in arrays.items()}
        return compute(
            self.module,
            self.case.phase,
            [moved(draw, x) for x in self.case.inputs],
            move(self.weights),
            move(self.states),
            lambda shapes: [moved(draw, d) for d in self.d_outs],
        )

    def tensors(self):
        """What layer_driver is to be given."""
        given = {("in", str(i)): x for i, x in enumerate(self.case.inputs)}
        given.update({("weight", name): weight for name, weight in self.weights.items()})
        given.update({("state", name): state for name, state in self.states.items()})
        given.update({("d_out", str(i)): d for i, d in enumerate(self.d_outs)})
        return given


# ---- Comparing -----------------------------------------------------------------------------------


class Tally:
    """What was found for one type."""

    def __init__(self):
        self.cases = self.runs = 0
        self.failed = 0
        self.messages = []
        self.kernels = collections.Counter()
        self.errors = {}  # role -> largest error
        self.worst = 0.0  # part of what is allowed
        self.seconds = 0.0

    def add(self, other):
        self.cases += other.cases
        self.runs += other.runs
        self.failed += other.failed
        self.messages += other.messages
        self.kernels += other.kernels
        for role, error in other.errors.items():
            self.errors[role] = max(self.errors.get(role, 0.0), error)
        self.worst = max(self.worst, other.worst)
        self.seconds += other.seconds

    def fail(self, message):
        self.failed += 1
        if len(self.messages) < SHOWN:
            self.messages.append(message)


def compare(truth, result, tally, verbose):
    """None, or what disagrees."""
    wrong = None
    for (role, name), expected in truth.values.items():
        got = result.tensors.pop((role, name), None)
        if got is None:
            return f"there is no {role} {name}"
        if got.shape != expected.shape:
            return f"{role} {name} has shape {list(got.shape)}, PyTorch's {list(expected.shape)}"
        if expected.size == 0:
            continue
        scale = np.maximum(np.abs(expected), truth.sizes[role, name])
        error = np.abs(got - expected) / scale
        error[np.isnan(error)] = np.inf
        at = np.unravel_index(np.argmax(error), error.shape)
        largest = float(error[at])
        part = largest / (ALLOWED * UNIT * result.rounding)
        tally.errors[role] = max(tally.errors.get(role, 0.0), largest)
        tally.worst = max(tally.worst, part)
        if verbose:
            print(f"    {role} {name}: error {largest:.2g}, {part:.3f} of what is allowed")
        if part > 1 and wrong is None:
            wrong = (
                f"{role} {name} at {[int(i) for i in at]} is {got[at]:.9g}, PyTorch's "
                f"{expected[at]:.9g}: {part:.3g} times what is allowed"
            )
    if result.tensors:
        return f"PyTorch has no {' '.join(next(iter(result.tensors)))}"
    return wrong


def ways(number, batch, flags, kernels, draw):
    """(kernel, threads, shards) of the runs of a case: every kernel, with two threads in every
    third, with shards in every fourth case."""
    chosen = [(kernel, 1, 1) for kernel in ["auto", *kernels]]
    one = draw.choice(["auto", *kernels])
    if number % 3 == 0:
        chosen.append((one, 2, 1))
    if number % 4 == 1 and batch > 1 and not flags & COUPLES_BATCH:
        chosen.append((one, 1, min(batch, draw.integer(2, 3))))
    return chosen


def run_case(driver, type_name, number, options, tally):
    draw = Draw(options.seed, zlib.crc32(type_name.encode()), number)
    flags, kernels = driver.describe(type_name)
    case, module = make_case(type_name, draw)
    truth = Truth(case, module, draw)
    verbose = options.case is not None
    if verbose:
        print(f"{type_name} {case.text()} {case.phase}")
    tally.cases += 1
    for kernel, threads, shards in ways(number, len(case.inputs[0]), flags, kernels, draw):
        what = f"kernel {kernel}, {threads} threads, {shards} shards"
        try:
            result = driver.run(
                type_name, case.text(), truth.tensors(), kernel, case.phase, number, threads, shards
            )
            if result is None:
                continue
            tally.runs += 1
            tally.kernels.update(set(result.kernels) - {"-"})
            if verbose:
                print(f"  {what}: computed by {', '.join(result.kernels)}")
            if case.check is not None:
                wrong = case.check(case, truth.d_outs, result.tensors)
            else:
                wrong = compare(truth, result, tally, verbose)
        except Refused as refusal:
            wrong = str(refusal)
        if wrong is not None:
            tally.fail(
                f"{type_name} case {number} {case.text()} {case.phase}, {what}:\n    {wrong}"
            )


def run_piece(type_name, numbers, options):
    """Some cases of a type, in a process of its own."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tally = Tally()
    begin = time.perf_counter()
    driver = Driver(options.driver)
    for number in numbers:
        try:
            run_case(driver, type_name, number, options, tally)
        except Exception as error:
            raise RuntimeError(f"{type_name} case {number}") from error
    driver.close()
    tally.seconds = time.perf_counter() - begin
    return tally


# ---- The whole -----------------------------------------------------------------------------------


def line(type_name, tally):
    errors = [
        f"{role} {tally.errors[role]:.1e}" if role in tally.errors else " " * (len(role) + 8)
        for role in ROLES
    ]
    kernels = ", ".join(f"{name} {count}" for name, count in tally.kernels.most_common())
    state = "ok" if tally.failed == 0 else f"FAILED {tally.failed}"
    print(
        f"{type_name:20s} {tally.cases:4d} cases {tally.runs:5d} runs  {'  '.join(errors)}  "
        f"{tally.worst:5.2f} of allowed  {tally.seconds:5.1f} s  {state}  [{kernels}]",
        flush=True,
    )
    for message in tally.messages[:SHOWN]:
        print(f"  {message}", flush=True)


def run_all(types, options):
    """Every type's tally; its line is printed as soon as it is complete."""
    pieces = {}
    tallies = {name: Tally() for name in types}
    waiting = collections.Counter()
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        for name in types:
            for first in range(0, options.cases, PIECE):
                numbers = range(first, min(first + PIECE, options.cases))
                pieces[pool.submit(run_piece, name, numbers, options)] = name
                waiting[name] += 1
        for piece in concurrent.futures.as_completed(pieces):
            name = pieces[piece]
            tallies[name].add(piece.result())
            waiting[name] -= 1
            if waiting[name] == 0:
                line(name, tallies[name])
    return tallies


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("types", nargs="*", metavar="TYPE", help="layer types; default: all")
    parser.add_argument("--cases", type=int, default=300, help="of each type (300)")
    parser.add_argument("--case", type=int, help="this one alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument(
        "--driver", default=os.path.join(folder, "../../build/tests/layer_driver"), metavar="FILE"
    )
    options = parser.parse_args()

    driver = Driver(options.driver)
    known = driver.types()
    driver.close()
    unknown = [name for name in options.types if name not in known or name not in TABLE]
    if unknown:
        parser.error(f"no such layer type, or none in the table: {', '.join(unknown)}")
    types = options.types or [name for name in known if name in TABLE]
    if options.case is not None:
        for name in types:
            line(name, run_piece(name, [options.case], options))
        return 0

    begin = time.perf_counter()
    failed = sum(tally.failed for tally in run_all(types, options).values())
    left_out = [name for name in known if name not in TABLE] if not options.types else []
    for name in left_out:
        reason = EXEMPT.get(name)
        print(f"{name:20s} {reason or 'FAILED: has no entry in tests/parity/cases_*.py; add one'}")
        failed += reason is None
    print(
        f"{len(types)} layer types against PyTorch {torch.__version__}, seed {options.seed}, "
        f"{time.perf_counter() - begin:.0f} s: {'no disagreement' if not failed else 'FAILED'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
