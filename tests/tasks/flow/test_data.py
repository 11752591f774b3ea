"""Splits and sequences: which images share a sequence, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from class_files import write_class_images, write_latent_cache
from hypothesis import given, settings, strategies as st

from drivers import cifar, class_folders, mnist
from tasks.flow import data
from tasks.flow.config import FlowConfig, cifar10, tiny
from tasks.flow.data import (
    arrange,
    batches,
    choose_indices,
    count_steps,
    load,
    make_dummy_batch,
    read_split,
    shrink_images,
    take_turns,
)

CONFIG = replace(tiny(), train=400, held=100, test=200)


def in_folder(root: Path, source: str, **change: object) -> FlowConfig:
    own = FlowConfig(source=source, data=str(root), side=4, classes=3, held=3)  # type: ignore[arg-type]
    return replace(own, **{"batch": 2, "images": 2, "mirror": True, **change})  # type: ignore[arg-type]


def test_splits_share_no_image_and_hold_equally_many_of_each_class() -> None:
    train, val = choose_indices(tiny(), "train"), choose_indices(tiny(), "val")
    assert (len(train), len(val)) == (3500, 500)
    assert not set(train) & set(val)
    labels = load(tiny(), "train").labels
    assert np.bincount(labels[val]).tolist() == [50] * 10
    assert np.bincount(labels[train]).tolist() == [350] * 10
    assert val.min() == 3500  # the last ones
    assert len(choose_indices(tiny(), "test")) == 1000
    assert len(choose_indices(CONFIG, "train")) == 400


@settings(max_examples=20)
@given(n=st.integers(1, 6), batch=st.integers(1, 9), epoch=st.integers(0, 9))
def test_sequences_of_arflow_are_different_images_of_a_class(
    n: int, batch: int, epoch: int
) -> None:
    config = replace(CONFIG, images=n, batch=batch)
    images, own = load(config, "train"), choose_indices(config, "train")
    rng = np.random.default_rng(epoch)
    steps = 0
    for indices in arrange(config, images, own, "train", rng):
        assert indices.shape == (n, batch)
        assert set(indices.flatten()) <= set(own)
        assert (images.labels[indices] == images.labels[indices[0]]).all()
        assert all(len(set(column)) == n for column in indices.T)
        steps += 1
    assert steps == count_steps(config) == 400 // (n * batch)


def test_every_image_of_an_epoch_of_sit_comes_once() -> None:
    config = replace(CONFIG, arm="sit")
    own = choose_indices(config, "train")
    found = list(arrange(config, load(config, "train"), own, "train", np.random.default_rng(0)))
    assert sorted(np.concatenate([x.flatten() for x in found])) == sorted(own)
    labels = load(config, "train").labels
    assert any(len(set(labels[column])) > 1 for x in found for column in x.T)


@pytest.mark.parametrize("arm", ["sit", "arflow"])
def test_outside_training_every_image_comes_once_in_whole_sequences(arm: str) -> None:
    config = replace(CONFIG, arm=arm, test=93)  # type: ignore[arg-type]
    found = list(batches(config, "test", 0))
    assert sum(labels.numel() for _, labels in found) == (90 if arm == "sit" else 65)
    if arm == "arflow":
        assert all((labels == labels[0]).all() for _, labels in found)


def test_one_sequence_fills_a_split_and_one_batch_an_epoch() -> None:
    whole = replace(CONFIG, arm="sit", batch=80)
    assert count_steps(whole) == len(list(batches(whole, "train", 0))) == 1
    ((x, labels),) = batches(replace(whole, test=5), "test", 0)
    assert (x.shape[:2], labels.flatten().tolist()) == ((5, 1), [0, 1, 2, 3, 4])


def test_images_are_numbers_from_minus_one_to_one() -> None:
    x, labels = next(batches(CONFIG, "train", 0))
    assert x.shape == (5, 8, 1, 8, 8)
    assert labels.shape == (5, 8)
    assert x.min() == -1
    assert 0.9 < x.max() <= 1
    dummy, of_dummy = make_dummy_batch(CONFIG)
    assert (dummy.shape, of_dummy.shape) == (x.shape, labels.shape)
    images, own = read_split(CONFIG, "test", 30)
    assert images.shape == (30, 1, 8, 8)
    assert own.tolist() == list(range(10)) * 3


def test_digits_shrink_by_the_mean_of_squares() -> None:
    digits = mnist.embedded().images[:3, None]
    assert np.array_equal(shrink_images(digits, 28), digits)
    halved = shrink_images(digits, 14)
    assert halved[0, 0, 7, 6] == round(digits[0, 0, 14:16, 12:14].mean())
    framed = shrink_images(digits, 32)
    assert np.array_equal(framed[:, :, 2:30, 2:30], digits)
    assert not framed[:, :, :2].any()
    assert np.array_equal(shrink_images(digits, 8), shrink_images(framed, 8))
    with pytest.raises(ValueError, match="side is 10, and images of 28 pixels do not divide"):
        shrink_images(digits, 10)


def test_colour_images_are_mirrored_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(which: str) -> cifar.Images:
        return cifar.generated(which, 200)  # type: ignore[arg-type]

    monkeypatch.setattr(cifar, "official", part)
    config = replace(cifar10(), data="", held=20, batch=6, width=16, heads=2, depth=1)
    monkeypatch.setattr(data, "_load", data._load.__wrapped__)
    images = {x.numpy().tobytes() for x in read_split(config, "train")[0]}
    x, _ = next(batches(config, "train", 0))
    drawn = [image.numpy() for image in x.flatten(0, 1)]
    kept = [image.tobytes() in images for image in drawn]
    turned = [np.ascontiguousarray(image[..., ::-1]).tobytes() in images for image in drawn]
    assert all(a or b for a, b in zip(kept, turned, strict=True))
    assert 5 < sum(kept) < 25


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"held": 20},
            r"10 classes .* held for validation .* \(5\): 0 \(2\), .* give held=50 or more$",
        ),
        (
            {"held": 10, "images": 11, "arm": "sit"},
            "10 images held for validation .* of 11; .* held=11 or",
        ),
    ],
)
def test_validation_without_a_sequence_is_refused_before_training(
    change: dict[str, object], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        count_steps(replace(CONFIG, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arm", "told"), [("sit", "3 images for the test"), ("arflow", "for the test")]
)
def test_a_test_part_without_a_sequence_is_refused(arm: str, told: str) -> None:
    config = replace(CONFIG, test=3, arm=arm)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=rf"{told}.* sequence .*; lower images, or raise test \(3; 0: all\)"
    ):
        next(batches(config, "test", 0))


@given(labels=st.lists(st.integers(0, 3), max_size=30))
def test_classes_take_turns(labels: list[int]) -> None:
    given_ = np.array(labels, np.int64)
    order = take_turns(given_)
    assert sorted(order) == list(range(len(labels)))
    turned = given_[order].tolist()
    want = []
    left = {k: labels.count(k) for k in range(4)}
    while any(left.values()):
        for k in left:
            want += [k] * (left[k] > 0)
            left[k] -= left[k] > 0
    assert turned == want
    for k in range(4):  # images of a class keep their order
        assert (np.diff(order[given_[order] == k]) > 0).all()


def test_class_folders_of_images(tmp_path: Path) -> None:
    write_class_images(tmp_path)
    config = in_folder(tmp_path, "images", mirror=False)
    assert choose_indices(config, "val").tolist() == [15, 16, 17]
    labels = load(config, "train").labels
    assert labels.tolist() == [0, 1, 2] * 6  # classes take turns, and so do the first ones
    few = replace(config, train=6)
    assert np.bincount(labels[choose_indices(few, "train")]).tolist() == [2] * 3
    x, labels = next(batches(config, "train", 0))
    assert x.shape == (2, 2, 3, 4, 4)
    for image, label in zip(x.flatten(0, 1), labels.flatten(), strict=True):
        assert image[int(label)].min() > 0.99  # the channel of its class is white
    assert sum(own.numel() for _, own in batches(config, "test", 0)) == 18


def test_latents_are_drawn_by_their_moments_or_those_of_the_mirror_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_latent_cache(tmp_path)
    monkeypatch.setattr(
        class_folders, "draw_latents", lambda moments, _: moments[:4]
    )  # without noise
    config = in_folder(tmp_path, "latents", epochs=1)
    means = {
        name: {
            class_folders.read_moments(path, 4, 4)[name][:4].tobytes()
            for path in sorted((tmp_path / "train").glob("*/*.npz"))
        }
        for name in class_folders.NAMES
    }
    drawn = torch.cat(
        [x.flatten(0, 1) for e in range(6) for x, _ in batches(config, "train", e)]
    )
    mirrored = sum(x.numpy().tobytes() in means["moments_flip"] for x in drawn)
    kept = sum(x.numpy().tobytes() in means["moments"] for x in drawn)
    assert mirrored + kept == len(drawn)
    assert 0.25 < mirrored / len(drawn) < 0.75
    tested = torch.cat([x.flatten(0, 1) for x, _ in batches(config, "test", 0)])
    assert len(tested) == 18


def test_what_data_cannot_be_is_refused(tmp_path: Path) -> None:
    write_latent_cache(tmp_path, each=4)
    few = in_folder(tmp_path, "latents", images=4)
    with pytest.raises(
        ValueError,
        match=r"3 classes have fewer images left for training than a sequence \(4\): 0 ",
    ):
        next(batches(few, "train", 0))
    with pytest.raises(ValueError, match=r"12 latents of 3 classes .* classes is 5; give 3"):
        load(replace(few, classes=5), "train")
    with pytest.raises(
        ValueError, match=r"train: 9 images left .* no batch of 8 .* of 2; .* held \(3\)"
    ):
        count_steps(replace(few, batch=8, images=2))
    with pytest.raises(ValueError, match=r"expected floats of shape \(8, 8, 8\)"):
        next(batches(in_folder(tmp_path, "latents", side=8), "train", 0))
    with pytest.raises(FileNotFoundError, match="gone"):
        load(in_folder(tmp_path / "gone", "images"), "train")


def test_a_small_folder_learns_of_every_split_before_training(tmp_path: Path) -> None:
    write_latent_cache(tmp_path, each=4)
    with pytest.raises(ValueError, match="fill no sequence") as refused:
        count_steps(in_folder(tmp_path, "latents", images=5, held=500, test=3))
    train, val, test = str(refused.value).splitlines()
    assert (
        "0 images left for training fill no sequence of 5; lower images, or held (500)" in train
    )
    assert "3 classes have fewer images held for validation than a sequence (5): 0 (4)" in val
    assert test.endswith(
        "3 images for the test fill no sequence of 5; lower images, or raise "
        "test (3; 0: all), or add data"
    )
