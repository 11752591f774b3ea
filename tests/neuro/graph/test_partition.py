"""A chip runs its part of a graph, a host the rest; together they are the whole."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from valued_graphs import valued_graph, valued_stimulus
from written_graphs import chain

from neuro.energy import restrict_to_chip
from neuro.events import simulate
from neuro.graph import Dense, GraphError, Input
from neuro.graph.partition import chip_part, find_host_nodes
from neuro.neurons import GatedLI


def test_what_enters_the_chip_is_an_input_and_what_leaves_it_an_output() -> None:
    graph = valued_graph(0)
    part = chip_part(graph)
    assert set(part.inputs) == {"pooled", "lift", "product", "drawn"}
    assert set(part.populations) == {"voxels", "first", "second", "slow", "seen"}
    assert part.shapes["lift"] == (3, 2, 3, 4)
    assert part.readouts == ("slow", "seen")  # a host reads slow
    assert set(part.nodes) - set(part.inputs) - set(part.populations) == {
        *("line", "fc", "back", "out")  # connections on the way to a population
    }


def test_a_host_computes_its_nodes_and_the_connections_that_lead_to_them() -> None:
    graph = valued_graph(0)
    assert set(find_host_nodes(graph)) == {
        *graph.hosts,
        *("mixer", "readout"),
        *("depth", "features", "both", "mix", "gate", "pair", "probability", "against"),
        *("same", "read", "pool"),
    }


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_the_chip_fires_as_the_whole_does_given_what_its_host_sends(seed: int) -> None:
    graph, x = valued_graph(seed), valued_stimulus(seed)
    whole, _ = simulate(graph, x)
    part, done = restrict_to_chip(graph, whole)
    again, _ = simulate(part, {n: done.spikes[n] for n in part.inputs})
    assert set(part.firing) == {"voxels", "first", "second"}
    for name in part.firing:
        for a, b in zip(again.spikes[name], whole.spikes[name], strict=True):
            np.testing.assert_array_equal(a, b, name)


def test_a_graph_that_a_chip_runs_as_a_whole_is_its_own_part() -> None:
    graph = chip_part(valued_graph(0))
    assert chip_part(graph) is graph
    assert find_host_nodes(graph) == ()


def test_a_graph_that_a_host_computes_as_a_whole_has_none() -> None:
    graph = chain(x=Input(shape=(2,)), w=Dense(weight=np.eye(2)), h=GatedLI())
    with pytest.raises(GraphError) as refused:
        chip_part(graph)
    assert str(refused.value) == (
        "no part of the graph runs on a chip:\na host computes every node; put a LIF or ALIF "
        "where spikes are to do the work"
    )
