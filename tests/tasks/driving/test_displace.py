"""Displaced windows are what a car sees that is off its way, and lead back to it."""

import numpy as np
import pytest
import torch
from driving_runs import SMALL, plan_off_the_way, put_small
from driving_windows import make_window
from hypothesis import given, strategies as st
from torch.utils._pytree import tree_leaves

from tasks.driving.batch import DrivingBatch, make_batch
from tasks.driving.data import read_batches, read_batches_from
from tasks.driving.displace import (
    FASTER,
    SIDE,
    TURN,
    change_speed,
    come_back,
    displace_starts,
    draw_speeds,
    draw_starts,
    make_poses,
)
from tasks.driving.lift_splat import compute_motion, find_cells, lift_points
from tasks.driving.presets import small


def straight(speed: float, frames: int = 60, dt: float = 0.1) -> torch.Tensor:
    path = torch.zeros(1, frames, 3)
    path[..., 0] = speed * dt * torch.arange(1, frames + 1)
    return path


def pose(side: float, turn: float) -> torch.Tensor:
    return torch.tensor([[0.0, side, turn]])


def into_recorded(path: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Return poses of a start's frame as those of the recorded one, by matrices."""
    matrices = make_poses(path.flatten(0, 1)).view(*path.shape[:2], 4, 4)
    moved = make_poses(start)[:, None] @ matrices
    yaw = torch.atan2(moved[..., 1, 0], moved[..., 0, 0])
    return torch.cat([moved[..., :2, 3], yaw[..., None]], -1)


def batch() -> DrivingBatch:
    return make_batch([make_window(SMALL, seed) for seed in range(3)])


@given(side=st.floats(-SIDE, SIDE), turn=st.floats(-TURN, TURN), speed=st.floats(0.5, 15.0))
def test_a_path_starts_as_the_car_stands_and_ends_on_the_recorded_one(
    side: float, turn: float, speed: float
) -> None:
    recorded = straight(speed, frames=600, dt=0.05).double()
    start = pose(side, turn).double()
    path = come_back(recorded, start, torch.tensor([speed], dtype=torch.float64))
    # In its own frame it begins at the origin, straight ahead.
    first = path[0, 0]
    assert abs(float(first[1])) < 0.02 * float(first[0]) + 1e-4
    assert abs(float(first[2])) < 0.02
    back = into_recorded(path, start)
    reach = max(3 * speed, 15.0)
    after = recorded[0, :, 0] >= reach
    torch.testing.assert_close(back[0, after], recorded[0, after], atol=1e-9, rtol=0)
    # Its heading is along it.
    steps = back[0, 1:, :2] - back[0, :-1, :2]
    along = torch.atan2(steps[:, 1], steps[:, 0])
    middle = (back[0, 1:, 2] + back[0, :-1, 2]) / 2
    torch.testing.assert_close(along, middle, atol=2e-3, rtol=0)


def test_half_of_the_way_back_is_the_polynomials() -> None:
    recorded = straight(10.0)
    aside = come_back(recorded, pose(1.0, 0.0), torch.tensor([10.0]))
    half = int(15 / 1.0) - 1  # of the 30 m of 3 s
    assert float(recorded[0, half, 0]) == 15.0
    assert float(aside[0, half, 1]) == pytest.approx(0.5 - 1.0, abs=1e-6)
    turned = into_recorded(
        come_back(recorded, pose(0.0, 0.1), torch.tensor([10.0])), pose(0.0, 0.1)
    )
    slope = 30 * np.tan(0.1)
    assert float(turned[0, half, 1]) == pytest.approx(
        slope * (0.5 - 0.75 + 0.5 - 3 / 32), rel=1e-4
    )


def test_a_car_that_stands_stays_where_it_is() -> None:
    path = come_back(torch.zeros(1, 6, 3), pose(1.2, -0.1), torch.zeros(1))
    torch.testing.assert_close(path, torch.zeros(1, 6, 3), atol=1e-7, rtol=0)


def test_the_origin_changes_nothing() -> None:
    plain = batch()
    made = displace_starts(plain, torch.zeros(3, 3), plain.seen.ego.speed)
    for one, other in zip(tree_leaves(made), tree_leaves(plain), strict=True):
        torch.testing.assert_close(one, other)


def test_points_are_splat_where_the_displaced_car_sees_them() -> None:
    plain, config = batch(), SMALL
    start = torch.tensor([[0.0, 1.0, 0.1], [0.0, -0.5, 0.0], [0.0, 0.0, 0.0]])
    seen = displace_starts(plain, start, plain.seen.ego.speed).seen

    def lift(given: torch.Tensor) -> torch.Tensor:
        where = (plain.seen.intrinsic, plain.seen.to_ego, given)
        return lift_points(*where, config.depth, config.feature_size)

    points, before = lift(seen.to_present), lift(plain.seen.to_present)
    back = points.flatten(1, -2) @ make_poses(start)[:, :3, :3].transpose(1, 2)
    back = back + make_poses(start)[:, None, :3, 3]
    torch.testing.assert_close(back, before.flatten(1, -2), atol=1e-4, rtol=1e-4)
    cells = [find_cells(p, config.grid) for p in (points, before)]
    assert not cells[0][0].equal(cells[1][0])
    assert cells[0][2].equal(cells[1][2])
    # How the car came here is what it was.
    torch.testing.assert_close(
        compute_motion(seen.to_present), compute_motion(plain.seen.to_present)
    )
    assert seen.images.equal(plain.seen.images)


def test_the_command_is_that_of_the_way_back() -> None:
    plain = batch()  # straight ahead
    start = torch.tensor([[0.0, -1.5, -0.1], [0.0, 1.5, 0.1], [0.0, 0.2, 0.0]])
    made = displace_starts(plain, start, plain.seen.ego.speed)
    assert made.seen.ego.command.tolist() == [0, 2, 1]
    assert plain.seen.ego.command.tolist() == [1, 1, 1]
    aside = torch.tensor([[9.0, 3.0]] * 3)
    turning = plain._replace(
        seen=plain.seen._replace(ego=plain.seen.ego._replace(target=aside))
    )
    # Of a window that is not displaced it stays what the navigation said.
    kept = displace_starts(turning, torch.zeros(3, 3), turning.seen.ego.speed)
    assert kept.seen.ego.target.equal(aside)


def test_starts_are_drawn_to_both_sides_evenly() -> None:
    draws = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0))
    poses = draw_starts(draws, 0.25)
    moved = (poses != 0).any(1)
    assert float(moved.float().mean()) == pytest.approx(0.25, abs=0.02)
    assert not poses[:, 0].any()
    for k, most in ((1, SIDE), (2, TURN)):
        drawn = poses[moved, k]
        assert float(drawn.abs().max()) <= most
        assert float(drawn.abs().max()) > 0.99 * most
        assert float(drawn.mean()) == pytest.approx(0, abs=0.05 * most)
    assert not draw_starts(draws, 0.0).any()
    assert (draw_starts(draws, 1.0) != 0).any(1).all()


