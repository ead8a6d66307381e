#!/usr/bin/env python3
"""The peer of a bench row: the same work in PyTorch, as fast as it goes.

    bench/peer.py speed NETWORK --batch N --threads N --seconds S [--inference] [--setting NAME]
    bench/peer.py start NETWORK --batch N --threads N --seconds S [--inference] --setting NAME

`speed` takes steps with each setting that may be fastest (memory layout, the optimizer's
implementation; for inference also frozen traces, and one thread) and prints one JSON object with
the images a second of each; with --setting, that one alone (and for inference, the same with one
thread). `start` takes steps with one setting only and says when the first
was done: bench.py looks at the clock and at the memory of the process.

What is given to PyTorch: its data lie in memory as ready float tensors, in the layout of the
setting; there is no loader; gradients are set to None; denormals are flushed, as in Lamina.
"""
import argparse
import json
import statistics
import sys
import time

import torch
from torch import nn

BATCHES = 8  # different ones, in turn
WARM_STEPS = 2
ONE_THREAD = "+one_thread"  # at the end of a setting's name


# ---- Networks, as in bench/configs ---------------------------------------------------------------


def conv_relu(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]


def lenet():
    return (1, 28, 28), nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))  # fmt: skip


def mlp():
    return (1, 28, 28), nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
        nn.Linear(512, 10))  # fmt: skip


def plain3x3():
    return (1, 28, 28), nn.Sequential(
        *conv_relu(1, 32), *conv_relu(32, 32), nn.MaxPool2d(2), *conv_relu(32, 64),
        *conv_relu(64, 64), nn.MaxPool2d(2), *conv_relu(64, 128), nn.Flatten(),
        nn.Linear(128 * 7 * 7, 10))  # fmt: skip


def vgg11():
    layers, channels = [], 3
    for filters in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if filters == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += conv_relu(channels, filters)
            channels = filters
    return (3, 32, 32), nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def conv_norm(inputs, outputs, kernel, stride=1, groups=1, act=nn.ReLU):
    """Convolution, batch norm and, unless it is None, an activation in place, as in torchvision."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act(inplace=True)] if act else []))


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)); without a last relu when `relu` is False."""

    def __init__(self, body, shortcut=None, relu=True):
        super().__init__()
        self.body = body
        self.shortcut = shortcut or nn.Identity()
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x):
        y = self.body(x)
        y += self.shortcut(x)
        return self.relu(y)


def head(channels, classes, dropout=0.0):
    drop = [nn.Dropout(dropout)] if dropout else []
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), *drop, nn.Linear(channels, classes)]


def resnet20():
    layers, channels = [conv_norm(3, 16, 3)], 16
    for filters in (16, 32, 64):
        for _ in range(3):
            stride = 1 if filters == channels else 2
            body = nn.Sequential(
                conv_norm(channels, filters, 3, stride), conv_norm(filters, filters, 3, act=None))
            short = conv_norm(channels, filters, 1, 2, act=None) if stride == 2 else None
            layers.append(Residual(body, short))
            channels = filters
    return (3, 32, 32), nn.Sequential(*layers, *head(64, 10))  # fmt: skip


def mobilenet_v2():
    layers, channels = [conv_norm(3, 32, 3, 2, act=nn.ReLU6)], 32
    for expand, filters, blocks, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for stride in [first_stride] + [1] * (blocks - 1):
            inner = channels * expand
            body = [conv_norm(channels, inner, 1, act=nn.ReLU6)] if expand > 1 else []
            body += [
                conv_norm(inner, inner, 3, stride, inner, act=nn.ReLU6),
                conv_norm(inner, filters, 1, act=None),
            ]
            body = nn.Sequential(*body)
            same = stride == 1 and channels == filters
            layers.append(Residual(body, relu=False) if same else body)
            channels = filters
    layers.append(conv_norm(channels, 1280, 1, act=nn.ReLU6))
    return (3, 96, 96), nn.Sequential(*layers, *head(1280, 1000, dropout=0.2))


def resnet50():
    layers, channels = [conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], 64
    for inner, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and inner > 64 else 1
            body = nn.Sequential(
                conv_norm(channels, inner, 1), conv_norm(inner, inner, 3, stride),
                conv_norm(inner, 4 * inner, 1, act=None))
            short = conv_norm(channels, 4 * inner, 1, stride, act=None) if block == 0 else None
            layers.append(Residual(body, short))
            channels = 4 * inner
    return (3, 224, 224), nn.Sequential(*layers, *head(2048, 1000))  # fmt: skip


