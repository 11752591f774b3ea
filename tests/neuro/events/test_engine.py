import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from graphs import random_graph, stimulus
from hypothesis import Phase, given, settings, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds, Ticks
from neuro.energy import count
from neuro.events import EngineState, Grid, engine, simulate, simulate_slowly
from neuro.graph import AvgPool2d, Dense, Edge, Graph, Input, Node
from neuro.neurons import ALIF, IF, LI, LIF
from neuro.nn import replay
from neuro.spikes import Events, Times, to_events
from neuro.spikes.record import Counts, Record

SEEDS = st.integers(0, 10**6)
MS = Seconds(1e-3)
laws = settings(max_examples=20, phases=(Phase.explicit, Phase.generate))


def train(raster: list[list[float]]) -> Events:
    """Return one sample's events from a list of ticks."""
    return to_events(np.array(raster, np.float32)[:, None])


def chain(*nodes: Node, delay: int = 0) -> Graph:
    """Return an Input "x" of the right size, then ``nodes`` as "n0", "n1", ... in a row."""
    names = ["x", *(f"n{k}" for k in range(len(nodes)))]
    edges = tuple(Edge(a, b, Ticks(delay)) for a, b in pairwise(names))
    size = nodes[0].weight.shape[1] if isinstance(nodes[0], Dense) else 1
    every = (Input(shape=(size,)), *nodes)
    return Graph(nodes=dict(zip(names, every, strict=True)), edges=edges, dt=MS)


def equal(one: Record, other: Record) -> None:
    np.testing.assert_equal(one.spikes, other.spikes)
    np.testing.assert_equal(one.values, other.values)


def equal_states(one: EngineState, other: EngineState) -> None:
    assert one.neurons.keys() == other.neurons.keys()
    assert one.pending.keys() == other.pending.keys()
    np.testing.assert_equal(one.neurons, other.neurons)
    np.testing.assert_equal(one.pending, other.pending)


def part(events: Events, start: int, stop: int) -> Events:
    keep = (events.tick >= start) & (events.tick < stop)
    sample, tick, neuron, value = (c[keep] for c in events[:4])
    return Events(sample, tick - start, neuron, value, (stop - start, *events.shape[1:]))


def total(record: Record) -> Counts:
    every = record.counts.values()
    return Counts(
        spikes=sum(c.spikes for c in every),
        synaptic_events=sum(c.synaptic_events for c in every),
        synaptic_events_all=sum(c.synaptic_events_all for c in every),
        updates=sum(c.updates for c in every),
    )


@pytest.mark.slow
@laws
@given(seed=SEEDS)
def test_engine_oracle_and_torch_agree_bit_for_bit_and_count_the_same(seed: int) -> None:
    graph = random_graph(seed)
    x = stimulus(graph, seed, ticks=10)
    fast, slow = simulate(graph, x)[0], simulate_slowly(graph, x)
    equal(fast, slow)
    equal(fast, replay(graph, x))
    implied = count(graph, fast)
    assert fast.counts.keys() == slow.counts.keys() == implied.keys() == graph.nodes.keys()
    for name, found in fast.counts.items():
        for counted in (slow.counts[name], implied[name]):
            assert found.updates <= counted.updates
            assert replace(found, updates=0) == replace(counted, updates=0)


@pytest.mark.slow
@laws
@given(seed=SEEDS, single=st.booleans())
def test_graded_input_is_weighted_by_its_value(seed: int, single: bool) -> None:
    graph = random_graph(seed)
    rng = np.random.default_rng(seed)
    raster = rng.integers(-8, 9, (12, 2, graph.size("x"))) * (rng.random((12, 2, 1)) < 0.5)
    x = {"x": to_events(raster.astype(np.float32) / 16)}
    dtypes = (np.float32, torch.float32) if single else (np.float64, torch.float64)
    equal(simulate(graph, x, Grid(dtype=dtypes[0]))[0], replay(graph, x, dtypes[1]))


