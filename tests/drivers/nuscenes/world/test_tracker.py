import numpy as np
import pytest

from drivers.nuscenes.world.instant import Ego
from drivers.nuscenes.world.tracker import (
    HARDEST,
    drive_bicycle,
    follow_trajectory,
    make_trajectory,
)

TIMES = 0.5 * np.arange(1, 7)


def follow(ego: Ego, path: np.ndarray, steps: int = 30) -> Ego:
    trajectory = make_trajectory(ego, path)
    for step in range(steps):
        ego = follow_trajectory(ego, trajectory, step / 10)
    return ego


def test_straight_on_at_the_same_speed_nothing_is_done() -> None:
    ego = Ego(x=3.0, y=4.0, yaw=np.pi / 2, speed=8.0)
    after = follow(ego, np.stack([8 * TIMES, 0 * TIMES, 0 * TIMES], 1))
    np.testing.assert_allclose([after.x, after.y, after.yaw], [3, 28, np.pi / 2], atol=1e-9)
    assert after.speed == pytest.approx(8)
    assert after.curvature == pytest.approx(0, abs=1e-9)


def test_a_circle_is_driven_with_its_curvature() -> None:
    turn = TIMES * 6 / 20  # 6 m/s on a radius of 20 m, to the left
    ego = Ego(x=0.0, y=0.0, yaw=0.0, speed=6.0, curvature=1 / 20)
    after = follow(ego, np.stack([20 * np.sin(turn), 20 - 20 * np.cos(turn), turn], 1))
    want = [20 * np.sin(0.9), 20 - 20 * np.cos(0.9), 0.9]
    np.testing.assert_allclose([after.x, after.y, after.yaw], want, atol=0.15)
    assert after.curvature == pytest.approx(1 / 20, abs=0.01)


def test_a_path_to_the_side_is_reached_on_either_side() -> None:
    ease = 3 * (TIMES / 3) ** 2 - 2 * (TIMES / 3) ** 3
    for side in (3.0, -3.0):
        ego = Ego(x=0.0, y=0.0, yaw=0.0, speed=8.0)
        after = follow(ego, np.stack([8 * TIMES, side * ease, 0 * TIMES], 1))
        np.testing.assert_allclose([after.x, after.y], [24, side], atol=0.35)


def test_a_slower_path_is_braked_for_and_one_that_stays_is_stopped_at() -> None:
    ego = Ego(x=0.0, y=0.0, yaw=0.0, speed=6.0)
    way = 6 * TIMES - TIMES**2  # 2 m/s^2 of braking
    after = follow(ego, np.stack([way, 0 * TIMES, 0 * TIMES], 1))
    assert after.x == pytest.approx(9, abs=0.2)
    assert follow(ego, np.zeros((6, 3)), 40).speed == 0.0
    standing = Ego(x=1.0, y=2.0, yaw=0.3, speed=0.0)
    after = follow(standing, np.zeros((6, 3)))
    assert (after.x, after.y, after.yaw, after.speed) == (1.0, 2.0, 0.3, 0.0)


def test_after_its_last_point_a_path_is_over() -> None:
    ego = Ego(x=0.0, y=0.0, yaw=0.0, speed=5.0)
    after = follow(ego, np.array([[2.5, 0.0, 0.0]]), 40)
    assert after.speed == 0
    assert 2.5 < after.x < 6


def test_the_bicycle_turns_on_the_circle_of_its_curvature_and_does_not_reverse() -> None:
    ego = Ego(x=0.0, y=0.0, yaw=0.0, speed=5.0)
    for _ in range(20):
        ego = drive_bicycle(ego, 0.0, 0.1)
    np.testing.assert_allclose(
        [ego.x, ego.y, ego.yaw], [10 * np.sin(1), 10 - 10 * np.cos(1), 1], atol=1e-3
    )
    assert ego.yaw_rate == pytest.approx(0.5)
    after = drive_bicycle(Ego(x=0.0, y=0.0, yaw=0.0, speed=0.4), -HARDEST, 0.0)
    assert (after.speed, after.x, after.acceleration) == pytest.approx((0.0, 0.02, -4.0))


@pytest.mark.parametrize("path", [np.empty((0, 3)), np.array([[1.0, np.nan, 0.0]])])
def test_a_path_that_is_none_is_refused(path: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one finite"):
        make_trajectory(Ego(x=0.0, y=0.0, yaw=0.0, speed=5.0), path)
