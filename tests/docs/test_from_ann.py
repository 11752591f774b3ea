"""The code of the page on trained ANNs runs, and its table lists what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "from_ann.md"


def test_the_page_converts_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    page: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(code, page)
    found = page["found"]
    assert [layer.name for layer in found.layers] == list(page["spiking"].firing)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert list(page["scales"]) == [found.layers[0].name]  # the other learns its own
    assert found.logits[32].shape == (200, 3)
    assert np.isfinite(found.logits[32]).all()
