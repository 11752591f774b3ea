from pathlib import Path

import pytest
from PIL import Image

from drivers import image_files
from drivers.image_files import open_image


def test_pixels_are_counted_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (7, 3), (1, 2, 3)).save(path)
    path.write_bytes(path.read_bytes()[:50])  # which cannot be decoded
    monkeypatch.setattr(image_files, "MOST_PIXELS", 21)
    with open_image(path) as image:
        assert image.size == (7, 3)
    monkeypatch.setattr(image_files, "MOST_PIXELS", 20)
    with pytest.raises(ValueError, match="7 x 3 pixels; at most 20 are decoded"):
        open_image(path)


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png", "BMP")
    with pytest.raises(OSError, match="cannot identify"):
        open_image(tmp_path / "a.png")
