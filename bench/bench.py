#!/usr/bin/env python3
"""Measures Lamina and its peer, PyTorch, on the same work, in turn. ./dev bench calls this.

A row is a config in bench/configs and a network in bench/peer.py. A turn of a row is Lamina, then
the peer: A B A B, so that what changes on the machine meets both. A figure is the median of the
turns; a ratio is Lamina's median over the peer's.

What is measured, for each side and turn:
  images a second  training: what `lamina train` itself reports for its epochs but the first;
                   the peer: over the steps of its best setting (bench/peer.py), which is looked
                   for anew in each turn. Inference: of the median step, both (`lamina profile
                   --inference`, which waits for its loader; the peer's data lie ready)
  memory           the most that the process had in memory at once (VmHWM); the peer's with the
                   best setting alone, in a process of its own
  first step       seconds from the start of the process to the end of the first step, with a plan
                   in Lamina's cache, and with the import of PyTorch. Of inference, Lamina's is
                   `lamina test` on one batch
Before a row's first turn Lamina starts once with an empty cache: "plan" is that first step.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
POLL_SECONDS = 0.05
POLL_START_SECONDS = 0.001  # until the first step is done
TIMEOUT_SECONDS = 600


class Row:
    """What both sides do: a config, and the same for the peer."""

    def __init__(self, name, network, batch, inference=False, threads=None, config=None):
        self.name = name
        self.network = network
        self.batch = batch
        self.inference = inference
        self.threads = threads  # None: those of the bench
        self.config = ROOT / "bench" / "configs" / f"{config or name}.yaml"


ROWS = [
    Row("lenet-64", "lenet", 64),
    Row("lenet-64-one-thread", "lenet", 64, threads=1, config="lenet-64"),
    Row("lenet-256", "lenet", 256),
    Row("mlp-128", "mlp", 128),
    Row("plain3x3-64", "plain3x3", 64),
    Row("vgg11-64", "vgg11", 64),
    Row("lenet-inference-1", "lenet", 1, inference=True),
    Row("lenet-inference-64", "lenet", 64, inference=True),
]


class Failed(Exception):
    """A program ended badly; its message says how."""


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

    def __init__(self, command, cache, until=None):
        words = [str(word) for word in command]
        self.memory = 0
        self.until = until
        self.until_seconds = None
        self.out, self.err = [], []
        self.begin = time.monotonic()
        with subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment(cache),
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
    """The program, with a folder for its runs."""

    def __init__(self, program, folder, quick):
        self.program = program
        self.folder = folder
        self.quick = quick
        self.cache = folder / "cache"

    def run(self, command, row, threads, *more, until=None):
        words = [self.program, command, row.config, "--threads", threads, *more]
        return Process(words, self.cache, until)

    def train(self, row, threads, out, *more, until=None):
        out = self.folder / out
        options = ["--out", out, "--overwrite", *more]
        return self.run("train", row, threads, *options, until=until)

    def first_step(self, row, threads):
        """Seconds to the first line of metrics of a run of one step."""
        metrics = self.folder / "start" / "metrics.jsonl"
        metrics.unlink(missing_ok=True)
        one = ["--set", "train.max_steps=1", "--set", "train.log_every=1", "--quiet"]
        written = lambda _: metrics.exists() and metrics.stat().st_size > 0
        return self.train(row, threads, "start", *one, until=written).until_seconds

    def plan(self, row, threads):
        """The first step with an empty cache. Of inference nothing is told, but plan and checkpoint
        are there afterwards."""
        for file in self.cache.glob("*"):
            file.unlink()
        seconds = self.first_step(row, threads)
        if row.inference:
            self.inference(row, threads)
        return None if row.inference else seconds

    def training(self, row, threads):
        epochs = ["--set", "train.epochs=2"] if self.quick else []
        process = self.train(row, threads, "speed", *epochs)
        rates = []
        with open(self.folder / "speed" / "metrics.jsonl", encoding="utf-8") as metrics:
            for line in metrics:
                row_of_metrics = json.loads(line)
                if row_of_metrics["event"] == "epoch":
                    rates.append(row_of_metrics["images_per_second"])
        plan = [line.strip() for line in process.out if line.startswith("kernels ")]
        return {
            "images_per_second": statistics.fmean(rates[1:]),
            "epochs": rates,
            "memory": process.memory,
            "first_step": self.first_step(row, threads),
            "plan": plan,
        }

    def inference(self, row, threads):
        steps = ["--steps", "100"] if self.quick else []
        process = self.run("profile", row, threads, "--inference", "--json", *steps)
        profile = json.loads(process.out[0])
        one = ["--set", f"data.test.samples={row.batch}", "--threads", threads]
        checkpoint = self.folder / "start" / "checkpoints" / "last.h5"
        told = lambda process: any("accuracy" in line for line in process.out)
        start = Process([self.program, "test", checkpoint, *one], self.cache, told)
        return {
            "images_per_second": profile["images_per_second"],
            "net_images_per_second": row.batch / profile["net_seconds"],
            "memory": process.memory,
            "first_step": start.until_seconds,
        }

    def turn(self, row, threads):
        return self.inference(row, threads) if row.inference else self.training(row, threads)


# ---- The peer ------------------------------------------------------------------------------------


class Peer:
    """bench/peer.py, under a Python that has torch."""

    def __init__(self, python, folder, quick):
        self.python = python
        self.folder = folder
        self.quick = quick

    def run(self, what, row, threads, seconds, *more, until=None):
        words = [self.python, ROOT / "bench" / "peer.py", what, row.network, "--batch", row.batch]
        words += ["--threads", threads, "--seconds", seconds, *more]
        words += ["--inference"] if row.inference else []
        return Process(words, self.folder, until)

    def turn(self, row, threads):
        seconds = 0.1 if self.quick else 0.4 if row.inference else 1.2
        found = json.loads(self.run("speed", row, threads, seconds).out[0])
        done = lambda process: "first step\n" in process.out
        setting = ["--setting", found["setting"]]
        start = self.run("start", row, threads, min(seconds, 0.5), *setting, until=done)
        return found | {"memory": start.memory, "first_step": start.until_seconds}


# ---- Rows ----------------------------------------------------------------------------------------


def medians(turns):
    keys = ("images_per_second", "memory", "first_step")
    return {key: statistics.median(turn[key] for turn in turns) for key in keys}


def measure(row, lamina, peer, options):
    """All turns of a row."""
    threads = row.threads or options.threads
    result = {
        "row": row.name,
        "config": str(row.config.relative_to(ROOT)),
        "threads": threads,
        "batch": row.batch,
        "plan_seconds": lamina.plan(row, threads),
    }
    sides = {"lamina": lamina} | ({"peer": peer} if peer else {})
    turns = {side: [] for side in sides}
    for turn in range(options.turns):
        for side, runner in sides.items():
            say(f"{row.name}: turn {turn + 1} of {options.turns}: {side}")
            turns[side].append(runner.turn(row, threads))
    for side in sides:
        result[side] = medians(turns[side]) | {"turns": turns[side]}
    if peer:
        rates = {side: [turn["images_per_second"] for turn in turns[side]] for side in sides}
        ratios = [a / b for a, b in zip(rates["lamina"], rates["peer"])]
        result["ratio"] = (
            result["lamina"]["images_per_second"] / result["peer"]["images_per_second"]
        )
        result["ratio_range"] = [min(ratios), max(ratios)]
    return result


# ---- The machine ---------------------------------------------------------------------------------


def processors():
    return len(os.sched_getaffinity(0))


def git(*words):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def describe(lamina, threads):
    """Machine and versions, from Lamina's own profile."""
    process = lamina.run("profile", ROWS[0], threads, "--steps", "5", "--json")
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
        | {"commit": git("rev-parse", "--short", "HEAD"), "changed": bool(changed)},
    }


