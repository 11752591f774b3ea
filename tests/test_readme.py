"""The README's code runs, and what it says of commands is true."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from neuro.nn import replay
from tasks.cli.parser import VERBS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_of_the_readme_runs_and_says_what_is_true() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    got: dict[str, Any] = {}
    exec(code, got)
    clock = replay(got["graph"], {"input": got["to_events"](got["spikes"])})
    clocked, events = clock.spikes["1"], got["record"].spikes["1"]
    assert len(events.tick) > 100
    assert all(np.array_equal(a, b) for a, b in zip(clocked, events, strict=True))
    assert 0 < got["joules"].low <= got["joules"].nominal <= got["joules"].high
    got["membranes"].sum().backward()
    assert all(p.grad is not None for p in got["net"].parameters())


def test_every_verb_stands_on_the_page_of_commands() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert set(re.findall(r"(?m)^    neuro (\w+) .*\w", page)) == set(VERBS) - {"demo"}
    assert "make demo" in README
    assert "make test" in README


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for path, anchor in re.findall(r"\]\(([\w./]+)(#[\w-]+)?\)", README):
        text = (ROOT / path).read_bytes()
        if anchor:
            titles = re.findall(r"(?m)^#+ (.*)$", text.decode())
            slugs = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor[1:] in slugs, f"{path}{anchor}"
