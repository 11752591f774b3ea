"""Host nodes and gated integrators are the same on the clock, the queue and the oracle."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from builders import same as same_graph
from hypothesis import given, settings, strategies as st
from valued_graphs import valued_graph, valued_stimulus

from neuro.base.units import Seconds, Ticks
from neuro.energy import count
from neuro.events import Exact, Grid, Recording, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.events.to_disk import cut, simulate_to_disk
from neuro.graph import (
    Concat,
    Dense,
    Edge,
    Graph,
    GraphError,
    Input,
    Multiply,
    Pointwise,
    Softmax,
)
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import LI, LIF, GatedLI
from neuro.nn import Net, replay
from neuro.nn.rounding import compute_margins
from neuro.spikes import Events, to_events, to_raster
from neuro.spikes.record import Record

SEEDS = st.integers(0, 10**6)
LAST_BITS = 1e-12


def same_spikes(one: Mapping[str, Events], other: Mapping[str, Events]) -> None:
    np.testing.assert_equal(one, other)


def same(one: Record, other: Record, within: float) -> None:
    """Fail unless spikes are equal, and values are, ``within``."""
    same_spikes(one.spikes, other.spikes)
    assert one.values.keys() == other.values.keys()
    for name, values in one.values.items():
        np.testing.assert_allclose(other.values[name], values, rtol=0, atol=within)


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=SEEDS, smooth=st.booleans())
def test_replay_events_and_oracle_agree_and_count_alike(seed: int, smooth: bool) -> None:
    """Bit for bit, where there are no exponentials."""
    graph, x = valued_graph(seed, smooth=smooth), valued_stimulus(seed)
    record, _ = simulate(graph, x)
    slow, implied = simulate_slowly(graph, x), count(graph, record)
    for other in (replay(graph, x), slow):
        same(other, record, LAST_BITS if smooth else 0)
    for name, counts in record.counts.items():
        for counted in (slow.counts[name], implied[name]):
            assert counts.updates <= counted.updates, name
            assert replace(counts, updates=0) == replace(counted, updates=0), name


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=SEEDS)
def test_margins_behind_values_tell_when_a_neuron_fires(seed: int) -> None:
    graph, x = valued_graph(seed), valued_stimulus(seed)
    spikes = replay(graph, x).spikes
    for name in graph.firing:
        np.testing.assert_array_equal(
            compute_margins(graph, x, name) >= 0, to_raster(spikes[name])
        )


@settings(max_examples=10)
@given(seed=SEEDS)
def test_in_float32_values_agree_to_its_precision(seed: int) -> None:
    graph, x = valued_graph(seed), valued_stimulus(seed)
    clock = replay(graph, x, torch.float32)
    record, _ = simulate(graph, x, Grid(dtype=np.float32))
    assert record.values["seen"].dtype == np.float32
    np.testing.assert_allclose(record.values["seen"], clock.values["seen"], atol=1e-5)


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=SEEDS, ticks=st.integers(1, 11), smooth=st.booleans())
def test_a_run_in_two_parts_equals_one_run(seed: int, ticks: int, smooth: bool) -> None:
    graph, x = valued_graph(seed, smooth=smooth), valued_stimulus(seed)
    within = LAST_BITS if smooth else 0
    kept = Recording(values=tuple(graph.integrators))
    whole, end = simulate(graph, x, record=kept)
    state, parts = None, []
    for first, last in pairwise((0, ticks, 12)):
        piece = {n: part(e, first, last) for n, e in x.items()}
        found, state = simulate(graph, piece, state=state, record=kept)
        parts.append(found)
    for name, values in whole.values.items():
        joined = np.concatenate([p.values[name] for p in parts])
        np.testing.assert_allclose(joined, values, rtol=0, atol=within)
    for k, (first, last) in enumerate(pairwise((0, ticks, 12))):
        want = {n: part(e, first, last) for n, e in whole.spikes.items()}
        same_spikes(parts[k].spikes, want)
    for name, neurons in end.neurons.items():
        np.testing.assert_allclose(state.neurons[name], neurons, rtol=0, atol=within)
    assert state.pending.keys() == end.pending.keys()
    for edge, pending in end.pending.items():
        for a, b in zip(state.pending[edge], pending, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=within)


def part(events: Events, start: int, stop: int) -> Events:
    here = (events.tick >= start) & (events.tick < stop)
    sample, tick, neuron, value = (c[here] for c in events[:4])
    return Events(sample, tick - start, neuron, value, (stop - start, *events.shape[1:]))


@settings(max_examples=10)
@given(seed=SEEDS, stretch=st.integers(1, 13))
def test_neither_stretch_nor_workers_change_a_run(seed: int, stretch: int) -> None:
    graph, x = valued_graph(seed), valued_stimulus(seed, samples=3)
    record, _ = simulate(graph, x)
    other, _ = simulate(graph, x, Grid(stretch=stretch), workers=2)
    same(record, other, LAST_BITS)
    assert record.counts == other.counts


@pytest.mark.slow
def test_the_networks_are_alive() -> None:
    """Agreement of silent networks would say nothing."""
    for smooth in (True, False):
        alive: Counter[str] = Counter()
        for seed in range(20):
            graph, x = valued_graph(seed, smooth=smooth), valued_stimulus(seed)
            record = replay(graph, x)
            alive.update(n for n, e in record.spikes.items() if e.tick.size)
            alive.update(n for n, v in record.values.items() if np.abs(v).max() > 1e-3)
        assert alive.keys() == {"x", "u", "voxels", "first", "second", "readout", "seen"}
        assert min(alive.values()) >= 15


def test_a_stored_graph_runs_as_before(tmp_path) -> None:  # type: ignore[no-untyped-def]
    graph, x = valued_graph(3, listed=False), valued_stimulus(3)
    save_graph(tmp_path / "graph.safetensors", graph)
    again = load_graph(tmp_path / "graph.safetensors")
    assert same_graph(again, graph)
    assert same_graph(Net(graph).graph(), graph)
    stream = simulate_to_disk(again, cut(x, Ticks(5), graph.dt), tmp_path / "stream")
    whole, _ = simulate(graph, x)
    for name, values in whole.values.items():
        np.testing.assert_allclose(stream.values(name), values, rtol=0, atol=LAST_BITS)
    assert stream.counts() == whole.counts


def test_the_exact_clock_refuses_what_has_values_at_ticks_only() -> None:
    graph, x = valued_graph(0), valued_stimulus(0)
    told = "mixer: a GatedLI has a value a tick, and none between; use clock=Grid()"
    for run in (lambda: simulate(graph, x, Exact()), lambda: simulate_exactly_slowly(graph, x)):
        with pytest.raises(GraphError, match="cannot run in continuous time") as refused:
            run()
        assert told in refused.value.problems
        named = {p.split(":")[0] for p in refused.value.problems}
        assert named == {*graph.hosts, "mixer", "readout"}


@pytest.mark.parametrize("late", [0, 2])
def test_spikes_straight_into_a_gate_are_events_and_into_a_host_none(late: int) -> None:
    nodes = {
        "x": Input(shape=(4, 3)),
        "soft": Softmax(axis=-1),
        "gated": GatedLI(),
        "fires": LIF(tau=0.01, threshold=0.2),
    }
    edges = [Edge("x", "soft", Ticks(late)), Edge("x", "gated", Ticks(late))]
    edges += [Edge("soft", "gated", Ticks(late)), Edge("gated", "fires", Ticks(late))]
    graph = Graph(nodes=nodes, edges=tuple(edges), dt=Seconds(1e-3))
    x = {"x": to_events(np.random.default_rng(0).random((9, 2, 12)) < 0.5)}
    record, _ = simulate(graph, x)
    slow, implied = simulate_slowly(graph, x), count(graph, record)
    same(replay(graph, x), record, LAST_BITS)
    same(slow, record, LAST_BITS)
    arrived = int((x["x"].tick < 9 - late).sum())
    for counts in (record.counts, slow.counts, implied):
        found = {n: c.synaptic_events for n, c in counts.items()}
        assert found == {"x": 0, "soft": 0, "gated": arrived, "fires": 0}
    assert record.spikes["fires"].tick.size > 10


def test_an_mlgru_block_is_its_equation() -> None:
    """Zhu et al. 2024, arXiv 2406.02528: h = f h + (1 - f) silu(c), o = (g h) W_o."""
    rng = np.random.default_rng(0)
    d, ticks = 6, 20
    w = {k: rng.normal(0, 0.5, (d, d)) for k in "fcgo"}
    b = {k: rng.normal(0, 0.5, d) for k in "fcg"}
    nodes = {
        "x": Input(shape=(d,)),
        "f": Dense(weight=w["f"], bias=b["f"]),
        "c": Dense(weight=w["c"], bias=b["c"]),
        "silu": Pointwise(function="silu"),
        "fc": Concat(),
        "h": GatedLI(),
        "g": Dense(weight=w["g"], bias=b["g"]),
        "sigmoid": Pointwise(function="sigmoid"),
        "gh": Concat(),
        "gated": Multiply(),
        "o": Dense(weight=w["o"]),
        "out": LI(tau=1e-9),  # forgets at once: puts out o itself
        "spikes": LIF(tau=0.01, threshold=0.3),
    }
    edges = "x>f x>c c>silu f>fc silu>fc fc>h x>g g>sigmoid sigmoid>gh h>gh gh>gated"
    pairs = [pair.split(">") for pair in f"{edges} gated>o o>out o>spikes".split()]
    graph = Graph(nodes=nodes, edges=tuple(Edge(*p) for p in pairs), dt=Seconds(1e-3))
    given = rng.normal(size=(ticks, 2, d))
    x = {"x": to_events(given)}

    h, want = torch.zeros(2, d, dtype=torch.float64), []
    weight = {k: torch.tensor(v) for k, v in w.items()}
    bias = {k: torch.tensor(v) for k, v in b.items()}
    for x_t in torch.tensor(given):
        f, c, g = (x_t @ weight[k].T + bias[k] for k in "fcg")
        h = f.sigmoid() * h + (1 - f.sigmoid()) * torch.nn.functional.silu(c)
        want.append((g.sigmoid() * h) @ weight["o"].T)
    record, _ = simulate(graph, x)
    for found in (replay(graph, x), record, simulate_slowly(graph, x)):
        np.testing.assert_allclose(found.values["out"], torch.stack(want), rtol=0, atol=1e-12)
    same(replay(graph, x), record, LAST_BITS)
    assert record.spikes["spikes"].tick.size > 20
    # 3 a neuron of h, 1 a value of silu, sigmoid and gate, in 20 ticks of 2 samples
    macs = {n: c.macs for n, c in record.counts.items() if c.macs}
    assert macs == {"silu": 240, "h": 720, "sigmoid": 240, "gated": 240}
