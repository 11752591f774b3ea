"""A planner's paths are driven in the world, and it sees what training showed."""

import re
from dataclasses import replace
from math import cos, sin
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

pytest.importorskip("nuscenes")

from drivers.nuscenes.geometry import outline_box
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.tables import open_tables
from drivers.nuscenes.window import ImageSize
from drivers.nuscenes.windows import WindowSettings, find_windows
from drivers.nuscenes.world.drive import start
from drivers.nuscenes.world.instant import STEP, WorldInstant, WorldScene
from drivers.nuscenes.world.poses import show
from drivers.nuscenes.world.render import ground
from drivers.nuscenes.world.rig import make_rig
from drivers.nuscenes.world.write import PlannedScene, write_nuscenes
from tasks.driving import closed_loop
from tasks.driving.batch import Observation, join_ticks
from tasks.driving.closed_loop import (
    SEGMENT,
    Outcome,
    Trial,
    _require_path,
    find_end,
    judge,
    run_course,
)
from tasks.driving.planners import KeepVelocity, Stop
from tasks.driving.presets import small
from tasks.driving.score import Score

RULES = Trial(planner=None, size=None)
SEED = 102


@pytest.fixture(scope="module")
def by_rules() -> Outcome:
    return run_course(RULES, SEED, distance=25.0)


@pytest.mark.slow
def test_the_rules_complete_a_course(by_rules: Outcome) -> None:
    assert (by_rules.end, by_rules.share, by_rules.collisions) == ("completed", 1.0, 0)
    assert by_rules.mean("no_collision") == by_rules.mean("drivable") == 1.0
    assert by_rules.driving_score > 0.8
    # They are the reference of progress; chance is another one than they foresee.
    assert by_rules.mean("progress") > 0.9


def test_scores_are_multiplied_out_before_their_mean_over_time() -> None:
    perfect = Score(**dict.fromkeys(Score.__dataclass_fields__, 1.0))
    crash = replace(perfect, no_collision=0.0, time_to_collision=0.0, progress=0.0)
    found = Outcome(
        seed=0,
        end="collision",
        share=0.5,
        seconds=8.5,
        collisions=1,
        segments=(perfect, perfect, crash),  # of 4, 4 and half a second
    )
    assert found.mean("pdms") == pytest.approx(8 / 8.5)
    assert found.mean("progress") == pytest.approx(8 / 8.5)
    assert found.driving_score == pytest.approx(0.5 * 8 / 8.5)


@pytest.mark.slow
def test_a_course_has_a_score_for_each_begun_segment(by_rules: Outcome) -> None:
    assert len(by_rules.segments) == -(-round(by_rules.seconds / STEP) // SEGMENT)


@pytest.mark.slow
def test_a_course_is_the_same_each_time(by_rules: Outcome) -> None:
    assert run_course(RULES, SEED, distance=25.0) == by_rules


@pytest.mark.slow
def test_who_stops_stays_where_the_rules_left_off() -> None:
    found = run_course(Trial(planner=Stop(6), size=None), SEED, limit=8.0)
    assert (found.end, found.seconds) == ("time", pytest.approx(8.0))
    assert 0 < found.share < 0.2
    assert found.driving_score < found.share


PATH = "of shape (1, F, 3) of finite x, y [m] and yaw [rad] after 0.5 s, 1.0 s, ..., got "


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            torch.full((1, 6, 3), torch.nan),
            "a Tensor of shape (1, 6, 3), torch.float32 with num",
        ),
        (
            torch.full((1, 6, 3), torch.inf),
            "a Tensor of shape (1, 6, 3), torch.float32 with num",
        ),
        (torch.zeros(1, 6, 2), "a Tensor of shape (1, 6, 2), torch.float32"),
        (torch.zeros(6, 3), "a Tensor of shape (6, 3), torch.float32"),
        (torch.zeros(2, 6, 3), "a Tensor of shape (2, 6, 3), torch.float32"),
        (torch.zeros(1, 0, 3), "a Tensor of shape (1, 0, 3), torch.float32"),
        (np.zeros((1, 6, 3)), "a NumPy array of shape (1, 6, 3), float64"),
        (None, "None"),
    ],
)
def test_what_is_no_path_is_refused(made: Any, said: str) -> None:
    what = f"course {SEED}, 1.0 s: the planner must return a path, a tensor {PATH}{said}"
    with pytest.raises(ValueError, match=re.escape(what)):
        _require_path(made, SEED, 1.0)


@pytest.mark.slow
def test_a_course_refuses_what_its_planner_returns_when_it_is_no_path() -> None:
    trial = Trial(planner=lambda _: torch.zeros(6, 3), size=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"^course {SEED}, 1.0 s: the planner must return"):
        run_course(trial, SEED, limit=3.0)


@pytest.mark.parametrize("size", [(90, 160), 0.5, "64 x 160"])
def test_what_is_no_size_of_images_is_refused_before_anything_is_driven(
    size: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=r"^Trial\.size must be an ImageSize or None, got") as e:
        Trial(planner=None, size=size)
    assert "ImageSize(height=64, width=160, scale=1.0, crop=26)" in str(e.value)
    assert Trial(planner=None, size=small().image).size == ImageSize(
        height=64, width=160, scale=1.0, crop=26
    )


