from dataclasses import replace

import numpy as np
import pytest
import torch
from energy_cases import record_of
from hypothesis import given, settings, strategies as st
from layer_cases import random_layer, random_synapses, trace_layer
from written_graphs import chain, wire

from neuro.energy.active import count_reached
from neuro.energy.count import count, count_arrivals, count_fan_out, count_macs
from neuro.events import Exact, simulate
from neuro.graph import (
    AvgPool2d,
    Connection,
    Conv2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    Input,
    Sparse,
)
from neuro.graph.sparse import write_out_synapses
from neuro.neurons import LI, LIF
from neuro.spikes import Events, Times, to_events
from neuro.spikes.record import Counts, Record


def draw_record(graph: Graph, ticks: int, rng: np.random.Generator) -> Record:
    """Return random spikes; what fires need not follow from the weights."""
    sizes = {name: graph.size(name) for name in (*graph.inputs, *graph.firing)}
    return record_of(
        **{name: rng.integers(-1, 3, (ticks, 2, n)).clip(0) for name, n in sizes.items()}
    )


def image_graph(rng: np.random.Generator, delay: int) -> Graph:
    """Pools, strides, borders, chains of linear nodes, delays, a loop and a direct edge."""
    pair = lambda low, high: tuple(map(int, rng.integers(low, high, 2)))  # noqa: E731
    stride, padding, kernel = pair(1, 3), pair(0, 3), pair(1, 4)
    conv = Conv2d(
        weight=rng.integers(-1, 2, (3, 2, *kernel)),
        bias=rng.integers(0, 2, 3) if rng.random() < 0.5 else None,
        stride=stride,
        padding=padding,
    )
    pooled = rng.random() < 0.5
    nodes = {"x": Input(shape=(2, 6, 5)), "conv": conv, "a": LIF(tau=0.01), "flat": Flatten()}
    if pooled:
        nodes["pool"] = AvgPool2d(kernel=(2, 2), stride=(2, 1))
    height, width = (3, 4) if pooled else (6, 5)
    out = [
        (n + 2 * p - k) // s + 1
        for n, p, k, s in zip((height, width), padding, kernel, stride, strict=True)
    ]
    nodes |= {
        "b_in": Dense(weight=rng.integers(-1, 2, (4, 3 * out[0] * out[1])), bias=np.zeros(4)),
        "b": LIF(tau=0.01),
        "again": Dense(weight=rng.integers(-1, 2, (4, 4))),
        "c": LIF(tau=0.01),
        "chain": Dense(weight=rng.integers(-1, 2, (5, 4)), bias=rng.integers(0, 2, 5)),
        "last": Dense(weight=rng.integers(-1, 2, (3, 5))),
        "out": LI(tau=0.02),
    }
    edges = f"conv>a a>flat:{delay} flat>b_in b_in>b b>again:{1 + delay} again>b b>c:{delay} "
    edges += f"b>chain c>chain:{delay} chain>last:{delay} last>out "
    return wire(edges + ("x>pool pool>conv:1" if pooled else f"x>conv:{delay}"), nodes)


def matrix(graph: Graph, name: str, weight: np.ndarray | None) -> np.ndarray:
    """Return the (out, in) matrix of a linear node by pushing unit impulses through torch."""
    node, shape = graph.nodes[name], graph.shapes[graph.into(name)[0].source]
    impulses = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    w = None if weight is None else torch.tensor(np.array(weight, np.float64))
    if isinstance(node, Dense):
        y = impulses @ w.T
    elif isinstance(node, Conv2d):
        y = torch.nn.functional.conv2d(impulses, w, None, node.stride, node.padding)
    elif isinstance(node, AvgPool2d):
        y = torch.nn.functional.avg_pool2d(impulses, node.kernel, node.stride)
    else:
        y = impulses
    return y.reshape(len(impulses), -1).T.numpy()


