"""The Lorenz system: accuracy of the integration, statistics, bad input."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from drivers.series import generate_lorenz


def test_it_is_that_of_a_library() -> None:
    def slope(_: float, at: np.ndarray) -> list[float]:
        x, y, z = at
        return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]

    t = np.arange(101) * 0.02
    theirs = solve_ivp(slope, (0, 2), (1, 1, 1), "DOP853", t, rtol=1e-11, atol=1e-11).y.T
    assert abs(generate_lorenz(101) - theirs).max() < 1e-3
    assert abs(generate_lorenz(101, steps=16) - theirs).max() < 1e-5


def test_the_fixed_point_stays_and_a_small_rho_falls_to_rest() -> None:
    c = (28 - 1) ** 0.5 * (8 / 3) ** 0.5
    assert abs(generate_lorenz(50, start=(c, c, 27.0)) - [c, c, 27]).max() < 1e-8
    assert abs(generate_lorenz(2000, rho=0.5)[-1]).max() < 1e-6


def test_its_mean_and_spread_are_those_of_the_attractor() -> None:
    x, y, z = generate_lorenz(8000, skip=500).T
    assert (x.std(), z.mean(), z.std()) == pytest.approx((7.93, 23.55, 8.62), abs=0.4)
    assert abs(y).max() < 30


def test_samples_are_left_out_at_the_start() -> None:
    assert np.array_equal(generate_lorenz(20, skip=30), generate_lorenz(50)[30:])


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="cannot be generated") as error:
        generate_lorenz(0, rho=float("nan"), every=1.0)
    assert str(error.value).splitlines()[1:] == [
        "samples 0, skip 0 and steps 4: give at least 1, 0, and 1",
        "every is 1.0; give a time above 0 and at most 0.2, 0.02 is usual",
        "rho nan and start (1.0, 1.0, 1.0): give finite numbers",
    ]
