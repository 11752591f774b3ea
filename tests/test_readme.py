"""The README's code runs, and its table is what the demo prints."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lava_export
from tasks.cli import VERBS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_of_the_readme_runs_and_says_what_is_true() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    got: dict[str, Any] = {}
    for code in blocks:
        exec(code, got)
    clock, events = got["clock"].spikes["hidden"], got["events"].spikes["hidden"]
    assert len(clock.tick) > 100
    assert all(np.array_equal(a, b) for a, b in zip(clock, events, strict=True))
    assert 0 < got["joules"].low <= got["joules"].nominal <= got["joules"].high
    assert got["exact"].times["hidden"].time.size == len(events.tick)
    assert got["more"].ticks == got["counts"].ticks == 8
    assert set(got["counts"].spikes) == {"hidden"}
    assert np.array_equal(got["both"].spikes["hidden"].tick, events.tick)
    again, _ = got["long"](got["spikes"])
    assert torch.equal(again, got["net"](got["spikes"])[0])
    answer = got["integers"].values["out"].mean(0).argmax(1)
    assert (answer == got["labels"][:20].numpy()).mean() >= 0.9
    if lava_export.available():
        integers, lava = got["integers"].values["out"], got["on_lava"].values["out"]
        assert np.array_equal(integers, lava)


def test_every_verb_stands_in_the_readme() -> None:
    assert set(re.findall(r"(?m)^    neuro (\w+) .*\w", README)) == set(VERBS) - {"demo"}
    assert "make demo" in README
    assert "make test" in README
