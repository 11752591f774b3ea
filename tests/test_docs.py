"""The code of the documentation runs, and says what is true."""

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


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
    page = (tmp_path / "report.html").read_text()
    for section in ("Activity", "Do the executors agree?", "Energy per inference"):
        assert f"<h2>{section}</h2>" in page
    assert f"{equality['metrics']['accuracy']['events']:.2%}" in page
    pictures = {"network.png", "report.html", "report.png"}
    assert {p.name for p in tmp_path.iterdir()} == pictures
    exec(blocks[-1], got)
    sure = got["equality"]["metrics"]["sure"]
    assert sure["torch"] == pytest.approx(sure["events"], rel=1e-9)
    assert 0 < sure["integers"] < 1
