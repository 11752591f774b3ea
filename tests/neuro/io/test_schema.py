from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import pytest

from neuro.base.units import Ticks
from neuro.io.schema import SchemaError, convert


class Kind(StrEnum):
    SOFT = "soft"


class Pair(NamedTuple):
    left: str
    right: int = 0


@dataclass(frozen=True)
class Inner:
    n: int
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    rate: float
    inner: Inner


class Result(TypedDict):
    n: int
    note: NotRequired[str]


FIT: list[tuple[Any, Any, Any]] = [
    (3, int, 3),
    (3, float, 3.0),
    (Pair("a", 2), Pair, Pair("a", 2)),
    (Inner(1), Inner, Inner(1)),
    (3, Ticks, 3),
    (None, int | None, None),
    (3, int | None, 3),
    ("a", Literal["a", "b"], "a"),
    ("soft", Kind, Kind.SOFT),
    ("soft", Kind | Literal["soft"], Kind.SOFT),
    ([1, 2], tuple[int, ...], (1, 2)),
    ([1, "a"], tuple[int, str], (1, "a")),
    ([[1], []], list[list[int]], [[1], []]),
    ([], tuple[int, ...], ()),
    ({"a": [1, 2]}, Mapping[str, tuple[int, int]], {"a": (1, 2)}),
    (["a", 3], Pair, Pair("a", 3)),
    (
        {"rate": 0.5, "inner": {"n": 1, "sizes": [2]}},
        Outer,
        Outer(rate=0.5, inner=Inner(1, (2,))),
    ),
    ({"n": 1, "more": [3]}, Result, {"n": 1, "more": [3]}),
    ({"n": 1, "note": "a"}, Result, {"n": 1, "note": "a"}),
    ([{"a": 1}], Any, [{"a": 1}]),
]


@pytest.mark.parametrize(("value", "hint", "expected"), FIT)
def test_what_fits_becomes_what_the_type_says(value: Any, hint: Any, expected: Any) -> None:
    found = convert(value, hint)
    assert found == expected
    assert type(found) is type(expected)


MISFIT: list[tuple[Any, Any, str]] = [
    (True, int, "x: is True, expected a whole number"),
    (1, bool, "x: is 1, expected true or false"),
    (True, float, "x: is True, expected a number"),
    (1.0, int, "x: is 1.0, expected a whole number"),
    (2**1024, float, f"x: is {str(2**1024)[:37]}..., expected a number"),
    ("3", float, "x: is '3', expected a number"),
    (3, str, "x: is 3, expected text"),
    (0, None, "x: is 0, expected null"),
    ("c", Literal["a", "b"], "x: is 'c', expected one of 'a', 'b'"),
    (1, Literal[True], "x: is 1, expected one of True"),
    ("hard", Kind, "x: is 'hard', expected one of 'soft'"),
    ("a", int | None, "x: is 'a', expected a whole number"),
    ([1], int | str, "x: is [1], expected int or str"),
    ({}, tuple[int, ...], "x: is {}, expected a list"),
    ("ab", list[str], "x: is 'ab', expected a list"),
    ([1], tuple[int, int], "x: is [1], expected a list of 2"),
    ([1, 2.5, "c"], tuple[int, ...], "x[1]: is 2.5, expected a whole number; "
     "x[2]: is 'c', expected a whole number"),
    ([], dict[str, int], "x: is [], expected an object"),
    ({"a": "b"}, dict[str, int], "x.a: is 'b', expected a whole number"),
    (["a"], Pair, "x: is ['a'], expected a list of 2"),
    ({"rate": 1}, Outer, "x.inner: is missing"),
    ({"rate": 1, "inner": {}, "b": 2}, Outer, "x.b: there is no such field; "
     "there are rate, inner; x.inner.n: is missing; x.inner.sizes: is missing"),
    ({"note": 3}, Result, "x.n: is missing; x.note: is 3, expected text"),
    ([], Result, "x: is [], expected an object of n, note"),
    ("a" * 50, int, f"x: is '{'a' * 36}..., expected a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "hint", "told"), MISFIT)
def test_what_does_not_fit_is_told_with_its_place(value: Any, hint: Any, told: str) -> None:
    with pytest.raises(SchemaError) as e:
        convert(value, hint, "x")
    assert str(e.value) == told


def test_a_value_without_a_name_is_that_of_the_file() -> None:
    with pytest.raises(SchemaError, match=r"^the file: is 3, expected an object of rate"):
        convert(3, Outer)


def test_a_message_tells_the_first_problems_and_the_number_of_the_others() -> None:
    with pytest.raises(SchemaError) as told:
        convert({f"{k}": "a" for k in range(20)}, dict[str, int])
    assert str(told.value).count("is 'a', expected") == 20
    assert str(told.value).endswith("19: is 'a', expected a whole number")
    with pytest.raises(SchemaError) as told:
        convert({f"{k}": "a" for k in range(23)}, dict[str, int])
    assert str(told.value).endswith("19: is 'a', expected a whole number; and 3 more")
    assert len(told.value.problems) == 23
    assert str(SchemaError("x" * 400, "y" * 401)) == f"{'x' * 400}; {'y' * 397}..."
