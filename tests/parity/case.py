"""What a case is, the table of layer types that the files cases_*.py fill, and the random numbers
that cases are drawn with."""
import dataclasses
import json

import numpy as np

TABLE = {}  # layer type -> function(Draw) that makes a Case, or None: draw again


def layer(*types):
    """Decorator: enters a function into the table. For several types it gets the type, too."""

    def enter(function):
        for name in types:
            bound = function
            if len(types) > 1:
                bound = lambda draw, name=name: function(draw, name)
            TABLE[name] = bound
        return function

    return enter


@dataclasses.dataclass
class Case:
    """One configuration of a layer and the numbers it is given; modules.py makes PyTorch's module
    of it, whose weights and running statistics have Lamina's names in the last part of theirs.

    phase: `train`; `eval`, without gradients; `frozen`, gradients of a call for evaluation. `terms`
    are the sizes of what a formula adds up where that cancels: {"out": 1} for exp(x) - 1; layers.py
    says what for. values: a loss's target is numbers, not labels. A random layer has a `check`
    instead of a comparison: check(case, d_outs, result) gives None or what is wrong."""

    params: dict
    inputs: list  # arrays: float32, or int32 for labels
    phase: str = "train"
    terms: dict = dataclasses.field(default_factory=dict)  # by role
    values: bool = False
    check: object = None

    def shapes(self):
        return [x.shape for x in self.inputs]

    def text(self):
        """As check/case.h has it; JSON is YAML."""
        shapes = [list(shape) for shape in self.shapes()]
        target = {"target": "values"} if self.values else {}
        return json.dumps({"input": shapes, **target, "params": self.params})


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

    def option(self, params, key, value, part=0.5):
        """Writes a parameter; `part` of the time it is left out, and has to have PyTorch's
        default."""
        if not self.chance(part):
            params[key] = value

    # Shapes

    def batch(self):
        return self.choice([1, 1, 2, 3, 4, 5, 8])

    def channels(self):
        return self.choice([1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 24, 32])

    def size(self):
        return self.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17])

    def image(self):
        return (self.batch(), self.channels(), self.size(), self.size())

    def flat(self):
        return (self.batch(), self.choice([1, 2, 3, 7, 10, 16, 17, 31, 64, 100, 257]))

    def shape(self):
        """Any that a layer without geometry takes."""
        return self.image() if self.chance(0.6) else self.flat()

    def pair(self, values):
        """[height, width], often alike."""
        first = self.choice(values)
        return [first, first if self.chance(0.6) else self.choice(values)]

    # Numbers

    def numbers(self, shape, scale=1.0):
        return (scale * self.rng.standard_normal(shape)).astype(np.float32)

    def between(self, shape, low, high):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def labels(self, count, classes):
        return self.rng.integers(classes, size=count).astype(np.int32)


def short(pair):
    """[3, 3] as a config may have it: 3."""
    return pair[0] if pair[0] == pair[1] else list(pair)
