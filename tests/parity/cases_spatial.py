"""Layers with windows that slide over images, linear, and what changes the size of images."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from case import Case, Function, layer, short


class Padded(nn.Module):
    """A module on an image with more around it: [top, left, bottom, right] times `value`."""

    def __init__(self, padding, module, value=0.0):
        super().__init__()
        self.inner, self.value = module, value
        self.padding = [padding[1], padding[3], padding[0], padding[2]]

    def forward(self, x):
        return self.inner(F.pad(x, self.padding, value=self.value))


def draw_padding(draw, params, most, words=("same",)):
    """One of the ways to write it; [top, left, bottom, right], or None for `same`. most: of each
    side, [height, width]."""
    way = draw.choice(["none", "one", "one", "two", "four", *words])
    if way == "none":
        return [0, 0, 0, 0]
    if way == "same":
        params["padding"] = way
        return None
    top, left = draw.integer(0, most[0]), draw.integer(0, most[1])
    bottom, right = top, left
    if way == "one":
        top = left = bottom = right = draw.integer(0, min(most))
        params["padding"] = top
    elif way == "two":
        params["padding"] = [top, left]
    else:
        bottom, right = draw.integer(0, most[0]), draw.integer(0, most[1])
        params["padding"] = [top, left, bottom, right]
    return [top, left, bottom, right]


def draw_input(draw, extent, stride, padding, largest=9):
    """Pixels along one axis, so that there are some windows and some pixels are left over."""
    windows = draw.integer(1, largest)
    pixels = (windows - 1) * stride + extent + draw.integer(0, stride - 1) - padding
    return max(pixels, 1, extent - padding)


def same_padding(size, extent, stride):
    """[top, left, bottom, right] for out = ceil(in / stride), the odd pixel at the far end."""
    totals = [max((math.ceil(n / s) - 1) * s + e - n, 0) for n, e, s in zip(size, extent, stride)]
    return [totals[0] // 2, totals[1] // 2, totals[0] - totals[0] // 2, totals[1] - totals[1] // 2]


class Window:
    """Kernel, stride, dilation, padding and an image's size that fit each other; fills params."""

    def __init__(self, draw, params, kernels, pooling=False, dilates=True):
        self.kernel = draw.pair(kernels)
        params["kernel"] = short(self.kernel)
        usual = self.kernel if pooling else [1, 1]  # nn.MaxPool2d's stride is the kernel
        self.stride = draw.pair([1, 2, 2, 3])
        self.stride = draw.option(params, "stride", short(self.stride), short(usual))
        self.stride = self.stride if isinstance(self.stride, list) else [self.stride] * 2
        self.dilation = [1, 1]
        if dilates and draw.chance(0.25):
            self.dilation = draw.pair([1, 2, 3])
            params["dilation"] = short(self.dilation)
        self.extent = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation)]
        most = [k // 2 for k in self.kernel] if pooling else list(self.extent)
        self.padding = draw_padding(draw, params, most)
        around = self.padding or [0, 0, 0, 0]
        self.size = [
            draw_input(draw, self.extent[a], self.stride[a], around[a] + around[a + 2])
            for a in (0, 1)
        ]
        if self.padding is None:
            self.padding = same_padding(self.size, self.extent, self.stride)
        self.symmetric = self.padding[:2] == self.padding[2:]


def fast_conv(draw):
    """Windows and channels as fast convolutions want them."""
    kernel = draw.choice([3, 3, 5])
    channels, filters = (draw.choice([8, 16, 17, 24, 32, 48, 64]) for _ in range(2))
    params = {"filters": filters, "kernel": kernel}
    padding = draw.option(params, "padding", draw.integer(0, kernel // 2), 0)
    bias = draw.option(params, "bias", draw.chance(), True)
    size = [draw.integer(kernel, 18) for _ in range(2)]
    module = nn.Conv2d(channels, filters, kernel, padding=padding, bias=bias)
    return Case(params, module, [draw.numbers((draw.batch(), channels, *size))])


@layer("conv")
def conv(draw):
    if draw.chance(0.2):
        return fast_conv(draw)
    params = {}
    window = Window(draw, params, draw.choice([[1], [2, 3, 3, 3, 5], [3], [1, 2, 3, 4, 5, 7]]))
    channels, filters, groups = draw.channels(), draw.channels(), 1
    kind = draw.choice(["one", "one", "one", "groups", "depthwise"])
    if kind == "groups":
        groups = draw.choice([2, 3, 4])
        channels, filters = (groups * draw.choice([1, 2, 3, 4, 8]) for _ in range(2))
    elif kind == "depthwise":
        groups, filters = channels, channels * draw.choice([1, 1, 2, 3])
    params["filters"] = filters
    if groups != 1:
        params["groups"] = groups
    bias = draw.option(params, "bias", draw.chance(), True)
    around = window.padding[:2] if window.symmetric else [0, 0]
    module = nn.Conv2d(
        channels, filters, window.kernel, window.stride, around, window.dilation, groups, bias
    )
    if not window.symmetric:
        module = Padded(window.padding, module)
    return Case(params, module, [draw.numbers((draw.batch(), channels, *window.size))])


@layer("linear")
def linear(draw):
    """An image counts as its numbers in C,H,W order."""
    units = draw.choice([1, 2, 3, 10, 16, 17, 50, 64, 100])
    params = {"units": units}
    bias = draw.option(params, "bias", draw.chance(), True)
    x = draw.numbers(draw.shape())
    module = nn.Linear(x[0].size, units, bias)
    return Case(params, nn.Sequential(nn.Flatten(), module), [x])


@layer("max_pool")
def max_pool(draw):
    params = {}
    window = Window(draw, params, [1, 2, 2, 3, 3, 4, 5], pooling=True)
    ceil = draw.option(params, "ceil_mode", draw.chance(), False)
    plain = window.symmetric and all(p <= k // 2 for p, k in zip(window.padding, window.kernel))
    around = window.padding[:2] if plain else [0, 0]
    module = nn.MaxPool2d(window.kernel, window.stride, around, window.dilation, False, ceil)
    if not plain:
        module = Padded(window.padding, module, float("-inf"))
    x = draw.numbers((draw.batch(), draw.channels(), *window.size))
    no_such_layer = ceil and not plain  # PyTorch's ceil_mode knows nothing of uneven padding
    if no_such_layer or not module(torch.tensor(x)).isfinite().all():  # a window of padding alone
        return max_pool(draw)
    return Case(params, module, [x])


@layer("avg_pool")
def avg_pool(draw):
    params = {}
    window = Window(draw, params, [1, 2, 2, 3, 3, 4, 5], pooling=True, dilates=False)
    ceil = draw.option(params, "ceil_mode", draw.chance(), False)
    count = draw.option(params, "count_padding", draw.chance(), True)
    around = window.padding[:2] if window.symmetric else [0, 0]
    module = nn.AvgPool2d(window.kernel, window.stride, around, ceil, count)
    if not window.symmetric:
        module = Padded(window.padding, module)
        if ceil or not count:
            return avg_pool(draw)  # PyTorch has no such layer
    return Case(params, module, [draw.numbers((draw.batch(), draw.channels(), *window.size))])


@layer("global_avg_pool", "global_max_pool")
def global_pool(draw, name):
    pool_of = nn.AdaptiveAvgPool2d if name == "global_avg_pool" else nn.AdaptiveMaxPool2d
    return Case({}, pool_of(1), [draw.numbers(draw.image())])
