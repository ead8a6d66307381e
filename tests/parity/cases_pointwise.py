"""Activations and other layers that compute every number from the one at the same place, and
softmax."""
import torch
import torch.nn as nn

from case import Case, Function, layer


def numbers(draw):
    """Ordinary values, seldom tiny or large ones."""
    return draw.numbers(draw.shape(), draw.choice([1, 1, 1, 3, 10, 30, 0.01]))


PLAIN = {  # and the terms that cancel in exp(x) - 1 and 1 - y
    "relu": (nn.ReLU, {}),
    "selu": (nn.SELU, {"out": 1.76, "d_in": 1.76}),
    "silu": (nn.SiLU, {"d_in": 1}),
    "mish": (nn.Mish, {}),
    "sigmoid": (nn.Sigmoid, {"d_in": 1}),
    "tanh": (nn.Tanh, {"d_in": 1}),
    "hard_sigmoid": (nn.Hardsigmoid, {}),
    "hard_swish": (nn.Hardswish, {}),
}


@layer(*PLAIN)
def plain(draw, name):
    module, terms = PLAIN[name]
    return Case({}, module(), [numbers(draw)], terms=terms)


@layer("leaky_relu")
def leaky_relu(draw):
    params = {}
    slope = draw.option(params, "slope", draw.real(0, 0.9), 0.01)
    return Case(params, nn.LeakyReLU(slope), [numbers(draw)])


@layer("elu")
def elu(draw):
    params = {}
    alpha = draw.option(params, "alpha", draw.real(0.1, 3), 1.0)
    terms = {"out": alpha, "d_in": alpha}  # alpha (exp(x) - 1); y + alpha
    return Case(params, nn.ELU(alpha), [numbers(draw)], terms=terms)


@layer("gelu")
def gelu(draw):
    params = {}
    way = draw.option(params, "approximate", draw.choice(["none", "tanh"]), "none")
    return Case(params, nn.GELU(approximate=way), [numbers(draw)], terms={"d_in": 1})


@layer("softplus")
def softplus(draw):
    """PyTorch's threshold, beyond which it takes x itself, is set where the two are the same."""
    params = {}
    beta = draw.option(params, "beta", draw.real(0.2, 4), 1.0)
    return Case(params, nn.Softplus(beta, threshold=100), [numbers(draw)])


@layer("clip")
def clip(draw):
    low, high = sorted([draw.real(-2, 1), draw.real(-1, 2)])
    params = {"min": low, "max": high}
    return Case(params, Function(lambda x: torch.clamp(x, low, high)), [numbers(draw)])


@layer("softmax", "log_softmax")
def softmax(draw, name):
    """Over the channels."""
    module = nn.Softmax(1) if name == "softmax" else nn.LogSoftmax(1)
    return Case({}, module, [numbers(draw)], terms={"d_in": 1})  # s (ds - sum of ds s)


@layer("prelu")
def prelu(draw):
    x = numbers(draw)
    return Case({}, nn.PReLU(x.shape[1]), [x])
