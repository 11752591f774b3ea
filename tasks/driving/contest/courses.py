"""Closed loop: every planner drives the same courses, in worlds that no training has seen.

Courses are dealt out to processes; what each planner did on each is kept as soon as it is
known. A course comes out the same in whatever process, and beside whatever others, it is
driven.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from neuro.training.threads import limit_threads
from tasks.bench.results import append_result, make_key, read_results, read_value
from tasks.driving.closed_loop import LIMIT, Outcome, Trial, run_course
from tasks.driving.config import Source
from tasks.driving.contest.contest import Entrant

FIRST = 10_000  # seed of the first course
FILE = "driving-courses.jsonl"  # beside the figures


@dataclass(frozen=True, kw_only=True)
class Courses:
    """Which courses: seeds; length [m] of each; most time [s] on each; past: S."""

    seeds: tuple[int, ...]
    distance: float = 150.0
    limit: float = LIMIT
    past: int = 3


Outcomes = dict[str, dict[int, list[Outcome]]]  # by planner and its seed, in order of courses


def choose_courses(source: Source, number: int, past: int, quick: bool = False) -> Courses:
    """Return so many courses of other worlds than those of the data.

    Raises:
        ValueError: data of the same seeds.
    """
    seeds = tuple(range(FIRST, FIRST + number))
    # A scene's world is made from (seed of the data, ...), a course's from (its seed, ...).
    if source.data == "generated" and source.seed in seeds:
        raise ValueError(
            f"data of seed {source.seed} may hold the worlds of courses {FIRST} to "
            f"{seeds[-1]}; take data of a seed below {FIRST}"
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
    """Return how each planner did on each course; what is in the folder is not driven again.

    Raises:
        StoreError: a result in the folder's file is damaged.
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
    found: Outcomes = {}
    for (entrant, _, _), key in zip(jobs, keys, strict=True):
        by_seed = found.setdefault(entrant.name, {})
        by_seed.setdefault(entrant.seed, []).append(read_value(path, known[key], Outcome))
    return found


def drive_course(
    number: int, entrant: Entrant, courses: Courses, seed: int
) -> tuple[int, Outcome]:
    """Return (number, how a planner did on the course of a seed)."""
    trial = Trial(
        planner=entrant.make(), size=entrant.size, blanked=entrant.blanked, past=courses.past
    )
    with limit_threads(1):
        return number, run_course(trial, seed, courses.distance, courses.limit)


def _describe(entrant: Entrant, courses: Courses, seed: int) -> dict[str, Any]:
    """Return all that an outcome depends on, beside the code."""
    how = {k: v for k, v in asdict(courses).items() if k != "seeds"}
    return {
        "planner": entrant.name,
        "seed": entrant.seed,
        "digest": entrant.digest,
        "course": seed,
        **how,
    }


def _is(end: str, outcome: Outcome) -> float:
    return float(outcome.end == end)


def _score(name: str, outcome: Outcome) -> float:
    return outcome.mean(name)


FIGURES: Mapping[str, Callable[[Outcome], float]] = {
    "routes completed": partial(_is, "completed"),
    "collisions at fault": partial(_is, "collision"),
    "off road": partial(_is, "off road"),
    "out of time": partial(_is, "time"),
    "route driven": lambda o: o.share,
    "driving score": lambda o: o.driving_score,
    "score of segments": partial(_score, "driving_score"),
    "PDMS of segments": partial(_score, "pdms"),
    "no collision": partial(_score, "no_collision"),
    "on the road": partial(_score, "drivable"),
    "direction": partial(_score, "direction"),
    "time to collision": partial(_score, "time_to_collision"),
    "progress": partial(_score, "progress"),
    "lane keeping": partial(_score, "lane_keeping"),
    "comfort": partial(_score, "comfort"),
}
LOWER = ("collisions at fault", "off road", "out of time")  # is better


Values = dict[str, list[list[float]]]  # by planner: of each seed and course


def list_figures(outcomes: Outcomes) -> Iterator[tuple[str, Values]]:
    """Yield (figure, its values)."""
    for name, figure in FIGURES.items():
        yield name, _measure(outcomes, figure)


def count_collisions(outcomes: Outcomes, distance: float) -> tuple[Values, Values]:
    """Return (collisions at fault, kilometres driven).

    Who hardly drives hardly collides. distance: of a course [m].
    """
    hits = _measure(outcomes, FIGURES["collisions at fault"])
    return hits, _measure(outcomes, lambda o: distance / 1000 * o.share)


def _measure(outcomes: Outcomes, figure: Callable[[Outcome], float]) -> Values:
    return {
        planner: [[figure(o) for o in some] for some in by_seed.values()]
        for planner, by_seed in outcomes.items()
    }
