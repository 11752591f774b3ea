"""The code of the documentation runs, and says what is true."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lava_export
from tasks.report.summary import split_value
from tasks.runs.task import ACCURACY

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.slow
def test_a_network_of_ones_own_is_verified_priced_and_reported_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "from_python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    got: dict[str, Any] = {}
    for code in blocks[:-1]:
        exec(code, got)
    equality, energy = got["equality"], got["energy"]
    assert equality["torch_events"]["mismatches"] == 0
    assert equality["n"] == 40
    assert equality["reference_lava"].get("mismatches", 0) == 0
    assert set(equality["metrics"]["accuracy"]) == {"torch", "events", "integers"}
    assert list(energy) == ["loihi1", "loihi2", "conventional45nm", "measured_on"]
    assert 0 < energy["loihi1"]["core"]["low"] <= energy["loihi1"]["core"]["high"]
    assert got["replayed"]["accuracy"] == equality["metrics"]["accuracy"]["events"]
    assert got["exported"].fits["loihi2"] == []
    assert got["program"].program["hidden"].scale > 0
    np.testing.assert_array_equal(
        got["integers"].values["out"], got["program"].run(got["stimulus"]).values["out"]
    )
    page = (tmp_path / "report.html").read_text()
    for section in ("Activity", "Do the executors agree?", "Energy per inference"):
        assert f"<h2>{section}</h2>" in page
    shown = split_value(ACCURACY, equality["metrics"]["accuracy"]["events"], 40)
    assert all(text in page for text in shown)
    programs = {"graph.safetensors", "program.safetensors"}
    pictures = {"network.png", "report.html", "report.png"}
    assert {p.name for p in tmp_path.iterdir()} == programs | pictures
    exec(blocks[-1], got)
    sure = got["equality"]["metrics"]["sure"]
    assert sure["torch"] == pytest.approx(sure["events"], rel=1e-9)
    assert 0 < sure["integers"] < 1


@pytest.mark.slow
def test_the_tour_goes_from_training_to_lava() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "tour.md").read_text(), re.DOTALL)
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
    answer = got["integers"].values["out"].mean(0).argmax(1)
    assert (answer == got["labels"][:20].numpy()).mean() >= 0.9
    if lava_export.available():
        integers, lava = got["integers"].values["out"], got["on_lava"].values["out"]
        assert np.array_equal(integers, lava)
