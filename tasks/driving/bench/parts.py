"""The parts of ``neuro bench driving``; each part yields its rows.

A row compares the subject with a peer in one metric, with values per seed and a statistical
test.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.driving.bench.ceiling import list_ceiling
from tasks.driving.bench.courses import (
    LOWER,
    choose_courses,
    count_collisions,
    drive_all,
    keep_drives,
    list_figures,
)
from tasks.driving.bench.entrants import (
    Comparison,
    Entrant,
    list_plain,
    list_trained,
    make_rules,
    open_comparison,
)
from tasks.driving.bench.recorded_scenes import score_all
from tasks.driving.bench.window_results import (
    OWN,
    OWN_COPY,
    WindowResults,
    count_truth,
    evaluate_windows,
    from_json,
)
from tasks.driving.evaluate import CLASSES, NEAR, summarise_counts
from tasks.driving.metrics import PathErrors, summarise_paths
from tasks.driving.score import Score
from tasks.measures.statistics import (
    Paired,
    compare_paired,
    compare_rates,
    stack_seeds,
    summarise,
)

PERCENT = "%"


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedMetric:
    """A metric of all planners.

    values: values by planner, per seed and observed unit (S U); shares if ``unit`` is "%".
    of: what the paired test pairs, "course" or "scene"; "" means no test.
    groups: the group of each observed unit, if a group (the windows of a scene) counts as one
    observation.
    per: denominators, if the metric is a rate: the sum of values divided by the sum of ``per``.
    """

    name: str
    values: Mapping[str, Float64[np.ndarray, "_ U"]]
    unit: str = PERCENT
    better: Literal["higher", "lower"] = "higher"
    of: str = ""
    groups: Sequence[str] = ()
    per: Mapping[str, Float64[np.ndarray, "_ U"]] | None = None

    def grouped(self, name: str) -> Float64[np.ndarray, "_ G"]:
        """Return the values of a planner, averaged per group."""
        values = self.values[name]
        if not self.groups:
            return values
        labels = np.array(self.groups)
        parts = [values[:, labels == group].mean(1) for group in dict.fromkeys(self.groups)]
        return np.stack(parts, 1)


def make_rows(
    part: str, figure: ComparedMetric, subject: str, about: Mapping[str, Any]
) -> Iterator[Row]:
    """Yield one row per peer; ``about`` adds conditions.

    If a planner has no value (NaN), the row has None and a note.
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
    """Return a comparison for JSON, with the numbers of units on which each side is better."""
    fields = asdict(paired)
    wins = (fields.pop("more"), fields.pop("fewer"))
    if figure.better == "lower":
        wins = wins[::-1]
    return {**fields, "better": wins[0], "worse": wins[1], "units": units, "of": figure.of}


COURSES, FEW = 24, 2
# Least IoU on held-out scenes of the generated world, with driving:small. A study with a grid
# that reaches 24 m to each side showed that these targets can be met.
TARGETS = {
    f"{where}iou_{name}": least
    for where in ("", "near_")
    for name, least in (("vehicle", 0.35), ("lane", 0.60), ("drivable", 0.92))
}
GAIN = 0.03  # target: gain in future IoU of vehicles over a copy of the predicted present
TARGET = "target"  # name of the peer that stands for the targets
CLOSED, CEILING, OPEN, MAP = "closed loop", "closed loop, true maps", "open loop", "maps"
MAPS = {
    **{f"iou_{k}": f"IoU of {k}" for k in CLASSES},
    **{f"near_iou_{k}": f"IoU of {k} within {NEAR:.0f} m" for k in CLASSES},
    "future_iou": "future IoU of vehicles",
    "future_iou_moving": "future IoU of what moves",
    **{k: k.upper() for k in ("pq", "sq", "rq")},
    **{f"{k}_moving": f"{k.upper()} of what moves" for k in ("pq", "sq", "rq")},
}
SCORES: Mapping[str, Callable[[Score], float]] = {
    "driving score": lambda s: s.driving_score,
    "PDMS": lambda s: s.pdms,
    **{k.replace("_", " "): attrgetter(k) for k in Score.__dataclass_fields__},
}


def drive_courses(options: BenchOptions) -> Iterator[Row]:
    """Closed loop: yield rows for the ends of courses and for driving scores."""
    comparison = open_comparison(options.runs, options.quick)
    entrants = [*list_trained(comparison), *list_plain(comparison), make_rules()]
    yield from _drive(options, comparison, entrants, CLOSED)


def drive_ceiling(options: BenchOptions) -> Iterator[Row]:
    """Closed loop with true maps: yield the rows of planners that get true maps."""
    comparison = open_comparison(options.runs, options.quick)
    seeing = [e for e in list_trained(comparison) if e.name == comparison.subject]
    yield from _drive(options, comparison, [*seeing, *list_ceiling(comparison)], CEILING)


def _drive(
    options: BenchOptions, comparison: Comparison, entrants: Sequence[Entrant], part: str
) -> Iterator[Row]:
    config = comparison.config
    number = FEW if options.quick else COURSES
    courses = choose_courses(config.source, number, config.past, options.quick)
    outcomes = drive_all(entrants, courses, options.out, options.workers)
    if part == CLOSED:
        subject = comparison.subject
        keep_drives(comparison.runs[subject], subject, outcomes, courses)
    about = _describe(comparison) | {
        "courses": list(courses.seeds),
        "metres": courses.distance,
        "limit_seconds": courses.limit,
    }
    for name, values in list_figures(outcomes):
        figure = ComparedMetric(
            name=name,
            values=stack_seeds(values),
            better="lower" if name in LOWER else "higher",
            of="course",
        )
        yield from make_rows(part, figure, comparison.subject, about)
    hits, driven = map(stack_seeds, count_collisions(outcomes, courses.distance))
    rate = ComparedMetric(
        name="collisions at fault a kilometre",
        values=hits,
        per=driven,
        unit="1/km",
        better="lower",
    )
    yield from make_rows(part, rate, comparison.subject, about)