def test_another_speed_becomes_the_recorded_one_as_fast_as_that_of_candidates() -> None:
    speeds = torch.tensor([0.0, 7.0, 4.0])
    recorded = torch.cat([straight(4.0, frames=6, dt=0.5)] * 3)
    x = change_speed(recorded, speeds)[..., 0]
    # From standing by 2 m/s^2: 0.5, 1.5, 2.5, 3.5 m/s in the frames; from 7 m/s by -4: 6, 4.
    assert x[0].tolist() == [0.25, 1.0, 2.25, 4.0, 6.0, 8.0]
    assert x[1].tolist() == [3.0, 5.0, 7.0, 9.0, 11.0, 13.0]
    assert x[2].tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert not change_speed(recorded, speeds)[..., 1:].any()


def test_who_is_to_stand_stops_straight_on() -> None:
    recorded = torch.zeros(1, 6, 3)
    recorded[..., 2] = 0.5  # turned, as it stands
    path = change_speed(recorded, torch.tensor([3.0]))
    # 2 m/s in the first frame, then it stands.
    expected = torch.tensor([np.cos(0.5), np.sin(0.5), 0.5], dtype=torch.float32)
    torch.testing.assert_close(path[0], expected.expand(6, 3))
    assert change_speed(recorded, torch.zeros(1)).equal(recorded)


