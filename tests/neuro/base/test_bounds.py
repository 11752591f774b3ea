"""Each wrong field is named with its value, its bound and what to type."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le, Lt, MinLen

from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share, list_wrong_fields


@dataclass(frozen=True, kw_only=True)
class Inner:
    ticks: Count = 4


@dataclass(frozen=True, kw_only=True)
class Sizes:
    steps: Natural
    rate: Positive
    kind: Literal["a", "b"]
    below: Annotated[int, Lt(7)]
    epochs: Count = 14
    share: Share = 0.25
    decay: NotNegative = 0.0
    code: Literal["rate", "direct"] = "rate"
    widths: Annotated[tuple[Count, ...], MinLen(2)] = (8, 4)
    limit: Annotated[int, Ge(2), Le(9)] | None = None
    inner: Inner = Inner()
    more: tuple[Inner, ...] = ()


GOOD: dict[str, Any] = {"steps": 0, "rate": 0.5, "kind": "b", "below": 6}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"epochs": 1, "share": 0.0, "limit": 2},
        {"share": 1.0, "limit": 9, "widths": (1, 1), "more": (Inner(ticks=1),)},
    ],
)
def test_values_at_their_bounds_are_taken(values: dict[str, Any]) -> None:
    assert list_wrong_fields(Sizes(**{**GOOD, **values})) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": -1}, "steps is -1; it must be >= 0. Use 0, for example."),
        ({"rate": 0.0}, "rate is 0.0; it must be > 0. Use 1, for example."),
        ({"decay": -0.5}, "decay is -0.5; it must be >= 0. Use --set decay=0.0, the default."),
        ({"below": 7}, "below is 7; it must be < 7. Use 6, for example."),
        ({"kind": "c"}, "kind is 'c'; it must be one of a, b. Use a, for example."),
        ({"epochs": 0}, "epochs is 0; it must be >= 1. Use --set epochs=14, the default."),
        (
            {"share": 1.5},
            "share is 1.5; it must be >= 0 and <= 1. Use --set share=0.25, the default.",
        ),
        (
            {"share": math.nan},
            "share is nan; it must be finite and >= 0 and <= 1. Use --set share=0.25, the "
            "default.",
        ),
        (
            {"code": "poisson"},
            "code is 'poisson'; it must be one of rate, direct. Use --set code=rate, the "
            "default.",
        ),
        (
            {"widths": (3,)},
            "widths is (3,); it must have 2 or more items. Use --set widths=[8, 4], the "
            "default.",
        ),
        (
            {"widths": (3, 0)},
            "widths[1] is 0; it must be >= 1. Use --set widths=[8, 4], the default.",
        ),
        (
            {"limit": 1},
            "limit is 1; it must be >= 2 and <= 9. Use --set limit=null, the default.",
        ),
        (
            {"limit": 10},
            "limit is 10; it must be >= 2 and <= 9. Use --set limit=null, the default.",
        ),
        (
            {"inner": Inner(ticks=0)},
            "inner.ticks is 0; it must be >= 1. Use --set inner.ticks=4, the default.",
        ),
        (
            {"more": (Inner(), Inner(ticks=-2))},
            "more[1].ticks is -2; it must be >= 1. Use 4, the default.",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value_bound_and_cure(
    values: dict[str, Any], message: str
) -> None:
    assert list_wrong_fields(Sizes(**{**GOOD, **values})) == [message]


def test_all_wrong_fields_are_listed_in_their_order() -> None:
    wrong = Sizes(**{**GOOD, "epochs": -3, "steps": -1, "rate": math.inf})
    assert [problem.partition(" ")[0] for problem in list_wrong_fields(wrong)] == [
        *("steps", "rate", "epochs"),
    ]