def result_path(results):
    """bench/results/2026-11-24-intel-xeon-gold-6338-2.json: date, processor, processors."""
    name = re.sub(r"\(r\)|\(tm\)|cpu|@.*", " ", results["machine"]["processor"].lower())
    name = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    return RESULTS / f"{results['date'][:10]}-{name}-{results['machine']['processors']}.json"


# ---- Printing ------------------------------------------------------------------------------------


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def pair(row, key, scale, form):
    """ "12 / 34": Lamina's and the peer's."""
    sides = [row[side][key] * scale for side in ("lamina", "peer") if side in row]
    return " / ".join(format(value, form) for value in sides)


def print_table(results):
    columns = "{:<20} {:>7} {:>17} {:>7} {:>13} {:>13} {:>15} {:>7}"
    heads = ["images/s", "ratio", "of turns", "memory MB", "first step s", "plan s"]
    print(columns.format("row", "threads", *heads))
    for row in results["rows"]:
        ratio = ["", ""]
        if "ratio" in row:
            ratio = [f"{row['ratio']:.2f}", "{:.2f} to {:.2f}".format(*row["ratio_range"])]
        print(
            columns.format(
                row["row"],
                row["threads"],
                pair(row, "images_per_second", 1, ".0f"),
                *ratio,
                pair(row, "memory", 1e-6, ".0f"),
                pair(row, "first_step", 1, ".2f"),
                "-" if row["plan_seconds"] is None else f"{row['plan_seconds']:.2f}",
            )
        )
    peer = "Lamina / PyTorch" if "peer" in results["rows"][0] else "Lamina"
    print(f"{peer}; medians of {results['turns']} turn{'s'[: results['turns'] - 1]}")
    print_scaling({row["row"]: row for row in results["rows"]})


