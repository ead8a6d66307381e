"""Lamina's layer types as modules of PyTorch: from the parameters in a config, and the shapes of
the inputs, to a module. What a config leaves out is PyTorch's own default, so that the two agree on
defaults is compared, too. layers.py compares single layers with these, compare_network.py whole
networks."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

MODULES = {}  # layer type -> function(Params, shapes of the inputs) that makes a module


class NoSuchLayer(Exception):
    """PyTorch has nothing that computes this."""


class Params:
    """A layer's parameters, as a config has them. (YAML 1.1 takes 1e-05 for text.)"""

    def __init__(self, values):
        self.values = values

    def has(self, key):
        return self.values.get(key) is not None

    def get(self, key, usual=None):
        return self.values[key] if self.has(key) else usual

    def real(self, key, usual=None):
        return float(self.get(key, usual))

    def reals(self, key):
        """A list of numbers, or None when there is none."""
        value = self.get(key, [])
        value = value if isinstance(value, list) else [value]
        return [float(number) for number in value] or None

    def pair(self, key, usual=None):
        """[height, width]"""
        value = self.get(key, usual)
        return list(value) if isinstance(value, list) and len(value) == 2 else [_one(value)] * 2

    def sides(self, key, usual=0):
        """[top, left, bottom, right]"""
        value = self.get(key, usual)
        if isinstance(value, list) and len(value) == 4:
            return list(value)
        return self.pair(key, usual) * 2


def _one(value):
    return value[0] if isinstance(value, list) else value


def module(*types):
    """Decorator: enters a function for these types. For several types it gets the type, too."""

    def enter(function):
        for name in types:
            bound = function
            if len(types) > 1:
                bound = lambda p, shapes, name=name: function(name, p, shapes)
            MODULES[name] = bound
        return function

    return enter


class Function(nn.Module):
    """A function of the inputs as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Padded(nn.Module):
    """A module on an image with more around it: [top, left, bottom, right] times `value`."""

    def __init__(self, padding, inner, value=0.0):
        super().__init__()
        self.inner, self.value = inner, value
        self.padding = [padding[1], padding[3], padding[0], padding[2]]

    def forward(self, x):
        return self.inner(F.pad(x, self.padding, value=self.value))


def even(padding):
    return padding[:2] == padding[2:]


# ---- Windows -------------------------------------------------------------------------------------


class Window:
    """Kernel, stride, dilation and padding of a layer; padding is [top, left, bottom, right]."""

    def __init__(self, p, shape, stride=1):
        self.kernel = p.pair("kernel")
        self.stride = p.pair("stride", stride)
        if self.stride[0] == "kernel":
            self.stride = self.kernel
        self.dilation = p.pair("dilation", 1)
        if p.get("padding") == "same":
            self.padding = self.same(shape[2:])
        else:
            self.padding = p.sides("padding")

    def same(self, size):
        """For out = ceil(in / stride), the odd pixel at the far end."""
        extents = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation)]
        totals = [
            max((math.ceil(n / s) - 1) * s + e - n, 0)
            for n, e, s in zip(size, extents, self.stride)
        ]
        near = [total // 2 for total in totals]
        return near + [total - half for total, half in zip(totals, near)]


@module("conv")
def conv(p, shapes):
    window = Window(p, shapes[0])
    around = window.padding[:2] if even(window.padding) else [0, 0]
    made = nn.Conv2d(
        shapes[0][1],
        p.get("filters"),
        window.kernel,
        window.stride,
        around,
        window.dilation,
        p.get("groups", 1),
        p.get("bias", True),
    )
    return made if even(window.padding) else Padded(window.padding, made)


@module("max_pool")
def max_pool(p, shapes):
    window = Window(p, shapes[0], "kernel")
    ceil = p.get("ceil_mode", False)
    inside = all(pad <= k // 2 for pad, k in zip(window.padding, window.kernel))
    plain = even(window.padding) and inside
    around = window.padding[:2] if plain else [0, 0]
    made = nn.MaxPool2d(window.kernel, window.stride, around, window.dilation, False, ceil)
    if plain:
        return made
    if ceil:
        raise NoSuchLayer("ceil_mode with uneven padding")
    return Padded(window.padding, made, float("-inf"))


@module("avg_pool")
def avg_pool(p, shapes):
    window = Window(p, shapes[0], "kernel")
    ceil, count = p.get("ceil_mode", False), p.get("count_include_pad", True)
    if even(window.padding):
        return nn.AvgPool2d(window.kernel, window.stride, window.padding[:2], ceil, count)
    if ceil or not count:
        raise NoSuchLayer("ceil_mode, or a mean without the padding, with uneven padding")
    return Padded(window.padding, nn.AvgPool2d(window.kernel, window.stride))


@module("conv_transpose")
def conv_transpose(p, shapes):
    """With uneven padding more is cut away on one side, which PyTorch does not do by itself."""
    padding = p.sides("padding")
    least = [min(padding[0], padding[2]), min(padding[1], padding[3])]
    made = nn.ConvTranspose2d(
        shapes[0][1],
        p.get("filters"),
        p.pair("kernel"),
        p.pair("stride", 1),
        least,
        p.pair("output_padding", 0),
        p.get("groups", 1),
        p.get("bias", True),
        p.pair("dilation", 1),
    )
    if even(padding):
        return made
    top, left, bottom, right = (padding[i] - least[i % 2] for i in range(4))

    def cut(y):
        return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]

    return nn.Sequential(made, Function(cut))


# ---- Images --------------------------------------------------------------------------------------


@module("global_avg_pool")
def global_avg_pool(p, shapes):
    return nn.AdaptiveAvgPool2d(1)


@module("global_max_pool")
def global_max_pool(p, shapes):
    return nn.AdaptiveMaxPool2d(1)


@module("upsample")
def upsample(p, shapes):
    mode = p.get("mode", "nearest")
    corners = p.get("align_corners", False) if mode == "bilinear" else None
    return nn.Upsample(scale_factor=tuple(p.pair("scale")), mode=mode, align_corners=corners)


@module("pad")
def pad(p, shapes):
    top, left, bottom, right = p.sides("padding")
    sides = (left, right, top, bottom)
    mode = p.get("mode", "constant")
    if mode == "constant":
        return nn.ConstantPad2d(sides, p.real("value", 0))
    return {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}[mode](sides)


@module("linear")
def linear(p, shapes):
    """An image counts as its numbers in C,H,W order."""
    made = nn.Linear(math.prod(shapes[0][1:]), p.get("units"), p.get("bias", True))
    return nn.Sequential(nn.Flatten(), made)


# ---- Element by element --------------------------------------------------------------------------

PLAIN = {
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
}


@module(*PLAIN)
def plain(name, p, shapes):
    return PLAIN[name]()


@module("leaky_relu")
def leaky_relu(p, shapes):
    return nn.LeakyReLU(p.real("slope", 0.01))


@module("elu")
def elu(p, shapes):
    return nn.ELU(p.real("alpha", 1))


@module("gelu")
def gelu(p, shapes):
    return nn.GELU(approximate=p.get("approximate", "none"))


@module("softplus")
def softplus(p, shapes):
    """PyTorch's threshold, beyond which it takes x itself, is set where the two are the same."""
    return nn.Softplus(p.real("beta", 1), threshold=100)


