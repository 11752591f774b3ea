"""What nodes without spikes emit: by hand, and as torch computes it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from graphs import random_graph, stimulus
from hypothesis import given, settings, strategies as st
from written_graphs import chain, wire

from neuro.base.units import Seconds
from neuro.energy.count import (
    compute_node_outputs,
    delay_raster,
    mark_all_weights,
    mark_nonzero_weights,
)
from neuro.graph import Concat, Dense, Graph, Input, Softmax, Sparse
from neuro.neurons import ALIF, LI, LIF
from neuro.nn import replay
from neuro.spikes import to_raster

DT = Seconds(1e-3)


def test_a_raster_that_is_delayed_begins_with_silence_and_loses_its_end() -> None:
    x = np.arange(1.0, 7.0).reshape(3, 2)
    assert delay_raster(x, 0).tolist() == x.tolist()
    assert delay_raster(x, 0) is not x
    assert delay_raster(x, 1).tolist() == [[0, 0], [1, 2], [3, 4]]
    assert delay_raster(x, 2).tolist() == [[0, 0], [0, 0], [1, 2]]
    for late in (3, 4, 100):
        assert not delay_raster(x, late).any()
    assert delay_raster(x.astype(np.float32), 1).dtype == np.float32


def test_edges_add_up_and_delays_and_biases_count() -> None:
    nodes = {
        "x": Input(shape=(2,)),
        "a": Dense(weight=np.array([[1.0, 2.0]]), bias=np.array([10.0])),
        "b": Dense(weight=np.array([[4.0]])),
        "read": LI(tau=math.inf),
    }
    graph = wire("x>a a>b:1 a>read b>read:1", nodes)
    x = np.array([[1.0, 0], [0, 1], [0, 0]])
    found = compute_node_outputs(graph, ["a", "b", "read"], {"x": x})
    assert found["a"].tolist() == [[11], [12], [10]]
    assert found["b"].tolist() == [[0], [44], [48]]
    assert found["read"].tolist() == [[11], [23], [77]]  # it does not forget


def test_a_concat_lays_its_edges_side_by_side_and_a_host_node_is_computed() -> None:
    nodes = {
        "x": Input(shape=(1,)),
        "a": Dense(weight=np.array([[1.0]])),
        "b": Dense(weight=np.array([[2.0]])),
        "both": Concat(),
        "soft": Softmax(),
        "read": LI(tau=0.01),
    }
    graph = wire("x>a x>b a>both b>both:1 both>soft soft>read", nodes)
    found = compute_node_outputs(graph, ["both", "soft"], {"x": np.array([[3.0], [0.0]])})
    assert found["both"].tolist() == [[3, 0], [0, 6]]
    e3, e6 = math.exp(3), math.exp(6)
    expected = [[e3 / (e3 + 1), 1 / (e3 + 1)], [1 / (e6 + 1), e6 / (e6 + 1)]]
    np.testing.assert_allclose(found["soft"], expected, rtol=1e-14)


def test_a_population_that_fires_is_asked_for_its_raster() -> None:
    graph = chain(x=Input(shape=(1,)), a=Dense(weight=np.eye(1)), cells=LIF(tau=0.01))
    x = np.ones((2, 1))
    assert compute_node_outputs(graph, ["cells"], {"x": x, "cells": x})["cells"] is x
    with pytest.raises(TypeError, match="cells spikes: its raster is needed"):
        compute_node_outputs(graph, ["cells"], {"x": x})


@pytest.mark.slow
@settings(max_examples=5)
@given(seed=st.integers(0, 200))
def test_integrators_put_out_what_torch_computes(seed: int) -> None:
    graph = random_graph(seed)
    record = replay(graph, stimulus(graph, seed))
    rasters = {n: to_raster(e)[:, 0].astype(np.float64) for n, e in record.spikes.items()}
    found = compute_node_outputs(graph, ["readout"], rasters)["readout"]
    torch_too = record.values["readout"][:, 0]
    np.testing.assert_allclose(found, torch_too, rtol=0, atol=1e-5)


def marked() -> Graph:
    nodes = {
        "x": Input(shape=(2,)),
        "w": Dense(weight=np.array([[-3.0, 0.0]]), bias=np.array([0.0])),
        "s": Sparse.from_coo(
            np.arange(2), np.zeros(2, int), np.array([0.0, 0.5]), shape=(1, 2)
        ),
        "current": LI(tau=0.02, gain=0.3),
        "cells": ALIF(),
    }
    return wire("x>w x>s w>current s>current current>cells", nodes)


def test_what_is_not_zero_becomes_one_and_currents_forget_within_a_tick() -> None:
    graph, found = marked(), mark_nonzero_weights(marked())
    assert found.nodes["w"].weight.tolist() == [[1, 0]]
    assert found.nodes["w"].bias.tolist() == [0]
    assert found.nodes["s"].weight.tolist() == [0, 1]
    current = found.nodes["current"]
    assert isinstance(current, LI)
    assert (float(current.tau), float(current.gain)) == (DT / 1000, 1.0)
    assert isinstance(found.nodes["cells"], ALIF)
    assert found.edges == graph.edges
    x = np.array([[0.0, 1], [1, 0], [0, 0]])
    assert (compute_node_outputs(found, ["current"], {"x": x})["current"] > 0).tolist() == [
        [True],
        [True],
        [False],
    ]


def test_weights_of_zero_can_be_marked_too_and_biases_of_zero_stay() -> None:
    found = mark_all_weights(marked())
    assert found.nodes["w"].weight.tolist() == [[1, 1]]
    assert found.nodes["w"].bias.tolist() == [0]
    assert found.nodes["s"].weight.tolist() == [1, 1]
    with_bias = replace(marked().nodes["w"], bias=np.array([-2.0]))
    graph = replace(marked(), nodes={**marked().nodes, "w": with_bias})
    assert mark_all_weights(graph).nodes["w"].bias.tolist() == [1]
