"""Laws that hold for every network in continuous time."""

from dataclasses import replace

import numpy as np
import pytest
from exact_laws import (
    CLOCK,
    DT,
    KINDS,
    PLAIN,
    agree,
    at_any_time,
    by_neuron,
    network,
    on_ticks,
    run,
    same,
    with_nodes,
)
from hypothesis import Phase, given, reject, settings, strategies as st
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.events import Grid, Runaway, simulate
from neuro.events.exact import compile as compiler
from neuro.events.exact.compile import compile_exactly
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.exact.scaled_state import GENERAL
from neuro.graph import Dense, Graph, Input, Sparse
from neuro.neurons import ALIF, LIF, DiscreteLIF
from neuro.spikes import Events, Times, to_events, to_times

SEEDS = st.integers(0, 10**6)
HEAP = replace(CLOCK, driver="heap")
kinds = pytest.mark.parametrize("kind", KINDS)


def laws(examples: int) -> settings:
    return settings(max_examples=examples, phases=(Phase.explicit, Phase.generate))


def drawn(kind: str, seed: int) -> tuple[Graph, Events | Times]:
    """Return a network and a stimulus; drive, refractory period and grading go by the seed."""
    per_tick = 0.004 if kind.startswith("adaptive") else 0.1
    graph = network(
        kind,
        seed,
        loop=1 + seed % 2,
        drive=per_tick if seed % 3 == 0 else 0.0,
        refractory=[0.0, 0.0013, 2 * DT][seed % 5 % 3],
    )
    stimulus = at_any_time if seed % 4 < 2 else on_ticks
    return graph, stimulus(seed, graded=seed % 7 < 3)


@kinds
@laws(6)
@given(seed=SEEDS)
def test_drivers_agree_with_the_oracle_on_spikes_times_values_and_states(
    kind: str, seed: int
) -> None:
    graph, train = drawn(kind, seed)
    want, neurons = simulate_exactly_slowly(graph, {"x": train})
    for clock in (CLOCK, HEAP):
        record, state = simulate(graph, {"x": train}, clock)
        agree(record, want)
        for name, rows in neurons.items():
            np.testing.assert_allclose(state.neurons[name], rows, rtol=0, atol=1e-10)


@kinds
@laws(3)
@given(seed=SEEDS, part=st.floats(0.05, 1.0))
def test_the_size_of_windows_changes_nothing(kind: str, seed: int, part: float) -> None:
    graph, train = drawn(kind, seed)
    agree(run(graph, train), run(graph, train, replace(CLOCK, window=Seconds(part * DT))))


@kinds
@laws(3)
@given(seed=SEEDS, tick=st.integers(1, 15))
def test_a_run_in_two_parts_is_one_run(kind: str, seed: int, tick: int) -> None:
    graph, train = drawn(kind, seed)
    times = to_times(train, graph.dt) if isinstance(train, Events) else train
    early = times.time <= tick * DT
    shape = times.shape
    first = Times(*(c[early] for c in times[:4]), (tick, *shape[1:]))
    second = Times(*(c[~early] for c in times[:4]), (shape[0] - tick, *shape[1:]))
    second = second._replace(time=second.time - tick * DT)
    for clock in (CLOCK, HEAP):
        a, state = simulate(graph, {"x": first}, clock)
        b, _ = simulate(graph, {"x": second}, clock, state=state)
        whole = run(graph, times, clock)
        for name in ("cells", "late"):
            parts = [by_neuron(r.times[name]) for r in (a, b)]
            time = np.concatenate([parts[0].time, parts[1].time + tick * DT])
            neuron = np.concatenate([p.neuron for p in parts])
            order, want = np.lexsort((time, neuron)), by_neuron(whole.times[name])
            np.testing.assert_array_equal(neuron[order], want.neuron)
            np.testing.assert_allclose(time[order], want.time, rtol=0, atol=1e-12)
        both = np.concatenate([a.values["out"], b.values["out"]])
        np.testing.assert_allclose(both, whole.values["out"], rtol=0, atol=1e-10)
        for name, counts in whole.counts.items():
            assert counts.synaptic_events == sum(r.counts[name].synaptic_events for r in (a, b))


@kinds
@laws(3)
@given(seed=SEEDS, shift=st.floats(0.0, 0.03))
def test_inputs_that_come_later_make_everything_come_later(
    kind: str, seed: int, shift: float
) -> None:
    graph = network(kind, seed)
    train = at_any_time(seed)
    late = train._replace(time=train.time + shift, shape=(16 + 31, 1, 3))
    try:
        one, other = run(graph, train._replace(shape=late.shape)), run(graph, late)
    except Runaway:  # of a network in which spikes excite ever more of them
        reject()
    until = (16 - 1) * DT
    for name in ("cells", "late"):
        a, b = by_neuron(one.times[name]), by_neuron(other.times[name])
        early, then = a.time <= until, b.time - shift <= until
        np.testing.assert_array_equal(a.neuron[early], b.neuron[then])
        moved = b.time[then] - shift
        np.testing.assert_allclose(a.time[early], moved, rtol=0, atol=1e-9)


