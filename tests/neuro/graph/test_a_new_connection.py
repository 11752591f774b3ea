"""A connection that no module of the package names runs under every executor."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from graphs import stimulus
from torch import Tensor
from written_graphs import chain

from lava_export import lower, reference
from neuro.energy import count
from neuro.energy.synapses import compose
from neuro.events import Exact, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Input, Weighted
from neuro.graph.connections import FanOut, Shape, Synapse, SynapseRows
from neuro.neurons import LIF
from neuro.nn import replay
from neuro.spikes.record import Record


@dataclass(frozen=True, kw_only=True, eq=False)
class Reverse(Weighted):
    """y[k] = weight[k] x[N - 1 - k]."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    def output_shape(self, given: Shape) -> Shape | str:
        fits = given == self.weight.shape
        return given if fits else f"Reverse takes {self.weight.shape}, got {given}"

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        y: Tensor = weight * x.flip(1)
        return y if bias is None else y + bias

    def fan_out(self, given: Shape) -> FanOut:
        return FanOut((self.weight[::-1] != 0).astype(np.int64), np.ones(given, np.int64))

    def synapses(self, given: Shape) -> SynapseRows:
        last = given[0] - 1
        return [[Synapse(last - j, float(self.weight[last - j]))] for j in range(last + 1)]


def same(one: Record, other: Record) -> None:
    np.testing.assert_equal(one.spikes, other.spikes)


def test_a_connection_that_answers_for_itself_runs_everywhere() -> None:
    weight = np.array([0.25, -0.5, 0.0, 1.0, 0.75])
    graph = chain(
        x=Input(shape=(5,)),
        w=Reverse(weight=weight),
        a=LIF(tau=0.01, threshold=0.5, reset="hard"),
        dt=2**-10,
    )
    x = stimulus(graph, 0)
    record, _ = simulate(graph, x)
    assert len(record.spikes["a"].tick) > 5
    same(replay(graph, x), record)
    same(simulate_slowly(graph, x), record)
    same(simulate(graph, x, Exact())[0], record)
    same(simulate_exactly_slowly(graph, x)[0], record)
    implied = count(graph, record)["w"]
    assert record.counts["w"].synaptic_events == implied.synaptic_events
    assert record.counts["w"].synaptic_events_all == implied.synaptic_events_all
    (route,) = compose(graph)
    np.testing.assert_array_equal(route.weight != 0, np.diag(weight)[:, ::-1] != 0)
    integers = reference.run(lower(graph), x, 15)
    np.testing.assert_equal(integers.spikes["a"], record.spikes["a"])
