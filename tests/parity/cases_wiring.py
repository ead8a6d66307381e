"""Layers with several inputs, what rearranges numbers, and dropout."""
import math

import numpy as np

from case import Case, layer


@layer("add")
def add(draw):
    shape = draw.shape()
    return Case({}, [draw.numbers(shape) for _ in range(draw.integer(2, 5))])


@layer("multiply")
def multiply(draw):
    """An image's sizes of 1 are read again along the others."""
    shape, inputs = draw.shape(), []
    for _ in range(draw.integer(2, 4)):
        own = list(shape)
        if len(shape) == 4 and draw.chance(0.4):
            own[1:] = draw.choice([[shape[1], 1, 1], [1, *shape[2:]], [1, 1, shape[3]], [1, 1, 1]])
        inputs.append(draw.numbers(own))
    return Case({}, inputs)


def draw_axis(draw, params, shape):
    draw.option(params, "axis", draw.integer(1, len(shape) - 1))
    return params.get("axis", 1)


@layer("concat")
def concat(draw):
    params, shape = {}, list(draw.shape())
    axis = draw_axis(draw, params, shape)
    inputs = []
    for _ in range(draw.integer(2, 5)):
        shape[axis] = draw.channels()
        inputs.append(draw.numbers(shape))
    return Case(params, inputs)


@layer("slice")
def slice_(draw):
    """Begin and end count from the end when they are negative, as everywhere in Python."""
    params, shape = {}, draw.shape()
    size = shape[draw_axis(draw, params, shape)]
    begin, end = sorted(draw.rng.choice(size + 1, 2, replace=False).tolist())
    if draw.chance(0.7):
        params["begin"] = draw.choice([begin, begin - size])
    if draw.chance(0.7) and end > 0:
        params["end"] = end if end == size else draw.choice([end, end - size])
    return Case(params, [draw.numbers(shape)])


@layer("flatten")
def flatten(draw):
    return Case({}, [draw.numbers(draw.shape())])


@layer("reshape")
def reshape(draw):
    """Into sizes that make as many numbers, one of them perhaps as -1."""
    x = draw.numbers(draw.shape())
    left, sizes = x[0].size, []
    for _ in range(draw.integer(0, 2)):
        sizes.append(draw.choice([d for d in range(1, left + 1) if left % d == 0]))
        left //= sizes[-1]
    sizes.insert(draw.integer(0, len(sizes)), left)
    if draw.chance(0.4):
        sizes[draw.integer(0, len(sizes) - 1)] = -1
    return Case({"shape": sizes}, [x])


# ---- Dropout: by its statistics ------------------------------------------------------------------


def check_dropout(case, d_outs, result, per_channel):
    """What is kept is multiplied by 1 / (1 - p), forward and backward alike, as large a part of it
    as a binomial distribution lets one expect; for evaluation nothing changes."""
    x, out = case.inputs[0], result["out", "0"]
    if case.phase == "eval":
        return None if np.array_equal(out, x) else "changes its input in evaluation"
    p = case.params.get("p", 0.5)
    scale = np.float32(1 / (1 - p)) if p < 1 else np.float32(0)
    kept = out != 0
    for what, given, got in (("out", x, out), ("d_in", d_outs[0], result["d_in", "0"])):
        expected = np.where(kept, given * scale, np.float32(0))
        if not np.allclose(got, expected, rtol=3e-7, atol=0):
            return f"{what} is not the input, where kept, times {scale:.7g}"
    if per_channel:
        pixels = math.prod(x.shape[2:])
        kept = kept.reshape(x.shape[0] * x.shape[1], pixels)
        if not (kept.all(1) | ~kept.any(1)).all():
            return "a channel is kept in part"
        kept = kept[:, 0]
    deviation = math.sqrt(kept.size * p * (1 - p))
    if abs(int(kept.sum()) - kept.size * (1 - p)) > 5 * deviation + 1e-9:
        return f"{kept.sum()} of {kept.size} kept, which is too far from p = {p}"
    return None


@layer("dropout", "dropout2d")
def dropout(draw, name):
    params, per_channel = {}, name == "dropout2d"
    draw.option(params, "p", draw.choice([0, 1, draw.real(0.01, 0.99), draw.real(0.1, 0.9)]), 0.3)
    shape = draw.image() if per_channel else draw.shape()
    if draw.chance(0.3):
        shape = (8, 256, 3, 2)  # enough for the statistics to mean something
    x = draw.between(shape, 0.5, 1.5) * draw.choice([1, -1])  # no zeros
    check = lambda case, d_outs, result: check_dropout(case, d_outs, result, per_channel)
    return Case(params, [x.astype(np.float32)], draw.choice(["train"] * 4 + ["eval"]), check=check)
