"""Layers that normalise."""
import math

from case import Case, layer


def numbers(draw, shape):
    """Each channel with a mean and a spread of its own."""
    size = (1, shape[1]) + (1,) * (len(shape) - 2)
    return draw.numbers(shape) * draw.between(size, 0.5, 2) + draw.numbers(size)


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
    return Case(params, [numbers(draw, shape)], phase)


@layer("layer_norm")
def layer_norm(draw):
    params, shape = {}, draw.shape()
    draw_usual(draw, params)
    draw.option(params, "over", draw.choice(["sample", "channels"]))
    over_channels = params.get("over") == "channels"
    if (shape[1] if over_channels else math.prod(shape[1:])) == 1:
        return None
    return Case(params, [numbers(draw, shape)])


@layer("group_norm")
def group_norm(draw):
    groups = draw.choice([1, 2, 3, 4, 8])
    params, channels = {"groups": groups}, groups * draw.choice([1, 2, 3, 4, 8])
    shape = (draw.batch(), channels) + ((draw.size(), draw.size()) if draw.chance(0.7) else ())
    draw_usual(draw, params)
    if channels // groups * math.prod(shape[2:]) == 1:
        return None
    return Case(params, [numbers(draw, shape)])


@layer("instance_norm")
def instance_norm(draw):
    params, shape = {}, draw.image()
    draw_usual(draw, params)
    return Case(params, [numbers(draw, shape)]) if math.prod(shape[2:]) > 1 else None


@layer("lrn")
def lrn(draw):
    params = {"size": draw.choice([1, 2, 3, 4, 5, 7, 9])}
    draw.option(params, "alpha", draw.real(0, 2))
    draw.option(params, "beta", draw.real(0, 2))
    draw.option(params, "k", draw.real(0.5, 3))
    return Case(params, [draw.numbers(draw.shape(), draw.choice([1, 1, 3]))])
