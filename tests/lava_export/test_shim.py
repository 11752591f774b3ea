import ast
import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from lava_export.runner import import_lava

LIKE_LAVA = """
from dataclasses import dataclass

@dataclass
class Encoder:
    bits: int = 3

@dataclass
class Holder:
    x: Encoder = Encoder()
    n: int = 0
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "like_lava.py").write_text(LIKE_LAVA)
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('broken')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "like_lava", raising=False)
    return "like_lava"


def test_a_default_that_newer_pythons_refuse_is_imported(module: str) -> None:
    imported: Any = import_lava(module)
    a, b = imported.Holder(), imported.Holder()
    assert a.x.bits == 3
    assert a.x is b.x  # what Python 3.10 did


def test_nothing_stays_patched(module: str) -> None:
    private: Any = dataclasses
    before = private._get_field
    import_lava(module)
    assert private._get_field is before
    with pytest.raises(RuntimeError, match="broken"):
        import_lava("broken_module")
    assert private._get_field is before
    with pytest.raises(ValueError, match="mutable default"):
        exec(LIKE_LAVA, {"__name__": __name__})


@pytest.mark.parametrize("name", ["runner", "processes/binary", "processes/stage"])
def test_what_the_child_imports_is_python_3_10(name: str) -> None:
    source = (Path(__file__).parents[2] / "lava_export" / f"{name}.py").read_text()
    tree = ast.parse(source, feature_version=(3, 10))
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert not imported & {"torch", "neuro", "lava_export", "jaxtyping"}
