"""The Epileptor: its equations, its convergence, and the seizures of patients."""

import numpy as np
import pytest

from drivers.series.epileptor import (
    BEGIN,
    END,
    START,
    draw_excitability,
    generate_patient,
    integrate_epileptor,
)
from drivers.series.events import find_events


def find_slope(state: np.ndarray, x0: float) -> np.ndarray:
    """Return the derivative of the state, from the equations as they are printed."""
    x1, y1, z, x2, y2, g = state
    f1 = x1**3 - 3 * x1**2 if x1 < 0 else (x2 - 0.6 * (z - 4) ** 2) * x1
    f2 = 0 if x2 < -0.25 else 6 * (x2 + 0.25)
    slope = [
        y1 - f1 - z + 3.1,
        1 - 5 * x1**2 - y1,
        0.00035 * (4 * (x1 - x0) - z - (0.1 * z**7 if z < 0 else 0)),
        -y2 + x2 - x2**3 + 0.45 + 0.002 * (g * 1000) - 0.3 * (z - 3.5),
        (-y2 + f2) / 10,
        -0.01 * (g - 0.1 * x1),
    ]
    return np.array(slope)


def step_slowly(state: np.ndarray, x0: float, dt: float) -> np.ndarray:
    """Return the state a step of the classical Runge-Kutta method later."""
    slopes = [find_slope(state, x0)]
    for share in (0.5, 0.5, 1.0):
        slopes.append(find_slope(state + share * dt * slopes[-1], x0))
    return np.asarray(state + dt * np.average(slopes, axis=0, weights=(1, 2, 2, 1)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", [START, (0.5, -3.0, 3.2, 0.3, 0.8, 0.1), (-1.8, -20.0, -0.6, 0.3, 0.8, 0.1)]
)
def test_it_keeps_the_equations(
    start: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From rest, from a burst, and from where z is negative."""
    monkeypatch.setattr("drivers.series.epileptor.START", start)
    x0 = np.array([[-1.9, -1.6], [-1.8, -1.7], [-2.0, -1.5], [-2.0, -1.5]])
    x0 = x0[: 2 if start[2] < 0 else 4]
    found = integrate_epileptor(x0, dt=0.1)
    for patient in range(2):
        state = np.array(start)
        for k in range(len(x0)):
            np.testing.assert_allclose(found.signal[k, patient], state[3] - state[0], 1e-12)
            np.testing.assert_allclose(found.x1[k, patient], state[0], 1e-12)
            np.testing.assert_allclose(found.z[k, patient], state[2], 1e-12)
            for _ in range(10):
                state = step_slowly(state, x0[k, patient], 0.1)


def test_the_error_is_of_order_four() -> None:
    steps = (0.05, 0.0125, 0.00625, 0.003125)
    usual, coarse, middle, fine = (
        integrate_epileptor(np.full((100, 1), -1.9), dt).signal for dt in steps
    )
    assert abs(usual - fine).max() < 1e-7
    error, halved = abs(coarse - middle).max(), abs(middle - fine).max()
    assert error / halved == pytest.approx(16, rel=0.1)


def test_seizures_begin_and_end_when_a_fine_integration_says() -> None:
    """By SciPy's DOP853, relative tolerance 1e-11; Euler ends the second at -1.8 101 later."""
    series = integrate_epileptor(np.tile([-2.0, -1.8], (6890, 1)))
    found = [find_events(series.x1[:, k], BEGIN, END) for k in range(2)]
    assert [event.start.tolist() for event in found] == [[1337, 3771, 6206], [867, 2878, 4889]]
    assert [event.stop.tolist() for event in found] == [[1996, 4430, 6865], [1655, 3665, 5676]]


def test_x0_wanders_as_an_ornstein_uhlenbeck_process() -> None:
    x = draw_excitability(1_000_000, -1.9, [3]) + 1.9
    assert x.std() == pytest.approx(0.25, rel=0.05)
    lagged = np.mean(x[500:] * x[:-500]) / np.mean(x * x)
    assert lagged == pytest.approx(np.exp(-1), abs=0.05)
    starts = [draw_excitability(1, 0.0, [k])[0] for k in range(400)]
    assert np.std(starts) == pytest.approx(0.25, rel=0.1)


@pytest.mark.slow
def test_patients_have_as_many_and_as_long_seizures_as_in_the_pilot() -> None:
    """The pilot had 13 to 20 in 40,000 units, of 720 to 890 on average."""
    tables = [generate_patient(40_000, seed).seizures for seed in range(12)]
    counts = [len(own.start) for own in tables]
    lengths = [(own.stop - own.start).mean() for own in tables]
    assert min(counts) >= 13
    assert max(counts) <= 20
    assert 720 < np.mean(lengths) < 890
    gaps = np.concatenate([np.diff(own.start) for own in tables])
    assert gaps.std() / gaps.mean() > 0.15  # irregular


def test_a_patient_follows_from_the_seed_alone() -> None:
    first, again, other = (generate_patient(3000, seed, 0.1) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.signal, again.signal)
    np.testing.assert_array_equal(first.seizures.start, again.seizures.start)
    assert abs(first.signal - other.signal).max() > 0.5


def test_noise_of_the_measurement_does_not_reach_the_equations() -> None:
    clean, noisy = (generate_patient(20_000, 4, noise) for noise in (0.0, 0.3))
    assert (noisy.signal - clean.signal).std() == pytest.approx(0.3, rel=0.03)
    np.testing.assert_array_equal(clean.z, noisy.z)
    np.testing.assert_array_equal(clean.seizures.stop, noisy.seizures.stop)


def test_what_is_out_of_range_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"dt is 0\.3") as error:
        integrate_epileptor(np.array([[np.nan]]), 0.3)
    assert "x0 holds what is no finite number" in str(error.value)
    with pytest.raises(ValueError, match="divides 1"):
        integrate_epileptor(np.zeros((1, 1)), 0.03)
    with pytest.raises(ValueError, match=r"0 samples with noise of -1\.0"):
        generate_patient(0, 0, -1.0)
