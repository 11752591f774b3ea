from dataclasses import replace

import numpy as np
import pytest
import torch
from energy_cases import record_of
from graphs import random_graph, stimulus
from hypothesis import given, settings, strategies as st
from written_graphs import chain, wire

from neuro.energy import count, estimate, find_chip
from neuro.energy.mapping import place
from neuro.energy.operations import count_operations, count_workload
from neuro.energy.synapses import (
    compose,
    count_route_fan_out,
    count_synaptic_events,
    sum_by_tick,
)
from neuro.energy.traffic import count_sent
from neuro.events import simulate
from neuro.graph import AvgPool2d, Concat, Connection, Conv2d, Dense, Graph, Input, Node, Sparse
from neuro.graph.connections import apply_connection
from neuro.graph.paths import Route
from neuro.graph.sparse import to_dense
from neuro.neurons import LI, LIF
from neuro.spikes import to_events
from neuro.spikes.record import Record


def pooled() -> Graph:
    """One image of 4 x 4, a pool of 2 x 2, a convolution of 2 x 2 with 3 kernels."""
    weight = np.ones((3, 1, 2, 2))
    weight[0, 0, 0, 0] = 0
    return chain(
        x=Input(shape=(1, 4, 4)),
        pool=AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        conv=Conv2d(weight=weight),
        out=LI(tau=0.01),
    )


def spikes_at(graph: Graph, ticks: int, *at: tuple[int, int]) -> Record:
    raster = np.zeros((ticks, 1, graph.size("x")))
    for tick, neuron in at:
        raster[tick, 0, neuron] = 1
    return record_of(x=raster)


def test_two_spikes_in_one_pooling_window_are_one_value_but_cost_a_chip_twice() -> None:
    graph = pooled()
    record = spikes_at(graph, 1, (0, 0), (0, 5))  # corners of the first window
    # The one pooled value meets the first position of 3 kernels, one of which is zero there.
    counts = count(graph, record)
    assert (counts["pool"].synaptic_events, counts["conv"].synaptic_events) == (2, 2)
    assert counts["conv"].synaptic_events_all == 3
    (layer,) = count_synaptic_events(graph, record, compose(graph))
    assert (layer.name, layer.shared_kernel) == ("pool+conv", True)
    assert (layer.events.tolist(), layer.events_all.tolist()) == ([[4]], [[6]])
    found = estimate(graph, record, find_chip("loihi1"))
    assert list(found.parts) == ["x", "pool+conv", "out"]
    assert found.parts["pool+conv"]["synapse"].nominal == pytest.approx(4 * 23.6e-12)
    assert found.parts["pool+conv"]["synapse"].high == pytest.approx(6 * 24e-12)


def test_spikes_in_two_windows_cost_a_chip_what_the_values_cost() -> None:
    graph = pooled()
    record = spikes_at(graph, 2, (0, 0), (1, 2))
    counts = count(graph, record)
    (layer,) = count_synaptic_events(graph, record, compose(graph))
    assert layer.events.tolist() == [[2], [3]]
    assert counts["conv"].synaptic_events == 5


def test_a_source_that_is_joined_twice_pays_for_each_of_its_places() -> None:
    graph = wire(
        "x>c x>c:1 c>fc fc>out",
        {
            "x": Input(shape=(2,)),
            "c": Concat(),
            "fc": Dense(weight=np.array([[1.0, 0, 1, 1], [1, 1, 0, 1], [0, 0, 0, 1]])),
            "out": LI(tau=0.01),
        },
    )
    record = spikes_at(graph, 3, (0, 0), (0, 1), (2, 1))
    (layer,) = count_synaptic_events(graph, record, compose(graph))
    assert layer.name == "c+fc"
    assert layer.events.tolist() == [[2 + 1], [1 + 3], [1]]
    assert layer.events_all.tolist() == [[6], [6], [3]]
    counts = count(graph, record)
    assert counts["c"].synaptic_events_all == 0
    assert (counts["fc"].synaptic_events, counts["fc"].synaptic_events_all) == (8, 15)
    found = estimate(graph, record, find_chip("loihi1"))
    assert found.parts["c+fc"]["synapse"].nominal > 0


