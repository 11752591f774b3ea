from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st

from tasks.driving.presets import paper, small
from tasks.driving.sampler import (
    COMMANDS,
    EgoState,
    Sampler,
    drive_along,
    find_reach,
    sample_anchored,
    sample_clothoids,
    spread_points,
)


def ego(speed: float, yaw_rate: float = 0.0, command: str = "forward") -> EgoState:
    target = torch.tensor([[10.0, 3.0 * (1 - COMMANDS.index(command))]])
    return EgoState(torch.tensor([speed]), torch.tensor([yaw_rate]), target)


ANCHORED = Sampler(small())
CLOTHOIDS = Sampler(replace(small(), planner=replace(small().planner, sampler="clothoid")))


def test_the_first_candidate_keeps_speed_and_curvature() -> None:
    straight = ANCHORED(ego(8.0))[0, 0]
    torch.testing.assert_close(straight[:, 0], 4.0 * torch.arange(1.0, 7.0))
    assert not straight[:, 1:].any()
    turning = ANCHORED(ego(8.0, yaw_rate=0.4))[0, 0]
    torch.testing.assert_close(turning[:, 2], 0.2 * torch.arange(1.0, 7.0))
    radius = 8.0 / 0.4
    end = torch.tensor([torch.sin(turning[-1, 2]), 1 - torch.cos(turning[-1, 2])]) * radius
    torch.testing.assert_close(turning[-1, :2], end, atol=2e-3, rtol=1e-3)


@given(st.floats(0, 20), st.floats(-0.5, 0.5), st.sampled_from(COMMANDS))
def test_anchored_candidates_change_speed_by_what_a_car_can(
    speed: float, yaw_rate: float, command: str
) -> None:
    path = ANCHORED(ego(speed, yaw_rate, command))[0]
    before = torch.cat([torch.zeros(len(path), 1, 2), path[:, :-1, :2]], 1)
    first = (path[:, 0, :2] - before[:, 0]).norm(dim=-1) / 0.5
    # -4 m/s^2 is 1 m/s in the mean over 0.5 s; what shifts inside a turn goes a shorter way.
    assert first.min() >= 0.97 * max(0, speed - 1.0) - 0.01
    assert first.max() <= 1.05 * (speed + 0.5) + 0.05
    assert path.isfinite().all()


@pytest.mark.parametrize("sampler", [ANCHORED, CLOTHOIDS])
def test_left_is_right_in_the_mirror_and_forward_goes_both_ways(sampler: Sampler) -> None:
    left, forward, right = (sampler(ego(8.0, command=c))[0, :, -1, 1] for c in COMMANDS)
    assert left.mean() > 2
    assert right.mean() < -2
    assert abs(float(forward.mean())) < 0.5


def test_left_mirrors_right_exactly_when_anchored() -> None:
    left, right = (ANCHORED(ego(9.0, command=c)) for c in ("left", "right"))
    mirror = torch.tensor([1.0, -1.0, -1.0])
    torch.testing.assert_close(left, right * mirror)


def test_anchored_candidates_hold_a_stop_a_lane_change_and_a_turn() -> None:
    forward = ANCHORED(ego(5.0))[0]
    assert forward[:, -1, 0].min() < 4  # from 5 m/s: 5^2 / (2 * 4) m is the shortest way
    far = forward[:, -1, 0] > 12
    assert forward[far, -1, 1].max() > 3
    assert forward[far, -1, 1].min() < -3
    assert ANCHORED(ego(5.0, command="left"))[0, :, -1, 2].max() > 1.2


@pytest.mark.parametrize("speed", [0.0, 3.0, 5.0, 10.0])
def test_by_a_command_to_a_side_all_but_the_first_go_there(speed: float) -> None:
    reach = float(find_reach(torch.tensor([speed]))[0])
    for command, sign in (("left", 1), ("right", -1)):
        path = ANCHORED(ego(speed, command=command))[0, 1:]
        way = path[..., :2].diff(dim=1, prepend=path[:, :1, :2] * 0).norm(dim=-1).sum(-1)
        far = (way >= reach) & (path[:, -1, 2].abs() < 1.5)
        assert int(far.sum()) > 10
        assert float((sign * path[far, -1, 1]).min()) > 1.3
    straight = ANCHORED(ego(speed))[0]
    assert (straight[straight[:, -1, 2].abs() < 0.02, -1, 1].abs() < 2.6).all()


