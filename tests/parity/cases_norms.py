"""Layers that normalise."""
import torch.nn as nn

from case import Case, layer


def numbers(draw, shape):
    """Each channel with a mean and a spread of its own."""
    size = (1, shape[1]) + (1,) * (len(shape) - 2)
    return draw.numbers(shape) * draw.between(size, 0.5, 2) + draw.numbers(size)


@layer("batch_norm")
def batch_norm(draw):
    """Running statistics, too: the variance of the batch is unbiased in them."""
    params = {}
    flat = draw.chance(0.25)
    shape = draw.flat() if flat else draw.image()
    phase = draw.choice(["train", "train", "train", "eval"])
    if phase == "train" and shape[0] * (1 if flat else shape[2] * shape[3]) == 1:
        return batch_norm(draw)  # no variance: neither takes it
    eps = draw.option(params, "eps", draw.choice([1e-3, 1e-6, 0.1]), 1e-5)
    momentum = draw.option(params, "momentum", draw.real(0, 1), 0.1)
    affine = draw.option(params, "affine", draw.chance(), True)
    kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
    return Case(params, kind(shape[1], eps, momentum, affine), [numbers(draw, shape)], phase)