@laws
@given(seed=SEEDS, cut=st.integers(1, 14))
def test_a_run_in_two_parts_equals_one_run(seed: int, cut: int) -> None:
    graph = random_graph(seed)
    x = stimulus(graph, seed)
    whole, end = simulate(graph, x)
    first, middle = simulate(graph, {n: part(e, 0, cut) for n, e in x.items()})
    second, end_of_two = simulate(
        graph, {n: part(e, cut, 15) for n, e in x.items()}, state=middle
    )
    for name in whole.spikes:
        equal_parts = (part(whole.spikes[name], 0, cut), part(whole.spikes[name], cut, 15))
        for have, want in zip((first, second), equal_parts, strict=True):
            for a, b in zip(have.spikes[name], want, strict=True):
                np.testing.assert_array_equal(a, b)
    for name, values in whole.values.items():
        np.testing.assert_array_equal(
            np.concatenate([first.values[name], second.values[name]]), values
        )
    equal_states(end_of_two, end)


@pytest.mark.slow
@laws
@given(seed=SEEDS, stretch=st.integers(1, 20))
def test_neither_stretch_nor_grouping_of_samples_changes_anything(
    seed: int, stretch: int
) -> None:
    graph = random_graph(seed)
    x = stimulus(graph, seed, samples=3)
    want, state = simulate(graph, x)
    have, state_of_stretches = simulate(graph, x, Grid(stretch=stretch))
    equal(have, want)
    equal_states(state_of_stretches, state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "MAX_BUFFER_VALUES", 1)  # one sample, one tick at a time
        have, state_of_samples = simulate(graph, x)
    equal(have, want)
    equal_states(state_of_samples, state)
    for name, counted in want.counts.items():
        assert have.counts[name].synaptic_events == counted.synaptic_events


@laws
@given(seed=SEEDS)
def test_the_order_of_simultaneous_spikes_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(20)
    weight = rng.integers(-64, 128, (6, 20)) / 256
    raster = (rng.random((30, 1, 20)) < 0.3).astype(np.float32)
    nodes = (LIF(tau=0.01, reset="soft"), Dense(weight=np.eye(6)), LI(tau=0.02))
    one, _ = simulate(chain(Dense(weight=weight), *nodes), {"x": to_events(raster)})
    other, _ = simulate(
        chain(Dense(weight=weight[:, shuffled]), *nodes),
        {"x": to_events(raster[:, :, shuffled])},
    )
    assert one.spikes["n1"].tick.size > 0
    np.testing.assert_array_equal(one.spikes["n1"].neuron, other.spikes["n1"].neuron)
    np.testing.assert_array_equal(one.values["n3"], other.values["n3"])


def test_silence_in_costs_nothing() -> None:
    for seed in range(30):
        graph = random_graph(seed)
        if any(getattr(node, "bias", None) is not None for node in graph.nodes.values()):
            continue
        nothing = {"x": to_events(np.zeros((50, 2, graph.size("x")), np.float32))}
        groups = engine.compile_graph(graph, np.dtype(np.float64)).groups
        looped = [name for g in groups if g.loop for name in g.loop.populations]
        every = Counts(updates=50 * 2 * sum(map(graph.size, looped)))  # a ring skips nothing
        assert total(simulate(graph, nothing)[0]) == every


def test_a_neuron_that_cannot_fire_by_itself_is_computed_only_when_touched() -> None:
    graph = chain(Dense(weight=np.full((1, 1), 0.25)), LIF(tau=0.01))
    record, _ = simulate(graph, {"x": train([[1], [0], [0], [1], [0], [0]])})
    assert record.counts["n1"] == Counts(updates=2)
    assert record.counts["n0"] == Counts(synaptic_events=2, synaptic_events_all=2)


def test_a_soft_reset_above_threshold_fires_again_in_the_next_tick() -> None:
    graph = chain(Dense(weight=np.full((1, 1), 3.5)), IF(threshold=1.0, reset="soft"))
    record, state = simulate(graph, {"x": train([[1], [0], [0], [0], [0]])})
    assert record.spikes["n1"].tick.tolist() == [0, 1, 2]
    assert state.neurons["n1"][0, 0, 0] == 0.5


def test_a_current_carries_a_neuron_over_its_threshold_in_silence() -> None:
    graph = chain(Dense(weight=np.full((1, 1), 0.5)), LIF(tau=0.02, tau_syn=0.01))
    x = {"x": train([[1]] + [[0]] * 19)}
    record, _ = simulate(graph, x)
    assert record.spikes["n1"].tick.tolist() == [2, 5, 9]
    equal(record, simulate_slowly(graph, x))


