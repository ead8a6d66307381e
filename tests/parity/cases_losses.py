"""Losses and metrics: a number for each sample, from a prediction and its target."""
import numpy as np

from case import Case, layer
from modules import Params


def draw_scores(draw, least=1):
    """(N, K), or an image of one pixel, which is the same."""
    classes = max(draw.choice([1, 2, 3, 10, 17, 100, 1000]), least)
    shape = (draw.batch(), classes)
    scores = draw.numbers(shape, draw.choice([1, 3, 20]))
    return scores if draw.chance(0.8) else scores.reshape(*shape, 1, 1)


def draw_labels(draw, params, scores):
    """Labels, some of them ignored, and class_weights and ignore_label into params."""
    batch, classes = scores.shape[:2]
    labels = draw.labels(batch, classes)
    ignored = draw.choice([draw.integer(0, classes - 1), 255, 5000])
    draw.option(params, "ignore_label", ignored)
    if "ignore_label" in params:
        labels[draw.rng.random(batch) < 0.3] = ignored
    return labels


def draw_weights(draw, params, classes):
    if draw.chance(0.4):
        params["class_weights"] = [draw.real(0.2, 3) for _ in range(classes)]


def largest_coefficient(params, labels):
    """Of what is summed up in a loss: the largest weight, times what all are scaled by."""
    weights = np.array(Params(params).reals("class_weights") or [1.0])
    counts = labels != params.get("ignore_label", -1)
    used = weights[labels[counts]] if len(weights) > 1 else np.ones(counts.sum())
    return float(weights.max() * len(labels) / used.sum())


@layer("softmax_loss", "nll_loss")
def label_loss(draw, name):
    params, scores = {}, draw_scores(draw)
    draw_weights(draw, params, scores.shape[1])
    if name == "softmax_loss":
        draw.option(params, "label_smoothing", draw.real(0, 1))
        if draw.chance(0.3):
            return probability_loss(draw, params, scores)
    labels = draw_labels(draw, params, scores)
    if (labels == params.get("ignore_label", -1)).all():
        return None  # PyTorch's mean is 0 / 0
    size = largest_coefficient(params, labels)
    terms = {"out": size, "d_in": size} if name == "softmax_loss" else {}  # log(1 + ...), s - 1
    return Case(params, [scores, labels], terms=terms)


def probability_loss(draw, params, scores):
    """Softmax against probabilities, with gradients by both."""
    batch, classes = scores.shape[:2]
    target = draw.rng.dirichlet(np.ones(classes), batch).astype(np.float32)
    size = max(params.get("class_weights", [1]))
    return Case(params, [scores, target], terms={"out": size, "d_in": size}, values=True)


@layer("hinge_loss")
def hinge_loss(draw):
    params, scores = {}, draw_scores(draw)
    draw.option(params, "p", draw.choice([1, 2]))
    draw.option(params, "margin", draw.real(-1, 3))
    return Case(params, [scores, draw.labels(*scores.shape[:2])])


def draw_pair(draw):
    """A prediction and a target of its shape, or of its numbers in a row."""
    x = draw.numbers(draw.shape(), draw.choice([0.3, 1, 3]))
    target = draw.numbers(x.shape)
    return [x, target if draw.chance(0.7) else target.reshape(len(x), -1)]


@layer("mse_loss", "l1_loss")
def pair_loss(draw, name):
    return Case({}, draw_pair(draw), values=True)


@layer("smooth_l1_loss")
def smooth_l1_loss(draw):
    params = {}
    draw.option(params, "beta", draw.choice([0, draw.real(0.1, 3)]))
    return Case(params, draw_pair(draw), values=True)


@layer("bce_loss")
def bce_loss(draw):
    params, shape = {}, draw.shape()
    x = draw.numbers(shape, draw.choice([1, 3, 10]))
    target = draw.between(shape, 0, 1)
    if draw.chance(0.3):
        target = np.round(target)
        if draw.chance():  # all sure, and right: what is left is tiny
            x = (2 * target - 1) * draw.between(shape, 8, 20)
    draw.option(params, "logits", draw.chance(0.6))
    if not params.get("logits", True):
        x = draw.between(shape, 0.02, 0.98)
    elif draw.chance():
        count = draw.choice([1, shape[1]])
        params["pos_weight"] = [draw.real(0.3, 3) for _ in range(count)]
    return Case(params, [x, target], values=True)


@layer("accuracy")
def accuracy(draw):
    params, scores = {}, draw_scores(draw)
    draw.option(params, "top", draw.integer(1, min(scores.shape[1], 5)))
    return Case(params, [scores, draw_labels(draw, params, scores)], "eval")


@layer("mean_absolute_error")
def mean_absolute_error(draw):
    return Case({}, draw_pair(draw), "eval", values=True)
