"""What a user reads first of a model: its equation, how input enters, what a spike does."""

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest

from neuro.neurons import ALIF, IF, LI, LIF, GatedLI

MODELS: tuple[Any, ...] = (LIF, ALIF, IF, LI, GatedLI)


@pytest.mark.parametrize("model", MODELS)
def test_a_docstring_opens_with_the_equation(model: Any) -> None:
    first, empty, *equation = (inspect.getdoc(model) or "").splitlines()
    assert first.endswith(".")
    assert not empty
    equation = equation[: equation.index("")]
    assert all(line.startswith("    ") for line in equation)
    assert any(
        re.match(r"    (f = .*)?v\[t\] = .*x", line) or "+ i[t]" in line for line in equation
    )


@pytest.mark.parametrize("model", MODELS)
def test_it_says_what_a_spike_does_and_which_reset_is_the_default(model: Any) -> None:
    doc = inspect.getdoc(model) or ""
    if "reset" not in inspect.signature(model).parameters:
        assert "never fires or resets" in doc.splitlines()[0]
        return
    default = inspect.signature(model).parameters["reset"].default
    assert re.findall(r'\(reset "(\w+)", the default\)', doc) == [str(default)]
    assert set(re.findall(r'reset "(\w+)"', doc)) == {"soft", "hard"}


def test_an_alif_says_first_that_it_does_not_adapt_by_default() -> None:
    assert next(f.default for f in fields(ALIF) if f.name == "beta") == 0
    assert "``beta = 0``, the default, it does not adapt" in str(ALIF.__doc__).splitlines()[0]


def test_lif_and_alif_each_say_how_the_other_differs() -> None:
    for model, other, words in (
        (LIF, "an ALIF", "seconds, not scaled by the leak, soft, no parameter is trained"),
        (ALIF, "a LIF", "per tick, scaled by the leak, hard, trained"),
    ):
        doc = " ".join(str(model.__doc__).split())
        _, differs = doc.split(f"Differences from {other}")
        assert all(word in differs for word in words.split(", "))
