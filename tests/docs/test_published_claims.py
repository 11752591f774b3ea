"""The page of published claims has no figure that RESULTS.md lacks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def test_every_figure_of_the_page_stands_in_the_results() -> None:
    page = (ROOT / "docs" / "published_claims.md").read_text()
    table = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    results = set(NUMBER.findall((ROOT / "RESULTS.md").read_text()))
    figures = set(NUMBER.findall(table))
    assert len(figures) > 100
    assert figures <= results
