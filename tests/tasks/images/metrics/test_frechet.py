import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.linalg import sqrtm

from tasks.images.metrics.frechet import Gaussian, compute_distance, fit_gaussian

SEEDS = st.integers(0, 10**6)


def some(rng: np.random.Generator, d: int, rank: int | None = None) -> Gaussian:
    a = rng.normal(size=(d, rank or d))
    return Gaussian(rng.normal(size=d), a @ a.T)


@given(seed=SEEDS, d=st.integers(1, 8))
def test_it_is_the_formula_with_the_root_of_the_product(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = some(rng, d), some(rng, d)
    root = np.real(sqrtm(one.covariance @ other.covariance))
    apart = np.square(one.mean - other.mean).sum()
    want = apart + np.trace(one.covariance + other.covariance - 2 * root)
    assert compute_distance(one, other) == pytest.approx(want, rel=1e-6, abs=1e-6)


@given(seed=SEEDS, d=st.integers(1, 8))
def test_where_covariances_commute_it_is_the_distance_of_means_and_deviations(
    seed: int, d: int
) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    s, r = rng.uniform(0, 3, (2, d))
    one = Gaussian(rng.normal(size=d), turn @ np.diag(s**2) @ turn.T)
    other = Gaussian(rng.normal(size=d), turn @ np.diag(r**2) @ turn.T)
    want = np.square(one.mean - other.mean).sum() + np.square(s - r).sum()
    assert compute_distance(one, other) == pytest.approx(want, rel=1e-9, abs=1e-6)


@settings(max_examples=20)
@given(seed=SEEDS)
def test_it_is_symmetric_and_zero_for_equals_also_without_full_rank(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = some(rng, 6, rank=2), some(rng, 6)
    assert compute_distance(one, other) == pytest.approx(compute_distance(other, one), abs=1e-5)
    assert compute_distance(one, one) == pytest.approx(0, abs=1e-5)
    assert compute_distance(one, other) > 0


def test_features_become_mean_and_unbiased_covariance() -> None:
    found = fit_gaussian(np.array([[0, 0], [2, 4], [4, 2]], np.float32))
    assert found.mean.tolist() == [2, 2]
    assert found.covariance.tolist() == [[4, 2], [2, 4]]
    assert found.covariance.dtype == np.float64
