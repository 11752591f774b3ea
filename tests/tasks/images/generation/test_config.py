from dataclasses import replace

import pytest

from tasks.images.generation.config import ann, cifar10, full, small


def test_sizes_follow_from_the_channels_and_the_source() -> None:
    assert (full().side, full().colours) == (32, 1)
    assert (replace(small(), channels=(4, 8)).side, cifar10().colours) == (8, 3)


def test_an_ann_has_the_distance_kl_alone() -> None:
    with pytest.raises(ValueError, match='distance is "mmd"; it must be "kl" for model "ann"'):
        replace(small(), model="ann")


def test_the_twin_differs_in_what_an_ann_has_not() -> None:
    twin = ann(small())
    assert replace(twin, model="attention", ticks=8, distance="mmd", weight=1.0) == small()
