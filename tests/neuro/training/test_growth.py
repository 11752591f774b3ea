"""Parameters that grew are named, with their sizes and the learning rate."""

import pytest
import torch
from torch import nn

from neuro.training.diagnosis import DIVERGED, describe_growth, measure_sizes


def make(*largest: float) -> nn.Module:
    model = nn.ParameterDict()
    for k, value in enumerate(largest):
        model[f"p{k}"] = nn.Parameter(torch.tensor([0.0, -value, value / 2]))
    return model


def test_the_size_of_a_parameter_is_its_largest_absolute_value() -> None:
    model = make(0.5, 2.0)
    model["none"] = nn.Parameter(torch.empty(0))
    assert measure_sizes(model) == {"p0": 0.5, "p1": 2.0}


def test_the_most_grown_come_first_and_no_more_than_three() -> None:
    before = measure_sizes(make(0.5, 2.0, 0.0, 1.0, 3.0))
    after = make(50.0, 2000.0, 9.0, 11.0, 30.0)  # 100, 1,000, 90 of LEAST, 11 and 10 times
    assert describe_growth(after, before, 0.3) == (
        "p1 grew from 2 to 2e+03, p0 grew from 0.5 to 50, p2 grew from 0 to 9 and 1 more at a "
        "learning rate of 0.3"
    )
    assert describe_growth(after, before, 1e12, 99.0) == (
        "p1 grew from 2 to 2e+03, p0 grew from 0.5 to 50 at a learning rate of 1e+12"
    )
    assert describe_growth(after, before, 0.3, DIVERGED) == ""


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_has_grown(value: float) -> None:
    told = describe_growth(make(value), {"p0": 1.0}, 1.0, DIVERGED)
    assert told == f"p0 grew from 1 to {value:g} at a learning rate of 1"
