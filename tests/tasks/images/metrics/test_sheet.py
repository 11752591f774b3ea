import io

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.images.metrics.sheet import draw_sheet, interleave


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_images_lie_row_by_row_and_go_from_black_to_white() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0, 2.0]).reshape(4, 1, 1, 1).expand(4, 1, 2, 3)
    found = pixels(draw_sheet(images, 2))
    assert found.tolist() == [[0, 0, 0, 128, 128, 128]] * 2 + [[255] * 6] * 2


def test_colours_are_red_green_and_blue() -> None:
    images = torch.full((2, 3, 2, 2), -1.0)
    images[0, 0], images[1, 2] = 1, 1
    found = pixels(draw_sheet(images, 2))
    assert found.tolist() == [[[255, 0, 0]] * 2 + [[0, 0, 255]] * 2] * 2


def test_a_pixel_becomes_a_square() -> None:
    images = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)
    found = pixels(draw_sheet(images, 2, scale=3))
    assert found.tolist() == [[0] * 3 + [255] * 3] * 3


def test_a_row_that_is_not_full_is_refused() -> None:
    with pytest.raises(ValueError, match="5 images do not fill rows of 2"):
        draw_sheet(torch.zeros(5, 1, 2, 2), 2)


def test_pairs_stand_side_by_side() -> None:
    one, other = torch.arange(3.0).reshape(3, 1, 1, 1), torch.arange(3.0, 6).reshape(3, 1, 1, 1)
    assert interleave(one, other).flatten().tolist() == [0, 3, 1, 4, 2, 5]
