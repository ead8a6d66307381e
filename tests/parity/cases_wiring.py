"""Layers with several inputs, what rearranges numbers, and dropout."""
import numpy as np
import torch
import torch.nn as nn

from case import Case, Function, layer


def several(draw, most):
    shape = draw.shape()
    return [draw.numbers(shape) for _ in range(draw.integer(2, most))]


@layer("add")
def add(draw):
    return Case({}, Function(lambda *xs: sum(xs)), several(draw, 5))


@layer("multiply")
def multiply(draw):
    return Case({}, Function(lambda *xs: torch.stack(xs).prod(0)), several(draw, 4))


def draw_axis(draw, params, shape):
    return draw.option(params, "axis", draw.integer(1, len(shape) - 1), 1)


@layer("concat")
def concat(draw):
    params, shape = {}, list(draw.shape())
    axis = draw_axis(draw, params, shape)
    inputs = []
    for _ in range(draw.integer(2, 5)):
        shape[axis] = draw.channels()
        inputs.append(draw.numbers(shape))
    return Case(params, Function(lambda *xs: torch.cat(xs, axis)), inputs)


@layer("slice")
def slice_(draw):
    """Begin and end count from the end when they are negative, as everywhere in Python."""
    params, shape = {}, draw.shape()
    axis = draw_axis(draw, params, shape)
    size = shape[axis]
    begin, end = draw.integer(0, size - 1), draw.integer(1, size)
    begin, end = min(begin, end - 1), end
    begin = draw.option(params, "begin", draw.choice([begin, begin - size]), 0)
    end = draw.option(params, "end", end if end == size else draw.choice([end, end - size]), size)
    index = (slice(None),) * axis + (slice(begin, end),)
    return Case(params, Function(lambda x: x[index]), [draw.numbers(shape)])


@layer("flatten")
def flatten(draw):
    return Case({}, nn.Flatten(), [draw.numbers(draw.shape())])


@layer("reshape")
def reshape(draw):
    """Into any product that makes as many numbers, one of them perhaps as -1."""
    x = draw.numbers(draw.shape())
    left, sizes = x[0].size, []
    for _ in range(draw.integer(0, 2)):
        sizes.append(draw.choice([d for d in range(1, left + 1) if left % d == 0]))
        left //= sizes[-1]
    sizes.insert(draw.integer(0, len(sizes)), left)
    shape = [len(x), *sizes]
    if draw.chance(0.4):
        sizes[draw.integer(0, len(sizes) - 1)] = -1
    return Case({"shape": sizes}, Function(lambda x: x.reshape(shape)), [x])
