"""The parts of ``neuro bench driving``: what is options for becomes rows."""

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Any

import numpy as np

from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, list_versions
from tasks.bench.statistics import stack_seeds
from tasks.driving.contest.contest import (
    Contest,
    list_plain,
    list_trained,
    make_rules,
    open_contest,
)
from tasks.driving.contest.courses import (
    LOWER,
    choose_courses,
    count_collisions,
    drive_all,
    list_figures,
)
from tasks.driving.contest.figures import PERCENT, ContestFigure, make_rows
from tasks.driving.contest.forecasts import from_json
from tasks.driving.contest.observe import (
    OWN,
    OWN_COPY,
    Observed,
    count_truth,
    observe_all,
)
from tasks.driving.contest.scored import score_all
from tasks.driving.contest.throughput import measure_throughput
from tasks.driving.evaluate import CLASSES, NEAR, summarise_counts
from tasks.driving.metrics import PathErrors, summarise_paths
from tasks.driving.score import Score

COURSES, FEW = 24, 2
# The least that held-out scenes are to show (with driving:tiny, on the generated world). It was
# options for where a study with a grid of 24 m to all sides had found it within reach.
ASKED = {
    f"{where}iou_{name}": least
    for where in ("", "near_")
    for name, least in (("vehicle", 0.35), ("lane", 0.60), ("drivable", 0.92))
}
GAIN = 0.03  # of the future IoU of vehicles over the own present, copied
GOAL = "options for"  # a peer
CLOSED, OPEN, MAP = "closed loop", "open loop", "maps"
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
    """Closed loop: yield rows of how courses ended, and of how well they were driven."""
    contest = open_contest(options.runs, options.quick)
    config = contest.config
    number = FEW if options.quick else COURSES
    courses = choose_courses(config.source, number, config.past, options.quick)
    entrants = [*list_trained(contest), *list_plain(contest), make_rules()]
    outcomes = drive_all(entrants, courses, options.out, options.workers)
    about = _describe(contest) | {
        "courses": list(courses.seeds),
        "metres": courses.distance,
        "limit_seconds": courses.limit,
    }
    for name, values in list_figures(outcomes):
        figure = ContestFigure(
            name=name,
            values={k: stack_seeds(v) for k, v in values.items()},
            better="lower" if name in LOWER else "higher",
            of="course",
        )
        yield from make_rows(CLOSED, figure, contest.subject, about)
    hits, driven = (
        {k: stack_seeds(v) for k, v in by_planner.items()}
        for by_planner in count_collisions(outcomes, courses.distance)
    )
    rate = ContestFigure(
        name="collisions at fault a kilometre",
        values=hits,
        per=driven,
        unit="1/km",
        better="lower",
    )
    yield from make_rows(CLOSED, rate, contest.subject, about)


def score_windows(options: BenchOptions) -> Iterator[Row]:
    """Open loop: yield rows of scores of 4 s, then of distances and collisions as published."""
    contest = open_contest(options.runs, options.quick)
    entrants = [*list_trained(contest), *list_plain(contest)]
    observed = observe_all(entrants, contest.config, options.out)
    about = _describe(contest)
    scenes, scores = score_all(entrants, observed, contest.config, options.out)
    for name, get in SCORES.items():
        figure = ContestFigure(
            name=f"{name}, 4 s",
            values={
                planner: stack_seeds([[get(s) for s in some] for some in by_seed.values()])
                for planner, by_seed in scores.items()
            },
            of="scene",
            groups=scenes,
        )
        yield from make_rows(OPEN, figure, contest.subject, about | {"windows": len(scenes)})
    errors = {k: [list_errors(o) for o in some.values()] for k, some in observed.items()}
    whole = observed[contest.subject][contest.seeds[0]].scene
    for name in errors[contest.subject][0]:
        away = name.startswith("l2")
        figure = ContestFigure(
            name=_name_error(name),
            values={k: stack_seeds([e[name] for e in some]) for k, some in errors.items()},
            unit="m" if away else PERCENT,
            better="lower",
            of="scene",
            groups=whole,
        )
        yield from make_rows(OPEN, figure, contest.subject, about | {"windows": len(whole)})


