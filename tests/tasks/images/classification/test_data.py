"""From labelled images to batches. Axes: N images, C H W of an image, T ticks, B batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drivers import mnist as drivers_mnist
from tasks.images.classification import cifar10, mnist
from tasks.images.classification.data import ImageConfig, Labelled, batches, take_split
from tasks.runs.configuration import make_plan

CONFIG = ImageConfig(held=4, batch=3, ticks=1, code="direct")


def numbered(n: int) -> Labelled:
    """Return images of one pixel; pixel and label are the number of the image."""
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    return Labelled(images=images, labels=np.arange(n), source=f"{n} images")


def unchanged(images: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return images


def test_a_plan_has_all_that_a_configuration_says_of_training() -> None:
    made = make_plan(replace(CONFIG, epochs=7, lr=0.25, warm=0.125, decay=0.5))
    assert (made.epochs, made.lr, made.warm, made.decay) == (7, 0.25, 0.125, 0.5)


def test_what_is_held_out_is_never_trained_on() -> None:
    parts = {"train": numbered(20), "test": numbered(9)}

    def labels(split: str, **changes: int) -> list[int]:
        found = take_split(parts.__getitem__, replace(CONFIG, **changes), split, "tiny")  # type: ignore[arg-type]
        return list(found.labels)

    assert labels("train") == list(range(16))
    assert labels("val") == [16, 17, 18, 19]
    assert labels("train", train=5) == list(range(5))
    assert labels("train", train=99) == list(range(16))
    assert labels("val", train=5) == [16, 17, 18, 19]
    assert labels("test") == list(range(9))
    assert labels("test", test=6) == list(range(6))


def test_too_few_images_for_one_batch_are_told() -> None:
    assert len(take_split(lambda _: numbered(7), CONFIG, "train", "tiny").labels) == 3
    with pytest.raises(ValueError, match=r"6 images: too few samples for 4 .* batch of 3"):
        take_split(lambda _: numbered(6), CONFIG, "train", "tiny")


def test_only_training_is_shuffled_and_augmented() -> None:
    def brighter(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return images + np.uint8(100 + rng.integers(1))

    ((x, labels),) = batches(numbered(20), CONFIG, brighter, "val", 3)
    assert labels.tolist() == list(range(20))
    torch.testing.assert_close(x.flatten() * 255, torch.arange(20.0))
    found = list(batches(numbered(20), CONFIG, brighter, "train", 3))
    assert [len(y) for _, y in found] == [3] * 6  # a last part batch is left out
    labels = torch.cat([y for _, y in found])
    assert len(set(labels.tolist())) == 18
    assert labels.tolist() != sorted(labels.tolist())
    pixels = torch.cat([x.flatten() for x, _ in found])
    torch.testing.assert_close(pixels * 255, labels + 100.0)


def test_the_order_depends_on_epoch_and_seed_of_the_data() -> None:
    def order(epoch: int, seed: int) -> list[int]:
        config = replace(CONFIG, seed_of_data=seed)
        found = batches(numbered(20), config, unchanged, "train", epoch)
        return [label for _, y in found for label in y.tolist()]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(epoch, seed)) for epoch in (0, 1) for seed in (0, 1)}) == 4


def test_digits_are_warped_as_much_as_asked() -> None:
    """A tenth of the warp moves a digit less than the full warp; no warp leaves only shifts."""
    config = replace(mnist.tiny(), code="direct", ticks=1, shift=0)

    def moved(warp: float) -> float:
        plain, other = (
            next(mnist.batches(replace(config, warp=w), "train", 0))[0] for w in (0.0, warp)
        )
        return float((plain - other).abs().mean())

    assert 0 < moved(0.1) < 0.5 * moved(1.0)
    assert moved(0.0) == 0


def test_images_are_shifted_in_training_alone() -> None:
    for task, config in ((mnist, mnist.tiny()), (cifar10, cifar10.tiny())):
        config = replace(config, code="direct", ticks=1)
        for split, moves in (("train", True), ("val", False)):
            still, shifted = (
                next(task.batches(replace(config, shift=by), split, 0))[0] for by in (0, 2)
            )
            assert torch.equal(still, shifted) != moves


@pytest.mark.parametrize("batch", [20, 64])
def test_an_epoch_has_as_many_steps_as_whole_batches(batch: int) -> None:
    for task, config in ((mnist, mnist.tiny()), (cifar10, cifar10.tiny())):
        config = replace(config, batch=batch, ticks=1)
        assert task.TASK.training.steps(config) == len(list(task.batches(config, "train", 0)))


def test_each_source_is_read_from_its_own_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read(part: str, name: str) -> drivers_mnist.Digits:
        asked.append((part, name))
        return drivers_mnist.default("test", environ={})

    monkeypatch.setattr(drivers_mnist, "official", read)
    for source in ("mnist", "fashion"):
        mnist.read_digits.__wrapped__(source, "train")
    assert asked == [("train", "mnist"), ("train", "fashion")]


def test_colour_images_are_mirrored_in_training() -> None:
    config = replace(cifar10.tiny(), code="direct", ticks=1, shift=0)
    whole = cifar10.images(config, "train").images
    known = {image.tobytes() for image in whole}
    mirrored = {image.tobytes() for image in whole[..., ::-1]}
    x, _ = next(cifar10.batches(config, "train", 0))
    seen = [i.tobytes() for i in (x[0] * 255).round().to(torch.uint8).numpy()]
    assert all(image in known | mirrored for image in seen)
    assert 0 < sum(image in mirrored for image in seen) < len(seen)


def test_classes_are_mixed_where_the_files_have_them_in_turn() -> None:
    labels = cifar10.images(cifar10.tiny(), "train").labels
    assert labels[:20].tolist() != [*range(10), *range(10)]
    assert len(set(labels[:60].tolist())) == 10
