"""Bins: edges from training, every class in use, three read-outs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from tasks.forecasting.windows import Bins, fit_bins, read_bins


def test_all_bins_are_of_equal_width_and_lie_within_the_targets() -> None:
    """The released code gives the least and the largest target a class of their own."""
    bins = fit_bins(np.array([0.0, 10.0, 5.0]), 5)
    assert bins == Bins(low=0.0, high=10.0, count=5)
    values = np.array([-3, 0, 1.9, 2, 5, 9.9, 10, 12])
    assert bins.encode(values).tolist() == [0, 0, 0, 1, 2, 4, 4, 4]
    spread = np.bincount(bins.encode(np.linspace(0, 10, 1001)))
    assert spread.tolist() == [200, 200, 200, 200, 201]


@given(st.integers(2, 60), st.lists(st.floats(-50, 50), min_size=1, max_size=9))
def test_a_place_rounds_to_its_class_and_decodes_to_its_value(
    count: int, values: list[float]
) -> None:
    bins, x = Bins(low=-51.0, high=51.0, count=count), np.array(values)
    assert abs(bins.decode(bins.place(x)) - x).max() < 1e-9
    assert (abs(bins.place(x) - bins.encode(x)) <= 0.5 + 1e-9).all()


@pytest.mark.parametrize(("targets", "count"), [([1.0, 1.0], 5), ([], 5), ([0.0, 1.0], 1)])
def test_bins_over_nothing_are_refused(targets: list[float], count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} bins over {len(targets)} targets: give"):
        fit_bins(np.array(targets), count)


def test_three_read_outs_of_a_skewed_distribution() -> None:
    p = torch.tensor([[0.4, 0.1, 0.1, 0.1, 0.3]], dtype=torch.float64)
    read = [float(read_bins(p, how)) for how in ("expectation", "argmax", "median")]  # type: ignore[arg-type]
    assert read == [pytest.approx(1.8), 0.0, 1.0]


def test_the_median_has_half_the_mass_at_or_below_it() -> None:
    p = torch.tensor([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]], dtype=torch.float64)
    assert read_bins(p, "median").tolist() == [0.0, 1.0, 0.0]


@given(st.integers(0, 24))
@settings(max_examples=10)
def test_all_read_outs_of_a_certain_answer_are_that_answer(k: int) -> None:
    p = torch.zeros(1, 25, dtype=torch.float64)
    p[0, k] = 1
    assert {float(read_bins(p, how)) for how in ("expectation", "argmax", "median")} == {k}  # type: ignore[arg-type]
