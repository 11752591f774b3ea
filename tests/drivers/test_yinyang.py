import numpy as np
import pytest

from drivers.yinyang import CLASSES, SIZES, class_of, generate


def test_sizes_and_classes_are_the_published_ones() -> None:
    assert SIZES == {"train": 5000, "val": 1000, "test": 1000}
    assert CLASSES == ("yin", "yang", "dot")
    for part in ("train", "val", "test"):
        d = generate(part)  # type: ignore[arg-type]
        assert d.points.shape == (SIZES[part], 4)
        share = np.bincount(d.labels, minlength=3) / len(d.labels)
        assert np.abs(share - 1 / 3).max() < 0.05


@pytest.mark.parametrize(
    ("x", "y", "label"),
    [
        (0.25, 0.5, 2),  # centres of both dots
        (0.75, 0.5, 2),
        (0.25, 0.62, 1),  # around the left dot: the upper half bulges down
        (0.25, 0.38, 1),
        (0.75, 0.62, 0),  # around the right dot: the lower half bulges up
        (0.75, 0.38, 0),
        (0.5, 0.95, 1),
        (0.5, 0.05, 0),
        (0.01, 0.01, -1),
        (0.99, 0.5, 0),
    ],
)
def test_the_sign_looks_like_the_published_one(x: float, y: float, label: int) -> None:
    assert class_of(np.array([x]), np.array([y])).tolist() == [label]


def test_turned_by_half_a_turn_yin_becomes_yang() -> None:
    x, y = np.random.default_rng(0).random((2, 10_000))
    one, other = class_of(x, y), class_of(1 - x, 1 - y)
    swapped = np.array([1, 0, 2, -1])
    assert np.array_equal(other, swapped[one])


def test_areas_are_those_of_the_geometry() -> None:
    """Disc pi / 4, dots 2 pi / 100, yin and yang alike."""
    x, y = (np.indices((1000, 1000)) + 0.5).reshape(2, -1) / 1000
    share = np.bincount(class_of(x, y) + 1, minlength=4) / x.size
    half = (np.pi / 4 - 2 * np.pi * 0.01) / 2
    np.testing.assert_allclose(share, [1 - np.pi / 4, half, half, 2 * np.pi * 0.01], atol=5e-4)


def test_points_are_mirrored_and_labelled_by_the_geometry() -> None:
    d = generate("val", 3)
    x, y, left, down = d.points.T
    assert np.array_equal(left, 1 - x)
    assert np.array_equal(down, 1 - y)
    assert np.array_equal(d.labels, class_of(x, y))
    assert d.source == "Yin-Yang, val part, generated from seed 3"


def test_parts_and_seeds_share_no_point_and_a_seed_repeats_itself() -> None:
    parts = [generate(p, s).points[:, :2] for p in ("train", "val", "test") for s in (0, 1)]  # type: ignore[arg-type]
    together = np.concatenate(parts)
    assert len(np.unique(together, axis=0)) == len(together) == 14_000
    assert np.array_equal(generate("test", 1).points, generate("test", 1).points)
