"""Feature-FD: halves of equal classes, and what is too little."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from torch import Tensor

from tasks.flow import features
from tasks.flow.config import FlowConfig, tiny
from tasks.flow.data import read_split
from tasks.flow.features import choose_half, make_reference
from tasks.image_metrics.frechet import compute_distance, fit_gaussian
from tasks.runs.task import Split


@given(labels=st.lists(st.integers(0, 3), max_size=30))
def test_halves_have_equally_many_images_of_each_class_or_one_less(labels: list[int]) -> None:
    own = np.array(labels, np.int64)
    first = choose_half(own, 4)
    one, other = (np.bincount(own[k], minlength=4) for k in (first, ~first))
    assert np.abs(one - other).max() <= 1
    assert 0 <= len(own) - 2 * first.sum() <= 1


def test_halves_of_images_by_class_are_not_classes() -> None:
    assert choose_half(np.repeat(np.arange(3), 4), 3).tolist() == [True, True, False, False] * 3


def test_the_floor_does_not_depend_on_the_order_of_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By class, as in class folders, the first half of all would be the first classes."""

    def sort(config: FlowConfig, split: Split) -> tuple[Tensor, Tensor]:
        x, labels = read_split(config, split)
        order = labels.argsort(stable=True)
        return x[order], labels[order]

    monkeypatch.setattr(features, "STEPS", 40)
    config = replace(tiny(), train=1000, test=300)
    classifier = features.train_classifier(*read_split(config, "train"), 10)
    monkeypatch.setattr(features, "train_classifier", lambda *_: classifier)
    found = []
    for read in (read_split, sort):
        monkeypatch.setattr(features, "read_split", read)
        found.append(features._make_reference.__wrapped__(config))
    assert found[0].floor == pytest.approx(found[1].floor, rel=1e-3)
    x, labels = read_split(config, "train")
    ones = [fit_gaussian(features.describe(classifier, x[k])) for k in (labels < 5, labels > 4)]
    assert found[0].floor < 0.1 * compute_distance(*ones)


@pytest.mark.parametrize("change", [{"train": 3}, {"test": 1}])
def test_too_few_real_images_are_refused(change: dict[str, int]) -> None:
    config = replace(tiny(), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="feature-FD needs 4 of each"):
        make_reference(config)
