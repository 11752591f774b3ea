"""The code of the page on lava-dl runs, and does what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "from_lava_dl.md"


def test_the_page_reads_a_file_and_runs_it_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    page: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(code, page)
    neuron = page["network"].graph.nodes["1-dense"]
    assert (neuron.du, neuron.dv, neuron.vth, *neuron.bias) == (1023, 128, 40, 4, -2)
    assert page["same"].all()
    assert page["integers"].spikes["1-dense"].tick.size > 10
