"""A neuron model from outside, with a reset of its own: each executor runs it or says why not.

What a new model in :mod:`neuro.neurons` meets is what these meet, which are defined here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from written_graphs import chain

from lava_export import lower
from neuro.base.units import Seconds
from neuro.energy import count, estimate, find_chip
from neuro.eventprop.layers import build_layers
from neuro.events import Exact, Grid, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Dense, Graph, Input, Population
from neuro.interop.nest_plan import plan
from neuro.io.graph_file import save_graph
from neuro.io.store import StoreError
from neuro.neurons import (
    ALIF,
    LI,
    LIF,
    Coefficients,
    Dynamics,
    Neuron,
    Reset,
    has_normal_form,
    is_neuron,
    run_population,
)
from neuro.neurons.fused import make_fused_form, step_population
from neuro.neurons.neuron import FusedNeuron
from neuro.neurons.normal_form import Tensors, convert_like
from neuro.neurons.reset import as_reset
from neuro.neurons.surrogate import Surrogate, spike, triangle
from neuro.nn import Net, Spiking, Stack, compute_margins, replay
from neuro.nn.trace import trace
from neuro.spikes import Events, to_events, to_times

DT = Seconds(1e-3)


def new_reset(name: str) -> Reset:
    """Return a kind of reset as a further member of Reset would be; no executor knows it."""
    value = str.__new__(Reset, name)
    value._name_, value._value_ = name.upper(), name
    return value


HALVE = new_reset("halve")


class HalvingState(NamedTuple):
    """Membrane after reset."""

    v: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Halving:
    """v[t] = decay v[t-1] + x[t]; a spike at v >= threshold halves v.

    It offers all that a LIF offers; what is new is the reset.
    """

    fires: ClassVar[bool] = True

    decay: float = 0.5
    threshold: float = 1.0
    reset: Reset = HALVE
    surrogate: Surrogate = triangle
    refractory: Seconds = Seconds(0.0)

    def initial(self, x: Tensor) -> HalvingState:
        return HalvingState(torch.zeros_like(x))

    def step(
        self,
        x: Tensor,
        state: HalvingState,
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Tensor, HalvingState]:
        v = self.decay * state.v + x
        s = spike(v - self.threshold, self.surrogate)
        return s, HalvingState(v * (1 - s.detach() / 2))

    def free(self) -> dict[str, Tensor]:
        return {}

    def bind(self, free: dict[str, Tensor]) -> "Halving":  # noqa: ARG002
        return self

    def coefficients(self, dt: Seconds) -> Coefficients:  # noqa: ARG002
        return Coefficients(
            decay=np.asarray(self.decay), threshold=np.asarray(self.threshold), reset=self.reset
        )

    def dynamics(self, dt: Seconds) -> Dynamics:
        return Dynamics(
            rate=np.asarray(-np.log(self.decay) / dt),
            rate_syn=np.asarray(100.0),
            threshold=np.asarray(self.threshold),
            reset=self.reset,
            refractory=DT,
        )

    def tensors(self, x: Tensor, dt: Seconds) -> Tensors:  # noqa: ARG002
        zero, one = convert_like(0.0, x), convert_like(1.0, x)
        return Tensors(
            convert_like(self.decay, x), one, zero, convert_like(self.threshold, x), zero, zero
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Quadratic:
    """v[t] = v[t-1] + v[t-1]^2 + x[t]; a spike at v >= peak sets v to ``after``.

    It is not linear between its spikes: there is no normal form.
    """

    fires: ClassVar[bool] = True

    peak: float = 2.0
    after: float = -0.5

    def initial(self, x: Tensor) -> HalvingState:
        return HalvingState(torch.zeros_like(x))

    def step(
        self,
        x: Tensor,
        state: HalvingState,
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Tensor, HalvingState]:
        v = state.v + state.v**2 + x
        s = spike(v - self.peak, triangle)
        return s, HalvingState(torch.where(s > 0, self.after, v))

    def free(self) -> dict[str, Tensor]:
        return {}

    def bind(self, free: dict[str, Tensor]) -> "Quadratic":  # noqa: ARG002
        return self


MODELS: dict[str, tuple[Neuron, str]] = {
    "a new reset": (Halving(), "'halve'"),
    "no normal form": (Quadratic(), "Quadratic"),
}


def network(neuron: Neuron) -> Graph:
    return chain(
        x=Input(shape=(1,)), fc=Dense(weight=np.ones((1, 1), np.float32)), cells=neuron
    )


def values(*x: float) -> dict[str, Events]:
    return {"x": to_events(np.array(x, np.float32).reshape(-1, 1, 1))}


def fired(graph: Graph, *x: float) -> list[int]:
    return replay(graph, values(*x)).spikes["cells"].tick.tolist()


def test_on_the_clock_of_torch_they_run_as_their_equations_say() -> None:
    # v before its reset: 3, 1.5 / 2 + 1 = 1.75, 0.4375, 1.21875
    assert fired(network(Halving()), 3, 1, 0, 1) == [0, 1, 3]
    assert fired(network(LIF(tau=DT / np.log(2))), 3, 1, 0, 1) == [0, 1, 3]
    assert fired(network(Halving()), 6, 0, 0, 0) == [0, 1]
    # v before its reset: 1, 2, then from -0.5: 0.75, 1.3125, 3.035...
    assert fired(network(Quadratic()), 1, 0, 1, 0, 0) == [1, 4]


@pytest.mark.parametrize("model", MODELS)
def test_they_are_trained_tick_by_tick_and_traced(model: str) -> None:
    neuron, _ = MODELS[model]
    x = torch.full((6, 2, 3), 0.8, dtype=torch.float64).requires_grad_()
    assert make_fused_form(neuron, x, DT) is None
    y, _ = run_population(neuron, x, DT)
    want, _ = step_population(neuron, x, DT, neuron.initial(x[0]))
    assert torch.equal(y, want)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.any()
    net = Stack(fc=nn.Linear(3, 2, bias=False), cells=Spiking(neuron)).double()
    graph = trace(net, (3,))
    assert graph.firing == ("cells",)
    assert isinstance(graph.nodes["cells"], type(neuron))
    with torch.no_grad():
        assert torch.equal(net(x)[0], Net(graph)({"input": x})[0]["cells"])


EXECUTORS: dict[str, Callable[[Graph, dict[str, Events]], Any]] = {
    "the event engine": lambda g, x: simulate(g, x, Grid()),
    "the oracle of the grid": simulate_slowly,
    "the exact clock": lambda g, x: simulate(g, x, Exact()),
    "the exact oracle": simulate_exactly_slowly,
    "EventProp": lambda g, _: build_layers(g),
    "NEST": lambda g, x: plan(g, {n: to_times(e, DT) for n, e in x.items()}, {}),
    "Loihi in integers": lambda g, _: lower(g),
    "the energy of a chip": lambda g, x: estimate(g, replay(g, x), find_chip("loihi1")),
    "margins": lambda g, x: compute_margins(g, x, "cells"),
}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("model", MODELS)
def test_each_executor_that_cannot_run_them_names_node_reason_and_cure(
    model: str, executor: str
) -> None:
    neuron, reason = MODELS[model]
    with pytest.raises(ValueError, match=r"use |run ") as error:
        EXECUTORS[executor](network(neuron), values(1, 1))
    (told,) = [
        line for line in str(error.value).splitlines() if reason in line or "halve" in line
    ]
    assert told.startswith("cells: ")
    # The same network with a LIF is what the executor can run.
    known = LIF(tau=0.01, tau_syn=0.005, reset="hard", refractory=Seconds(0.0))
    if executor == "NEST":
        known = replace(known, refractory=DT)
    EXECUTORS[executor](network(known), values(1, 1))


def test_energy_counts_of_their_spikes_are_those_of_any_neuron() -> None:
    graph, x = network(Halving()), values(3, 1, 0, 1)
    assert count(graph, replay(graph, x))["cells"].spikes == 3


def test_a_file_refuses_a_model_that_it_could_not_read_again(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cells: a file cannot hold a Halving"):
        save_graph(tmp_path / "graph.safetensors", network(Halving()))
    assert not (tmp_path / "graph.safetensors").exists()


def test_a_read_out_with_more_than_gain_and_leak_is_refused_too() -> None:
    @dataclass(frozen=True, kw_only=True, eq=False)
    class Smooth(LI):
        def coefficients(self, dt: Seconds) -> Coefficients:
            return super().coefficients(dt)._replace(decay_syn=np.asarray(0.5))

        def dynamics(self, dt: Seconds) -> Dynamics:
            return super().dynamics(dt)._replace(rate_syn=np.asarray(100.0))

    for clock in (Grid(), Exact()):
        with pytest.raises(ValueError, match="cells: this Smooth never fires, but has a"):
            simulate(network(Smooth(tau=0.01)), values(1), clock)


def test_contracts_are_told_from_what_a_class_offers() -> None:
    for neuron in (LIF(tau=0.01), Halving(), Quadratic(), LI(tau=0.01)):
        assert is_neuron(neuron)
        assert isinstance(neuron, Population)
        assert has_normal_form(neuron) == (not isinstance(neuron, Quadratic))
        assert isinstance(neuron, FusedNeuron) == hasattr(neuron, "tensors")
    assert not is_neuron(Dense(weight=np.ones((1, 1))))


@pytest.mark.parametrize("reset", Reset)
def test_a_reset_is_given_by_its_name_or_as_a_member(reset: Reset) -> None:
    assert LIF(tau=0.01, reset=str(reset)).reset is LIF(tau=0.01, reset=reset).reset is reset  # type: ignore[arg-type]


def test_a_reset_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"LIF\.reset must be 'soft' or 'hard', got 'zero'"):
        as_reset("LIF.reset", "zero")
    with pytest.raises(ValueError, match=r"ALIF\.reset must be 'soft' or 'hard', got 'halve'"):
        ALIF(reset=HALVE)
