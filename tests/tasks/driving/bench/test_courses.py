from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from neuro.io.run_folder import Run
from neuro.io.store import read_json
from tasks.driving.bench import courses
from tasks.driving.bench.courses import (
    FILE,
    FIRST,
    Courses,
    choose_courses,
    count_collisions,
    drive_all,
    drive_course,
    keep_drives,
    list_figures,
)
from tasks.driving.bench.entrants import VELOCITY, Entrant, make_rules
from tasks.driving.closed_loop import Outcome, Trial, run_course
from tasks.driving.config import Source
from tasks.driving.planners import KeepVelocity, Planner, Stop
from tasks.driving.presets import small
from tasks.driving.score import Score

SCORE = Score(
    no_collision=1.0,
    drivable=1.0,
    direction=1.0,
    time_to_collision=0.5,
    progress=0.75,
    lane_keeping=1.0,
    comfort=0.0,
)


def give(planner: Planner) -> Callable[[], Planner]:
    return lambda: planner


PLAIN = Entrant(name=VELOCITY, seed=0, digest="v", make=give(KeepVelocity(6)))
SHORT = Courses(seeds=(FIRST, FIRST + 1))


def make_outcome(seed: int, end: str, share: float) -> Outcome:
    return Outcome(
        seed=seed, end=end, share=share, seconds=2.0, collisions=0, segments=(SCORE,)
    )


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Trial, int]]:
    """Put a drive that takes no time in the place of courses; return what was driven."""
    found: list[tuple[Trial, int]] = []

    def pretend(trial: Trial, seed: int, distance: float, limit: float) -> Outcome:
        assert (distance, limit) == (150.0, 90.0)
        found.append((trial, seed))
        done = trial.planner is None
        return make_outcome(seed, "completed" if done else "collision", 1.0 if done else 0.5)

    monkeypatch.setattr(courses, "run_course", pretend)
    return found


def test_every_planner_drives_the_same_courses_once(
    driven: list[tuple[Trial, int]], tmp_path: Path
) -> None:
    found = drive_all([PLAIN, make_rules()], SHORT, tmp_path, 1)
    assert [(seed, t.planner) for t, seed in driven] == [
        (FIRST, KeepVelocity(6)),
        (FIRST, None),
        (FIRST + 1, KeepVelocity(6)),
        (FIRST + 1, None),
    ]
    assert found["rules (know all)"] == {
        0: [make_outcome(s, "completed", 1.0) for s in SHORT.seeds]
    }
    again = drive_all([PLAIN, make_rules()], SHORT, tmp_path, 1)
    assert again == found
    assert len(driven) == 4


def test_each_drive_that_ends_is_a_line_for_the_user(
    driven: list[tuple[Trial, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive_all([PLAIN], replace(SHORT, seeds=(FIRST,)), tmp_path, 1)
    capsys.readouterr()
    drive_all([PLAIN, make_rules()], SHORT, tmp_path, 1)  # one of four is known
    told = capsys.readouterr()
    assert told.out == ""
    score = SCORE.driving_score
    assert told.err.splitlines() == [
        f"1 of 3 drives: rules (know all), seed 0, on course 10000: completed after 2.0 s and "
        f"100% of the route, driving score {score:.2f}",
        f"2 of 3 drives: constant velocity, seed 0, on course 10001: collision after 2.0 s and "
        f"50% of the route, driving score {score / 2:.2f}",
        f"3 of 3 drives: rules (know all), seed 0, on course 10001: completed after 2.0 s and "
        f"100% of the route, driving score {score:.2f}",
    ]
    assert len(driven) == 4


def test_a_trial_has_all_settings_of_its_entrant_and_of_the_courses(
    driven: list[tuple[Trial, int]], tmp_path: Path
) -> None:
    planner, size = KeepVelocity(6), small().image
    entrant = Entrant(
        name="blanked", seed=0, digest="b", make=give(planner), size=size, blanked=True
    )
    drive_all([entrant], replace(SHORT, seeds=(FIRST,), past=2, sweeps=1), tmp_path, 1)
    trial = Trial(planner=planner, size=size, blanked=True, past=2, sweeps=1)
    assert driven == [(trial, FIRST)]


def test_who_is_stopped_goes_on_with_what_is_missing(
    driven: list[tuple[Trial, int]], tmp_path: Path
) -> None:
    whole = drive_all([PLAIN, make_rules()], SHORT, tmp_path, 1)
    path = tmp_path / FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2][:30]]))
    del driven[:]
    assert drive_all([PLAIN, make_rules()], SHORT, tmp_path, 1) == whole
    assert [(seed, t.planner is None) for t, seed in driven] == [
        (FIRST + 1, False),
        (FIRST + 1, True),
    ]