def test_all_that_is_wrong_with_a_trial_is_told_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match=r"Trial.past .* >= 1, got 0; 1 is the pres"):
        Trial(planner=None, size=None, past=0)
    for sweeps in (-1, 99):
        what = rf"Trial.sweeps must be 0 to 4, .* got {sweeps}; 0 gives the images of frames"
        with pytest.raises(ValueError, match=what):
            Trial(planner=None, size=None, sweeps=sweeps)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    trial: Any = Trial
    with pytest.raises(TypeError) as e:
        trial(planner="rules", size=0.5, past=0, sweeps=99)
    firsts = [line.split(" must")[0] for line in str(e.value).splitlines()]
    assert firsts == ["Trial.planner", "Trial.size", "Trial.past", "Trial.sweeps"]
    assert "InformedPlanner, or None for the rules, got 'rules'" in str(e.value)
    with pytest.raises(TypeError, match="got the class Stop"):
        trial(planner=Stop, size=None)


@pytest.mark.parametrize("limit", [0.0, 0.4, -1.0, float("nan"), float("inf")])
def test_a_course_needs_time_for_a_plan(limit: float) -> None:
    with pytest.raises(ValueError, match=rf"limit must be 0.5 s, one plan, .* got {limit} s"):
        run_course(RULES, SEED, limit=limit)


def test_all_numbers_of_a_course_that_are_out_of_range_are_told() -> None:
    with pytest.raises(ValueError, match=r"(?s)seed .* got -1; .*distance .* got 0.0 m.*limi"):
        run_course(RULES, -1, distance=0.0, limit=0.0)


@pytest.mark.slow
def test_the_planner_of_the_documentation_drives() -> None:
    page = Path(__file__).parents[3] / "docs" / "driving.md"
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
        if "def go_straight" in block
    )
    names: dict[str, Any] = {}
    exec(code.split("outcome = ")[0], names)
    trial = Trial(planner=names["go_straight"], size=None)
    same = Trial(planner=KeepVelocity(6), size=None)
    ours, theirs = (run_course(t, SEED, limit=6.0) for t in (trial, same))
    assert ours.share == pytest.approx(theirs.share, abs=1e-6)


class Watch:
    """Goes straight on, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        self.seen.append(seen)
        return KeepVelocity(6)(seen)


@pytest.mark.parametrize(("away", "end"), [(0.29, ""), (0.31, "off road")])
def test_a_course_goes_on_with_a_corner_a_little_off_the_road(away: float, end: str) -> None:
    """The road is the car's own rectangle, moved back: its front is so far off."""
    course = start(SEED, 25.0)
    world, state = course.world, course.state
    free = replace(show(world, state), boxes=[])
    ego = free.ego
    back = replace(ego, x=ego.x - away * cos(ego.yaw), y=ego.y - away * sin(ego.yaw))
    roads = replace(world.roads, map=replace(world.roads.map, drivable=[outline_box(back.box)]))
    course = replace(course, world=replace(world, roads=roads))
    assert find_end(course, state, [free, free]) == end
    assert find_end(course, state, [free, free], tolerance=0.0) == "off road"


@pytest.mark.slow
def test_a_planner_sees_the_images_that_a_recording_of_its_drive_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of frames and of sweeps; both repeat the first image before the beginning."""
    drives: list[WorldScene] = []

    def keep(course: Any, states: Any, instants: list[WorldInstant], **about: Any) -> Outcome:
        road_map = course.world.roads.map
        drives.append(WorldScene(road_map=road_map, instants=instants, description=""))
        return judge(course, states, instants, **about)

    monkeypatch.setattr(closed_loop, "judge", keep)
    monkeypatch.setattr(ground, "MARGIN", 25.0)  # less to paint
    watch, seed = Watch(), 0  # which is also the number of the first scene of a data set
    size = ImageSize(height=24, width=64, scale=1.0, crop=8)
    run_course(Trial(planner=watch, size=size, sweeps=2), seed, limit=1.5)
    (scene,) = drives
    planned = PlannedScene(road_map=scene.road_map, simulate=lambda: scene)
    write_nuscenes(tmp_path, [planned], rig=make_rig(64, 32), sweeps=2)
    grid = GroundGrid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=2.0)
    settings = WindowSettings(grid=grid, image=size, future=1, sweeps=2)
    windows = find_windows(open_tables(tmp_path / "data"), settings)
    (window,), (seen,) = windows, watch.seen
    assert np.array_equal(window.images, seen.images[0].numpy())
    assert np.array_equal(window.sweeps, seen.sweeps[0].numpy())
    ticks = join_ticks(seen)[:, 0, :, 1]  # of the front camera
    assert [len({x.numpy().tobytes() for x in frame}) for frame in ticks.unbind(1)] == [1, 3, 3]


@pytest.mark.slow
def test_a_planner_sees_its_past_in_the_present_frame() -> None:
    watch = Watch()
    run_course(Trial(planner=watch, size=small().image), SEED, limit=2.0)
    assert len(watch.seen) == 2  # the rules made the first two of four plans
    for seen in watch.seen:
        assert seen.images.shape == (
            1,
            3,
            len(CAMERAS),
            3,
            small().image.height,
            small().image.width,
        )
        assert torch.equal(seen.to_present[0, -1], torch.eye(4))
        x = seen.to_present[0, :, 0, 3]
        assert x[0] < x[1] < 0
        assert float(-x[1]) == pytest.approx(float(seen.ego.speed) * 0.5, rel=0.2)
    first, second = watch.seen
    # Frames move up by one.
    assert torch.equal(first.images[0, 1:], second.images[0, :-1])
    assert not torch.equal(first.images[0, 0], first.images[0, 1])
    assert float(np.std(first.images.numpy())) > 20
