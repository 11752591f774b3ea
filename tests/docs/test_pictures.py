"""The pictures of the documentation: drawn by the code, each on a page."""

import re
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_every_picture_is_drawn_and_stands_on_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(DOCS / "_ext")
    import pictures

    pictures.draw(tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    named = {
        name
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"\]\((?:\.\./)?generated/([\w-]+\.png)\)", page.read_text())
    }
    assert named == drawn == {f"{name}.png" for name in pictures.PICTURES}
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            low, high = image.convert("L").getextrema()
        assert low < 128 < high  # ink on paper