def bias_of(graph: Graph, name: str) -> np.ndarray:
    bias = getattr(graph.nodes[name], "bias", None)
    if bias is None:
        return np.zeros(graph.size(name))
    return np.repeat(bias.astype(float), graph.size(name) // len(bias))


def matrices(graph: Graph) -> dict[str, dict[str, np.ndarray]]:
    """Return, by linear node: its matrix, its pairs in range, its pairs of non-zero weight."""
    found = {}
    for n in (n for n, node in graph.nodes.items() if isinstance(node, Connection)):
        w = getattr(graph.nodes[n], "weight", None)
        variants = {"value": w, "ranged": w, "useful": w}
        if w is not None:
            variants |= {"ranged": np.ones_like(w), "useful": w != 0}
        found[n] = {k: matrix(graph, n, x) for k, x in variants.items()}
        found[n] |= {k: found[n][k] != 0 for k in ("ranged", "useful")}
    return found


def walk(
    graph: Graph, record: Record, sample: int, maps: dict[str, dict[str, np.ndarray]]
) -> tuple[dict[tuple[str, int], np.ndarray], dict[tuple[str, int], np.ndarray]]:
    """Return what each node emits at each tick, and which of its values something reached."""
    emitted, reached = {}, {}
    for t, n in ((t, n) for t in range(record.ticks) for n in graph.order):
        emitted[n, t] = bias_of(graph, n)
        hits = emitted[n, t] != 0
        if n in record.spikes:
            e = record.spikes[n]
            here = (e.sample == sample) & (e.tick == t)
            np.add.at(emitted[n, t], e.neuron[here], e.value[here])
            hits = emitted[n, t] != 0
        for e in (e for e in graph.into(n) if e.delay <= t):
            past = e.source, t - e.delay
            if n in maps:
                emitted[n, t] = emitted[n, t] + maps[n]["value"] @ emitted[past]
            pairs = maps[n]["useful"] if n in maps else np.eye(graph.size(n), dtype=bool)
            touched = reached[past] if e.source in maps else emitted[past] != 0
            hits = hits | (pairs & touched).any(1)
        reached[n, t] = hits
    return emitted, reached


def slowly(graph: Graph, record: Record) -> tuple[dict[str, Counts], dict[str, int]]:
    """Count by walking through samples, ticks and edges."""
    maps = matrices(graph)
    events, events_all, busy = (dict.fromkeys(graph.nodes, 0) for _ in range(3))
    for sample in range(record.samples):
        emitted, reached = walk(graph, record, sample, maps)
        for n, t in reached:
            busy[n] += int(reached[n, t].sum())
        for e, t in ((x, t) for x in graph.edges for t in range(record.ticks - x.delay)):
            arriving = emitted[e.source, t] != 0
            if isinstance(graph.nodes[e.target], (Dense, Conv2d, AvgPool2d)):
                events[e.target] += int(maps[e.target]["useful"][:, arriving].sum())
                events_all[e.target] += int(maps[e.target]["ranged"][:, arriving].sum())
            elif e.target in graph.populations and e.source not in maps:
                events[e.target] += int(arriving.sum())
                events_all[e.target] += int(arriving.sum())
    ran = record.ticks * record.samples
    counts = {
        n: Counts(
            spikes=len(record.spikes[n].value) if n in record.spikes else 0,
            synaptic_events=events[n],
            synaptic_events_all=events_all[n],
            updates=graph.size(n) * ran if n in graph.populations else 0,
        )
        for n in graph.nodes
    }
    return counts, {n: busy[n] for n in graph.populations}


@pytest.mark.slow
@given(seed=st.integers(0, 9999), delay=st.integers(0, 3), ticks=st.integers(1, 5))
def test_counts_and_active_neurons_equal_a_walk_over_single_spikes(
    seed: int, delay: int, ticks: int
) -> None:
    rng = np.random.default_rng(seed)
    graph = image_graph(rng, delay)
    record = draw_record(graph, ticks, rng)
    counts, busy = slowly(graph, record)
    assert count(graph, record) == counts
    assert {n: x.neurons.sum() for n, x in count_reached(graph, record).items()} == busy


@given(seed=st.integers(0, 999))
@settings(max_examples=20)
def test_macs_are_the_pairs_of_input_and_output_in_range(seed: int) -> None:
    graph = image_graph(np.random.default_rng(seed), 1)
    for name, pairs in count_macs(graph).items():
        node = graph.nodes[name]
        weight = getattr(node, "weight", None)
        ones = None if weight is None else np.ones_like(weight)
        expected = 0 if isinstance(node, Flatten) else (matrix(graph, name, ones) != 0).sum()
        assert pairs == expected


def test_a_spike_in_the_corner_meets_fewer_kernel_positions_than_one_in_the_middle() -> None:
    graph = chain(
        x=Input(shape=(1, 4, 4)),
        conv=Conv2d(weight=np.ones((5, 1, 3, 3)), padding=(1, 1)),
        out=LI(tau=0.01),
    )
    raster = np.zeros((2, 1, 16))
    raster[0, 0, 0] = raster[1, 0, 5] = 1
    (over_edge, _) = count_arrivals(graph, record_of(x=raster))
    assert over_edge.events.tolist() == [[5 * 4], [5 * 9]]


def test_a_spike_that_would_arrive_after_the_last_tick_is_no_event() -> None:
    nodes = {"x": Input(shape=(2,)), "w": Dense(weight=np.ones((3, 2))), "out": LI(tau=0.01)}
    graph = wire("x>w:2 w>out", nodes)
    assert count(graph, record_of(x=np.ones((3, 1, 2))))["w"].synaptic_events == 1 * 2 * 3


@given(seed=st.integers(0, 999), delays=st.integers(1, 3), edge=st.integers(0, 2))
def test_synapses_are_counted_one_by_one_as_their_spikes_arrive(
    seed: int, delays: int, edge: int
) -> None:
    columns, w = random_synapses(seed, delays=delays)
    nodes = {
        "x": Input(shape=(5,)),
        "w": w,
        "current": LI(tau=0.01),
        "cell": LIF(tau=0.01),
        "back": random_synapses(seed, inputs=4, delays=2)[1],
        "out": LI(tau=0.01),
    }
    graph = wire(f"x>w:{edge} w>current current>cell cell>back:1 back>out", nodes)
    record = draw_record(graph, 4, np.random.default_rng(seed))
    useful, every = 0, 0
    for j, _, weight, late in zip(*columns.values(), strict=True):
        spikes = record.spikes["x"]
        arrived = int(((spikes.neuron == j) & (spikes.tick + edge + late < 4)).sum())
        every += arrived
        useful += arrived * (weight != 0)
    counts = count(graph, record)
    assert (counts["w"].synaptic_events, counts["w"].synaptic_events_all) == (useful, every)
    assert counts["cell"].synaptic_events_all == counts["current"].synaptic_events_all == 0
    assert [a.edge for a in count_arrivals(graph, record)] == list(graph.edges)
    assert count_macs(graph)["w"] == 9


@given(seed=st.integers(0, 9999))
def test_a_value_causes_one_event_for_each_of_its_synapses_written_out(seed: int) -> None:
    module, shape = random_layer(seed)
    node, graph = trace_layer(module, shape)
    listed = write_out_synapses(node, shape)
    useful, every = count_fan_out(graph, Edge("input", "layer"))
    assert every.tolist() == np.diff(listed.indptr).tolist()
    assert useful.tolist() == every.tolist()  # random weights are not zero
    weight = np.random.default_rng(seed).integers(0, 2, np.shape(getattr(node, "weight", 0)))
    if weight.ndim:
        node = replace(node, weight=weight)  # type: ignore[call-arg]
        graph = replace(graph, nodes={**graph.nodes, "layer": node})
        listed = write_out_synapses(node, shape)
        by_source = np.bincount(listed.source, listed.weight != 0, listed.indptr.size - 1)
        useful, _ = count_fan_out(graph, Edge("input", "layer"))
        assert useful.tolist() == by_source.tolist()


def test_a_neuron_is_active_when_a_late_synapse_reaches_it() -> None:
    one = np.array([0, 0])
    w = Sparse.from_coo(one, np.array([0, 1]), np.ones(2), shape=(2, 1), delay=np.array([0, 2]))
    graph = chain(x=Input(shape=(1,)), w=w, i=LI(tau=0.01), a=LIF(tau=0.01))
    record = record_of(x=np.eye(4, 1)[:, None], a=np.zeros((4, 1, 2)))
    assert count_reached(graph, record)["a"].neurons.ravel().tolist() == [1, 0, 1, 0]


def test_a_record_of_a_network_with_late_synapses_is_counted_as_the_engine_counted() -> None:
    one = np.array([0, 0])
    w = Sparse.from_coo(one, np.array([0, 1]), np.ones(2), shape=(2, 1), delay=np.array([0, 2]))
    graph = chain(x=Input(shape=(1,)), w=w, a=LIF(tau=0.01))
    record, _ = simulate(graph, {"x": to_events(np.eye(4, 1)[:, None])})
    assert record.digest
    found = count(graph, record)
    assert found["w"].synaptic_events == record.counts["w"].synaptic_events == 2
    assert count_reached(graph, record)["a"].neurons.ravel().tolist() == [1, 0, 1, 0]


def test_a_record_of_another_graph_is_refused_with_every_difference() -> None:
    graph = image_graph(np.random.default_rng(0), 0)
    with pytest.raises(ValueError, match="does not belong to this graph") as e:
        count(graph, record_of(x=np.ones((3, 1, 2))))
    assert "x: spikes of shape (3, 1, 2), the graph needs (3, 1, 60) (T, B, N)" in str(e.value)
    assert "b: the record has no spikes of it; record every spiking node" in str(e.value)


def test_several_spikes_of_a_neuron_in_one_tick_are_refused_and_not_counted_as_one() -> None:
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.full((1, 1), 3.5)), p=LIF(tau=0.01))
    stimulus = {"x": to_events(np.ones((3, 1, 1)))}
    record, _ = simulate(graph, stimulus, Exact())
    assert record.spikes["p"].value.max() > 1
    with pytest.raises(ValueError, match="p: a neuron fires more than once in a tick") as e:
        count(graph, record)
    assert str(e.value).startswith("operations are counted by tick, and those of this record")


