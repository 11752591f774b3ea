"""The Mackey-Glass series: accuracy of the integration, statistics, bad input."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from drivers.series import generate_mackey_glass


def test_half_the_step_changes_nothing_but_chaos() -> None:
    coarse, fine = (generate_mackey_glass(2000, dt=dt) for dt in (0.1, 0.05))
    assert abs(coarse - fine)[:300].max() < 1e-4
    assert abs(coarse - fine)[:20].max() < 1e-9


def test_the_first_delay_is_the_ordinary_equation_with_a_constant_past() -> None:
    """Up to t = 17 the delayed value is the constant: x' = c - gamma x has a closed form."""
    t = np.arange(18)
    level = 0.2 * 0.9 / (1 + 0.9**10) / 0.1
    exact = level + (0.9 - level) * np.exp(-0.1 * t)
    assert abs(generate_mackey_glass(18) - exact).max() < 1e-9


def test_the_second_delay_is_that_of_a_library() -> None:
    level = 0.2 * 0.9 / (1 + 0.9**10) / 0.1

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        delayed = level + (0.9 - level) * np.exp(-0.1 * (t - 17))
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

    first = generate_mackey_glass(35)
    ours, start = first[17:], first[17:18]
    t = np.arange(17, 35)
    theirs = solve_ivp(slope, (17, 34), start, "DOP853", t, rtol=1e-11, atol=1e-11).y[0]
    assert abs(ours - theirs).max() < 1e-7


def test_its_range_mean_and_spread_are_those_of_the_literature() -> None:
    x = generate_mackey_glass(8000)
    assert (x.min(), x.max()) == pytest.approx((0.418, 1.32), abs=0.02)
    assert (x.mean(), x.std()) == pytest.approx((0.930, 0.226), abs=0.005)


def test_samples_are_left_out_at_the_start_and_taken_at_multiples() -> None:
    x = generate_mackey_glass(100)
    assert np.array_equal(generate_mackey_glass(60, skip=40), x[40:])
    assert np.array_equal(generate_mackey_glass(34, every=3.0), x[::3])
    assert x[0] == 0.9
    assert generate_mackey_glass(1, past=1.1).tolist() == [1.1]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="cannot be generated") as error:
        generate_mackey_glass(0, past=-1.0, dt=0.3, every=0.5)
    assert str(error.value).splitlines()[1:] == [
        "samples 0 and skip 0: give at least 1 and 0",
        "past is -1.0; give a positive number, 0.9 is usual",
        "dt is 0.3, and the delay of 17 no multiple; 0.1 fits",
        "every is 0.5; give a multiple of the step, 0.3",
    ]
    with pytest.raises(ValueError, match=r"dt is 0\.0; give a step above 0"):
        generate_mackey_glass(5, dt=0.0)
