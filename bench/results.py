"""Where the figures of a bench are kept: a JSON file in bench/results.

No figure is ever lost. A whole bench begins a new file. A bench of some rows adds them to the newest
file of the same day, machine, program and way of measuring, where there is one; what such a file had
of a row before is kept in it, under "earlier". Rows are written one by one, as they are measured: a
bench that is killed leaves those that it has done.
"""
import json
import os
import pathlib
import re
import tempfile

# Measured, so no two runs agree in it.
NOT_COMPARED = "peak_gflops"


class Kept(Exception):
    """The file that was asked for holds other figures; its message says so."""


def stem(head):
    """2026-11-24-intel-xeon-gold-6338-2: date, processor, processors."""
    name = re.sub(r"\(r\)|\(tm\)|cpu|@.*", " ", head["machine"]["processor"].lower())
    name = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    return f"{head['date'][:10]}-{name}-{head['machine']['processors']}"


def numbered(folder, name):
    """name.json, name-2.json, name-3.json, ..."""
    yield folder / f"{name}.json"
    number = 2
    while True:
        yield folder / f"{name}-{number}.json"
        number += 1


def load(path):
    """None when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def same_measurement(a, b):
    """Whether the rows of both may stand in one file."""

    def identity(results):
        machine = {k: v for k, v in results["machine"].items() if k != NOT_COMPARED}
        others = [results.get(key) for key in ("versions", "turns", "quick")]
        return [results["date"][:10], machine, *others]

    return isinstance(b, dict) and "machine" in b and identity(a) == identity(b)


class Results:
    """The file that a bench writes to. head: everything but the rows; path: a file by name instead
    of one in the folder; adds: rows may be added to a file that is there."""

    def __init__(self, head, folder, path=None, adds=False):
        self.head = head
        self.folder = pathlib.Path(folder)
        self.wanted = pathlib.Path(path) if path else None
        self.path = None  # until there is one
        self.rows = self.again = 0  # written; of these, those that the file had already
        if self.wanted and self.wanted.exists():
            if not adds or not same_measurement(head, load(self.wanted)):
                raise Kept(f"{path} holds other results: give another name, or remove it")
            self.path = self.wanted
        elif adds and not self.wanted:
            self.path = self.newest()
        self.joined = self.path is not None

    def newest(self):
        """The file of the folder that rows can be added to."""
        found = None
        for path in numbered(self.folder, stem(self.head)):
            if not path.exists():
                return found
            if same_measurement(self.head, load(path)):
                found = path

    def add(self, row):
        """Writes a row."""
        self.rows += 1
        if self.path is None:
            self.create(self.head | {"rows": [row]})
            return
        results = json.loads(self.path.read_text(encoding="utf-8"))
        names = [old["row"] for old in results["rows"]]
        if row["row"] in names:
            place = names.index(row["row"])
            results.setdefault("earlier", []).append(results["rows"][place])
            results["rows"][place] = row
            self.again += 1
        else:
            results["rows"].append(row)
        self.write(results).replace(self.path)

    def create(self, results):
        """Under the first name that is free; whole, or not at all."""
        folder = self.wanted.parent if self.wanted else self.folder
        folder.mkdir(parents=True, exist_ok=True)
        written = self.write(results, folder)
        names = [self.wanted] if self.wanted else numbered(folder, stem(self.head))
        try:
            for path in names:
                try:
                    os.link(written, path)
                    self.path = path
                    return
                except FileExistsError:
                    pass
            raise Kept(f"{self.wanted} was made by something else meanwhile")
        finally:
            written.unlink()

    def write(self, results, folder=None):
        """A file beside the one that is meant, with everything in it."""
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=folder or self.path.parent, prefix=".bench-", delete=False
        ) as file:
            file.write(json.dumps(results, indent=1) + "\n")
            os.fchmod(file.fileno(), 0o644)
            return pathlib.Path(file.name)

    def told(self):
        """What became of the rows, in a line."""
        if not self.joined:
            return f"written: {self.path}"
        again = f', {self.again} of them again (the earlier ones: under "earlier")'
        rows = f"{self.rows} row{'s' * (self.rows != 1)}"
        return f"added to {self.path}: {rows}{again * (self.again > 0)}"
