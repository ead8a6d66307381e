"""What a case is, the table of layer types that the files cases_*.py fill, and the random numbers
that cases are drawn with."""
import dataclasses
import json

import numpy as np
import torch

TABLE = {}  # layer type -> function(Draw) that makes a Case


def layer(*types):
    """Decorator: enters a function into the table. For several types it gets the type, too."""

    def enter(function):
        for name in types:
            TABLE[name] = function if len(types) == 1 else _bind(function, name)
        return function

    return enter


def _bind(function, name):
    return lambda draw: function(draw, name)


@dataclasses.dataclass
class Case:
    """One configuration of a layer, as Lamina's config has it and as a module of PyTorch.

    Weights and running statistics are those of the module, by the last part of their names; `names`
    has those that Lamina calls otherwise: {"running_var": "variance"}. `terms` are the sizes of what
    a layer's formula adds up where that cancels: {"out": 1} for exp(x) - 1; layers.py says what for.
    A random layer has a `check` instead of a comparison: check(case, inputs, d_outs, result) gives
    None or what is wrong."""

    params: dict
    module: torch.nn.Module
    inputs: list  # arrays: float32, or int32 for labels
    phase: str = "train"
    names: dict = dataclasses.field(default_factory=dict)
    terms: dict = dataclasses.field(default_factory=dict)  # by role
    check: object = None
    weights: dict = dataclasses.field(default_factory=dict)  # in place of drawn ones, by name

    def text(self):
        """As check/case.h has it; JSON is YAML."""
        shapes = [list(x.shape) for x in self.inputs]
        return json.dumps({"input": shapes, "params": self.params})


class Function(torch.nn.Module):
    """A function of the inputs as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Draw:
    """Random choices, each case with a stream of its own: (seed, type, number)."""

    def __init__(self, *seed):
        self.rng = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def real(self, low, high):
        """With few digits, so that the text in a config is the number itself."""
        return float(f"{self.rng.uniform(low, high):.4g}")

    def choice(self, values):
        return values[self.rng.integers(len(values))]

    def chance(self, part=0.5):
        return bool(self.rng.random() < part)

    def batch(self):
        return self.choice([1, 1, 2, 3, 4, 5, 8])

    def channels(self):
        return self.choice([1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 24, 32])

    def pair(self, values):
        """[height, width], often alike."""
        first = self.choice(values)
        return [first, first if self.chance(0.6) else self.choice(values)]

    def size(self):
        return self.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17])

    def image(self):
        return (self.batch(), self.channels(), self.size(), self.size())

    def flat(self):
        return (self.batch(), self.choice([1, 2, 3, 7, 10, 16, 17, 31, 64, 100, 257]))

    def shape(self):
        """Any that a layer without geometry takes."""
        return self.image() if self.chance(0.6) else self.flat()

    def numbers(self, shape, scale=1.0):
        return (scale * self.rng.standard_normal(shape)).astype(np.float32)

    def between(self, shape, low, high):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def labels(self, shape, classes):
        return self.rng.integers(classes, size=shape).astype(np.int32)

    def option(self, params, key, value, usual, part=0.5):
        """The value of a parameter: `value`, written into params, or, `part` of the time, left out
        of them, which has to mean `usual`, PyTorch's own default."""
        if self.chance(part):
            return usual
        params[key] = value
        return value


def short(pair):
    """[3, 3] as a config may have it: 3."""
    return pair[0] if pair[0] == pair[1] else list(pair)