def test_spikes_of_an_input_that_share_a_tick_are_refused_and_a_large_value_is_one() -> None:
    silent = LIF(tau=0.01, threshold=100.0)
    graph = chain(x=Input(shape=(2,)), w=Dense(weight=np.ones((3, 2))), p=silent)
    column = np.zeros(3, np.int32), np.array([1.2e-3, 1.3e-3, 4.5e-3])
    for neuron, refused in (([0, 0, 1], True), ([0, 1, 1], False)):
        train = Times(*column, np.array(neuron, np.int32), np.full(3, 2.5), (6, 1, 2))
        record, _ = simulate(graph, {"x": train}, Exact())
        if refused:
            with pytest.raises(ValueError, match="x: a neuron fires more than once in a tick"):
                count(graph, record)
        else:
            assert count(graph, record)["w"].synaptic_events == 9


def test_spikes_that_nobody_looked_at_are_counted_in_order_or_not_at_all() -> None:
    graph = chain(x=Input(shape=(2,)), fc=Dense(weight=np.ones((3, 2))), out=LI(tau=0.01))
    record = draw_record(graph, 4, np.random.default_rng(0))
    train = record.spikes["x"]
    back, twice = slice(None, None, -1), np.repeat(np.arange(train.tick.size), 2)
    for order in (back, twice):
        changed = Events(*(column[order] for column in train[:4]), train.shape)
        with pytest.raises(ValueError, match="x: events are not in strictly rising order"):
            count(graph, replace(record, spikes={"x": changed}))
    outside = train._replace(neuron=train.neuron - 1)
    with pytest.raises(ValueError, match=r"x: neuron -1 of event \d is outside 0 ... 1"):
        count(graph, replace(record, spikes={"x": outside}))
