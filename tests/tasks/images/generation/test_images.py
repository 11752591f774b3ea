import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data_sets import write_cifar

from tasks.images.generation.config import cifar10, tiny
from tasks.images.generation.images import batches, part
from tasks.images.generation.task import TASK
from tasks.images.metrics.sheet import scale_images


def test_pixels_go_from_black_to_white_and_between_them_on_a_line() -> None:
    grey = np.array([0, 51, 255, 102], np.uint8).reshape(1, 1, 2, 2)
    pixels = scale_images(grey, 2).flatten().tolist()
    assert pixels == pytest.approx([-1, -0.6, 1, -0.2], abs=1e-7)
    row = scale_images(np.array([[[[0, 255], [0, 255]]]], np.uint8), 4)[0, 0, 0]
    assert row.tolist() == [-1, -0.5, 0.5, 1]


def test_a_digit_of_28_pixels_becomes_one_of_32_with_the_ink_it_had() -> None:
    digit = part(tiny(), "test").images[:50]
    x = scale_images(digit, 32)
    assert x.shape == (50, 1, 32, 32)
    assert float(x.mean()) == pytest.approx(digit.mean() / 127.5 - 1, abs=2e-3)


def test_an_image_is_the_same_at_every_tick_and_stands_in_memory_once() -> None:
    x, labels = next(batches(tiny(), "train", 0))
    c = tiny()
    assert x.shape == (c.ticks, c.batch, 1, 32, 32)
    assert x.stride(0) == 0
    assert len(labels) == c.batch


def test_the_order_of_training_depends_on_epoch_and_seed_of_the_data() -> None:
    def order(epoch: int, seed: int) -> tuple[int, ...]:
        config = replace(tiny(), seed_of_data=seed)
        return tuple(next(batches(config, "train", epoch))[1].tolist())

    assert order(1, 0) == order(1, 0)
    assert len({order(epoch, seed) for epoch in (0, 1) for seed in (0, 1)}) == 4


def test_the_splits_of_tiny_share_no_digit() -> None:
    images = {s: part(tiny(), s).images for s in ("train", "val", "test")}  # type: ignore[arg-type]
    assert {s: len(found) for s, found in images.items()} == {
        "train": 3500,
        "val": 500,
        "test": 1000,
    }
    assert len({i.tobytes() for found in images.values() for i in found}) == 5000


def test_colour_images_are_mirrored_in_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path / "cifar10", n=30)
    monkeypatch.setitem(os.environ, "NEURO_DATA", str(tmp_path))
    config = replace(cifar10(), held=20, batch=100)
    assert TASK.training.steps(config) == 1
    known = scale_images(part(config, "train").images, 32)
    x, _ = next(batches(config, "train", 0))
    as_it_is = [bool((known == image).flatten(1).all(1).any()) for image in x[0]]
    turned = [bool((known == image.flip(-1)).flatten(1).all(1).any()) for image in x[0]]
    assert all(a != b for a, b in zip(as_it_is, turned, strict=True))
    assert 30 <= sum(turned) <= 70
    first, _ = next(batches(config, "test", 0))
    assert torch.equal(
        first[0], scale_images(part(config, "test").images, 32)[: first.shape[1]]
    )
