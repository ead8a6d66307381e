#!/usr/bin/env python3
"""Measures Lamina and its peer, PyTorch, on the same work, in turn. ./dev bench calls this.

A row is a config in bench/configs and a network in bench/peer.py. A turn of a row is Lamina, then
the peer, with all threads; then both once more with one thread (--scaling: with 2, 4, 8, ... as
well). Turn follows turn: A B A B, so that what changes on the machine meets all alike. A figure is the
median of the turns; a ratio is Lamina's median over the peer's.

What is measured, for each side and turn:
  images a second  training: what `lamina train` itself reports for its epochs but the first;
                   the peer: over the steps of its best setting (bench/peer.py), which is looked
                   for anew in each turn with all threads. Inference: of the median step, both
                   (`lamina profile --inference`, which waits for its loader; the peer's data lie
                   ready)
and with all threads
  memory           the most that the process had in memory at once (VmHWM); the peer's with the
                   best setting alone, in a process of its own
  first step       seconds from the start of the process to the end of the first step, with a plan
                   in Lamina's cache, and with the import of PyTorch. Of inference, Lamina's is
                   `lamina test` on one batch
Before a row's first turn Lamina starts once with an empty cache: "plan" is that first step. Where
the figures go: bench/results.py.
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import tables
from results import Kept, Results

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "bench" / "results"
POLL_SECONDS = 0.05
POLL_START_SECONDS = 0.001  # until the first step is done
TIMEOUT_SECONDS = 600


class Row:
    """What both sides do: a config, and the same for the peer."""

    def __init__(self, name, network, batch, inference=False):
        self.name = name
        self.network = network
        self.batch = batch
        self.inference = inference
        self.config = ROOT / "bench" / "configs" / f"{name}.yaml"


ROWS = [
    Row("lenet-64", "lenet", 64),
    Row("lenet-256", "lenet", 256),
    Row("mlp-128", "mlp", 128),
    Row("plain3x3-64", "plain3x3", 64),
    Row("vgg11-64", "vgg11", 64),
    Row("resnet20-128", "resnet20", 128),
    Row("mobilenet-v2-32", "mobilenet-v2", 32),
    Row("resnet50-16", "resnet50", 16),
    Row("lenet-inference-1", "lenet", 1, inference=True),
    Row("lenet-inference-64", "lenet", 64, inference=True),
]


class Failed(Exception):
    """A program ended badly; its message says how."""


class Stopped(BaseException):
    """A signal came; its argument is which."""


# ---- Processes -----------------------------------------------------------------------------------


def environment(cache):
    """Ours, without what would set a side's threads; plans in a cache of the bench's own."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "LAMINA_"))
    }
    return kept | {"LAMINA_CACHE": str(cache)}