def test_a_threshold_that_decays_faster_than_the_membrane_is_not_missed() -> None:
    alif = ALIF(leak=0.0625, threshold=0.25, beta=4.0, rho=0.5, reset="soft")
    graph = chain(Dense(weight=np.full((1, 1), 16.0)), alif)
    x = {"x": train([[1]] + [[0]] * 19)}
    record, _ = simulate(graph, x)
    assert record.spikes["n1"].tick.tolist() == [0, 4]
    equal(record, simulate_slowly(graph, x))


@given(
    tau=st.sampled_from([math.inf, 0.1, 0.01]),
    tau_syn=st.sampled_from([None, 0.003]),
    factor=st.sampled_from([-0.5, 0.0, 0.999, 1 - 1e-6, 1.0, 1 + 1e-6, 1.5]),
    single=st.booleans(),
    seed=SEEDS,
)
def test_no_spike_is_missed_however_close_a_bias_drives_to_the_threshold(
    tau: float, tau_syn: float | None, factor: float, single: bool, seed: int
) -> None:
    lif = LIF(tau=tau, tau_syn=tau_syn, reset="soft")
    k = lif.coefficients(MS)
    steady = float((1 - k.decay) * (1 - k.decay_syn)) or 0.01
    weight = np.random.default_rng(seed).normal(0, 0.2, (1, 1))
    graph = chain(Dense(weight=weight, bias=np.array([factor * steady])), lif)
    raster = np.random.default_rng(seed).random((400, 1, 1)) < 0.01
    x = {"x": to_events(raster.astype(np.float32))}
    dtypes = (np.float32, torch.float32) if single else (np.float64, torch.float64)
    equal(simulate(graph, x, Grid(dtype=dtypes[0]))[0], replay(graph, x, dtypes[1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_average_divides_the_sum_as_torch_does(dtype: type) -> None:
    nodes = {
        "x": Input(shape=(2, 7, 7)),
        "pool": AvgPool2d(kernel=(3, 2), stride=(2, 1)),
        "readout": LI(tau=math.inf),
    }
    graph = wire("x>pool pool>readout", nodes)
    raster = np.random.default_rng(0).random((6, 2, 98)).astype(np.float32)
    twin = torch.float32 if dtype is np.float32 else torch.float64
    x = {"x": to_events(raster)}
    equal(simulate(graph, x, Grid(dtype=dtype))[0], replay(graph, x, twin))


def test_a_delay_shifts_spikes_and_biases_and_what_arrives_too_late_is_not_counted() -> None:
    dense = Dense(weight=np.full((1, 1), 1.0), bias=np.array([0.5]))
    record, state = simulate(chain(dense, LI(tau=math.inf), delay=2), {"x": train([[1]] * 5)})
    assert record.values["n1"][:, 0, 0].tolist() == [0, 0, 0.5, 1, 2.5]
    assert record.counts["n0"].synaptic_events == 3
    assert state.pending[Edge("x", "n0", Ticks(2))].tick.tolist() == [0, 1]
    assert state.pending[Edge("n0", "n1", Ticks(2))].value.tolist() == [1.5, 1.5]


def test_times_are_counted_in_ticks_of_the_graph() -> None:
    graph = replace(chain(LI(tau=math.inf)), dt=Seconds(0.002))
    none = np.zeros(2, np.int32)
    times = Times(none, np.array([0.004, 0.0065]), none, np.array([1.0, 2.0]), (5, 1, 1))
    record, _ = simulate(graph, {"x": times})
    assert record.values["n0"][:, 0, 0].tolist() == [0, 1, 1, 3, 3]


def test_two_inputs_run_side_by_side() -> None:
    nodes = {"a": Input(shape=(1,)), "b": Input(shape=(1,)), "sum": LI(tau=math.inf)}
    graph = wire("a>sum b>sum:1", nodes)
    x = {"a": train([[1], [0], [0]]), "b": train([[2], [0], [4]])}
    record, _ = simulate(graph, x)
    assert record.values["sum"][:, 0, 0].tolist() == [1, 3, 3]
    assert record.counts["sum"].synaptic_events == 2
