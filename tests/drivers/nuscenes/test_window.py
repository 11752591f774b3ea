"""Targets on routes, and their commands."""

import numpy as np
import pytest

from drivers.nuscenes.window import find_target, measure_foresight, name_command

ROUTE = np.stack([np.arange(61.0), np.arange(61.0) ** 2 / 10], 1).astype(np.float32)


@pytest.mark.parametrize(
    ("speed", "far"),
    [(0.0, 8.0), (-1.0, 8.0), (8 / 3, 8.0), (4.5, 13.5), (20.0, 60.0), (30.0, 60.0)],
)
def test_a_target_lies_3_s_ahead_but_at_least_8_m_and_at_most_60(
    speed: float, far: float
) -> None:
    assert measure_foresight(speed) == far
    x, y = find_target(ROUTE, speed)
    assert x == far
    before, after = int(far) ** 2 / 10, min(int(far) + 1, 60) ** 2 / 10
    assert y == pytest.approx(before + (far - int(far)) * (after - before))


@pytest.mark.parametrize(
    ("aside", "command"),
    [(2.0, "left"), (1.99, "forward"), (-1.99, "forward"), (-2.0, "right")],
)
def test_the_command_is_to_which_side_the_target_lies(aside: float, command: str) -> None:
    assert name_command((9.0, aside)) == command