@pytest.mark.parametrize("speed", [2.0, 6.0])
def test_half_of_those_to_a_side_go_straight_on_before_they_turn(speed: float) -> None:
    reach = max(3 * speed, 8.0)
    late = (2 * ANCHORED.draws[1:, 3] - 1).clamp(min=0) * (reach - 5.0)
    path = ANCHORED(ego(speed, command="left"))[0, 1:]
    way = path[..., :2].diff(dim=1, prepend=path[:, :1, :2] * 0).norm(dim=-1).cumsum(-1)
    before, moving = way < late[:, None] - 0.01, way > 0
    assert not path[before][:, 1:].any()
    assert (path[moving & (way > late[:, None] + 0.5)][:, 1:] > 0).all()
    waits = before[:, -1] & ~path[:, -1, 1:].any(-1)
    assert float(waits.float().mean()) > 0.1  # they end before they turn
    assert float((late == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    # Then they turn as sharply as a car can: by 1.5 m within the 5 m that are left at least.
    latest = (late > 0.8 * (reach - 5.0)) & (way[:, -1] > reach + 0.5)
    assert int(latest.sum()) > 5
    assert float(path[latest, -1, 1].min()) > 1.3


def test_who_shifts_late_shifts_less() -> None:
    draws = ANCHORED.draws.clone()
    draws[:, 1] = 0  # none turns
    path = sample_anchored(ego(6.0, command="left"), draws, 6)[0, 1:]
    left = 1 - (2 * draws[1:, 3] - 1).clamp(min=0) * (18.0 - 5.0) / 18.0  # share of 18 m
    expected = torch.maximum(4 * draws[1:, 2] * left, torch.tensor(1.5))
    far = path[:, -1, 0] > 18.1
    assert int((far & (left < 1) & (expected > 1.5)).sum()) > 10
    torch.testing.assert_close(path[far, -1, 1], expected[far], atol=1e-3, rtol=0)


def test_late_turns_keep_the_curvature_until_they_begin() -> None:
    late = (2 * ANCHORED.draws[:, 3] - 1).clamp(min=0) * (24.0 - 5.0)
    path = ANCHORED(ego(8.0, yaw_rate=0.4, command="left"))[0]
    way = path[..., :2].diff(dim=1, prepend=path[:, :1, :2] * 0).norm(dim=-1).cumsum(-1)
    before = way < late[:, None] - 0.01
    assert int(before.sum()) > 100
    # Chords are a little shorter than arcs of 20 m.
    torch.testing.assert_close(path[..., 2][before], way[before] / 20, atol=2e-3, rtol=3e-3)


def test_a_slow_car_that_turns_by_mistake_can_turn_back() -> None:
    # 2 m/s on a circle of 20 m to the right: over the last steps, candidates turn either way.
    path = ANCHORED(ego(2.0, yaw_rate=-0.1))[0]
    steps = path.diff(dim=1)
    moving = steps[:, -1, :2].norm(dim=-1) > 0.5
    bend = (steps[:, -1, 2] / steps[:, -1, :2].norm(dim=-1))[moving]
    assert bend.max() > 0.05
    assert bend.min() < -0.1
    assert (bend > 0).float().mean() > 0.2


@pytest.mark.parametrize(
    ("speed", "most"), [(4.0, 0.1), (5.0, 0.08), (10.0, 0.03)], ids=["slow", "middle", "fast"]
)
def test_forward_ends_in_a_bend_by_speed_and_a_share_of_the_curvature_now(
    speed: float, most: float
) -> None:
    own = ego(speed, yaw_rate=-0.05 * speed)
    path, draws = ANCHORED(own)[0], ANCHORED.draws
    last = path[:, -1] - path[:, -2]
    length = last[:, :2].norm(dim=-1)
    bend = 2 * draws[:, 1] - 1
    expected = most * bend * bend.abs() - 0.05 * draws[:, 3]
    # Those that hardly shift to a side, and still move.
    judged = ((2 * draws[:, 2] - 1).abs() < 0.1) & (length > 0.5)
    judged[0] = False  # the one that keeps all
    assert int(judged.sum()) > 5
    found = last[:, 2] / length
    # A shift of 0.13 m over 12 m or more bends by up to 5.8 * 0.13 / 12^2 = 0.005 / m.
    torch.testing.assert_close(found[judged], expected[judged], atol=6e-3, rtol=0)


def test_a_path_shifts_over_the_way_of_three_seconds() -> None:
    speeds = torch.tensor([0.0, 2.0, 5.0, 10.0])
    assert find_reach(speeds).tolist() == [8.0, 8.0, 15.0, 30.0]


def test_a_shifted_path_ends_in_its_lane_along_the_road() -> None:
    sampler = ANCHORED(ego(8.0))[0]
    steps = sampler[:, 1:] - sampler[:, :-1]
    along = torch.atan2(steps[..., 1], steps[..., 0])
    middle = (sampler[:, 1:, 2] + sampler[:, :-1, 2]) / 2
    fast = steps[..., :2].norm(dim=-1) > 1
    assert (along - middle)[fast].abs().max() < 0.05


def test_standing_still_is_a_candidate_at_rest() -> None:
    path = ANCHORED(ego(0.0))[0]
    stands = (path[:, -1].abs().sum(-1) == 0).float().mean()
    assert float(stands) == pytest.approx(0.5 / 2.5, abs=0.01)  # of accelerations -1/2 to 2
    assert path[..., 0].max() > 5


@pytest.mark.parametrize(
    ("speed", "hardest"), [(0.5, -1.5), (1.0, -2.5), (1.75, -4.0), (10.0, -4.0)]
)
def test_what_a_slow_car_brakes_depends_on_its_speed(speed: float, hardest: float) -> None:
    path = ANCHORED(ego(speed))[0, 1:, :, :2]
    # Stands from 1 s to 1.5 s: speeds are those in the middle of small steps, the first 1.05 s.
    stands = ((path[:, 2] - path[:, 1]).norm(dim=-1) == 0).float().mean()
    expected = max(0.0, -speed / 1.05 - hardest) / (2 - hardest)
    assert float(stands) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("turns", [0.1, 0.3])
def test_clothoids_bend_by_their_scale_of_6_to_80_m(share: float, turns: float) -> None:
    """One candidate is one to the left; it keeps its speed of 8 m/s, 0.8 m in a small step."""
    draws = torch.tensor([[0.3, turns, share, 0.1]])
    path = sample_clothoids(ego(8.0, yaw_rate=0.4), draws, 6)
    of_circle = 0.4 / 8 * 24
    bend = 0.0 if turns < 0.2 else 0.8**2 * sum(range(1, 31)) / (6 + 74 * share) ** 2
    assert path[0, 0, -1, 2].item() == pytest.approx(of_circle + bend, rel=1e-4)


def test_clothoids_take_the_third_of_the_command_three_times() -> None:
    path = CLOTHOIDS(ego(8.0, command="left"))[0]
    assert torch.equal(path[:100], path[100:200])
    assert torch.equal(path[:100], path[200:])
    ends = [CLOTHOIDS(ego(8.0, command=c))[0, :, -1, 1] for c in COMMANDS]
    assert ends[0].min() >= ends[1].max() - 1e-6
    assert ends[1].min() >= ends[2].max() - 1e-6


def test_candidates_depend_on_their_own_window_alone() -> None:
    for sampler in (ANCHORED, CLOTHOIDS):
        one, other = ego(8.0, 0.1, "left"), ego(3.0, -0.1, "right")
        both = EgoState(*(torch.cat(pair) for pair in zip(one, other, strict=True)))
        assert torch.equal(sampler(both)[0], sampler(one)[0])
        assert torch.equal(sampler(both)[1], sampler(other)[0])


def test_another_seed_draws_others_and_the_same_the_same() -> None:
    first, again, other = (Sampler(small(), seed).draws for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_points_fill_the_cube_more_evenly_than_chance() -> None:
    points = spread_points(1000, 4, 0)
    assert points.shape == (1000, 4)
    for axis in points.T:
        counts = torch.tensor(axis).mul(20).floor().long().bincount(minlength=20)
        assert counts.min() >= 45
        assert counts.max() <= 60
    quadrants = (points[:, 0] > 0.5) * 2 + (points[:, 1] > 0.5)
    assert torch.tensor(quadrants).long().bincount().min() >= 240


def test_a_circle_closes() -> None:
    steps = 1000
    speed = torch.full((1, 1, steps), 2 * torch.pi)
    end = drive_along(speed, torch.ones(1, 1, steps), 1 / steps)[0, 0, -1]
    torch.testing.assert_close(
        end, torch.tensor([0.0, 0.0, 2 * torch.pi]), atol=1e-3, rtol=1e-4
    )


def test_the_paper_has_1800_candidates_of_six_frames() -> None:
    assert Sampler(paper())(ego(8.0)).shape == (1, 1800, 6, 3)
