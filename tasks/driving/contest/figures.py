"""A figure of all planners becomes rows: the subject beside each peer, seeds, a test."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from tasks.bench.rows import Row, find_ratio
from tasks.bench.statistics import (
    Difference,
    Paired,
    Summary,
    compare_paired,
    compare_rates,
    summarise,
)

PERCENT = "%"


@dataclass(frozen=True, kw_only=True, eq=False)
class ContestFigure:
    """One figure.

    values: by planner, of each seed and unit (S U); shares where ``unit`` is "%".
    of: what planners are compared on, "course" or "scene"; "": nothing. groups: of each unit,
    where several belong together (windows of a scene) and count as one observation.
    per: what values are counted in, where the figure is a rate: their sum over that of these.
    """

    name: str
    values: Mapping[str, Float64[np.ndarray, "_ U"]]
    unit: str = PERCENT
    better: Literal["higher", "lower"] = "higher"
    of: str = ""
    groups: Sequence[str] = ()
    per: Mapping[str, Float64[np.ndarray, "_ U"]] | None = None

    def grouped(self, name: str) -> Float64[np.ndarray, "_ G"]:
        """Return the values of a planner, the mean of each group."""
        values = self.values[name]
        if not self.groups:
            return values
        labels = np.array(self.groups)
        parts = [values[:, labels == one].mean(1) for one in dict.fromkeys(self.groups)]
        return np.stack(parts, 1)


def make_rows(
    part: str, figure: ContestFigure, subject: str, about: Mapping[str, Any]
) -> Iterator[Row]:
    """Yield a row for each peer; about: further conditions.

    A figure that a planner does not have (NaN) is None, and a note says so.
    """
    scale = 100.0 if figure.unit == PERCENT else 1.0
    sides = {
        name: summarise(scale * values, figure.per[name] if figure.per else None)
        for name, values in figure.values.items()
    }
    ours = sides[subject]
    for peer, theirs in sides.items():
        if peer == subject:
            continue
        conditions: dict[str, Any] = {
            "better": figure.better,
            "ours": _tell(ours),
            "theirs": _tell(theirs),
        }
        if figure.per:
            pairs = [(scale * figure.values[k], figure.per[k]) for k in (subject, peer)]
            conditions["rates"] = _tell_difference(compare_rates(*pairs[0], *pairs[1]))
        elif figure.of:
            first, second = (scale * figure.grouped(name) for name in (subject, peer))
            paired = compare_paired(first, second)
            conditions["paired"] = _tell_paired(figure, paired, first.shape[1])
        lost = [k for k in (subject, peer) if np.isnan(sides[k].mean)]
        yield Row(
            case=f"{part}: {figure.name}",
            subject=subject,
            peer=peer,
            unit=figure.unit,
            ours=_or_none(ours.mean),
            theirs=_or_none(theirs.mean),
            ratio=find_ratio(ours.mean, theirs.mean, figure.better),
            note=f"{figure.name}: nothing to count for {', '.join(lost)}" if lost else "",
            conditions={**conditions, **about},
        )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _tell(side: Summary) -> dict[str, Any]:
    found = {"sd": side.sd, "seeds": [_or_none(v) for v in side.seeds]}
    if side.sd is None or np.isnan(side.sd):
        found["sd"] = None
    return found


def _tell_difference(found: Difference) -> dict[str, float | None]:
    return {k: None if v is None else _or_none(v) for k, v in asdict(found).items()}


def _tell_paired(figure: ContestFigure, paired: Paired, units: int) -> dict[str, Any]:
    """Return a comparison for JSON: of so many units, in how many each was better."""
    told = asdict(paired)
    wins = (told.pop("more"), told.pop("fewer"))
    if figure.better == "lower":
        wins = wins[::-1]
    return {**told, "better": wins[0], "worse": wins[1], "units": units, "of": figure.of}
