"""Prose in Markdown is wrapped at 100 characters, in pages and in notebooks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WIDTH = 100
BLOCK = re.compile(r"^(```+)[^\n]*\n.*?^\1|^\$\$.*?\$\$", re.DOTALL | re.MULTILINE)


def list_texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every page and of every Markdown cell."""
    folders = (("*.md", ROOT), *((f"{name}/**/*.md", ROOT) for name in ("docs", "drivers")))
    for pattern, folder in folders:
        for path in folder.glob(pattern):
            if "generated" not in path.parts:
                yield str(path.relative_to(ROOT)), path.read_text()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "markdown":
                yield path.name, "".join(cell["source"])


def find_long_lines(text: str) -> list[str]:
    """Return the lines of prose that are too long; code, mathematics and tables may be."""
    lines = BLOCK.sub("", text).splitlines()
    prose = [line for line in lines if not line.startswith(("|", "    "))]
    return [line for line in prose if len(line) > WIDTH and " " in line.strip()]


@pytest.mark.parametrize("width", [WIDTH, WIDTH + 2])
def test_only_prose_is_measured(width: int) -> None:
    words = ("ab " * width)[: width - 1] + "c"
    assert find_long_lines(words) == ([] if width == WIDTH else [words])
    exempt = (f"```\n{words}\n```", f"$$\n{words}\n$$", f"| {words} |", "x" * width)
    assert find_long_lines("\n".join(exempt)) == []


def test_prose_is_wrapped() -> None:
    long = {name: lines for name, text in list_texts() if (lines := find_long_lines(text))}
    assert not long
