"""Closed loop: every planner drives the same courses, in worlds outside all training data.

Processes share the courses. A file stores each outcome as soon as a course ends. Outcomes do
not depend on the process or on other courses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from neuro.training.threads import limit_threads
from tasks.bench.results import append_result, make_key, read_results, read_value
from tasks.driving.benchmark.entrants import Entrant
from tasks.driving.closed_loop import LIMIT, Outcome, Trial, run_course
from tasks.driving.config import Source

FIRST = 10_000  # seed of the first course
FILE = "driving-courses.jsonl"  # in the folder of the figures


@dataclass(frozen=True, kw_only=True)
class Courses:
    """A set of courses: seeds; distance: length [m]; limit: time [s] per course; past: S."""

    seeds: tuple[int, ...]
    distance: float = 150.0
    limit: float = LIMIT
    past: int = 3


Outcomes = dict[str, dict[int, list[Outcome]]]  # by planner and its seed, in order of courses


def choose_courses(source: Source, number: int, past: int, quick: bool = False) -> Courses:
    """Return courses in worlds that are not in the data.

    Raises:
        ValueError: data and courses share seeds.
    """
    seeds = tuple(range(FIRST, FIRST + number))
    # The seed of a scene's world is (seed of the data, ...), of a course's (its seed, ...).
    if source.data == "generated" and source.seed in seeds:
        raise ValueError(
            f"data of seed {source.seed} may hold the worlds of courses {FIRST} to "
            f"{seeds[-1]}; use data of a seed below {FIRST}"
        )
    if quick:
        return Courses(seeds=seeds, distance=25.0, limit=6.0, past=past)
    return Courses(seeds=seeds, past=past)


def drive_all(
    entrants: Sequence[Entrant],
    courses: Courses,
    folder: Path,
    workers: int,
) -> Outcomes:
    """Return the outcomes of all planners on all courses; reuse those in the folder.

    Raises:
        StoreError: an outcome in the file of the folder is damaged.
    """
    path = folder / FILE
    known = read_results(path)
    jobs = [(e, seed, _describe(e, courses, seed)) for seed in courses.seeds for e in entrants]
    keys = [make_key(about) for _, _, about in jobs]
    missing = [k for k, key in enumerate(keys) if key not in known]
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
    drive = delayed(drive_course)
    run = parallel(drive(k, jobs[k][0], courses, jobs[k][1]) for k in missing)
    for k, outcome in run:
        known[keys[k]] = append_result(path, keys[k], jobs[k][2], asdict(outcome))
    outcomes: Outcomes = {}
    for (entrant, _, _), key in zip(jobs, keys, strict=True):
        by_seed = outcomes.setdefault(entrant.name, {})
        by_seed.setdefault(entrant.seed, []).append(read_value(path, known[key], Outcome))
    return outcomes


def drive_course(
    number: int, entrant: Entrant, courses: Courses, seed: int
) -> tuple[int, Outcome]:
    """Return (number, outcome of a planner on the course of a seed)."""
    trial = Trial(
        planner=entrant.make(), size=entrant.size, blanked=entrant.blanked, past=courses.past
    )
    with limit_threads(1):
        return number, run_course(trial, seed, courses.distance, courses.limit)


def _describe(entrant: Entrant, courses: Courses, seed: int) -> dict[str, Any]:
    """Return everything but the code that determines an outcome."""
    settings = {k: v for k, v in asdict(courses).items() if k != "seeds"}
    return {
        "planner": entrant.name,
        "seed": entrant.seed,
        "digest": entrant.digest,
        "course": seed,
        **settings,
    }


def _has_ended(end: str, outcome: Outcome) -> float:
    return float(outcome.end == end)


def _average_score(name: str, outcome: Outcome) -> float:
    return outcome.mean(name)


FIGURES: Mapping[str, Callable[[Outcome], float]] = {
    "routes completed": partial(_has_ended, "completed"),
    "collisions at fault": partial(_has_ended, "collision"),
    "off road": partial(_has_ended, "off road"),
    "out of time": partial(_has_ended, "time"),
    "route driven": lambda o: o.share,
    "driving score": lambda o: o.driving_score,
    "score of segments": partial(_average_score, "driving_score"),
    "PDMS of segments": partial(_average_score, "pdms"),
    "no collision": partial(_average_score, "no_collision"),
    "on the road": partial(_average_score, "drivable"),
    "direction": partial(_average_score, "direction"),
    "time to collision": partial(_average_score, "time_to_collision"),
    "progress": partial(_average_score, "progress"),
    "lane keeping": partial(_average_score, "lane_keeping"),
    "comfort": partial(_average_score, "comfort"),
}
LOWER = ("collisions at fault", "off road", "out of time")  # lower is better


Values = dict[str, list[list[float]]]  # by planner: of each seed and course


def list_figures(outcomes: Outcomes) -> Iterator[tuple[str, Values]]:
    """Yield (figure, its values)."""
    for name, figure in FIGURES.items():
        yield name, _measure(outcomes, figure)


def count_collisions(outcomes: Outcomes, distance: float) -> tuple[Values, Values]:
    """Return (collisions at fault, kilometres driven); their ratio is fair to slow planners.

    distance: of a course [m].
    """
    hits = _measure(outcomes, FIGURES["collisions at fault"])
    return hits, _measure(outcomes, lambda o: distance / 1000 * o.share)


def _measure(outcomes: Outcomes, figure: Callable[[Outcome], float]) -> Values:
    return {
        planner: [[figure(o) for o in of_seed] for of_seed in by_seed.values()]
        for planner, by_seed in outcomes.items()
    }