def list_errors(observed: Observed) -> dict[str, list[float]]:
    """Return the errors of each window, by the names of
    :func:`tasks.driving.metrics.summarise_paths`."""
    errors = observed.errors
    each = [
        summarise_paths(PathErrors(*(column[k : k + 1] for column in errors)))
        for k in range(len(errors.distance))
    ]
    return {name: [one[name] for one in each] for name in each[0]}


def _name_error(name: str) -> str:
    kind, how, until = name.split("_")
    what = {"l2": "L2", "collision": "collisions"}[kind]
    return f"{what}, {'mean to' if how == 'mean' else 'at'} {until.removesuffix('s')} s"


def compare_maps(options: BenchOptions) -> Iterator[Row]:
    """Perception and prediction: yield rows of maps and of their future."""
    contest = open_contest(options.runs, options.quick)
    observed = observe_all(list_trained(contest), contest.config, options.out)
    found = summarise_maps(contest, observed)
    found |= {
        name: [summarise_counts(counts)] for name, counts in count_truth(contest.config).items()
    }
    about = _describe(contest)
    for name, told in MAPS.items():
        values = {
            k: [one[name] for one in some] for k, some in found.items() if name in some[0]
        }
        if contest.subject not in values:
            continue
        figure = ContestFigure(
            name=told, values={k: stack_seeds([[x] for x in v]) for k, v in values.items()}
        )
        yield from make_rows(MAP, figure, contest.subject, about)
    yield from _list_goals(contest, found, about)


def summarise_maps(
    contest: Contest, observed: Mapping[str, Mapping[int, Observed]]
) -> dict[str, list[dict[str, float]]]:
    """Return the figures of maps of each run, by name; forecasts from the subject's too."""
    found = {}
    for name, by_seed in observed.items():
        for way in next(iter(by_seed.values())).counts:
            if way == OWN or name == contest.subject:
                found[way or name] = [
                    summarise_counts(from_json(one.counts[way])) for one in by_seed.values()
                ]
    return found


def _list_goals(
    contest: Contest,
    found: Mapping[str, list[dict[str, float]]],
    about: Mapping[str, Any],
) -> Iterator[Row]:
    """Yield rows of the subject beside what is options for, on the generated world."""
    if contest.config.source.data != "generated":
        return
    ours = found[contest.subject]
    gains = [
        a["future_iou"] - b["future_iou"] for a, b in zip(ours, found[OWN_COPY], strict=True)
    ]
    goals = {MAPS[k]: ([one[k] for one in ours], least) for k, least in ASKED.items()}
    goals["future IoU of vehicles, gain over the own present, copied"] = (gains, GAIN)
    for name, (values, least) in goals.items():
        figure = ContestFigure(
            name=name,
            values={
                contest.subject: stack_seeds([[v] for v in values]),
                GOAL: np.array([[least]]),
            },
        )
        yield from make_rows(MAP, figure, contest.subject, {**about, "target": 1.0})


def measure_speed(options: BenchOptions) -> Iterator[Row]:
    """Throughput: yield rows of speed, memory and time by module."""
    contest = open_contest(options.runs, options.quick)
    batches = (1,) if options.quick else (1, contest.config.batch)
    yield from measure_throughput(contest, 1 if options.quick else options.repeats, batches)


def _describe(contest: Contest) -> dict[str, Any]:
    """Return conditions that all rows have."""
    runs = {k: [str(run.folder) for run in some] for k, some in contest.runs.items()}
    return {
        "runs": runs,
        "run_seeds": list(contest.seeds),
        "data": contest.config.source.data,
        "versions": list_versions("torch"),
    }


PARTS = {
    "closed": drive_courses,
    "open": score_windows,
    "maps": compare_maps,
    "speed": measure_speed,
}
