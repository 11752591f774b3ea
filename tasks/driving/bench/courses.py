"""Closed loop: every planner drives the same courses, in worlds outside all training data.

Several processes drive the courses. A file stores each outcome as soon as a course ends. An
outcome does not depend on the process or on other courses.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from neuro.io.run_folder import Run
from neuro.io.store import write_json
from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results
from tasks.driving.bench.entrants import Entrant
from tasks.driving.closed_loop import LIMIT, Outcome, Trial, run_course
from tasks.driving.config import Source
from tasks.driving.driven import FILE as OF_RUN, RATE
from tasks.report.summary import OURS
from tasks.report.terminal import show_controls
from tasks.runs.provenance import describe_trained
from tasks.runs.results import KEY

FIRST = 10_000  # seed of the first course
FILE = "driving-courses.jsonl"  # outcomes, in the folder of the figures


@dataclass(frozen=True, kw_only=True)
class Courses:
    """A set of courses, one per seed.

    distance: length of a course [m]. limit: time limit of a course [s].
    past: past and present frames that a planner sees.
    sweeps: images of each camera before that of a frame.
    """

    seeds: tuple[int, ...]
    distance: float = 150.0
    limit: float = LIMIT
    past: int = 3
    sweeps: int = 0


Outcomes = dict[str, dict[int, list[Outcome]]]  # by planner and its seed; a list over courses


def choose_courses(source: Source, number: int, past: int, quick: bool = False) -> Courses:
    """Return courses in worlds that the data do not contain.

    Raises:
        ValueError: data and courses share seeds.
    """
    seeds = tuple(range(FIRST, FIRST + number))
    # The seeds of worlds are (seed of the data, ...) for scenes and (seed, ...) for courses.
    if source.data == "generated" and source.seed in seeds:
        raise ValueError(
            f"data of seed {source.seed} may hold the worlds of courses {FIRST} to "
            f"{seeds[-1]}; use data of a seed below {FIRST}"
        )
    if quick:
        return Courses(seeds=seeds, distance=25.0, limit=6.0, past=past, sweeps=source.sweeps)
    return Courses(seeds=seeds, past=past, sweeps=source.sweeps)


def drive_all(
    entrants: Sequence[Entrant],
    courses: Courses,
    folder: Path,
    workers: int,
) -> Outcomes:
    """Return the outcomes of all planners on all courses; reuse outcomes stored in ``folder``.

    Each course that ends prints a line to stderr.

    Raises:
        StoreError: an outcome in the file of the folder is damaged.
    """
    settings = {k: v for k, v in asdict(courses).items() if k != "seeds"}
    about = {
        (entrant, seed): {**entrant.identity, "course": seed, **settings}
        for seed in courses.seeds
        for entrant in entrants
    }

    def drive(missing: list[tuple[Entrant, int]]) -> Iterator[tuple[tuple[Entrant, int], Any]]:
        parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        run = delayed(drive_course)
        jobs = (run(k, entrant, courses, seed) for k, (entrant, seed) in enumerate(missing))
        for done, (k, outcome) in enumerate(parallel(jobs), 1):
            line = f"{done} of {len(missing)} drives: {describe_drive(missing[k][0], outcome)}"
            sys.stderr.write(f"{show_controls(line)}\n")
            yield missing[k], asdict(outcome)

    outcomes: Outcomes = {}
    for (entrant, _), found in complete_results(folder / FILE, about, Outcome, drive).items():
        outcomes.setdefault(entrant.name, {}).setdefault(entrant.seed, []).append(found)
    return outcomes


def describe_drive(entrant: Entrant, outcome: Outcome) -> str:
    """Describe the drive of a planner in one line."""
    return (
        f"{entrant.name}, seed {entrant.seed}, on course {outcome.seed}: {outcome.end} after "
        f"{outcome.seconds:.1f} s and {outcome.share:.0%} of the route, driving score "
        f"{outcome.driving_score:.2f}"
    )


def drive_course(
    number: int, entrant: Entrant, courses: Courses, seed: int
) -> tuple[int, Outcome]:
    """Return (number, outcome of a planner on the course of a seed)."""
    trial = Trial(
        planner=entrant.make(),
        size=entrant.size,
        blanked=entrant.blanked,
        past=courses.past,
        sweeps=courses.sweeps,
    )
    with limit_threads(1):
        return number, run_course(trial, seed, courses.distance, courses.limit)


def _has_ended(end: str, outcome: Outcome) -> float:
    return float(outcome.end == end)


FIGURES: Mapping[str, Callable[[Outcome], float]] = {
    "routes completed": partial(_has_ended, "completed"),
    "collisions at fault": partial(_has_ended, "collision"),
    "off road": partial(_has_ended, "off road"),
    "out of time": partial(_has_ended, "time"),
    "route driven": lambda o: o.share,
    "driving score": lambda o: o.driving_score,
    "score of segments": methodcaller("mean", "driving_score"),
    "PDMS of segments": methodcaller("mean", "pdms"),
    "no collision": methodcaller("mean", "no_collision"),
    "on the road": methodcaller("mean", "drivable"),
    "direction": methodcaller("mean", "direction"),
    "time to collision": methodcaller("mean", "time_to_collision"),
    "progress": methodcaller("mean", "progress"),
    "lane keeping": methodcaller("mean", "lane_keeping"),
    "comfort": methodcaller("mean", "comfort"),
}
LOWER = ("collisions at fault", "off road", "out of time")  # lower is better


Values = dict[str, list[list[float]]]  # by planner; a list over seeds of lists over courses


def list_figures(outcomes: Outcomes) -> Iterator[tuple[str, Values]]:
    """Yield each figure's name and values."""
    for name, figure in FIGURES.items():
        yield name, _measure(outcomes, figure)


def count_collisions(outcomes: Outcomes, distance: float) -> tuple[Values, Values]:
    """Return (collisions at fault, kilometres driven), whose ratio is fair to slow planners.

    distance: length of a course [m].
    """
    hits = _measure(outcomes, FIGURES["collisions at fault"])
    return hits, _measure(outcomes, lambda o: distance / 1000 * o.share)


def keep_drives(runs: Sequence[Run], subject: str, outcomes: Outcomes, about: Courses) -> None:
    """Write into each run how it drove beside the other planners, for its report.

    Planners that are trained for each seed are those of the run's seed.
    """
    hits, driven = count_collisions(outcomes, about.distance)
    courses = f"{len(about.seeds)} courses of {about.distance:g} m, {about.limit:g} s each"
    for run in runs:
        drives: dict[str, dict[str, float]] = {OURS: {}}
        for name, by_seed in outcomes.items():
            k = [*by_seed].index(run.seed) if run.seed in by_seed else 0
            own = {figure: float(np.mean(of[name][k])) for figure, of in list_figures(outcomes)}
            own[RATE] = sum(hits[name][k]) / max(sum(driven[name][k]), 1e-9)
            drives[OURS if name == subject else name] = own
        result = {"courses": courses, "drives": drives, KEY: describe_trained(run.folder)}
        write_json(run.folder / OF_RUN, result)


def _measure(outcomes: Outcomes, figure: Callable[[Outcome], float]) -> Values:
    return {
        planner: [[figure(o) for o in of_seed] for of_seed in by_seed.values()]
        for planner, by_seed in outcomes.items()
    }
