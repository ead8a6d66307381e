"""What a bench prints: its rows, how they scale with threads, and against an earlier file."""
import json
import pathlib

SIDES = {"lamina": "Lamina", "peer": "PyTorch"}


def sides_of(row):
    return [side for side in SIDES if side in row]


def pair(row, key, scale, form):
    """ "12 / 34": Lamina's and the peer's."""
    return " / ".join(format(row[side][key] * scale, form) for side in sides_of(row))


def span(values):
    """ "0.98 to 1.02" """
    return f"{min(values):.2f} to {max(values):.2f}"


def print_lines(lines, texts=1):
    """In columns: the first, of texts, to the left, the others, of numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:texts], widths)]
        cells += [cell.rjust(width) for cell, width in zip(line[texts:], widths[texts:])]
        print("  ".join(cells).rstrip())


# ---- Rows ----------------------------------------------------------------------------------------


def line_of(row):
    ratio = [f"{row['ratio']:.2f}", span(row["ratio_range"])] if "ratio" in row else ["", ""]
    return [
        row["row"],
        str(row["threads"]),
        pair(row, "images_per_second", 1, ".0f"),
        *ratio,
        pair(row, "memory", 1e-6, ".0f"),
        pair(row, "first_step", 1, ".2f"),
        f"{row['plan_seconds']:.2f}",
    ]


def print_rows(rows, turns):
    heads = ["threads", "images/s", "ratio", "of turns", "memory MB", "first step s", "plan s"]
    print_lines([["row", *heads], *map(line_of, rows)])
    names = " / ".join(SIDES[side] for side in sides_of(rows[0]))
    print(f"{names}; medians of {turns} turn{'s' * (turns > 1)}")


# ---- Threads -------------------------------------------------------------------------------------


def by_threads(row):
    """All measurements of a row, from the fewest threads to the most."""
    return sorted([row, *row["scaling"]], key=lambda at: at["threads"])


def rate(at, side):
    return at[side]["images_per_second"]


def gains(few, many, side):
    """How much faster many threads are, turn by turn."""
    turns = zip(many[side]["turns"], few[side]["turns"])
    return [a["images_per_second"] / b["images_per_second"] for a, b in turns]


def scaling_lines(row):
    """One for each side: images a second at each count, and times that of the fewest threads."""
    points = by_threads(row)
    few, many = points[0], points[-1]
    for side in sides_of(row):
        cells = [f"{rate(few, side):.0f}"]
        cells += [f"{rate(at, side):.0f} {rate(at, side) / rate(few, side):5.2f}x" for at in points[1:]]
        yield [row["row"], SIDES[side], *cells, span(gains(few, many, side))]


def slower(row):
    """Where more threads are slower than fewer: sentences."""
    points = by_threads(row)
    for few, many in zip(points, points[1:]):
        gain = rate(many, "lamina") / rate(few, "lamina")
        if gain < 1:
            yield (
                f"slower with more threads: {row['row']}, {many['threads']} against "
                f"{few['threads']}: {gain:.2f} (of turns: {span(gains(few, many, 'lamina'))})"
            )


def print_scaling(rows):
    scaled = [row for row in rows if row["scaling"]]
    if not scaled:
        return
    counts = [at["threads"] for at in by_threads(scaled[0])]
    lines = [["images/s", "threads:", *map(str, counts), "of turns"]]
    for row in scaled:
        lines += scaling_lines(row)
    print()
    print_lines(lines, texts=2)
    for row in scaled:
        for sentence in slower(row):
            print(sentence)


# ---- An earlier file -----------------------------------------------------------------------------


def print_against(rows, path):
    earlier = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    before = {row["row"]: row for row in earlier["rows"]}
    lines = [["row", "before", "now", ""]]
    for row in rows:
        if row["row"] in before:
            old, new = rate(before[row["row"]], "lamina"), rate(row, "lamina")
            lines.append([row["row"], f"{old:.0f}", f"{new:.0f}", f"{new / old:.2f}"])
    print(f"\nimages/s of Lamina against {path} ({earlier['date']}):")
    print_lines(lines)
