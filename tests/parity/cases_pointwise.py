"""Activations and other layers that compute every number from the one at the same place, and
softmax."""
from case import Case, layer


def numbers(draw):
    """Ordinary values, seldom tiny or large ones."""
    return draw.numbers(draw.shape(), draw.choice([1, 1, 1, 3, 10, 30, 0.01]))


# Types without parameters, and the terms that cancel in exp(x) - 1 and 1 - y.
PLAIN = {
    "relu": {},
    "selu": {"out": 1.76, "d_in": 1.76},
    "silu": {"d_in": 1},
    "mish": {},
    "sigmoid": {"d_in": 1},
    "tanh": {"d_in": 1},
    "hard_sigmoid": {},
    "hard_swish": {},
    "softmax": {"d_in": 1},  # s (ds - sum of ds s)
    "log_softmax": {"d_in": 1},
}


@layer(*PLAIN)
def plain(draw, name):
    return Case({}, [numbers(draw)], terms=PLAIN[name])


@layer("leaky_relu")
def leaky_relu(draw):
    params = {}
    draw.option(params, "slope", draw.real(0, 0.9))
    return Case(params, [numbers(draw)])


@layer("elu")
def elu(draw):
    params = {}
    draw.option(params, "alpha", draw.real(0.1, 3))
    alpha = params.get("alpha", 1)
    return Case(params, [numbers(draw)], terms={"out": alpha, "d_in": alpha})


@layer("gelu")
def gelu(draw):
    params = {}
    draw.option(params, "approximate", draw.choice(["none", "tanh"]))
    terms = {"out": 2, "d_in": 4}  # x (1 + t) / 2, x (1 - t^2) of tanh, x to 5 or so
    return Case(params, [numbers(draw)], terms=terms)


@layer("softplus")
def softplus(draw):
    params = {}
    draw.option(params, "beta", draw.real(0.2, 4))
    return Case(params, [numbers(draw)])


@layer("clip")
def clip(draw):
    low, high = sorted([draw.real(-2, 1), draw.real(-1, 2)])
    return Case({"min": low, "max": high}, [numbers(draw)])


@layer("prelu")
def prelu(draw):
    params = {}
    draw.option(params, "shared", draw.chance())
    return Case(params, [numbers(draw)])
