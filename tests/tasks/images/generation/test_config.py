from dataclasses import replace

import pytest

from tasks.images.generation.config import ann, cifar10, full, tiny


def test_sizes_follow_from_the_channels_and_the_source() -> None:
    assert (full().side, full().colours) == (32, 1)
    assert (replace(tiny(), channels=(4, 8)).side, cifar10().colours) == (8, 3)


def test_what_cannot_be_trained_is_refused_all_at_once() -> None:
    with pytest.raises(ValueError, match="image_generation: wrong configuration") as e:
        replace(tiny(), latent=0, ticks=-1, channels=(8,), model="ann")
    _, *problems = str(e.value).splitlines()
    assert problems[:2] == ["latent must be >= 1, got 0", "ticks must be >= 1, got -1"]
    assert problems[2].startswith("channels must be two or more, each >= 1, got (8,)")
    assert problems[3].startswith('an ann needs distance="kl", got "mmd"')
    assert len(problems) == 4


def test_the_twin_differs_in_what_an_ann_has_not() -> None:
    twin = ann(tiny())
    assert replace(twin, model="attention", ticks=8, distance="mmd", weight=1.0) == tiny()
