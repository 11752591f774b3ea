"""A state belongs to one network: a run of another one refuses it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.events import Clock, Exact, Grid, make_rest_state, simulate
from neuro.graph import Dense, Graph, Input, Node
from neuro.io.graph_digest import digest_graph
from neuro.neurons import LIF
from neuro.spikes import Events, to_events

CLOCKS = (Grid(), Exact())


def network(weight: float = 0.3) -> Graph:
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "fc": Dense(weight=np.full((3, 2), weight)),
        "cells": LIF(tau=0.01, threshold=0.5, reset="hard"),
    }
    return wire("x>fc fc>cells:2", nodes)


def stimulus(samples: int = 2) -> dict[str, Events]:
    return {"x": to_events(np.ones((5, samples, 2), np.float32))}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_state_carries_the_digest_of_its_network(clock: Clock) -> None:
    graph = network()
    _, state = simulate(network(), stimulus(), clock)
    _, next_one = simulate(graph, stimulus(), clock, state=state)
    assert state.digest == next_one.digest == digest_graph(graph)
    assert simulate(graph, stimulus(), clock, workers=2)[1].digest == digest_graph(graph)
    assert make_rest_state(graph, 1).digest == digest_graph(graph)


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_state_of_another_network_of_the_same_shape_is_refused(clock: Clock) -> None:
    other = network(0.2)
    _, state = simulate(network(), stimulus(), clock)
    with pytest.raises(ValueError, match="it belongs to another network: its digest is") as e:
        simulate(other, stimulus(samples=1), clock, state=state)
    assert "cells: the state has" in str(e.value)
    moved: Any = replace(state, digest=digest_graph(other))
    simulate(other, stimulus(), clock, state=moved)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_refused(clock: Clock, value: float) -> None:
    # A membrane that is NaN would be silent for ever.
    _, state = simulate(network(), stimulus(), clock)
    odd: Any = replace(state, neurons={"cells": np.full_like(state.neurons["cells"], value)})
    with pytest.raises(ValueError, match="cells: the state is not finite"):
        simulate(network(), stimulus(), clock, state=odd)


@pytest.mark.parametrize("wait", [-1, 0.5])
def test_a_wait_that_is_no_number_of_ticks_is_refused(wait: float) -> None:
    _, state = simulate(network(), stimulus())
    neurons = state.neurons["cells"].copy()
    neurons[3, 1, 2] = wait
    odd: Any = replace(state, neurons={"cells": neurons})
    with pytest.raises(ValueError, match="cells: the rest of refractory periods"):
        simulate(network(), stimulus(), state=odd)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("workers", [1, 2])
def test_each_sample_goes_on_from_its_own_state(clock: Clock, workers: int) -> None:
    raster = np.random.default_rng(0).random((10, 3, 2)) < 0.4
    graph, halves = network(), (raster[:5], raster[5:])
    state, alone, reached = None, [None] * 3, []
    for half in halves:
        record, state = simulate(
            graph, {"x": to_events(half)}, clock, state=state, workers=workers
        )
        for b in range(3):
            train = {"x": to_events(half[:, b : b + 1])}
            own, alone[b] = simulate(graph, train, clock, state=alone[b])
            found = record.spikes["cells"]
            mine = found.sample == b
            np.testing.assert_array_equal(found.tick[mine], own.spikes["cells"].tick)
            np.testing.assert_array_equal(
                state.neurons["cells"][:, b], alone[b].neurons["cells"][:, 0]
            )
        reached.append({float(one.neurons["cells"][0, 0, 0]) for one in alone})
    assert len(reached[0]) == 3


@pytest.mark.parametrize("refractory", [0, 3])
def test_no_neuron_waits_longer_than_its_refractory_period(refractory: int) -> None:
    cells = LIF(tau=0.01, threshold=0.5, reset="hard", refractory=Seconds(refractory * 1e-3))
    graph = replace(network(), nodes={**network().nodes, "cells": cells})
    _, state = simulate(graph, stimulus())
    state.neurons["cells"][3] = [[refractory, 0, refractory]]
    simulate(graph, stimulus(), state=state)
    for wait in (refractory + 1, -1, 0.5):
        state.neurons["cells"][3, 1, 2] = wait
        with pytest.raises(ValueError, match=rf"cells: .* whole ticks from 0 to {refractory}$"):
            simulate(graph, stimulus(), state=state)
