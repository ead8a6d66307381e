# Where a bench keeps its figures (bench/results.py), without measuring any, and what it prints of
# them (bench/tables.py).
. "$SOURCE/tests/cli/support.sh"

python=/usr/bin/python3
[ -x "$python" ] || finish

cat >results_test.py <<'END'
import json
import pathlib
import sys

sys.path.insert(0, sys.argv[1] + "/bench")
import bench
import tables
from results import Kept, Results

FOLDER = pathlib.Path("kept")


def head(date="2026-11-24T10:00:00+00:00", turns=5, **versions):
    machine = {"processor": "Some(R) Chip(TM) CPU @ 2.00GHz", "processors": 2, "peak_gflops": 100.5}
    versions = {"commit": "abc", "changed": False, "program": "0123"} | versions
    return {"date": date, "machine": machine, "versions": versions, "turns": turns, "quick": False}


def row(name, rate):
    return {"row": name, "lamina": {"images_per_second": rate}}


def write(name, rate, adds, wanted, **differs):
    start = head(**differs)
    start["machine"]["peak_gflops"] = rate  # measured: never twice the same
    results = Results(start, FOLDER, adds=adds)
    results.add(row(name, rate))
    assert results.path == FOLDER / wanted, results.path
    return results


def read(name):
    return json.loads((FOLDER / name).read_text())


def rates(name):
    return {row["row"]: row["lamina"]["images_per_second"] for row in read(name)["rows"]}


FIRST, SECOND = "2026-11-24-some-chip-2.json", "2026-11-24-some-chip-2-2.json"

# A whole bench begins a file, every time; its rows go to that one.
first = write("a", 1, False, FIRST)
first.add(row("b", 2))
assert first.told() == f"written: kept/{FIRST}"
write("a", 3, False, SECOND)
assert rates(FIRST) == {"a": 1, "b": 2} and rates(SECOND) == {"a": 3}

# Some rows are added to the newest file of the same kind; what it had of them stays in it.
again = write("a", 4, True, SECOND)
again.add(row("c", 5))
told = f'added to kept/{SECOND}: 2 rows, 1 of them again (the earlier ones: under "earlier")'
assert again.told() == told, again.told()
assert rates(SECOND) == {"a": 4, "c": 5} and rates(FIRST) == {"a": 1, "b": 2}
assert read(SECOND)["earlier"] == [row("a", 3)]

# Another day, program, or way of measuring: a file of its own.
write("a", 6, True, "2026-11-25-some-chip-2.json", date="2026-11-25T10:00:00+00:00")
write("a", 7, True, "2026-11-24-some-chip-2-3.json", program="4567")
write("a", 8, True, "2026-11-24-some-chip-2-4.json", turns=3)
write("b", 9, True, SECOND)

# A file that cannot be read, and one that says less, are left alone.
(FOLDER / "2026-11-26-some-chip-2.json").write_text("{")
(FOLDER / "2026-11-26-some-chip-2-2.json").write_text('{"rows": []}')
write("a", 10, True, "2026-11-26-some-chip-2-3.json", date="2026-11-26T10:00:00+00:00")
assert (FOLDER / "2026-11-26-some-chip-2.json").read_text() == "{"

# By name: never over other figures.
for adds, turns in ((False, 5), (True, 1)):
    try:
        Results(head(turns=turns), FOLDER, path=FOLDER / FIRST, adds=adds)
    except Kept as kept:
        assert "holds other results" in str(kept)
    else:
        raise AssertionError("other figures would be replaced")
Results(head(), FOLDER, path="named.json", adds=True).add(row("a", 1))
Results(head(), FOLDER, path="named.json", adds=True).add(row("b", 2))
named = json.loads(pathlib.Path("named.json").read_text())
assert [row["row"] for row in named["rows"]] == ["a", "b"]
assert not [path for path in FOLDER.iterdir() if path.name.startswith(".")]

# Threads: the bench's own first, then those that it is compared with.
assert bench.thread_counts(2, False) == [2, 1] == bench.thread_counts(2, True)
assert bench.thread_counts(1, False) == [1] == bench.thread_counts(1, True)
assert bench.thread_counts(12, False) == [12, 1]
assert bench.thread_counts(12, True) == [12, 1, 2, 4, 8]
assert bench.thread_counts(8, True) == [8, 1, 2, 4]


def point(threads, *turns):
    turns = [{"images_per_second": rate} for rate in turns]
    return {"threads": threads, "lamina": turns[1] | {"turns": turns}}


one, two = point(1, 10, 10, 10), point(2, 19, 20, 21)
tables.print_scaling([
    {"row": "good", **point(4, 30, 40, 50), "scaling": [one, two]},
    {"row": "bad", **point(4, 8.5, 10, 9.5), "scaling": [one, two]},
])
END
expect 0 "$python" -B results_test.py "$SOURCE"
sed 's/  */ /g' out >folded
says folded 'images/s threads: 1 2 4 of turns'
says folded 'good Lamina 10 20 2.00x 40 4.00x 3.00 to 5.00'
says folded 'slower with more threads: bad, 4 against 2: 0.50 (of turns: 0.45 to 0.50)'
[ "$(grep -c slower folded)" -eq 1 ] || fail "a gain was called slower: $(cat out)"

finish
