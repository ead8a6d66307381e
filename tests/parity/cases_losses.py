"""Losses: a number for each sample."""
from case import Case, layer


@layer("softmax_loss")
def softmax_loss(draw):
    batch, classes = draw.batch(), draw.choice([1, 2, 3, 10, 17, 100, 1000])
    shape = (batch, classes) if draw.chance(0.8) else (batch, classes, 1, 1)
    scores = draw.numbers(shape, draw.choice([1, 3, 20]))
    terms = {"out": 1, "d_in": 1}  # log(1 + ...), s - 1
    return Case({}, [scores, draw.labels(batch, classes)], terms=terms)
