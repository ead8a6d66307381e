"""Layers that normalise."""
import math

import numpy as np

from case import Case, layer


def numbers(draw, shape):
    """Each channel with a mean and a spread of its own."""
    size = (1, shape[1]) + (1,) * (len(shape) - 2)
    return draw.numbers(shape) * draw.between(size, 0.5, 2) + draw.numbers(size)


def terms(params, groups):
    """In dy - mean of dy - xhat (mean of dy xhat) all cancels where a group has two values, as xhat
    is always -1 and 1 there; what is left is divided by the spread. groups: (N, values)."""
    variance = groups.astype(np.float64).var(1) + params.get("eps", 1e-5)
    return {"d_in": 2 / math.sqrt(variance.min())}


def draw_usual(draw, params):
    draw.option(params, "eps", draw.choice([1e-3, 1e-6, 0.1]))
    draw.option(params, "affine", draw.chance())


@layer("batch_norm")
def batch_norm(draw):
    """Running statistics, too: the variance of the batch is unbiased in them."""
    params = {}
    shape = draw.flat() if draw.chance(0.25) else draw.image()
    phase = draw.choice(["train", "train", "train", "eval", "frozen"])
    draw_usual(draw, params)
    draw.option(params, "momentum", draw.real(0, 1))
    if phase == "train" and shape[0] * math.prod(shape[2:]) == 1:
        return None  # no variance: neither takes it
    x = numbers(draw, shape)
    return Case(params, [x], phase, terms(params, x.swapaxes(0, 1).reshape(shape[1], -1)))


@layer("layer_norm")
def layer_norm(draw):
    params, shape = {}, draw.shape()
    draw_usual(draw, params)
    draw.option(params, "over", draw.choice(["sample", "channels"]))
    x = numbers(draw, shape)
    groups = x.reshape(shape[0], -1)
    if params.get("over") == "channels":
        groups = np.moveaxis(x, 1, -1).reshape(-1, shape[1])
    return Case(params, [x], terms=terms(params, groups)) if groups.shape[1] > 1 else None


@layer("group_norm")
def group_norm(draw):
    groups = draw.choice([1, 2, 3, 4, 8])
    params, channels = {"groups": groups}, groups * draw.choice([1, 2, 3, 4, 8])
    shape = (draw.batch(), channels) + ((draw.size(), draw.size()) if draw.chance(0.7) else ())
    draw_usual(draw, params)
    if channels // groups * math.prod(shape[2:]) == 1:
        return None
    x = numbers(draw, shape)
    return Case(params, [x], terms=terms(params, x.reshape(shape[0] * groups, -1)))


@layer("instance_norm")
def instance_norm(draw):
    params, shape = {}, draw.image()
    draw_usual(draw, params)
    if math.prod(shape[2:]) == 1:
        return None
    x = numbers(draw, shape)
    return Case(params, [x], terms=terms(params, x.reshape(shape[0] * shape[1], -1)))


@layer("lrn")
def lrn(draw):
    params = {"size": draw.choice([1, 2, 3, 4, 5, 7, 9])}
    draw.option(params, "alpha", draw.real(0, 2))
    draw.option(params, "beta", draw.real(0, 2))
    draw.option(params, "k", draw.real(0.5, 3))
    return Case(params, [draw.numbers(draw.shape(), draw.choice([1, 1, 3]))])
