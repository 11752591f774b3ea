import io
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from matplotlib.image import imread

from tasks.image_generation.sheet import beside, png, sheet


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    colours=st.sampled_from([1, 3]),
    seed=st.integers(0, 999),
)
def test_a_reader_finds_the_pixels(size: tuple[int, int], colours: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size, colours), np.uint8)
    found = np.rint(imread(io.BytesIO(png(pixels)), format="png") * 255).astype(np.uint8)
    assert np.array_equal(found.reshape(pixels.shape), pixels)


def test_images_lie_row_by_row_and_go_from_black_to_white() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0, 2.0]).reshape(4, 1, 1, 1).expand(4, 1, 2, 3)
    data = sheet(images, 2)
    body = data[data.index(b"IDAT") + 4 : -16]
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(4, 7)
    assert rows.tolist() == [[0, 0, 0, 0, 128, 128, 128]] * 2 + [[0] + [255] * 6] * 2


def test_a_row_that_is_not_full_is_refused() -> None:
    with pytest.raises(ValueError, match="5 images do not fill rows of 2; leave 1 out"):
        sheet(torch.zeros(5, 1, 2, 2), 2)


def test_pairs_stand_side_by_side() -> None:
    one, other = torch.arange(3.0).reshape(3, 1, 1, 1), torch.arange(3.0, 6).reshape(3, 1, 1, 1)
    assert beside(one, other).flatten().tolist() == [0, 3, 1, 4, 2, 5]
