"""Rows of a metric: the subject beside each peer, with seeds and a statistical test."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from tasks.bench.rows import Row, find_ratio
from tasks.bench.statistics import (
    Paired,
    compare_paired,
    compare_rates,
    summarise,
)

PERCENT = "%"


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedMetric:
    """A metric of all planners.

    values: by planner, per seed and unit (S U); shares if ``unit`` is "%".
    of: the unit of the paired test, "course" or "scene"; "": no test. groups: the group of each
    unit, if a group (the windows of a scene) counts as one observation. per: the denominators,
    if the metric is a rate: the sum of values over the sum of these.
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
        parts = [values[:, labels == group].mean(1) for group in dict.fromkeys(self.groups)]
        return np.stack(parts, 1)


def make_rows(
    part: str, figure: ComparedMetric, subject: str, about: Mapping[str, Any]
) -> Iterator[Row]:
    """Yield a row for each peer; about: additional conditions.

    A missing value of a planner (NaN) is None, with a note.
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
            **{
                side: {"sd": _or_none(own.sd), "seeds": [_or_none(v) for v in own.seeds]}
                for side, own in (("ours", ours), ("theirs", theirs))
            },
        }
        if figure.per:
            pairs = [(scale * figure.values[k], figure.per[k]) for k in (subject, peer)]
            rates = asdict(compare_rates(*pairs[0], *pairs[1]))
            conditions["rates"] = {k: _or_none(v) for k, v in rates.items()}
        elif figure.of:
            first, second = (scale * figure.grouped(name) for name in (subject, peer))
            paired = compare_paired(first, second)
            conditions["paired"] = _describe_paired(figure, paired, first.shape[1])
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


def _or_none(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


def _describe_paired(figure: ComparedMetric, paired: Paired, units: int) -> dict[str, Any]:
    """Return a comparison for JSON, with the number of units in which each side is better."""
    fields = asdict(paired)
    wins = (fields.pop("more"), fields.pop("fewer"))
    if figure.better == "lower":
        wins = wins[::-1]
    return {**fields, "better": wins[0], "worse": wins[1], "units": units, "of": figure.of}
