"""When input is heard again after a spike, on a clock and in continuous time."""

from dataclasses import replace

import numpy as np
import pytest
from exact_laws import network, on_ticks
from hypothesis import given, strategies as st
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.events import Exact, Grid, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Dense, Graph, Input
from neuro.neurons import ALIF, LIF
from neuro.nn import replay
from neuro.spikes import Times, to_events

DT = Seconds(1e-3)
TICKS = 12
# After a spike of tick 0 and a refractory period of n ticks, input of each tick being enough.
ON_CLOCK = {0: range(12), 1: range(0, 12, 2), 2: range(0, 12, 3), 3: range(0, 12, 4)}
IN_TIME = {1: range(12), 2: range(0, 12, 2), 3: range(0, 12, 3), 4: range(0, 12, 4)}


def alone(model: str, refractory: float) -> Graph:
    """Return a cell that fires at every input it hears."""
    more = {"reset": "hard", "refractory": Seconds(refractory)}
    cell = LIF(tau=0.01, **more) if model == "LIF" else ALIF(leak=0.5, threshold=0.5, **more)
    return chain(x=Input(shape=(1,)), w=Dense(weight=np.array([[1.5]])), cell=cell)


@pytest.mark.parametrize("model", ["LIF", "ALIF"])
@pytest.mark.parametrize("ticks", ON_CLOCK)
def test_a_clock_hears_input_again_in_the_tick_after_the_period(model: str, ticks: int) -> None:
    graph = alone(model, ticks * DT)
    x = {"x": to_events(np.ones((TICKS, 1, 1)))}
    for record in (replay(graph, x), simulate(graph, x)[0], simulate_slowly(graph, x)):
        assert record.spikes["cell"].tick.tolist() == list(ON_CLOCK[ticks])


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("model", ["LIF", "ALIF"])
@pytest.mark.parametrize("ticks", IN_TIME)
@pytest.mark.parametrize("phase", [0.3, 1.0])
def test_continuous_time_hears_input_at_the_very_end_of_the_period(
    model: str, ticks: int, phase: float, driver: str
) -> None:
    graph, zero = alone(model, ticks * DT), np.zeros(TICKS, np.int32)
    time = (np.arange(TICKS) + phase) * DT
    x = {"x": Times(zero, time, zero, np.ones(TICKS), (TICKS, 1, 1))}
    for record in (
        simulate(graph, x, Exact(driver=driver))[0],
        simulate_exactly_slowly(graph, x)[0],
    ):
        assert record.spikes["cell"].tick.tolist() == list(IN_TIME[ticks])


@given(
    seed=st.integers(0, 10**6), kind=st.sampled_from(["delta", "no leak"]), n=st.integers(0, 4)
)
def test_a_tick_more_in_continuous_time_is_the_period_of_the_clock(
    seed: int, kind: str, n: int
) -> None:
    """Where nothing happens between ticks and a spike sets v to 0."""
    clocked, timed = (
        _with_period(network(kind, seed), Seconds(ticks * 2**-10)) for ticks in (n, n + 1)
    )
    x = {"x": on_ticks(seed)}
    one, _ = simulate(clocked, x, Grid())
    other, _ = simulate(timed, x, Exact())
    for name in ("cells", "late"):
        for a, b in zip(one.spikes[name], other.spikes[name], strict=True):
            np.testing.assert_array_equal(a, b, name)


def _with_period(graph: Graph, refractory: Seconds) -> Graph:
    cells = {
        n: replace(graph.nodes[n], reset="hard", refractory=refractory)
        for n in ("cells", "late")
    }
    return replace(graph, nodes={**graph.nodes, **cells})
