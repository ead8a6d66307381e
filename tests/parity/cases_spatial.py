"""Layers with windows that slide over images, linear, and what changes the size of images."""
import torch

from case import Case, layer, short
from modules import MODULES, NoSuchLayer, Params


def draw_padding(draw, params, most, words=("same",)):
    """One of the ways to write it; [top, left, bottom, right]. most: of each side, [height,
    width]."""
    way = draw.choice(["none", "one", "one", "two", "four", *words])
    top, left = draw.integer(0, most[0]), draw.integer(0, most[1])
    if way == "one":
        params["padding"] = draw.integer(0, min(most))
    elif way == "two":
        params["padding"] = [top, left]
    elif way == "four":
        params["padding"] = [top, left, draw.integer(0, most[0]), draw.integer(0, most[1])]
    elif way != "none":
        params["padding"] = way
        return [0, 0, 0, 0]
    return Params(params).sides("padding")


def draw_window(draw, params, kernels, pooling=False, dilates=True):
    """Kernel, stride, dilation and padding into params; an image's height and width that fit, so
    that there are some windows, and some pixels are left over."""
    kernel = draw.pair(kernels)
    params["kernel"] = short(kernel)
    draw.option(params, "stride", short(draw.pair([1, 2, 2, 3])))
    if dilates:
        draw.option(params, "dilation", short(draw.pair([1, 2, 3])), 0.75)
    p = Params(params)
    stride, dilation = p.pair("stride", kernel if pooling else 1), p.pair("dilation", 1)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    around = draw_padding(draw, params, [k // 2 for k in kernel] if pooling else extent)
    size = []
    for axis in (0, 1):
        padding = around[axis] + around[axis + 2]
        span = (draw.integer(1, 9) - 1) * stride[axis] + extent[axis]
        size.append(max(span + draw.integer(0, stride[axis] - 1) - padding, 1))
        size[axis] = max(size[axis], extent[axis] - padding)
    return size


def draw_ceil_mode(draw, params, size):
    """ceil_mode into params; with it, now and then, windows larger than the padded image."""
    draw.option(params, "ceil_mode", draw.chance())
    p = Params(params)
    if p.get("ceil_mode", False) and p.get("padding") != "same" and draw.chance():
        kernel, around = p.pair("kernel"), p.sides("padding")
        stride, dilation = p.pair("stride", kernel), p.pair("dilation", 1)
        for axis in (0, 1):
            fits = (kernel[axis] - 1) * dilation[axis] + 1 - around[axis] - around[axis + 2]
            size[axis] = max(fits - draw.integer(0, stride[axis] - 1), 1)


def fast_conv(draw):
    """Windows and channels as fast convolutions want them."""
    kernel = draw.choice([3, 3, 5])
    channels, filters = (draw.choice([8, 16, 17, 24, 32, 48, 64]) for _ in range(2))
    params = {"filters": filters, "kernel": kernel}
    draw.option(params, "padding", draw.integer(0, kernel // 2))
    draw.option(params, "bias", draw.chance())
    size = [draw.integer(kernel, 18) for _ in range(2)]
    return Case(params, [draw.numbers((draw.batch(), channels, *size))])


def draw_channels(draw, params):
    """Input channels; filters and groups into params."""
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
    return channels


@layer("conv")
def conv(draw):
    if draw.chance(0.2):
        return fast_conv(draw)
    params = {}
    kernels = draw.choice([[1], [2, 3, 3, 3, 5], [3], [1, 2, 3, 4, 5, 7]])
    size = draw_window(draw, params, kernels)
    channels = draw_channels(draw, params)
    draw.option(params, "bias", draw.chance())
    return Case(params, [draw.numbers((draw.batch(), channels, *size))])


@layer("conv_transpose")
def conv_transpose(draw):
    params = {}
    kernel = draw.pair(draw.choice([[1, 2], [2, 3, 4], [3], [2, 4], [1, 3, 5]]))
    params["kernel"] = short(kernel)
    draw.option(params, "stride", short(draw.pair([1, 2, 2, 3])))
    draw.option(params, "dilation", short(draw.pair([1, 2, 3])), 0.75)
    stride, dilation = Params(params).pair("stride", 1), Params(params).pair("dilation", 1)
    most = [max(s, d) - 1 for s, d in zip(stride, dilation)]
    draw.option(params, "output_padding", short([draw.integer(0, m) for m in most]))
    around = draw_padding(draw, params, [k // 2 for k in kernel], words=())
    channels = draw_channels(draw, params)
    draw.option(params, "bias", draw.chance())
    size = [draw.integer(1, 7) for _ in range(2)]
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        if (size[axis] - 1) * stride[axis] + extent - around[axis] - around[axis + 2] < 1:
            return None  # nothing is left
    return Case(params, [draw.numbers((draw.batch(), channels, *size))])


@layer("linear")
def linear(draw):
    params = {"units": draw.choice([1, 2, 3, 10, 16, 17, 50, 64, 100])}
    draw.option(params, "bias", draw.chance())
    return Case(params, [draw.numbers(draw.shape())])


@layer("max_pool")
def max_pool(draw):
    params = {}
    size = draw_window(draw, params, [1, 2, 2, 3, 3, 4, 5], pooling=True)
    draw_ceil_mode(draw, params, size)
    x = draw.numbers((draw.batch(), draw.channels(), *size))
    try:
        module = MODULES["max_pool"](Params(params), [x.shape])
        finite = module(torch.tensor(x)).isfinite().all()
    except NoSuchLayer:
        return None
    return Case(params, [x]) if finite else None  # else a window of padding alone


@layer("avg_pool")
def avg_pool(draw):
    params = {}
    size = draw_window(draw, params, [1, 2, 2, 3, 3, 4, 5], pooling=True, dilates=False)
    draw_ceil_mode(draw, params, size)
    draw.option(params, "count_include_pad", draw.chance())
    return Case(params, [draw.numbers((draw.batch(), draw.channels(), *size))])


@layer("global_avg_pool", "global_max_pool")
def global_pool(draw, name):
    return Case({}, [draw.numbers(draw.image())])


@layer("upsample")
def upsample(draw):
    params = {"scale": short(draw.pair([1, 2, 2, 3, 4]))}
    draw.option(params, "mode", draw.choice(["nearest", "bilinear", "bilinear"]), 0.25)
    if params.get("mode") == "bilinear":
        draw.option(params, "align_corners", draw.chance())
    return Case(params, [draw.numbers((draw.batch(), draw.channels(), draw.size(), draw.size()))])


@layer("pad")
def pad(draw):
    params, shape = {}, draw.image()
    draw.option(params, "mode", draw.choice(["constant", "reflect", "replicate"]), 0.25)
    mode = params.get("mode", "constant")
    most = [n - 1 if mode == "reflect" else 4 for n in shape[2:]]  # the edge is not repeated
    draw_padding(draw, params, [min(m, 4) for m in most], words=())
    params.setdefault("padding", 0)
    if mode == "constant":
        draw.option(params, "value", draw.real(-2, 2))
    return Case(params, [draw.numbers(shape)])