def test_other_weights_and_other_courses_are_driven_anew(
    driven: list[tuple[Trial, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive_all([PLAIN], SHORT, tmp_path, 1)
    drive_all([replace(PLAIN, digest="w")], SHORT, tmp_path, 1)
    assert len(driven) == 4
    monkeypatch.setattr(courses, "run_course", lambda *_: make_outcome(FIRST, "time", 0.0))
    far = replace(SHORT, distance=99.0)
    assert drive_all([PLAIN], far, tmp_path, 1)[VELOCITY][0][0].end == "time"


def test_figures_of_courses_by_hand() -> None:
    outcomes = {
        "p": {
            1: [make_outcome(0, "completed", 1.0), make_outcome(1, "off road", 0.5)],
            2: [make_outcome(0, "collision", 0.25), make_outcome(1, "time", 0.5)],
        }
    }
    found = {name: values["p"] for name, values in list_figures(outcomes)}
    assert found["routes completed"] == [[1, 0], [0, 0]]
    assert found["collisions at fault"] == [[0, 0], [1, 0]]
    assert found["off road"] == [[0, 1], [0, 0]]
    assert found["out of time"] == [[0, 0], [0, 1]]
    assert found["route driven"] == [[1, 0.5], [0.25, 0.5]]
    one = (5 * 0.5 + 5 * 0.75 + 2 * 1 + 2 * 0) / 14
    assert found["score of segments"][0] == [pytest.approx(one)] * 2
    assert found["driving score"][1] == [pytest.approx(one / 4), pytest.approx(one / 2)]
    assert found["PDMS of segments"][0][0] == pytest.approx((5 * 0.5 + 5 * 0.75) / 12)
    assert found["time to collision"][0] == [0.5, 0.5]
    assert found["comfort"] == [[0, 0], [0, 0]]
    hits, driven = count_collisions(outcomes, 200.0)
    assert hits == {"p": [[0, 0], [1, 0]]}
    assert driven == {"p": [[0.2, 0.1], [pytest.approx(0.05), 0.1]]}


def test_courses_are_of_other_worlds_than_the_data() -> None:
    found = choose_courses(Source(), 3, past=2)
    assert found == Courses(seeds=(10_000, 10_001, 10_002), past=2)
    assert choose_courses(Source(sweeps=1), 3, past=2) == replace(found, sweeps=1)
    assert choose_courses(Source(), 1, past=3, quick=True).limit < 10
    with pytest.raises(ValueError, match="use data of a seed below 10000"):
        choose_courses(Source(seed=10_002), 3, past=3)
    assert choose_courses(Source(seed=10_002, data="nuscenes"), 3, past=3).seeds == found.seeds


@pytest.mark.slow
def test_blanked_cameras_are_black_and_are_where_they_were() -> None:
    class Watch:
        def __init__(self) -> None:
            self.seen: list = []

        def __call__(self, seen: object) -> object:
            self.seen.append(seen)
            return Stop(6)(seen)  # type: ignore[arg-type]

    blind, sighted = Watch(), Watch()
    for watch, blanked in ((blind, True), (sighted, False)):
        trial = Trial(planner=watch, size=small().image, blanked=blanked, sweeps=1)  # type: ignore[arg-type]
        run_course(trial, 102, 25.0, limit=1.5)
    (one,), (other,) = blind.seen, sighted.seen
    assert one.images.shape == other.images.shape
    assert one.images.count_nonzero() == 0
    assert other.images.count_nonzero() > 0
    assert one.sweeps.shape == other.sweeps.shape == (1, 3, 6, 1, 3, 64, 160)
    assert one.sweeps.count_nonzero() == 0
    assert other.sweeps[0, -1].count_nonzero() > 0
    assert one.to_ego.equal(other.to_ego)
    assert one.intrinsic.equal(other.intrinsic)


@pytest.mark.slow
def test_a_course_is_driven_in_its_own_process_as_in_this_one(tmp_path: Path) -> None:
    few = Courses(seeds=(FIRST,), distance=25.0, limit=2.0)
    (here,) = drive_all([make_rules()], few, tmp_path, 1)["rules (know all)"][0]
    number, there = drive_course(7, make_rules(), few, FIRST)
    assert (number, there) == (7, here)
    assert asdict(here)["seed"] == FIRST


def test_a_run_keeps_how_it_drove_beside_the_planners_of_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courses, "describe_trained", lambda folder: {"weights": folder.name})
    runs = [
        Run(folder=tmp_path / str(k), task="driving", name="small", seed=k, config=small())
        for k in (1, 2)
    ]
    outcomes = {
        "driving:small": {
            1: [make_outcome(0, "completed", 1.0), make_outcome(1, "off road", 0.5)],
            2: [make_outcome(0, "collision", 0.25), make_outcome(1, "time", 0.5)],
        },
        VELOCITY: {0: [make_outcome(0, "collision", 0.1), make_outcome(1, "collision", 0.4)]},
        "stops": {0: [make_outcome(0, "time", 0.0), make_outcome(1, "time", 0.0)]},
    }
    keep_drives(runs, "driving:small", outcomes, replace(SHORT, distance=200.0, limit=9.0))
    first, second = (read_json(run.folder / "closed_loop.json") for run in runs)
    assert list(second["drives"]) == ["this run", VELOCITY, "stops"]
    assert [d["drives"]["this run"]["routes completed"] for d in (first, second)] == [0.5, 0]
    rates = [own["collisions at fault per km"] for own in second["drives"].values()]
    assert rates == [pytest.approx(1 / 0.15), pytest.approx(2 / 0.1), 0]
    assert second["courses"] == "2 courses of 200 m, 9 s each"
    assert second["measured_on"] == {"weights": "2"}
