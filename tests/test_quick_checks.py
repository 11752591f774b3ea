"""Types are checked as strictly as by jaxtyping alone."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jaxtyping
import numpy as np
import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float
from quick_checks import jaxtyped, names_axes

Vector = Float[np.ndarray, "N"]
check = jaxtyped(typechecker=beartype)


@check
def add(a: Vector, b: Vector) -> Vector:
    return a + b


@check
def name(number: int) -> str:
    return str(number) if number else number  # type: ignore[return-value]


def test_axes_of_one_name_have_one_size_in_a_call() -> None:
    assert add(np.ones(2), np.ones(2)).tolist() == [2, 2]
    with pytest.raises(jaxtyping.TypeCheckError, match="the parameters of"):
        add(np.ones(2), np.ones(1))


def test_without_axes_types_are_checked_on_the_way_in_and_out() -> None:
    assert name(1) == "1"
    with pytest.raises(BeartypeCallHintViolation, match="parameter number='1'"):
        name("1")  # type: ignore[arg-type]
    with pytest.raises(BeartypeCallHintViolation, match="return 0"):
        name(0)


def test_checks_can_be_disabled_while_tests_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert name("1") == "1"  # type: ignore[arg-type]
    assert add(np.ones(2), np.ones(1)).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (Vector, True),
        (Vector | None, True),
        (Mapping[str, tuple[Vector, ...]], True),
        (Callable[[int, Vector], None], True),
        ("Vector", True),
        (list["Vector"], True),
        (Mapping[str, tuple[int, ...]], False),
        (Callable[..., np.ndarray], False),
        (Literal["N"], False),
        (None, False),
    ],
)
def test_axes_are_found_inside_of_other_types(annotation: Any, found: bool) -> None:
    assert names_axes([int, annotation]) is found