def test_a_spike_of_any_value_but_zero_is_an_event() -> None:
    spikes = to_events(np.array([[[1.0, -1.0, 0.0]], [[0.0, 0.0, 0.5]]]))
    per_neuron = np.array([1, 10, 100])
    assert sum_by_tick(spikes, per_neuron).tolist() == [[11], [100]]
    assert sum_by_tick(spikes, per_neuron, delay=1).tolist() == [[0], [11]]


def impulses(graph: Graph, route: Route, ones: bool) -> np.ndarray:
    """Return, for each source neuron, the targets that an impulse of it reaches."""
    n = graph.size(route.source)
    x = torch.eye(n, dtype=torch.float64).reshape(n, *graph.shapes[route.source])
    for name in route.via:
        node = graph.nodes[name]
        assert isinstance(node, Connection)
        if ones and isinstance(node, Dense):
            node = Dense(weight=np.ones_like(node.weight))
        elif ones and isinstance(node, Conv2d):
            weight = np.ones_like(node.weight)
            node = Conv2d(weight=weight, stride=node.stride, padding=node.padding)
        x = apply_connection(node, x)
    return np.asarray((x.flatten(1) != 0).sum(1))


@given(seed=st.integers(0, 9999))
@settings(max_examples=20)
def test_the_fan_out_of_a_composed_connection_is_what_unit_impulses_reach(seed: int) -> None:
    graph = random_graph(seed, for_chip=True)
    for route in compose(graph):
        events, events_all = count_route_fan_out(route)
        np.testing.assert_array_equal(events, impulses(graph, route, ones=False), route.name)
        if len(route.via) == 1:  # in a chain, a matrix counts outputs out of reach too
            np.testing.assert_array_equal(events_all, impulses(graph, route, ones=True))
        assert (events_all >= events).all()


@given(seed=st.integers(0, 9999), pool=st.integers(1, 3), step=st.integers(1, 3))
def test_the_fan_out_behind_any_pool_is_what_unit_impulses_reach(
    seed: int, pool: int, step: int
) -> None:
    rng = np.random.default_rng(seed)
    padding, stride = (int(rng.integers(0, 3)), int(rng.integers(0, 3))), (1, 2)
    weight = rng.integers(0, 3, (3, 2, 2, 2))  # no sign, so that no float sum vanishes
    graph = chain(
        x=Input(shape=(2, 7, 8)),
        pool=AvgPool2d(kernel=(pool, pool), stride=(step, step)),
        conv=Conv2d(weight=weight, stride=stride, padding=padding),
        out=LIF(tau=0.01),
    )
    (route,) = compose(graph)
    events, events_all = count_route_fan_out(route)
    np.testing.assert_array_equal(events, impulses(graph, route, ones=False))
    assert (events_all >= impulses(graph, route, ones=True)).all()


@given(seed=st.integers(0, 9999))
@settings(max_examples=10)
def test_events_of_a_run_are_a_sum_over_its_single_spikes(seed: int) -> None:
    graph = random_graph(seed, for_chip=True)
    record, _ = simulate(graph, stimulus(graph, seed, ticks=6))
    composed = compose(graph)
    for route, layer in zip(
        composed, count_synaptic_events(graph, record, composed), strict=True
    ):
        reach, e = impulses(graph, route, ones=False), record.spikes[route.source]
        expected = np.zeros((6, 2), int)
        for tick, sample, neuron in zip(e.tick, e.sample, e.neuron, strict=True):
            if tick + route.delay < 6:
                expected[tick + route.delay, sample] += reach[neuron]
        assert layer.name == route.name
        np.testing.assert_array_equal(layer.events, expected)


def test_without_a_chain_the_chip_has_as_many_events_as_the_graph() -> None:
    nodes = {
        "x": Input(shape=(1, 4, 4)),
        "conv": Conv2d(weight=np.ones((2, 1, 3, 3)), padding=(1, 1)),
        "out": LIF(tau=0.01),
    }
    graph = wire("x>conv:1 conv>out", nodes)
    record, _ = simulate(graph, stimulus(graph, 0))
    chip = find_chip("loihi1")
    work, placement = count_workload(graph, record), place(graph, chip)
    sent = count_sent(work.by_neuron, work.composed, placement)
    ops = count_operations(graph, work, chip, sent)
    counts = count(graph, record)["conv"]
    assert ops["conv"].synaptic_events == counts.synaptic_events
    assert ops["conv"].synaptic_events_all == counts.synaptic_events_all


