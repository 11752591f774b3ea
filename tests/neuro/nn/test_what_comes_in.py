"""What a layer cannot run on is refused, with the name of the layer."""

import math
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.graph import Dense, Input
from neuro.neurons import ALIF, LI, LIF, GatedLI, Neuron
from neuro.nn import Net
from neuro.nn.layers import Recurrent, Residual, Spiking, Stack
from neuro.nn.spiking import LayerError, NotANumber

MODELS: dict[str, Neuron] = {
    "soft": LIF(tau=0.01),
    "hard": LIF(tau=0.01, reset="hard"),
    "current": LIF(tau=0.01, tau_syn=0.005),
    "refractory": LIF(tau=0.01, tau_syn=0.005, refractory=Seconds(0.002)),
    "alif": ALIF(beta=0.1),
    "li": LI(tau=0.01),
    "gated": GatedLI(),
}


@given(
    kind=st.sampled_from(list(MODELS)),
    ticks=st.integers(1, 6),
    samples=st.integers(1, 3),
    place=st.integers(0, 10**6),
    grad=st.booleans(),
)
def test_a_nan_anywhere_in_the_input_is_refused(
    kind: str, ticks: int, samples: int, place: int, grad: bool
) -> None:
    x = torch.rand(ticks, samples, 4)
    cells = Spiking(MODELS[kind])
    with torch.set_grad_enabled(grad):
        cells(x)
        x.view(-1)[place % x.numel()] = math.nan
        with pytest.raises(NotANumber, match="its membrane is NaN"):
            cells(x)
        with pytest.raises(NotANumber, match=r"^last: its membrane is NaN"):
            Stack(first=nn.Identity(), last=cells)(x)


def test_a_nan_that_waits_in_the_current_of_a_held_cell_is_seen() -> None:
    x = torch.tensor([5.0, math.nan]).view(2, 1, 1)  # fires at once, and is held for 2 ticks
    with pytest.raises(NotANumber):
        Spiking(MODELS["refractory"])(x)


def test_membranes_whose_sum_overflows_are_numbers() -> None:
    x = torch.full((2, 1, 4), 3e38)
    y, _ = Spiking(LI(tau=0.0001))(x)
    assert bool(y.isfinite().all())


def test_infinity_is_refused_where_it_becomes_nan() -> None:
    x = torch.tensor([math.inf, -math.inf]).view(2, 1, 1)
    with pytest.raises(NotANumber):
        Spiking(LI(tau=math.inf))(x)


def in_a_stack(cells: Spiking) -> nn.Module:
    return Stack(fc=nn.Linear(3, 3), cells=cells)


PLACES = {
    "cells": in_a_stack,
    "cells.spiking": lambda c: Stack(cells=Recurrent(c, nn.Linear(3, 3))),
    "block.body.cells": lambda c: Stack(block=Residual(in_a_stack(c))),
    "inner.0": lambda c: Stack(inner=Stack(c, nn.AvgPool1d(1))),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("grad", [True, False])
def test_the_layer_is_named_from_the_outermost_module(place: str, grad: bool) -> None:
    net: Any = PLACES[place](Spiking(LIF(tau=0.01)))
    x = torch.rand(5, 2, 3)
    x[3, 1, 2] = math.nan
    with torch.set_grad_enabled(grad), pytest.raises(NotANumber) as told:
        net(x)
    assert told.value.name == place
    assert str(told.value).startswith(f"{place}: its membrane is NaN")
    with pytest.raises(LayerError, match="at least one tick, got shape"):
        net(x[:0])


@pytest.mark.parametrize("loop", [False, True])
def test_a_net_names_its_nodes(loop: bool) -> None:
    nodes = {
        "input": Input(shape=(3,)),
        "fc": Dense(weight=torch.eye(3).numpy()),
        "cells": LIF(tau=0.01),
        "back": Dense(weight=torch.eye(3).numpy()),
    }
    behind = "cells>back back>cells:1" if loop else "input>back back>cells"
    graph = wire(f"input>fc fc>cells {behind}", nodes)
    x = torch.ones(3, 1, 3)
    x[1, 0, 0] = math.nan
    with pytest.raises(NotANumber, match=r"^cells: its membrane is NaN"):
        Net(graph)({"input": x})


def test_weights_of_another_precision_are_named_but_those_under_autocast_are_not() -> None:
    net = Stack(
        first=Stack(conv=nn.Conv1d(2, 3, 1), cells=Spiking(LIF(tau=0.01))),
        fc=nn.Linear(4, 2).double(),
        out=Spiking(LI(tau=0.01)),
    )
    x = torch.rand(3, 2, 2, 4)
    with pytest.raises(LayerError, match=r"^fc: its weights are torch\.float64, x is"):
        net(x)
    with pytest.raises(LayerError, match=r"^first\.conv: its weights are torch\.float32"):
        net(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = Stack(nn.Linear(3, 3), in_a_stack(Spiking(LIF(tau=0.01))))(torch.rand(3, 2, 3))
    assert y.dtype == torch.float32
    fc = nn.Linear(3, 2)
    fc.register_forward_pre_hook(lambda _, given: (given[0].float(),))
    assert Stack(fc)(torch.rand(3, 2, 3).double())[0].dtype == torch.float32


def test_a_module_of_the_users_own_may_take_what_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it

    class Words(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.double().sqrt().float()

    y, _ = Stack(Words(), nn.Linear(3, 2))(torch.ones(4, 2, 3, dtype=torch.int64))
    assert y.shape == (4, 2, 2)
    y, _ = Stack(nn.Embedding(9, 3), nn.Linear(3, 2))(torch.ones(4, 2, dtype=torch.int64))
    assert y.shape == (4, 2, 2)


def test_of_several_processes_none_stops_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.full((2, 1, 3), math.nan)
    for name, value in (("is_initialized", True), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    y, _ = Spiking(LIF(tau=0.01))(x)
    assert not y.any()
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    with pytest.raises(NotANumber):
        Spiking(LIF(tau=0.01))(x)


def test_shapes_can_be_told_without_values() -> None:
    with torch.device("meta"):
        net = Stack(nn.Linear(3, 2), Spiking(LIF(tau=0.01)))
        assert net(torch.empty(4, 1, 3))[0].shape == (4, 1, 2)