def test_another_speed_leaves_the_car_on_its_way_and_heads_along_it() -> None:
    yaw = 0.1 * torch.arange(1.0, 61.0)  # a circle of 20 m to the left
    circle = torch.stack([20 * yaw.sin(), 20 * (1 - yaw.cos()), yaw], -1)[None, ::4][:, :6]
    for speed in (0.0, 6.0, 20.0):
        path = change_speed(circle, torch.tensor([speed]))[0]
        middle = torch.tensor([0.0, 20.0])
        away = (path[:, :2] - middle).norm(dim=-1)
        on = path[:, 2] < circle[0, -1, 2]
        # Chords of 8 m lie up to 0.4 m inside.
        assert ((away[on] > 19.55) & (away[on] < 20.01)).all()
        bearing = torch.atan2(path[:, 0], 20 - path[:, 1])
        torch.testing.assert_close(path[on, 2], bearing[on], atol=0.02, rtol=0)


def test_speeds_are_drawn_from_standing_to_somewhat_faster() -> None:
    speed = torch.tensor([8.0, 0.0, 8.0])
    for draw in (0.0, 0.5, 1.0):
        draws = torch.tensor([[0.2, draw], [0.2, draw], [0.3, draw]])
        drawn = draw_speeds(draws, 0.3, speed)
        assert drawn.tolist() == [draw * (8 + FASTER), draw * FASTER, 8.0]


def test_a_displaced_car_knows_its_own_speed_and_keeps_its_curvature() -> None:
    plain = batch()
    turning = plain.seen.ego._replace(
        speed=torch.tensor([4.0, 4.0, 4.0]), yaw_rate=torch.tensor([0.4, 0.4, 0.4])
    )
    plain = plain._replace(seen=plain.seen._replace(ego=turning))
    start = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    made = displace_starts(plain, start, torch.tensor([6.0, 0.0, 4.0]))
    assert made.seen.ego.speed.tolist() == [6.0, 0.0, 4.0]
    torch.testing.assert_close(made.seen.ego.yaw_rate, torch.tensor([0.6, 0.0, 0.4]))
    # As far ahead as the way of 3 s, at least 8 m; the last window stays as it was.
    targets = torch.tensor([[18.0, -1.0], [8.0, 0.0], plain.seen.ego.target[2].tolist()])
    torch.testing.assert_close(made.seen.ego.target, targets)
    # Images show what is seen from another speed, but not what is seen from another place.
    assert plain.truth.shown.tolist() == [True, True, True]
    assert made.truth.shown.tolist() == [False, True, True]
    slower = change_speed(plain.truth.path[1:2], torch.zeros(1))[0]
    torch.testing.assert_close(made.truth.path[1], slower)
    assert not slower.equal(plain.truth.path[1])
    assert made.truth.path[2].equal(plain.truth.path[2])


def test_windows_are_displaced_in_training_and_in_their_phase_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_small(monkeypatch)
    displacing = plan_off_the_way(displaced=1.0)
    planning = displacing.epochs - 1

    def differs(split: str, epoch: int) -> bool:
        pairs = zip(
            read_batches(displacing, split, epoch),  # type: ignore[arg-type]
            read_batches(SMALL, split, epoch),  # type: ignore[arg-type]
            strict=True,
        )
        return any(not a.truth.path.equal(b.truth.path) for a, b in pairs)

    assert differs("train", planning)
    assert not any(differs("train", epoch) for epoch in range(planning))
    assert not differs("val", planning)
    assert not differs("test", planning)
    whole = list(read_batches(displacing, "train", planning))
    (last,) = read_batches_from(displacing, "train", planning, len(whole) - 1)
    assert last.truth.path.equal(whole[-1].truth.path)
    assert not whole[0].truth.path.equal(whole[-1].truth.path)


def test_tiny_displaces_half_of_the_windows_that_it_plans_from() -> None:
    assert [p.displaced for p in small().phases] == [0.0, 0.0, 0.0, 0.5]
