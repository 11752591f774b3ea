"""Benchmarks in the terminal: their names, the progress, and the tables."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, write
from tasks.report.tables import make_table
from tasks.terminal import DONE, FAILED
from tasks.verbs.benchmarks import NAMES, find


def show_names(console: Console) -> None:
    """Print the names of all benchmarks."""
    title = "Benchmarks: neuro bench NAME"
    console.print(make_table(title, "name", "about", rows=NAMES.items()))


def show(console: Console, name: str, options: BenchOptions) -> None:
    """Measure, print a table for each part, and write ``NAME.json`` and ``NAME.png``.

    The file is written after each part, so that it is complete after an interruption.

    Raises:
        UnknownName: there is no such benchmark, or no such part.
        ValueError: a flag has no effect on the benchmark.
    """
    from neuro.io.store import require_writable

    benchmark = find(name)
    parts = benchmark.choose_parts(options.parts)
    if unused := benchmark.list_unused(options):
        raise ValueError(f"neuro bench {name} does not use {unused}; leave it out")
    require_writable(options.out)
    path = options.out / f"{name}.json"
    rows: list[Row] = []
    if benchmark.announce:
        console.print(benchmark.announce(options), highlight=False, soft_wrap=True)
    for part, measure in parts.items():
        with console.status(f"{name}: {part}"):
            new = list(measure(options))
        rows += new
        for table in (benchmark.tabulate or iterate_tables)(part, new):
            console.print(table)
        for note in dict.fromkeys(row.note for row in new if row.note):
            console.print(Text(f"  {note}"), soft_wrap=True)
        write(rows, path)
    benchmark.draw(rows, path.with_suffix(".png"))
    if any("target" in row.conditions for row in rows):
        console.print(_summary(rows), highlight=False)
    console.print(f"wrote {path} and {path.with_suffix('.png')}")


def iterate_tables(part: str, rows: list[Row]) -> Iterator[Group]:
    """Yield a table for each case of a part; one for all cases if each has a single row."""
    cases = list(dict.fromkeys(row.case for row in rows))
    if len(cases) == len(rows):
        yield tabulate_results(part, rows)
        return
    for case in cases:
        yield tabulate_results(part, [row for row in rows if row.case == case])


def tabulate_results(part: str, rows: list[Row]) -> Group:
    """Return rows as a table; a line above it holds the values that all rows share."""
    columns: dict[str, list[Any]] = {
        "case": [row.case for row in rows],
        "beside": [row.peer for row in rows],
        "what": [row.subject for row in rows],
        "ours": [_number(row.ours) for row in rows],
        "theirs": [_number(row.theirs) for row in rows],
        "unit": [row.unit for row in rows],
        "ratio": [_number(row.ratio) for row in rows],
        "target": [_target(row) for row in rows],
        "Hz": [_rates(row) for row in rows],
        **{
            k: [_number(row.conditions.get("statistics", {}).get(k)) for row in rows]
            for k in ("cv", "correlation", "fano")
        },
        "M events / s": [_work(row, "synaptic_events_per_second", 1e-6) for row in rows],
        "% of scatter-add": [_work(row, "share_of_bound", 100.0) for row in rows],
    }
    shared = {
        k: columns.pop(k)[0]
        for k in ("case", "what", "ours", "unit", "M events / s", "% of scatter-add")
        if len(set(columns[k])) == 1
    }
    head = " ".join(shared[k] for k in ("what", "ours", "unit") if k in shared)
    work = [f"{shared[k]} {k}" for k in ("M events / s", "% of scatter-add") if shared.get(k)]
    filled = {k: column for k, column in columns.items() if any(column)}
    out = make_table("", *filled, rows=zip(*filled.values(), strict=True))
    heading = ": ".join(filter(None, (shared.get("case", part), ", ".join([head, *work]))))
    return Group(Text(heading, "bold"), out)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _target(row: Row) -> str | Text:
    target = row.conditions.get("target")
    if target is None:
        return ""
    mark = Text("?") if row.reached is None else DONE if row.reached else FAILED
    return Text.assemble(f">= {target:.3g} ", mark)


def _rates(row: Row) -> str:
    sides = [row.conditions.get(side, {}) for side in ("ours", "theirs")]
    rates = [_number(side["rate"]) for side in sides if "rate" in side]
    return " / ".join(rates)


def _work(row: Row, key: str, scale: float) -> str:
    return _number(scale * row.conditions[key]) if key in row.conditions else ""


def _summary(rows: list[Row]) -> str:
    aimed = [row for row in rows if "target" in row.conditions]
    kept, open_ = (sum(row.reached is value for row in aimed) for value in (True, None))
    summary = f"{kept} of {len(aimed)} targets reached"
    return summary + (f", {open_} not measured" if open_ else "")