def reordered(graph: Graph, rng: np.random.Generator) -> Graph:
    """Return the same network with edges and synapses in another order."""
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, Sparse):
            order = rng.permutation(node.indices.size)
            columns = (node.source[order], node.indices[order], node.weight[order])
            shape = (node.shape[0], node.indptr.size - 1)
            delay = None if node.delay is None else node.delay[order]
            nodes[name] = Sparse.from_coo(*columns, shape=shape, delay=delay, bias=node.bias)
    edges = [graph.edges[k] for k in rng.permutation(len(graph.edges))]
    return Graph(nodes=nodes, edges=tuple(edges), dt=graph.dt)


@kinds
@laws(3)
@given(seed=SEEDS)
def test_the_order_of_synapses_edges_and_input_neurons_changes_nothing(
    kind: str, seed: int
) -> None:
    graph, train = drawn(kind, seed)
    times = to_times(train, graph.dt) if isinstance(train, Events) else train
    rng = np.random.default_rng(seed)
    other, place = reordered(graph, rng), rng.permutation(3)
    for name in {"fc", "also"} & graph.nodes.keys():
        node = graph.nodes[name]
        weight = np.empty_like(node.weight)
        weight[:, place] = node.weight
        other = with_nodes(other, **{name: replace(node, weight=weight)})
    moved = times._replace(neuron=place[times.neuron].astype(np.int32))
    order = np.lexsort((moved.neuron, moved.time, moved.sample))
    moved = Times(*(c[order] for c in moved[:4]), times.shape)
    for clock in (CLOCK, HEAP):
        one, two = run(graph, times, clock), run(other, moved, clock)
        one.times.pop("x"), two.times.pop("x")
        exact = kind in ("delta", "no leak", "adaptive") and seed % 3
        same(one, two) if exact else agree(one, two)


def scaled(graph: Graph, size: float, time: float) -> Graph:
    """Return a LIF network with other units of weight and of time."""
    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, LIF):
            syn = None if node.tau_syn is None else node.tau_syn * time
            nodes[name] = replace(
                node,
                tau=node.tau * time,
                tau_syn=syn,
                threshold=node.threshold * size,
                refractory=Seconds(node.refractory * time),
            )
        elif hasattr(node, "tau"):
            nodes[name] = replace(node, tau=node.tau * time)
        elif name in ("fc", "back", "loop", "on", "also"):
            bias = None if node.bias is None else node.bias * size
            nodes[name] = replace(node, weight=node.weight * size, bias=bias)
    return Graph(nodes=nodes, edges=graph.edges, dt=Seconds(graph.dt * time))


@pytest.mark.parametrize("kind", [*PLAIN, "deltas and currents"])
@laws(3)
@given(seed=SEEDS, exponents=st.tuples(st.integers(-6, 6), st.integers(-6, 6)))
def test_units_do_not_matter_and_powers_of_two_not_by_a_bit(
    kind: str, seed: int, exponents: tuple[int, int]
) -> None:
    graph, train = drawn(kind, seed)
    times = to_times(train, graph.dt) if isinstance(train, Events) else train
    size, time = (2.0**k for k in exponents)
    for clock in (CLOCK, HEAP):
        one = run(graph, times, clock)
        stretched = times._replace(time=times.time * time)
        other = run(scaled(graph, size, time), stretched, clock)
        for name in ("cells", "late"):
            a, b = by_neuron(one.times[name]), by_neuron(other.times[name])
            np.testing.assert_array_equal(a.neuron, b.neuron)
            np.testing.assert_array_equal(a.time * time, b.time)


