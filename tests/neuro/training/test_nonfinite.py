"""The first layer whose output is not finite is named."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from neuro.training.diagnosis import find_nonfinite

NAN, INF = float("nan"), float("inf")


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Backwards(nn.Module):
    """Computes its layers in another order than that in which they are named."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.first(self.second(x))


def running(model: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: model(x)


def test_a_model_that_is_finite_has_no_such_layer() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert find_nonfinite(model, running(model, torch.ones(1, 2))) == ""


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_parameter_is_named_before_any_layer_runs(value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].bias[0] = value
    assert find_nonfinite(model, lambda: pytest.fail("it ran")) == "parameter 1.bias"


@pytest.mark.parametrize("factor", [NAN, INF])
def test_the_layer_that_makes_it_is_named_not_those_behind(factor: float) -> None:
    model = nn.Sequential(Scale(1.0), Scale(factor), Scale(0.0))
    assert find_nonfinite(model, running(model, torch.ones(2))) == "layer 1"


def test_layers_count_in_the_order_in_which_they_are_computed() -> None:
    model = Backwards(Scale(INF), Scale(INF))
    assert find_nonfinite(model, running(model, torch.ones(2))) == "layer second"


def test_a_layer_inside_another_is_named_by_its_path() -> None:
    model = nn.Sequential(Scale(1.0), nn.Sequential(Scale(1.0), Scale(INF)))
    assert find_nonfinite(model, running(model, torch.ones(2))) == "layer 1.1"


def test_what_comes_in_is_told_apart_from_what_a_layer_makes() -> None:
    model = nn.Sequential(Scale(1.0), Scale(1.0))
    assert find_nonfinite(model, running(model, torch.tensor([1.0, NAN]))) == "the input of 0"


def test_outputs_of_any_nesting_are_looked_into() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
            return {"spikes": [x], "state": [x, x / 0]}

    model = nn.ModuleDict({"cell": Pair()})
    assert find_nonfinite(model, lambda: model["cell"](torch.ones(1))) == "layer cell"


def test_whole_numbers_and_truth_values_are_finite() -> None:
    class Fires(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, None]:
            return x > 0, x.long(), None

    model = nn.ModuleDict({"cell": Fires()})
    assert find_nonfinite(model, lambda: model["cell"](torch.ones(1))) == ""


def test_a_layer_that_looks_itself_ends_the_search_and_other_errors_are_heard() -> None:
    class Stops(nn.Module):
        def __init__(self, error: type[Exception]) -> None:
            super().__init__()
            self.error = error

        def forward(self, x: Tensor) -> Tensor:
            raise self.error(f"here, at {x.numel()} values")

    model = nn.Sequential(Scale(INF), Stops(FloatingPointError))
    assert find_nonfinite(model, running(model, torch.ones(1))) == "layer 0"
    model = nn.Sequential(Scale(1.0), Stops(FloatingPointError))
    assert find_nonfinite(model, running(model, torch.ones(1))) == ""
    model = nn.Sequential(Scale(1.0), Stops(RuntimeError))
    with pytest.raises(RuntimeError, match="here"):
        find_nonfinite(model, running(model, torch.ones(1)))
    assert not any(m._forward_hooks for m in model.modules())


def test_nothing_stays_behind_and_no_gradient_is_kept() -> None:
    model, kept = nn.Sequential(nn.Linear(2, 2)), []
    find_nonfinite(model, lambda: kept.append(model(torch.ones(1, 2))))
    assert not kept[0].requires_grad
    assert not any(m._forward_hooks for m in model.modules())
