"""What the documentation makes of plain docstrings."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "docs" / "_ext" / "docstrings.py"


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docstrings", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rewritten(docstrings: Any, text: str) -> str:
    lines = text.split("\n")
    docstrings.rewrite(None, "function", "f", None, None, lines)
    return "\n".join(lines)


def test_an_indented_block_behind_an_empty_line_is_shown_as_it_is(docstrings: Any) -> None:
    text = "Leak.\n\n    v = a * v\n    w = b\n\nAxes: B."
    assert rewritten(docstrings, text) == "Leak.\n\n::\n\n    v = a * v\n    w = b\n\nAxes: B."


def test_an_indented_line_behind_another_goes_on_with_it(docstrings: Any) -> None:
    text = "Leak.\n\ntau: a\n    constant."
    assert rewritten(docstrings, text) == "Leak.\n\ntau: a constant."


def test_items_of_a_section_stay_apart_and_their_lines_together(docstrings: Any) -> None:
    text = "Leak.\n\nArgs:\n    x: one,\n        long.\n    y: two."
    assert rewritten(docstrings, text) == "Leak.\n\nArgs:\n    x: one, long.\n    y: two."


def test_special_characters_stand_for_themselves_outside_code(docstrings: Any) -> None:
    text = "Axes: *N, |x|, a_ and ``*N`` and :func:`run_`."
    want = "Axes: \\*N, \\|x\\|, a\\_ and ``*N`` and :func:`run_`."
    assert rewritten(docstrings, text) == want


def test_a_doctest_is_left_alone(docstrings: Any) -> None:
    text = "Sum.\n\n>>> f(*[1])\n1"
    assert rewritten(docstrings, text) == text