@laws(10)
@given(seed=SEEDS, kind=st.sampled_from(["delta", "no leak", "adaptive"]))
def test_hard_deltas_without_drive_on_ticks_fire_as_on_the_grid(seed: int, kind: str) -> None:
    graph, train = network(kind, seed), on_ticks(seed, samples=2)
    for name in ("cells", "late"):
        node = replace(graph.nodes[name], reset="hard")
        if isinstance(node, ALIF):  # a threshold that decays faster would fall between ticks
            node = replace(node, beta=0.0)
        graph = with_nodes(graph, **{name: node})
    grid, _ = simulate(graph, {"x": train}, Grid())
    for clock in (CLOCK, HEAP):
        exact = run(graph, train, clock)
        for name in ("cells", "late"):
            for a, b in zip(exact.spikes[name], grid.spikes[name], strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(exact.values["out"], grid.values["out"], atol=1e-12)


@pytest.mark.parametrize("reset", ["hard", "soft"])
@laws(5)
@given(seed=SEEDS, tick=st.integers(0, 200))
def test_weights_that_add_up_to_the_threshold_exactly_make_it_fire(
    reset: str, seed: int, tick: int
) -> None:
    rng = np.random.default_rng(seed)
    part = rng.integers(1, 40, (64, 3))
    weight = np.column_stack([part, 128 - part.sum(1)]) / 128
    raster = np.zeros((tick + 1, 1, 4), np.float32)
    raster[tick] = 1
    graph = chain(
        DT, x=Input(shape=(4,)), fc=Dense(weight=weight), cells=LIF(tau=0.01, reset=reset)
    )
    for clock in (CLOCK, HEAP):
        times = run(graph, to_events(raster), clock).times["cells"]
        np.testing.assert_array_equal(times.neuron, np.arange(64))
        np.testing.assert_array_equal(times.time, (tick + 1) * DT)


@kinds
@laws(2)
@given(seed=SEEDS)
def test_the_number_of_threads_and_workers_changes_no_bit(kind: str, seed: int) -> None:
    graph, _ = drawn(kind, seed)
    train = at_any_time(seed, samples=3, graded=True)
    one = run(graph, train)
    for threads in (2, 3, 8):  # more than there are cells of a population
        same(one, run(graph, train, replace(CLOCK, threads=threads)))
    same(one, run(graph, train, CLOCK, workers=2))


@pytest.mark.parametrize("kind", ["delta", "one current", "two currents"])
@laws(4)
@given(seed=SEEDS)
def test_fast_windows_agree_with_the_general_ones(kind: str, seed: int) -> None:
    graph, train = drawn(kind, seed)
    fast = run(graph, train)
    compile_exactly.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "_choose_family", lambda *_: GENERAL)
        slow = run(graph, train)
    compile_exactly.cache_clear()
    agree(fast, slow)


@laws(8)
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_synaptic_events_are_spikes_times_synapses(seed: int, kind: str) -> None:
    graph, train = drawn(kind, seed)
    want, _ = simulate_exactly_slowly(graph, {"x": train})
    for clock in (CLOCK, HEAP):
        record = run(graph, train, clock)
        for name in graph.nodes:
            a, b = record.counts[name], want.counts[name]
            assert a.spikes == b.spikes
            assert a.synaptic_events == b.synaptic_events
            assert a.synaptic_events_all == b.synaptic_events_all
    fed = record.counts["x"].spikes * int((graph.nodes["fc"].weight != 0).sum()) / 3
    if (graph.nodes["fc"].weight != 0).all():
        assert record.counts["fc"].synaptic_events == fed


@kinds
def test_silence_in_is_silence_out_and_no_work(kind: str) -> None:
    train = at_any_time(0, ticks=5000, spikes=0)
    for clock in (CLOCK, HEAP):
        record = run(network(kind, 1), train, clock)
        assert all(c.spikes == c.synaptic_events_all == 0 for c in record.counts.values())
        assert not record.values["out"].any()


@kinds
@laws(3)
@given(seed=SEEDS)
def test_a_long_silence_forgets_everything(kind: str, seed: int) -> None:
    graph, silence = network(kind, seed), 20_000  # 19.5 s: many times 700 time constants
    for name in ("cells", "late"):
        node = graph.nodes[name]
        node = replace(node, beta=0.0) if isinstance(node, ALIF) else node
        node = replace(node, tau=0.01) if kind == "no leak" else node
        node = replace(node, decay=0.9) if isinstance(node, DiscreteLIF) else node
        loop = {"cells": "back", "late": "loop"}[name]
        still = replace(graph.nodes[loop], weight=0 * graph.nodes[loop].weight)
        graph = with_nodes(graph, **{name: node, loop: still})
    train = at_any_time(seed)
    late = train._replace(time=train.time + silence * DT, shape=(silence + 16, 1, 3))
    both = Times(
        *(np.concatenate(c) for c in zip(train[:4], late[:4], strict=True)), late.shape
    )
    one, two = run(graph, train), run(graph, both)
    for name in ("cells", "late"):
        a, b = by_neuron(one.times[name]), two.times[name]
        again = b.time > silence * DT
        order = np.lexsort((b.time[again], b.neuron[again]))
        np.testing.assert_array_equal(a.neuron, b.neuron[again][order])
        moved = b.time[again][order] - silence * DT
        np.testing.assert_allclose(a.time, moved, rtol=0, atol=1e-9)