@module("clip")
def clip(p, shapes):
    return nn.Hardtanh(p.real("min"), p.real("max"))


@module("softmax")
def softmax(p, shapes):
    """Over the channels."""
    return nn.Softmax(1)


@module("log_softmax")
def log_softmax(p, shapes):
    return nn.LogSoftmax(1)


@module("prelu")
def prelu(p, shapes):
    return nn.PReLU(1 if p.get("shared", True) else shapes[0][1])


# ---- Normalisation -------------------------------------------------------------------------------


@module("batch_norm")
def batch_norm(p, shapes):
    kind = nn.BatchNorm1d if len(shapes[0]) == 2 else nn.BatchNorm2d
    momentum = p.real("momentum", 0.1)
    return kind(shapes[0][1], p.real("eps", 1e-5), momentum, p.get("affine", True))


@module("group_norm")
def group_norm(p, shapes):
    return nn.GroupNorm(
        p.get("groups"), shapes[0][1], p.real("eps", 1e-5), p.get("affine", True)
    )


@module("instance_norm")
def instance_norm(p, shapes):
    return nn.InstanceNorm2d(shapes[0][1], p.real("eps", 1e-5), affine=p.get("affine", False))


@module("layer_norm")
def layer_norm(p, shapes):
    over_channels = p.get("over", "sample") == "channels"
    size = shapes[0][1:2] if over_channels else shapes[0][1:]
    made = nn.LayerNorm(size, p.real("eps", 1e-5), p.get("affine", True))
    if not over_channels or len(shapes[0]) == 2:
        return made
    to_end = Function(lambda x: x.movedim(1, -1))  # nn.LayerNorm's axes are the last ones
    return nn.Sequential(to_end, made, Function(lambda x: x.movedim(-1, 1)))


@module("lrn")
def lrn(p, shapes):
    alpha, beta, k = p.real("alpha", 1e-4), p.real("beta", 0.75), p.real("k", 1)
    made = nn.LocalResponseNorm(p.get("size"), alpha, beta, k)
    if len(shapes[0]) > 2:
        return made
    as_image = Function(lambda x: x.unsqueeze(2))  # PyTorch does not take features
    return nn.Sequential(as_image, made, Function(lambda x: x.squeeze(2)))


