"""Tables of benchmark rows: a line per figure, a column per planner."""

from collections.abc import Iterator

from rich.table import Table

from tasks.bench.rows import Row
from tasks.report.tables import make_table

CERTAIN = 0.05  # the table marks differences with a smaller p
WORD = "figure"
TESTS = {
    "paired": f"paired sign test, p < {CERTAIN}",
    "rates": "rates: 95 % bootstrap interval over courses",
}


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:
    """Yield the table of a part: means and deviations over seeds; * marks significance.

    In a peer's column, * marks a difference from the subject on the same courses or scenes
    (exact sign test, p < 0.05), or a 95 % interval of the difference of rates without zero.
    """
    if not rows:
        return
    subject = rows[0].subject
    peers = list(dict.fromkeys(row.peer for row in rows))
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        line = cells.setdefault(f"{row.case.removeprefix(f'{part}: ')} [{row.unit}]", {})
        line[subject] = _cell(row, "ours", row.ours)
        line[row.peer] = _cell(row, "theirs", row.theirs) + (
            "*" if _is_significant(row) else ""
        )
    out = make_table(f"{part}: mean ± deviation over seeds", WORD, subject, *peers)
    for figure, line in cells.items():
        out.add_row(figure, *(line.get(name, "") for name in (subject, *peers)))
    tests = [text for key, text in TESTS.items() if any(key in row.conditions for row in rows)]
    if tests:
        out.caption = f"*: differs from {subject} ({'; '.join(tests)})"
    yield out


def _is_significant(row: Row) -> bool:
    rates = row.conditions.get("rates")
    if rates is None:
        return bool(row.conditions.get("paired", {}).get("p", 1.0) < CERTAIN)
    return rates["low"] is not None and (rates["low"] > 0 or rates["high"] < 0)


def _cell(row: Row, side: str, value: float | None) -> str:
    if value is None:
        return "-"
    deviation = row.conditions.get(side, {}).get("sd")
    return f"{value:.3g}" if deviation is None else f"{value:.3g} ± {deviation:.2g}"
