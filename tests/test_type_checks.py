"""Annotations are checked in tests: those of axes together, others one by one."""

import ast
from dataclasses import dataclass
from typing import Any

import jaxtyping
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from type_checks import check, decorate

from neuro import spikes
from neuro.graph import Graph
from neuro.units import Seconds
from tasks.driving import lift_splat


def test_the_code_under_test_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation, match="Graph"):
        Graph(nodes=1, edges=(), dt=Seconds(1e-3))  # type: ignore[arg-type]
    with pytest.raises(TypeCheckError, match="pooled"):
        lift_splat.fuse_frames(np.zeros(3), 0.5)  # type: ignore[arg-type]
    assert hasattr(spikes.to_events, "__wrapped__")


def test_axes_of_one_call_must_agree() -> None:
    @check
    def add(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.asarray(x + y)

    assert add(np.ones(2), np.ones(2)).tolist() == [2, 2]
    assert add(np.ones(3), np.ones(3)).tolist() == [2, 2, 2]
    with pytest.raises(TypeCheckError, match="y"):
        add(np.ones(3), np.ones(1))


def test_types_are_checked_on_the_way_in_and_out_unless_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @check
    def halve(x: int) -> int:
        return x / 2  # type: ignore[return-value]

    given: Any
    for given in ("2", 3):
        with pytest.raises(BeartypeCallHintViolation, match="halve"):
            halve(given)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert halve(3) == 1.5


def test_fields_of_a_dataclass_are_checked() -> None:
    @check
    @dataclass
    class Pair:
        first: Float[np.ndarray, " n"]
        second: Float[np.ndarray, " n"]

    Pair(np.ones(2), np.ones(2))
    with pytest.raises(TypeCheckError, match="second"):
        Pair(np.ones(2), np.ones(3))


def test_what_is_nested_in_a_function_is_left_alone() -> None:
    source = '''
"""A module."""
from __future__ import annotations

@outer
class A:
    @property
    def f(self):
        def g(): ...
        class B: ...
'''
    made = ast.unparse(decorate(ast.parse(source)))
    assert made == (
        '"""A module."""\nfrom __future__ import annotations\nimport type_checks_of_tests\n\n'
        "@type_checks_of_tests.check\n@outer\nclass A:\n\n"
        "    @property\n    @type_checks_of_tests.check\n    def f(self):\n\n"
        "        def g():\n            ...\n\n        class B:\n            ..."
    )
