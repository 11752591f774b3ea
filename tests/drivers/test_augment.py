from typing import Any

import numpy as np
import pytest

from drivers.augment import flipped, shifted, warped


def images(n: int = 6, channels: int = 3, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, side, side), np.uint8)


def test_a_shift_moves_all_colours_alike_and_fills_with_zeros() -> None:
    given = images()
    moved = shifted(given, 2, np.random.default_rng(1))
    for before, after in zip(given, moved, strict=True):
        padded = np.pad(before, ((0, 0), (2, 2), (2, 2)))
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(padded[:, y : y + 8, x : x + 8], after)
        ]
        assert len(found) == 1
    assert np.array_equal(shifted(given, 0, np.random.default_rng(1)), given)


def test_half_of_many_images_are_mirrored_and_the_others_kept() -> None:
    given = images(n=400, channels=1, side=4)
    made = flipped(given, np.random.default_rng(0))
    kept = (made == given).all((1, 2, 3))
    mirrored = (made == given[..., ::-1]).all((1, 2, 3))
    assert (kept | mirrored).all()
    assert 160 < mirrored.sum() < 240


def test_a_warp_of_nothing_changes_nothing() -> None:
    given = images()
    rng = np.random.default_rng(0)
    assert np.array_equal(warped(given, rng, degrees=0.0, shift=0.0, scale=(1.0, 1.0)), given)


class Largest(np.random.Generator):
    """Draws the upper bound."""

    def uniform(self, low: Any, high: Any, size: Any) -> Any:  # noqa: ARG002
        return np.full(size, high)


STILL: dict[str, Any] = {"degrees": 0.0, "shift": 0.0, "scale": (1.0, 1.0)}


def test_a_warp_turns_moves_and_scales_by_what_is_asked() -> None:
    image = np.zeros((1, 1, 21, 21), np.uint8)
    image[0, 0, 4, 10] = 255  # above the centre, at (10, 10)

    def where(**how: Any) -> tuple[int, ...]:
        made = warped(image, Largest(np.random.PCG64(0)), **{**STILL, **how})
        return tuple(int(i) for i in np.unravel_index(made[0, 0].argmax(), (21, 21)))

    assert where(degrees=90.0) in {(10, 16), (10, 4)}
    assert where(shift=2 / 21) == (6, 12)
    assert where(scale=(1.0, 0.5)) == (7, 10)


def test_a_turn_keeps_distances_where_images_are_not_square() -> None:
    image = np.zeros((2, 1, 21, 41), np.uint8)
    image[0, 0, 4, 20] = image[1, 0, 10, 26] = 255  # six pixels above and beside (10, 20)
    made = warped(image, Largest(np.random.PCG64(0)), **{**STILL, "degrees": 90.0})
    above, beside = (np.argwhere(one[0] > 200).tolist() for one in made)
    assert above in ([[10, 14]], [[10, 26]])
    assert beside in ([[4, 20]], [[16, 20]])


def test_values_between_pixels_are_rounded() -> None:
    image = np.zeros((1, 1, 20, 20), np.uint8)
    image[..., 8] = 255
    quarter = {**STILL, "shift": 0.25 / 20}  # of a pixel
    made = warped(image, Largest(np.random.PCG64(0)), **quarter)
    assert made[0, 0, 10, 7:11].tolist() == [0, 191, 64, 0]  # of 191.25 and 63.75


def test_equal_generators_make_equal_images() -> None:
    one, other = (warped(images(), np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, warped(images(), np.random.default_rng(4)))


def test_a_warp_keeps_most_of_the_ink() -> None:
    given = np.zeros((50, 1, 28, 28), np.uint8)
    given[:, :, 8:20, 8:20] = 200
    made = warped(given, np.random.default_rng(0)).astype(float).mean()
    assert made == pytest.approx(given.mean(), rel=0.15)