def test_a_node_between_several_populations_is_a_layer_for_each_pair() -> None:
    nodes = {
        "x": Input(shape=(2,)),
        "a": LIF(tau=0.01),
        "w": Dense(weight=np.ones((3, 2))),
        "out": LI(tau=0.01),
    }
    graph = wire("x>a x>w a>w w>out", nodes)
    record = record_of(x=np.ones((1, 1, 2)), a=np.ones((1, 1, 2)))
    layers = {
        s.name: int(s.events.sum())
        for s in count_synaptic_events(graph, record, compose(graph))
    }
    assert layers == {"x->a": 2, "x->w->out": 6, "a->w->out": 6}


def test_edges_that_differ_in_their_delay_alone_are_one_layer() -> None:
    nodes = {"x": Input(shape=(2,)), "w": Dense(weight=np.ones((3, 2))), "out": LI(tau=0.01)}
    graph = wire("x>w x>w:1 w>out", nodes)
    (layer,) = count_synaptic_events(graph, spikes_at(graph, 2, (0, 0), (1, 1)), compose(graph))
    assert layer.name == "w"
    assert layer.events.tolist() == [[3], [6]]


def test_a_graph_that_cannot_be_composed_is_refused_with_every_chain_and_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("neuro.graph.paths.LIMIT", 10_000)
    nodes: dict[str, Node] = {"x": Input(shape=(1, 70, 70))}
    for k in "12":
        nodes[f"pool{k}"] = AvgPool2d(kernel=(3, 3), stride=(1, 1))
        nodes[f"conv{k}"] = Conv2d(weight=np.ones((4, 1, 3, 3)), padding=(1, 1))
        nodes[f"out{k}"] = LI(tau=0.01)
    edges = " ".join(f"x>pool{k} pool{k}>conv{k} conv{k}>out{k}" for k in "12")
    graph = wire(edges, nodes)
    with pytest.raises(ValueError, match="no chip can hold") as e:
        estimate(graph, spikes_at(graph, 1, (0, 0)), find_chip("loihi1"))
    assert "x -> pool1 -> conv1 -> out1: is no single convolution" in str(e.value)
    assert "x -> pool2 -> conv2 -> out2: is no single convolution" in str(e.value)
    assert str(e.value).count("put a population between") == 2
    with pytest.raises(ValueError, match="pool2 -> conv2"):
        place(graph, find_chip("loihi1"))


def test_what_no_mapping_knows_is_refused_at_once_with_its_cures() -> None:
    one = np.array([0])
    w = Sparse.from_coo(one, one, np.ones(1), shape=(1, 1))
    nodes: dict[str, Node] = {
        "x": Input(shape=(1,)),
        "w": w,
        "i": LI(tau=0.01),
        "a": LIF(tau=0.02),
        "b": LIF(tau=0.02),
    }
    edges = "x>w w>i i>a a>b"
    with pytest.raises(ValueError, match="no chip can hold") as e:
        compose(wire(edges, nodes))
    _, listed, current = str(e.value).splitlines()
    assert listed == (
        "w: how a chip stores a Sparse is not known here; price it as the matrix "
        "neuro.graph.sparse.to_dense(node), zeros included"
    )
    assert current == (
        "i: is a current into a, which a chip keeps in the neuron itself; leave it out and "
        "give a tau_syn=0.01"
    )
    nodes["w"] = replace(w, delay=np.array([1]), weight=np.array([2.0]))
    with pytest.raises(
        ValueError, match=r"to_dense\(dataclasses\.replace\(node, delay=None\)\)"
    ):
        compose(wire(edges, nodes))
    nodes["w"] = to_dense(w)
    with pytest.raises(ValueError, match=r"zero-delay loop .* give one of its edges a delay"):
        compose(wire(f"{edges} b>a", nodes))


def test_spikes_whose_ticks_have_few_bits_arrive_late_or_not_at_all() -> None:
    raster = np.zeros((256, 1, 1))
    raster[[0, 252, 253, 255]] = 1
    train = to_events(raster)
    narrow = train._replace(tick=train.tick.astype(np.uint8))
    found = sum_by_tick(narrow, np.ones(1, np.int64), delay=3)
    assert np.flatnonzero(found).tolist() == [3, 255]