def high_water(pid):
    """Bytes of VmHWM, 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Process:
    """A program that runs to its end, with what it printed, its memory, and when `until` first said
    yes. (ru_maxrss would not do: it begins at what the parent had.)"""

    def __init__(self, command, cache, until=None, more=None):
        words = [str(word) for word in command]
        self.memory = 0
        self.until = until
        self.until_seconds = None
        self.out, self.err = [], []
        self.begin = time.monotonic()
        with subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment(cache) | (more or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                self.watch(process)
            except BaseException:  # an interrupt, too, ends both
                process.kill()
                raise
        if process.returncode != 0 or self.is_waiting():
            lines = "".join(self.err)
            raise Failed(f"status {process.returncode} of: {' '.join(words)}\n{lines}")

    def watch(self, process):
        pipes = ((process.stdout, self.out), (process.stderr, self.err))
        readers = [threading.Thread(target=self.read, args=pipe) for pipe in pipes]
        for reader in readers:
            reader.start()
        while process.poll() is None:
            self.memory = max(self.memory, high_water(process.pid))
            self.look()
            if time.monotonic() - self.begin > TIMEOUT_SECONDS:
                process.kill()
            time.sleep(POLL_START_SECONDS if self.is_waiting() else POLL_SECONDS)
        for reader in readers:
            reader.join()
        self.look()

    @staticmethod
    def read(stream, lines):
        for line in stream:
            lines.append(line)

    def is_waiting(self):
        return self.until is not None and self.until_seconds is None

    def look(self):
        if self.is_waiting() and self.until(self):
            self.until_seconds = time.monotonic() - self.begin


# ---- Lamina --------------------------------------------------------------------------------------


class Lamina:
    """The program, with a folder for its runs. Each row and number of threads has a cache of its own,
    which is empty at first."""

    def __init__(self, program, folder, quick):
        self.program = program
        self.folder = folder
        self.quick = quick

    def run(self, command, row, threads, *more, subject=None, until=None):
        words = [self.program, command, subject or row.config, "--threads", threads, *more]
        return Process(words, self.folder / f"cache-{row.name}-{threads}", until)

    def train(self, row, threads, out, *more, until=None):
        out = self.folder / out
        options = ["--out", out, "--overwrite", *more]
        return self.run("train", row, threads, *options, until=until)

    def first_step(self, row, threads):
        return (self.first_test if row.inference else self.first_training)(row, threads)

    def first_training(self, row, threads):
        """Seconds to the first line of metrics of a run of one step."""
        metrics = self.folder / "start" / "metrics.jsonl"
        metrics.unlink(missing_ok=True)
        one = ["--set", "train.max_steps=1", "--set", "train.log_every=1", "--quiet"]
        written = lambda _: metrics.exists() and metrics.stat().st_size > 0
        return self.train(row, threads, "start", *one, until=written).until_seconds

    def first_test(self, row, threads):
        """Seconds to the accuracy on one batch; with the plan of an inference, not with that of the
        training which made the checkpoint."""
        made = self.folder / f"checkpoint-{row.name}"
        checkpoint = made / "checkpoints" / "last.h5"
        if not checkpoint.exists():
            one = ["--set", "train.max_steps=1", "--kernels", "reference", "--quiet"]
            self.train(row, threads, made.name, *one)
        one = ["--set", f"data.test.samples={row.batch}", "--kernels", "auto", "--quiet"]
        told = lambda process: any("accuracy" in line for line in process.out)
        return self.run("test", row, threads, *one, subject=checkpoint, until=told).until_seconds

    def training(self, row, threads):
        epochs = ["--set", "train.epochs=2"] if self.quick else []
        process = self.train(row, threads, "speed", *epochs)
        rates = []
        with open(self.folder / "speed" / "metrics.jsonl", encoding="utf-8") as metrics:
            for line in metrics:
                row_of_metrics = json.loads(line)
                if row_of_metrics["event"] == "epoch":
                    rates.append(row_of_metrics["images_per_second"])
        return {
            "images_per_second": statistics.fmean(rates[1:]),
            "epochs": rates,
            "memory": process.memory,
            "plan": [line.strip() for line in process.out if line.startswith("kernels ")],
        }

    def inference(self, row, threads):
        steps = ["--steps", "100"] if self.quick else []
        process = self.run("profile", row, threads, "--inference", "--json", *steps)
        profile = json.loads(process.out[0])
        return {
            "images_per_second": profile["images_per_second"],
            "net_images_per_second": row.batch / profile["net_seconds"],
            "memory": process.memory,
        }

    def speed(self, row, threads):
        return (self.inference if row.inference else self.training)(row, threads)

    def turn(self, row, threads):
        return self.speed(row, threads) | {"first_step": self.first_step(row, threads)}


# ---- The peer ------------------------------------------------------------------------------------


# PyTorch gives its tensors' memory back to the system and asks for it again, step for step: with one
# thread LeNet's step is four times as long then. Told to keep what it has, it is at its fastest; its
# memory is measured without that.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # the most that glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}


class Peer:
    """bench/peer.py, under a Python that has torch."""

    def __init__(self, python, folder, quick):
        self.python = python
        self.folder = folder
        self.quick = quick

    def run(self, what, row, threads, seconds, *more, until=None, environment=None):
        words = [self.python, ROOT / "bench" / "peer.py", what, row.network, "--batch", row.batch]
        words += ["--threads", threads, "--seconds", seconds, *more]
        words += ["--inference"] if row.inference else []
        counted = {"OMP_NUM_THREADS": str(threads)} | (environment or {})
        return Process(words, self.folder, until, counted)

    def seconds(self, row):
        """For each setting."""
        return 0.1 if self.quick else 0.4 if row.inference else 1.2

    def speed(self, row, threads, *setting):
        seconds = self.seconds(row)
        process = self.run("speed", row, threads, seconds, *setting, environment=KEEP_MEMORY)
        return json.loads(process.out[0])

    def turn(self, row, threads):
        found = self.speed(row, threads)
        done = lambda process: "first step\n" in process.out
        setting = ["--setting", found["setting"]]
        seconds = min(self.seconds(row), 0.5)
        start = self.run("start", row, threads, seconds, *setting, until=done)
        return found | {"memory": start.memory, "first_step": start.until_seconds}


# ---- Rows ----------------------------------------------------------------------------------------


def medians(turns):
    keys = ("images_per_second", "memory", "first_step")
    return {key: statistics.median(turn[key] for turn in turns) for key in keys if key in turns[0]}


def take_turn(row, lamina, peer, counts):
    """(side, threads, figures) of each measurement; counts: of threads, the bench's own first."""
    setting = []
    for threads in counts:
        whole = threads == counts[0]
        yield "lamina", threads, lamina.turn(row, threads) if whole else lamina.speed(row, threads)
        if peer:
            found = peer.turn(row, threads) if whole else peer.speed(row, threads, *setting)
            setting = setting or ["--setting", found["setting"]]
            yield "peer", threads, found


