"""Features of a window, against signals whose features are known."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tasks.forecasting.seizures import LEAST, NAMES, describe_windows, remove_baseline

ONE = np.array([0], np.int64)


@given(st.integers(1, 50), st.integers(1, 60))
def test_the_baseline_is_the_mean_of_the_samples_up_to_now(samples: int, length: int) -> None:
    x = np.random.default_rng(samples).normal(size=samples)
    slow = [x[t] - x[max(0, t + 1 - length) : t + 1].mean() for t in range(samples)]
    np.testing.assert_allclose(remove_baseline(x, length), slow, atol=1e-12)


def test_no_feature_looks_ahead() -> None:
    x = np.random.default_rng(0).normal(size=300)
    changed = x.copy()
    changed[164:] += 5
    starts = np.array([0, 50, 100], np.int64)
    first, second = (describe_windows(v, starts, 64, 100) for v in (x, changed))
    np.testing.assert_array_equal(first, second)


def test_a_wave_has_its_power_in_its_band() -> None:
    t = np.arange(64)
    for cycles, band in ((1.5, 0), (3.5, 1), (6, 2), (12, 3), (24, 4)):
        x = np.sin(2 * np.pi * cycles * t / 64)
        power = describe_windows(x, ONE, 64, 64)[0, 7:12]
        assert int(np.argmax(power)) == band


def test_features_of_an_alternating_signal() -> None:
    x = np.tile([1.0, -1.0], 200) + 3
    found = dict(zip(NAMES, describe_windows(x, np.array([200]), 64, 100)[0], strict=True))
    assert found["log variance"] == pytest.approx(0, abs=1e-9)
    assert found["log line length"] == pytest.approx(np.log(2))
    assert found["kurtosis"] == pytest.approx(-2)
    assert found["autocorrelation 1"] == pytest.approx(-63 / 64)
    assert found["autocorrelation 8"] == pytest.approx(56 / 64)
    assert found["mean"] == pytest.approx(3)


def test_silence_has_finite_features() -> None:
    found = describe_windows(np.zeros(64), ONE, 64, 10)[0]
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(np.log(LEAST))