# ---- Wiring --------------------------------------------------------------------------------------


@module("add")
def add(p, shapes):
    return Function(lambda *xs: sum(xs))


@module("multiply")
def multiply(p, shapes):
    return Function(lambda *xs: math.prod(xs))


@module("concat")
def concat(p, shapes):
    axis = p.get("axis", 1)
    return Function(lambda *xs: torch.cat(xs, axis))


@module("slice")
def slice_(p, shapes):
    axis, end = p.get("axis", 1), p.get("end", "end")
    part = slice(p.get("begin", 0), None if end == "end" else _one(end))
    return Function(lambda x: x[(slice(None),) * axis + (part,)])


@module("flatten")
def flatten(p, shapes):
    return nn.Flatten()


@module("reshape")
def reshape(p, shapes):
    sizes = p.get("shape")
    sizes = sizes if isinstance(sizes, list) else [sizes]
    return Function(lambda x: x.reshape([len(x), *sizes]))


@module("dropout")
def dropout(p, shapes):
    return nn.Dropout(p.real("p", 0.5))


@module("dropout2d")
def dropout2d(p, shapes):
    return nn.Dropout2d(p.real("p", 0.5))


# ---- Losses and metrics: a number for each sample ------------------------------------------------


def of_labels(loss, weights, ignored):
    """PyTorch's mean divides by the sum of the labels' weights, Lamina's by the number of samples,
    and so scales its losses. loss: of scores and labels, for each sample."""

    def scaled(scores, labels):
        each = torch.ones_like(labels, dtype=scores.dtype)
        counts = labels != ignored
        if weights is not None:
            each[counts] = weights.to(scores.dtype)[labels[counts]]
        return loss(scores.flatten(1), labels) * (len(labels) / (each * counts).sum())

    return scaled


def class_weights(p):
    weights = p.reals("class_weights")
    return None if weights is None else torch.tensor(weights, dtype=torch.float64)


@module("softmax_loss")
def softmax_loss(p, shapes):
    weights, ignored = class_weights(p), p.get("ignore_label", -1)
    smoothing = p.real("label_smoothing", 0)
    loss = nn.CrossEntropyLoss(
        weights, ignore_index=ignored, reduction="none", label_smoothing=smoothing
    )
    labels = of_labels(loss, weights, ignored)

    def either(scores, target):
        if target.is_floating_point():  # a probability for each class
            return loss(scores.flatten(1), target.flatten(1))
        return labels(scores, target)

    return Function(either)


@module("nll_loss")
def nll_loss(p, shapes):
    weights, ignored = class_weights(p), p.get("ignore_label", -1)
    loss = nn.NLLLoss(weights, ignore_index=ignored, reduction="none")
    return Function(of_labels(loss, weights, ignored))


@module("hinge_loss")
def hinge_loss(p, shapes):
    loss = nn.MultiMarginLoss(p.get("p", 1), p.real("margin", 1), reduction="none")
    return Function(lambda scores, labels: loss(scores.flatten(1), labels))


def of_pairs(loss):
    """The mean over each sample's numbers, of an image in C,H,W order."""

    def mean(x, target):
        return loss(x, target.reshape(x.shape)).flatten(1).mean(1)

    return Function(mean)


@module("mse_loss")
def mse_loss(p, shapes):
    return of_pairs(nn.MSELoss(reduction="none"))


@module("l1_loss", "mean_absolute_error")
def l1_loss(name, p, shapes):
    return of_pairs(nn.L1Loss(reduction="none"))


@module("smooth_l1_loss")
def smooth_l1_loss(p, shapes):
    return of_pairs(nn.SmoothL1Loss(reduction="none", beta=p.real("beta", 1)))


@module("bce_loss")
def bce_loss(p, shapes):
    if not p.get("logits", True):
        loss = nn.BCELoss(reduction="none")
        # PyTorch takes no target above 1, not even by the rounding that layers.py moves one by.
        return of_pairs(lambda x, target: loss(x, target.clamp(0, 1)))
    weights = p.reals("pos_weight")
    if weights is not None:
        weights = torch.tensor(weights, dtype=torch.float64)
        if len(shapes[0]) == 4:
            weights = weights[:, None, None]  # of each channel
    return of_pairs(nn.BCEWithLogitsLoss(reduction="none", pos_weight=weights))


@module("accuracy")
def accuracy(p, shapes):
    top, ignored = p.get("top", 1), p.get("ignore_label", -1)

    def right(scores, labels):
        largest = scores.flatten(1).topk(top).indices
        return ((largest == labels[:, None]).any(1) & (labels != ignored)).to(scores.dtype)

    return Function(right)
