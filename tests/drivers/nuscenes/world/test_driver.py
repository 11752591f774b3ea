import numpy as np
import pytest

from drivers.nuscenes.world.driver import HARDEST, S0, A, B, T, follow


def accelerate(speed: float, wanted: float, gap: float, lead: float) -> float:
    return float(follow(*(np.array([value]) for value in (speed, wanted, gap, lead)))[0])


def test_a_free_road_is_driven_at_the_wanted_speed() -> None:
    assert accelerate(0.0, 10.0, np.inf, 0.0) == A
    assert accelerate(10.0, 10.0, np.inf, 0.0) == 0.0
    assert accelerate(5.0, 10.0, np.inf, 0.0) == pytest.approx(A * 15 / 16)
    assert accelerate(30.0, 10.0, np.inf, 0.0) == -B


def test_behind_a_car_of_the_same_speed_the_gap_of_the_model_is_kept() -> None:
    speed = 8.0
    gap = (S0 + speed * T) / np.sqrt(1 - (speed / 10) ** 4)  # Treiber 2000, equation (6)
    assert accelerate(speed, 10.0, gap, speed) == pytest.approx(0.0, abs=1e-12)
    assert accelerate(speed, 10.0, gap - 1, speed) < 0 < accelerate(speed, 10.0, gap + 1, speed)


def test_closing_in_needs_brakes_by_hand() -> None:
    keep = S0 + 10 * T + 10 * 4 / (2 * np.sqrt(A * B))
    want = A * (1 - (10 / 12) ** 4 - (keep / 20) ** 2)
    assert accelerate(10.0, 12.0, 20.0, 6.0) == pytest.approx(want)
    assert accelerate(10.0, 12.0, 0.0, 0.0) == -HARDEST
    away = S0  # who is left behind keeps no more than that
    assert accelerate(2.0, 12.0, 20.0, 30.0) == pytest.approx(
        A * (1 - (2 / 12) ** 4 - (away / 20) ** 2)
    )
