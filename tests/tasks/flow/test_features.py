"""Feature-FD: halves with equal classes; too few images are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tasks.flow.config import tiny
from tasks.flow.data import read_split
from tasks.flow.features import choose_half, describe, make_reference, measure_floor
from tasks.images.metrics.frechet import compute_distance, fit_gaussian


@given(labels=st.lists(st.integers(0, 3), max_size=30))
def test_halves_have_equally_many_images_of_each_class_or_one_less(labels: list[int]) -> None:
    own = np.array(labels, np.int64)
    first = choose_half(own, 4)
    one, other = (np.bincount(own[k], minlength=4) for k in (first, ~first))
    assert np.abs(one - other).max() <= 1
    assert 0 <= len(own) - 2 * first.sum() <= 1


def test_halves_of_images_by_class_are_not_classes() -> None:
    assert choose_half(np.repeat(np.arange(3), 4), 3).tolist() == [True, True, False, False] * 3


@pytest.mark.parametrize("by_class", [False, True])
def test_the_floor_is_that_of_independent_halves_whatever_the_order(by_class: bool) -> None:
    """In both orders the halves differ: by drift, or in their classes."""
    rng, n, d = np.random.default_rng(0), 2000, 4
    labels = np.sort(rng.integers(0, 5, n)) if by_class else np.arange(n) % 5
    drift = labels if by_class else np.arange(n) / n
    drawn = rng.normal(size=(n, d))
    features = drawn + 3 * drift[:, None]
    ordered = compute_distance(*(fit_gaussian(x) for x in np.split(features, 2)))
    assert ordered > 5
    # The means of halves differ by 4 var / n per dimension, the roots of covariances equally.
    expected = 4 * np.trace(np.cov(features.T)) / n
    assert expected / 10 < measure_floor(features, labels, 5) < 3 * expected


def test_the_reference_is_of_the_training_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.flow.features.STEPS", 5)
    config = replace(tiny(), train=300, test=200, seed_of_data=40)  # used by no other test
    found = make_reference(config)
    (images, labels), (tested, _) = (read_split(config, part) for part in ("train", "test"))
    features = describe(found.classifier, images)
    assert found.floor == measure_floor(features, labels.numpy(), 10)
    assert found.distance(images) == pytest.approx(0, abs=1e-6)
    assert found.distance(tested) == pytest.approx(found.test)
    assert found.test > 0.1 * found.floor


@pytest.mark.parametrize("change", [{"train": 3}, {"test": 1}])
def test_too_few_real_images_are_refused(change: dict[str, int]) -> None:
    config = replace(tiny(), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="feature-FD needs 4 of each"):
        make_reference(config)