def score_windows(options: BenchOptions) -> Iterator[Row]:
    """Open loop: yield rows for 4 s scores, then for the published distances and collisions."""
    comparison = open_comparison(options.runs, options.quick)
    entrants = [*list_trained(comparison), *list_plain(comparison)]
    observed = evaluate_windows(entrants, comparison.config, options.out)
    about = _describe(comparison)
    scenes, scores = score_all(entrants, observed, comparison.config, options.out)
    for name, get in SCORES.items():
        figure = ComparedMetric(
            name=f"{name}, 4 s",
            values=stack_seeds(
                {
                    planner: [[get(s) for s in of_seed] for of_seed in by_seed.values()]
                    for planner, by_seed in scores.items()
                }
            ),
            of="scene",
            groups=scenes,
        )
        yield from make_rows(OPEN, figure, comparison.subject, about | {"windows": len(scenes)})
    errors = {k: [list_errors(o) for o in by_seed.values()] for k, by_seed in observed.items()}
    whole = observed[comparison.subject][comparison.seeds[0]].scene
    for name in errors[comparison.subject][0]:
        kind, convention, time = name.removesuffix("s").split("_")
        is_distance = kind == "l2"
        until = f"{'mean to' if convention == 'mean' else 'at'} {time} s"
        figure = ComparedMetric(
            name=f"{'L2' if is_distance else 'collisions'}, {until}",
            values=stack_seeds({k: [e[name] for e in seeds] for k, seeds in errors.items()}),
            unit="m" if is_distance else PERCENT,
            better="lower",
            of="scene",
            groups=whole,
        )
        yield from make_rows(OPEN, figure, comparison.subject, about | {"windows": len(whole)})


def list_errors(observed: WindowResults) -> dict[str, list[float]]:
    """Return the errors per window, named as in
    :func:`tasks.driving.metrics.summarise_paths`."""
    errors = observed.errors
    each = [
        summarise_paths(PathErrors(*(column[k : k + 1] for column in errors)))
        for k in range(len(errors.distance))
    ]
    return {name: [window[name] for window in each] for name in each[0]}


def compare_maps(options: BenchOptions) -> Iterator[Row]:
    """Perception and prediction: yield rows for present and future maps."""
    comparison = open_comparison(options.runs, options.quick)
    observed = evaluate_windows(list_trained(comparison), comparison.config, options.out)
    figures = summarise_maps(comparison, observed)
    figures |= {
        name: [summarise_counts(counts)]
        for name, counts in count_truth(comparison.config).items()
    }
    about = _describe(comparison)
    for name, title in MAPS.items():
        values = {
            k: [run[name] for run in runs] for k, runs in figures.items() if name in runs[0]
        }
        if comparison.subject not in values:
            continue
        figure = ComparedMetric(name=title, values=stack_seeds(values))
        yield from make_rows(MAP, figure, comparison.subject, about)
    yield from _list_targets(comparison, figures, about)


def summarise_maps(
    comparison: Comparison, observed: Mapping[str, Mapping[int, WindowResults]]
) -> dict[str, list[dict[str, float]]]:
    """Return each run's map metrics by name, with forecasts based on the subject's maps."""
    figures = {}
    for name, by_seed in observed.items():
        for way in next(iter(by_seed.values())).counts:
            if way == OWN or name == comparison.subject:
                figures[way or name] = [
                    summarise_counts(from_json(run.counts[way])) for run in by_seed.values()
                ]
    return figures


def _list_targets(
    comparison: Comparison,
    figures: Mapping[str, list[dict[str, float]]],
    about: Mapping[str, Any],
) -> Iterator[Row]:
    """Yield rows that compare the subject with the targets, on the generated world."""
    if comparison.config.source.data != "generated":
        return
    ours = figures[comparison.subject]
    gains = [
        a["future_iou"] - b["future_iou"] for a, b in zip(ours, figures[OWN_COPY], strict=True)
    ]
    targets = {MAPS[k]: ([run[k] for run in ours], least) for k, least in TARGETS.items()}
    targets["future IoU of vehicles, gain over the own present, copied"] = (gains, GAIN)
    for name, (values, least) in targets.items():
        both = {comparison.subject: values, TARGET: [least]}
        figure = ComparedMetric(name=name, values=stack_seeds(both))
        yield from make_rows(MAP, figure, comparison.subject, {**about, "target": 1.0})


def _describe(comparison: Comparison) -> dict[str, Any]:
    """Return the conditions that all rows share."""
    runs = {name: [str(run.folder) for run in runs] for name, runs in comparison.runs.items()}
    return {
        "runs": runs,
        "run_seeds": list(comparison.seeds),
        "data": comparison.config.source.data,
        "versions": list_versions("torch"),
    }


PARTS = {
    "closed": drive_courses,
    "ceiling": drive_ceiling,
    "open": score_windows,
    "maps": compare_maps,
}
