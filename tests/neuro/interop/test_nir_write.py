"""neuro.interop.nir.write and spikes: what a reader makes of our files is what we had."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("nir")
import nir

from neuro.base.units import Seconds
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    Input,
    Sparse,
)
from neuro.interop import nir as neuro_nir
from neuro.interop.imported import run_clock
from neuro.interop.nir.spikes import to_nir_data
from neuro.neurons import ALIF, IF, LI, LIF, DiscreteLIF
from neuro.spikes import to_events
from tasks.imported.tutorials.random_nir import draw_graph


def make_graph(*nodes, shape, dt=1e-3, more=()):
    """Return a Graph of these nodes in a row, n0, n1, ... behind an Input."""
    named = {"input": Input(shape=shape)} | {f"n{k}": node for k, node in enumerate(nodes)}
    names = [*named]
    edges = [Edge(a, b) for a, b in pairwise(names)]
    return Graph(nodes=named, edges=(*edges, *more), dt=dt)


def assert_equal(one, other):
    """Two Graphs have the same nodes, but for the rounding of times, and the same edges."""
    assert set(one.edges) == set(other.edges)
    assert (set(one.nodes), one.dt) == (set(other.nodes), other.dt)
    for name, node in one.nodes.items():
        twin = other.nodes[name]
        assert type(node) is type(twin)
        for field in fields(node):
            a, b = getattr(node, field.name), getattr(twin, field.name)
            if isinstance(a, float | np.ndarray):
                assert np.allclose(a, b, rtol=1e-12, atol=1e-15), (name, field.name)
            else:
                assert a == b, (name, field.name)


def drive(graph, rate=0.4, ticks=24, seed=0):
    rng = np.random.default_rng(seed)
    x = {n: (rng.random((ticks, 2, *graph.shapes[n])) < rate) * 1.0 for n in graph.inputs}
    return run_clock(graph, x).outputs


@pytest.mark.parametrize("discretisation", ["euler", "exponential"])
def test_a_graph_comes_back_from_a_file(tmp_path, discretisation):
    rng = np.random.default_rng(0)
    cells = DiscreteLIF(
        decay=rng.uniform(0.5, 0.9, (3, 1, 1)),
        gain=0.5,
        decay_syn=0.6,
        threshold=rng.uniform(0.5, 1, (3, 4, 4)),
        rest=0.25,
        reset="hard",
        reset_to=-0.5,
    )
    graph = make_graph(
        Conv2d(weight=rng.normal(size=(3, 1, 3, 3)), bias=rng.normal(size=3), padding=(1, 1)),
        cells,
        Conv2d(weight=np.ones((3, 1, 2, 2)), stride=(2, 2), groups=3),
        AvgPool2d(kernel=(1, 2), stride=(1, 2)),
        Flatten(),
        Dense(weight=rng.normal(size=(4, 6)), bias=rng.normal(size=4)),
        DiscreteLIF(decay=1.0, threshold=0.5, reset="hard", strict=True, reset_to=0.0),
        Dense(weight=rng.normal(size=(2, 4))),
        LI(tau=4e-3),
        shape=(1, 4, 4),
    )
    path = neuro_nir.write(tmp_path / "net.nir", graph, discretisation=discretisation)
    back = neuro_nir.read(path)
    assert_equal(graph, back.graph)
    assert back.choices["dt"].startswith(
        "0.001 in the file's unit of time: the file's metadata"
    )
    assert back.choices["discretisation"].startswith(discretisation)
    assert nir.read(path, type_check=False).nodes["n2"].__class__ is nir.SumPool2d


@pytest.mark.parametrize("model", [LIF(tau=5e-3, reset="hard"), IF(reset="hard")])
def test_a_neuron_that_fires_at_its_threshold_does_so_after_a_round_trip(tmp_path, model):
    graph = make_graph(Dense(weight=np.eye(2)), model, shape=(2,))
    network = neuro_nir.read(neuro_nir.write(tmp_path / "net.nir", graph))
    back = network.graph
    assert network.choices["threshold"].endswith("where v >= it, as the metadata says: n1")
    x = {"input": np.array([1.0, 0.5]) * np.ones((3, 1, 2))}
    # Without a leak 0.5 + 0.5 reaches 1 exactly.
    assert (run_clock(back, x).outputs["n1"] == run_clock(graph, x).outputs["n1"]).all()
    assert run_clock(back, x).outputs["n1"][:, 0, 0].tolist() == [1, 1, 1]
    assert (back.nodes["n1"].threshold, back.nodes["n1"].strict) == (1.0, False)


def test_delays_become_nodes_but_for_the_tick_of_a_loop(tmp_path):
    cells = DiscreteLIF(decay=0.5, threshold=0.4, reset="hard")
    graph = Graph(
        nodes={
            "input": Input(shape=(2,)),
            "fc": Dense(weight=np.eye(2)),
            "a": cells,
            "back": Dense(weight=np.array([[0.0, 0.3], [0.3, 0.0]])),
            "far": Dense(weight=np.array([[0.0, 0.3], [-0.3, 0.0]])),
            "b": cells,
        },
        edges=(
            Edge("input", "fc"),
            Edge("fc", "a", 2),
            Edge("a", "back", 1),
            Edge("back", "a"),
            Edge("a", "far", 3),
            Edge("far", "b"),
        ),
        dt=1e-3,
    )
    written = neuro_nir.to_nir(graph)
    waits = {n: k.delay[0] for n, k in written.nodes.items() if isinstance(k, nir.Delay)}
    assert waits == {"fc_after_2": 2e-3, "a_after_3": 3e-3}
    nir.write(tmp_path / "net.nir", written)
    back = neuro_nir.read(tmp_path / "net.nir")
    assert set(back.graph.edges) == set(graph.edges)
    assert all((y == drive(graph)[n]).all() for n, y in drive(back.graph).items())


def test_what_nir_cannot_say_is_refused_node_by_node():
    refractory = DiscreteLIF(decay=0.5, reset="hard", refractory=2e-3)
    graph = Graph(
        nodes={
            "input": Input(shape=(2,)),
            "soft": LIF(tau=5e-3),
            "held": refractory,
            "adapts": ALIF(leak=0.1, beta=0.5, reset="hard"),
            "current": DiscreteLIF(decay=1.0, decay_syn=0.5, reset="hard"),
            "some": DiscreteLIF(decay=np.array([1.0, 0.5]), reset="hard"),
            "both": Concat(),
            "late": Sparse.from_coo(
                np.arange(4), np.arange(4) % 2, np.ones(4), shape=(2, 4), delay=np.arange(4)
            ),
            "out": LI(tau=1e-2),
        },
        edges=(
            *(Edge("input", n) for n in ("soft", "held", "adapts", "current", "some")),
            Edge("soft", "both"),
            Edge("held", "both"),
            Edge("both", "late"),
            Edge("late", "out"),
        ),
        dt=1e-3,
    )
    with pytest.raises(neuro_nir.NirError) as refused:
        neuro_nir.to_nir(graph)
    said = dict(p.split(": ", 1) for p in refused.value.problems)
    assert set(said) == {"soft", "held", "adapts", "current", "some", "both", "late"}
    assert (
        said["soft"] == "NIR knows the hard reset only, not 'soft'; train it with reset='hard'"
    )
    assert said["held"].startswith("NIR has no refractory period (2 ticks)")
    assert "unroll_delays" in said["late"]


def test_a_convolution_of_one_axis_keeps_its_groups(tmp_path):
    conv = Conv1d(weight=np.ones((4, 1, 3)), stride=2, padding=1, dilation=2, groups=2)
    graph = make_graph(conv, IF(reset="hard"), shape=(2, 9))
    back = neuro_nir.read(neuro_nir.write(tmp_path / "net.nir", graph)).graph
    assert_equal(replace(graph, nodes={**graph.nodes, "n1": back.nodes["n1"]}), back)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8)
def test_a_nir_graph_fires_the_same_after_two_conversions(seed):
    discretisation = ("euler", "exponential")[seed % 2]
    first = neuro_nir.read(draw_graph(seed), dt=1e-4, discretisation=discretisation)
    again = neuro_nir.read(neuro_nir.to_nir(first.graph, discretisation=discretisation))
    ours, theirs = drive(first.graph, ticks=10), drive(again.graph, ticks=10)
    assert all(np.allclose(theirs[n], y, rtol=0, atol=1e-9) for n, y in ours.items())


def draw_trains(values):
    rng = np.random.default_rng(1)
    raster = rng.random((50, 3, 6)) < 0.1
    raster[:, 1] = False  # a sample without a spike
    drawn = rng.integers(1, 5, raster.shape) / 4  # some are 1, as those of plain spikes
    return {"input": to_events(raster * (drawn if values else 1.0))}


@pytest.mark.parametrize("values", [False, True])
def test_spikes_come_back_from_a_file(tmp_path, values):
    trains = draw_trains(values)
    path = neuro_nir.write_spikes(tmp_path / "spikes.h5", trains, 1e-3)
    back = neuro_nir.read_spikes(path, 1e-3)["input"]
    for ours, theirs in zip(trains["input"], back, strict=True):
        assert np.array_equal(ours, theirs)
    observed = nir.read_data(path).nodes["input"].observables["spikes"]
    assert type(observed) is (nir.ValuedEventData if values else nir.EventData)
    # A reader that rounds down, as nir does, finds every tick.
    grid = observed.to_time_gridded(1e-3).data
    assert np.count_nonzero(grid) == trains["input"].tick.size


def test_a_grid_of_another_clock_is_refused_and_one_of_ours_read():
    raster = np.zeros((2, 5, 3), bool)
    raster[1, 4, 2] = True
    data = nir.NIRGraphData(
        {"a": nir.NIRNodeData({"spikes": nir.TimeGriddedData(raster, 1e-3)})}
    )
    train = neuro_nir.read_spikes(data, 1e-3)["a"]
    assert (train.sample, train.tick, train.neuron, train.shape) == (1, 4, 2, (5, 2, 3))
    with pytest.raises(neuro_nir.NirError, match=r"a: its grid has dt = 0\.001 s, and dt"):
        neuro_nir.read_spikes(data, 1e-2)


def test_times_at_the_start_of_a_tick_belong_to_it_whatever_rounding_makes_of_them():
    time = np.array([[0.3, 0.1 * 3, 0.7]])  # 0.3 / 0.1 is 2.9999999999999996
    events = nir.EventData(np.array([[0, 1, -1]]), time, 2, 1.0)
    data = nir.NIRGraphData({"a": nir.NIRNodeData({"spikes": events})})
    assert neuro_nir.read_spikes(data, 0.1)["a"].tick.tolist() == [3, 3]


def test_events_outside_of_their_ranges_are_listed():
    def make(neuron, time):
        events = nir.EventData(np.array([[neuron]]), np.array([[time]]), 2, 1.0)
        return nir.NIRNodeData({"spikes": events})

    data = nir.NIRGraphData({"a": make(2, 0.5), "b": make(1, 1.5)})
    with pytest.raises(neuro_nir.NirError) as refused:
        neuro_nir.read_spikes(data, 0.1)
    assert [p.partition(":")[0] for p in refused.value.problems] == ["a", "b"]
    assert to_nir_data({}, 1e-3).nodes == {}


def test_a_loop_without_delay_and_a_broken_period_are_refused_and_get_no_tick():
    nodes = {
        "x": Input(shape=(2,)),
        "cells": LIF(tau=0.02, reset="hard", refractory=1.5e-3),
        "back": Dense(weight=-np.eye(2)),
    }
    edges = (Edge("x", "cells"), Edge("cells", "back"), Edge("back", "cells"))
    with pytest.raises(neuro_nir.NirError) as error:
        neuro_nir.to_nir(Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3)))
    loop, period = error.value.problems
    assert "zero-delay loop cells -> back -> cells; give one of its edges a delay" in loop
    assert "cells: LIF.refractory: duration 0.0015 s is not a whole number of steps" in period


def test_a_threshold_of_0_that_a_neuron_fires_at_comes_back():
    """NIR fires above a threshold: ours is the number below 0, which float32 does not have."""
    graph = make_graph(
        Dense(weight=np.eye(2)),
        DiscreteLIF(decay=0.5, threshold=0.0, rest=-1.0, reset="hard", reset_to=-1.0),
        shape=(2,),
    )
    assert_equal(neuro_nir.read(neuro_nir.to_nir(graph)).graph, graph)
