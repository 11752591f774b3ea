"""The pages of the example systems have one order, and no figure that RESULTS.md lacks."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
INDEX = (ROOT / "docs/index.md").read_text().split("## Example systems")[1]
SYSTEMS = re.findall(r"^\| \[[\w ]+\]\((\w+)\.md\)", INDEX, re.MULTILINE)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_page_shows_a_picture_then_figures_of_the_results_then_limits(name: str) -> None:
    page = (ROOT / f"docs/{name}.md").read_text()
    begin, figures, limits, *_ = re.split(r"(?m)^## ", page)
    assert re.search(r"neuro train \w+:\w+.*!\[[^\]]+\]\(", begin, re.DOTALL)
    assert figures.startswith("Figures\n")
    assert limits.startswith("Limits\n")
    shown = re.sub(r"`[^`]*`|\]\([^)]*\)", "", figures + limits)  # no numbers in code and links
    measured = set(NUMBER.findall((ROOT / "RESULTS.md").read_text()))
    assert len(set(NUMBER.findall(shown))) > 5
    assert set(NUMBER.findall(shown)) <= measured


def test_all_systems_are_listed() -> None:
    assert len(SYSTEMS) == 11