NETWORKS = {
    "lenet": lenet,
    "mlp": mlp,
    "plain3x3": plain3x3,
    "vgg11": vgg11,
    "resnet20": resnet20,
    "mobilenet-v2": mobilenet_v2,
    "resnet50": resnet50,
}


# ---- Settings ------------------------------------------------------------------------------------


def settings(network, inference, threads):
    """Names of the settings to try: words joined by "+"."""
    layouts = ["contiguous"] if network == "mlp" else ["contiguous", "channels_last"]
    if not inference:
        return [f"{layout}+{way}" for layout in layouts for way in ("foreach", "single")]
    counts = ["", ONE_THREAD] if threads > 1 else [""]
    return [
        f"{layout}+{way}{count}"
        for layout in layouts
        for way in ("eager", "frozen", "optimized")
        for count in counts
    ]


class Work:
    """A network with its data under one setting; step() does one step."""

    def __init__(self, options, setting):
        words = setting.split("+")
        torch.manual_seed(1)
        torch.set_flush_denormal(True)
        torch.set_num_threads(1 if "one_thread" in words else options.threads)
        shape, self.model = NETWORKS[options.network]()
        layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
        self.model = self.model.to(memory_format=layout)
        images = [torch.randn(options.batch, *shape) for _ in range(BATCHES)]
        self.images = [x.contiguous(memory_format=layout) for x in images]
        self.labels = [torch.randint(0, 10, (options.batch,)) for _ in range(BATCHES)]
        self.turn = 0
        if options.inference:
            self.prepare_inference(words)
        else:
            self.loss = nn.CrossEntropyLoss()
            self.optimizer = torch.optim.SGD(
                self.model.parameters(), lr=0.01, momentum=0.9, foreach="foreach" in words
            )
            self.step = self.train

    def prepare_inference(self, words):
        self.model.eval()
        if "frozen" in words or "optimized" in words:
            with torch.inference_mode():
                traced = torch.jit.trace(self.model, self.images[0])
            freeze = torch.jit.optimize_for_inference if "optimized" in words else torch.jit.freeze
            self.model = freeze(traced)
        self.step = self.infer

    def train(self):
        i = self.turn % BATCHES
        self.turn += 1
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.model(self.images[i]), self.labels[i]).backward()
        self.optimizer.step()

    def infer(self):
        i = self.turn % BATCHES
        self.turn += 1
        with torch.inference_mode():
            return self.model(self.images[i])


# ---- What is asked for ---------------------------------------------------------------------------


def seconds_of(steps, work):
    begin = time.perf_counter()
    for _ in range(steps):
        work.step()
    return time.perf_counter() - begin


def get_warm(options, work):
    """The first steps, up to a quarter of the time that is measured."""
    begin = time.perf_counter()
    seconds_of(WARM_STEPS, work)
    while time.perf_counter() - begin < 0.25 * options.seconds:
        work.step()


def images_per_second(options, work):
    """Training: the mean over the time, as Lamina's. Inference: of the median step, likewise."""
    get_warm(options, work)
    steps = []
    begin = last = time.perf_counter()
    while last - begin < options.seconds or len(steps) < 3:
        work.step()
        now = time.perf_counter()
        steps.append(now - last)
        last = now
    step = statistics.median(steps) if options.inference else statistics.fmean(steps)
    return options.batch / step


def openblas():
    """The file of the BLAS that is loaded, by its real name."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        files = {line.split()[-1] for line in maps if "blas" in line}
    return sorted(file.rsplit("/", 2)[-2] + "/" + file.rsplit("/", 1)[-1] for file in files)


def without_count(setting):
    return setting.removesuffix(ONE_THREAD)


def speed(options):
    tried = {}
    for setting in settings(options.network, options.inference, options.threads):
        if options.setting and without_count(options.setting) != without_count(setting):
            continue
        try:
            tried[setting] = images_per_second(options, Work(options, setting))
        except RuntimeError as error:  # optimize_for_inference does not know every network
            print(f"peer: {setting}: {str(error).splitlines()[0]}", file=sys.stderr)
    best = max(tried, key=tried.get)
    versions = {"torch": torch.__version__, "python": sys.version.split()[0], "blas": openblas()}
    print(json.dumps({"images_per_second": tried[best], "setting": best, "tried": tried,
                      "versions": versions}))  # fmt: skip


def start(options):
    work = Work(options, options.setting)
    work.step()
    print("first step", flush=True)
    begin = time.perf_counter()
    while time.perf_counter() - begin < options.seconds:
        work.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "start"])
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="for each setting")
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--setting", help="the only one; start needs it")
    options = parser.parse_args()
    if options.what == "start" and options.setting is None:
        parser.error("start needs --setting")
    (speed if options.what == "speed" else start)(options)


if __name__ == "__main__":
    main()
