"""Rows of planners as one table: a line a figure, a column a planner."""

from collections.abc import Iterator

from rich.table import Table

from tasks.bench.rows import Row
from tasks.report.tables import make_table

CERTAIN = 0.05  # p below which a difference is marked
WORD = "figure"


def tabulate(part: str, rows: list[Row]) -> Iterator[Table]:
    """Yield the table of a part: means over seeds, their deviation, * where a test is sure.

    In a column of a peer, * says that it differs from the subject on the same courses or
    scenes (exact sign test, p < 0.05).
    """
    if not rows:
        return
    subject = rows[0].subject
    peers = list(dict.fromkeys(row.peer for row in rows))
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        line = cells.setdefault(f"{row.case.removeprefix(f'{part}: ')} [{row.unit}]", {})
        line[subject] = _cell(row, "ours", row.ours)
        sure = row.conditions.get("paired", {}).get("p", 1.0) < CERTAIN
        line[row.peer] = _cell(row, "theirs", row.theirs) + ("*" if sure else "")
    out = make_table(f"{part}: mean ± deviation over seeds", WORD, subject, *peers)
    for figure, line in cells.items():
        out.add_row(figure, *(line.get(name, "") for name in (subject, *peers)))
    if any("paired" in row.conditions for row in rows):
        out.caption = f"*: differs from {subject} (paired sign test, p < {CERTAIN})"
    yield out


def _cell(row: Row, side: str, value: float | None) -> str:
    if value is None:
        return "-"
    deviation = row.conditions.get(side, {}).get("sd")
    return f"{value:.3g}" if deviation is None else f"{value:.3g} ± {deviation:.2g}"