def print_scaling(rows):
    one, all_threads = rows.get("lenet-64-one-thread"), rows.get("lenet-64")
    if one and all_threads:
        for side in ("lamina", "peer"):
            if side in one:
                gain = all_threads[side]["images_per_second"] / one[side]["images_per_second"]
                print(f"lenet-64, {all_threads['threads']} threads over 1: {side} {gain:.2f}")


def print_against(results, path):
    earlier = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    rows = {row["row"]: row for row in earlier["rows"]}
    print(f"\nimages/s of Lamina against {path} ({earlier['date']}):")
    for row in results["rows"]:
        if row["row"] in rows:
            before = rows[row["row"]]["lamina"]["images_per_second"]
            now = row["lamina"]["images_per_second"]
            print(f"{row['row']:<20} {before:>9.0f} {now:>9.0f} {now / before:>6.2f}")


# ---- The command ---------------------------------------------------------------------------------


def parse():
    names = ", ".join(row.name for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__.splitlines()[0], epilog=f"rows: {names}"
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    parser.add_argument("--turns", type=int, default=None, help="of each row; default: 5")
    parser.add_argument("--threads", type=int, default=processors(), help="default: all")
    parser.add_argument("--quick", action="store_true", help="a look: 1 short turn, not kept")
    parser.add_argument("--out", help="the file of results; default: in bench/results")
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
    return options


def bench(options, folder):
    lamina = Lamina(pathlib.Path(options.lamina).resolve(), folder, options.quick)
    peer = None if options.without_peer else Peer(options.python, folder, options.quick)
    load = os.getloadavg()[0]
    if load > 0.3:
        say(f"something else runs on this machine (load {load:.1f}): the figures will show it")
    results = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds")}
    results |= describe(lamina, options.threads)
    results |= {"turns": options.turns, "quick": options.quick, "load_before": load, "rows": []}
    for row in ROWS:
        if not options.rows or row.name in options.rows:
            results["rows"].append(measure(row, lamina, peer, options))
    return results


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="lamina-bench-") as folder:
            results = bench(options, pathlib.Path(folder))
    except (Failed, OSError) as error:
        say(str(error))
        return 1
    print_table(results)
    if options.against:
        print_against(results, options.against)
    out = options.out or (None if options.quick else result_path(results))
    if out:
        pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(out).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        say(f"written: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
