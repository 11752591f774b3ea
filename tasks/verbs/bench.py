"""Benchmarks in the terminal: what there is, progress, and the tables."""

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
    """Print what can be measured."""
    out = make_table("Benchmarks: neuro bench NAME", "name", "about")
    for name, about in NAMES.items():
        out.add_row(name, about)
    console.print(out)


def show(console: Console, name: str, asked: BenchOptions) -> None:
    """Measure, print a table a part, and write ``NAME.json`` and ``NAME.png``.

    The file is written after each part: what an interruption leaves is whole.

    Raises:
        UnknownName: there is no such benchmark, or no such part.
        ValueError: a flag is given of which it takes no notice.
    """
    from neuro.io.store import require_writable

    benchmark = find(name)
    parts = benchmark.chosen(asked.parts)
    if idle := benchmark.list_idle(asked):
        raise ValueError(f"neuro bench {name} takes no notice of {idle}; leave it out")
    require_writable(asked.out)
    path = asked.out / f"{name}.json"
    rows: list[Row] = []
    if benchmark.announce:
        console.print(benchmark.announce(asked), highlight=False, soft_wrap=True)
    for part, measured in parts.items():
        found = []
        with console.status(f"{name}: {part}"):
            for row in measured(asked):
                found.append(row)
        rows += found
        for one in (benchmark.tabulate or iterate_tables)(part, found):
            console.print(one)
        for note in dict.fromkeys(row.note for row in found if row.note):
            console.print(Text(f"  {note}"), soft_wrap=True)
        write(rows, path)
    benchmark.draw(rows, path.with_suffix(".png"))
    if any("target" in row.conditions for row in rows):
        console.print(_summary(rows), highlight=False)
    console.print(f"wrote {path} and {path.with_suffix('.png')}")


def iterate_tables(part: str, rows: list[Row]) -> Iterator[Group]:
    """Yield the rows of a part: a table a case, or one for all where each case has one row."""
    cases = list(dict.fromkeys(row.case for row in rows))
    if len(cases) == len(rows):
        yield tabulate_results(part, rows)
        return
    for case in cases:
        yield tabulate_results(part, [row for row in rows if row.case == case])


def tabulate_results(part: str, rows: list[Row]) -> Group:
    """Return rows as a table; what all have alike stands in a line above it."""
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
        **{k: [_statistic(row, k) for row in rows] for k in ("cv", "correlation", "fano")},
        "M events / s": [_work(row, "synaptic_events_per_second", 1e-6) for row in rows],
        "% of scatter-add": [_work(row, "share_of_bound", 100.0) for row in rows],
    }
    alike = {
        k: columns.pop(k)[0]
        for k in ("case", "what", "ours", "unit", "M events / s", "% of scatter-add")
        if len(set(columns[k])) == 1
    }
    head = " ".join(alike[k] for k in ("what", "ours", "unit") if k in alike)
    work = [f"{alike[k]} {k}" for k in ("M events / s", "% of scatter-add") if alike.get(k)]
    filled = {k: column for k, column in columns.items() if any(column)}
    out = make_table("", *filled)
    for cells in zip(*filled.values(), strict=True):
        out.add_row(*cells)
    heading = ": ".join(filter(None, (alike.get("case", part), ", ".join([head, *work]))))
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


def _statistic(row: Row, key: str) -> str:
    return _number(row.conditions.get("statistics", {}).get(key))


def _work(row: Row, key: str, scale: float) -> str:
    return _number(scale * row.conditions[key]) if key in row.conditions else ""


def _summary(rows: list[Row]) -> str:
    aimed = [row for row in rows if "target" in row.conditions]
    kept, open_ = (sum(row.reached is value for row in aimed) for value in (True, None))
    told = f"{kept} of {len(aimed)} targets reached"
    return told + (f", {open_} not measured" if open_ else "")