def measure(row, lamina, peer, options):
    """All turns of a row."""
    counts = options.counts
    points = [{"threads": threads} for threads in counts]
    for point in points:
        say(f"{row.name}: planning (threads: {point['threads']})")
        point["plan_seconds"] = lamina.first_step(row, point["threads"])
    for turn in range(options.turns):
        say(f"{row.name}: turn {turn + 1} of {options.turns}")
        for side, threads, figures in take_turn(row, lamina, peer, counts):
            point = points[counts.index(threads)]
            point.setdefault(side, {"turns": []})["turns"].append(figures)
    for point in points:
        for side in tables.sides_of(point):
            point[side] = medians(point[side]["turns"]) | point[side]
    result = {
        "row": row.name,
        "config": str(row.config.relative_to(ROOT)),
        "batch": row.batch,
        "date": now(),
        **points[0],
        "scaling": points[1:],
    }
    if peer:
        result["ratio"] = tables.rate(result, "lamina") / tables.rate(result, "peer")
        ratios = [
            a["images_per_second"] / b["images_per_second"]
            for a, b in zip(result["lamina"]["turns"], result["peer"]["turns"])
        ]
        result["ratio_range"] = [min(ratios), max(ratios)]
    return result


# ---- The machine ---------------------------------------------------------------------------------


def processors():
    return len(os.sched_getaffinity(0))


def git(*words):
    """What git says of this checkout; None without git, or outside one."""
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds")


def describe(lamina, threads):
    """Machine and versions, from Lamina's own profile. The program's hash tells programs apart that
    were built from one commit and uncommitted changes."""
    any_row = Row("machine", "lenet", 64)  # with a cache of its own
    any_row.config = ROWS[0].config
    process = lamina.run("profile", any_row, threads, "--steps", "5", "--json")
    profile = json.loads(process.out[0])
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        memory = int(meminfo.readline().split()[1]) * 1024
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {
        "machine": profile["machine"]
        | {
            "processors": processors(),
            "memory": memory,
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
            "kernel": platform.release(),
        },
        "versions": profile["versions"]
        | {
            "commit": git("rev-parse", "--short", "HEAD"),
            "changed": bool(changed),
            "program": hashlib.sha256(lamina.program.read_bytes()).hexdigest()[:16],
        },
    }


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# ---- The command ---------------------------------------------------------------------------------


def parse():
    names = ", ".join(row.name for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__.splitlines()[0], epilog=f"rows: {names}"
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    parser.add_argument("--turns", type=int, default=None, help="of each row; default: 5")
    parser.add_argument("--threads", type=int, default=processors(), help="default: all")
    parser.add_argument(
        "--scaling", action="store_true", help="with 1, 2, 4, 8, ... threads, not with 1 and all alone"
    )
    parser.add_argument("--quick", action="store_true", help="a look: 1 short turn, not kept")
    parser.add_argument("--out", help="the file of results; default: in bench/results")
    parser.add_argument("--results", help="another folder of results; keeps quick ones, too")
    parser.add_argument("--against", help="an earlier file of results to compare with")
    parser.add_argument("--without-peer", action="store_true", help="Lamina alone")
    parser.add_argument("--lamina", default=ROOT / "build" / "lamina", help="the program")
    parser.add_argument("--python", default="/usr/bin/python3", help="one that has torch")
    options = parser.parse_args()
    unknown = set(options.rows) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"unknown row {', '.join(sorted(unknown))}; there are: {names}")
    if options.turns is None:
        options.turns = 1 if options.quick else 5
    if options.turns < 1 or options.threads < 1:
        parser.error("--turns and --threads are at least 1")
    options.counts = thread_counts(options.threads, options.scaling)
    return options


def thread_counts(threads, scaling):
    """The bench's own first; each of the others is less."""
    counts = [1]
    while scaling and 2 * counts[-1] < threads:
        counts.append(2 * counts[-1])
    return [threads, *(count for count in counts if count < threads)]


def open_results(options, lamina):
    """None: they are not kept."""
    load = os.getloadavg()[0]
    if load > 0.3:
        say(f"something else runs on this machine (load {load:.1f}): the figures will show it")
    head = {"date": now()} | describe(lamina, options.threads)
    head |= {"turns": options.turns, "quick": options.quick, "load_before": load}
    if options.quick and not options.out and not options.results:
        return None
    return Results(head, options.results or FOLDER, options.out, adds=bool(options.rows))


def bench(options, folder, rows):
    """Fills rows."""
    lamina = Lamina(pathlib.Path(options.lamina).resolve(), folder, options.quick)
    peer = None if options.without_peer else Peer(options.python, folder, options.quick)
    results = open_results(options, lamina)
    try:
        for row in ROWS:
            if not options.rows or row.name in options.rows:
                rows.append(measure(row, lamina, peer, options))
                if results:
                    results.add(rows[-1])
    finally:
        if results and results.rows:
            say(results.told())


def stop(number, _):
    raise Stopped(number)


def main():
    options = parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    rows, status = [], 0
    try:
        with tempfile.TemporaryDirectory(prefix="lamina-bench-") as folder:
            bench(options, pathlib.Path(folder), rows)
    except (Failed, Kept, OSError) as error:
        say(str(error))
        status = 1
    except Stopped as stopped:
        status = 128 + stopped.args[0]
    if rows:
        tables.print_rows(rows, options.turns)
        tables.print_scaling(rows)
        if options.against:
            tables.print_against(rows, options.against)
    return status


if __name__ == "__main__":
    sys.exit(main())
