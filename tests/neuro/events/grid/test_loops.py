"""Loops of populations, matrices and listed synapses, which run in a ring of delay slots."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st

from neuro.base.units import Seconds, Ticks
from neuro.energy import count
from neuro.events import EngineState, Grid, Recording, Runaway, simulate, simulate_slowly
from neuro.events.grid import compile, loop_kernels, loops
from neuro.events.grid.compile import compile_graph
from neuro.graph import Dense, Edge, Graph, Input, Node, Sparse
from neuro.neurons import ALIF, LI, LIF
from neuro.nn import replay
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record

DT = Seconds(1e-3)
SEEDS = st.integers(0, 10**6)
laws = settings(max_examples=20, phases=(Phase.explicit, Phase.generate))
SIZES = {"a": 21, "b": 5, "c": 34}  # n = 60: blocks of threads begin inside populations


def draw_synapses(
    rng: np.random.Generator, source: int, target: int, *, dyadic: bool, late: bool
) -> Sparse:
    """Return synapses of which some weigh nothing, and some join the same two neurons."""
    size = 3 * source
    weight = rng.integers(-6, 12, size) / 8 if dyadic else rng.normal(0.3, 0.5, size)
    weight[rng.random(size) < 0.1] = 0
    kind = [np.uint16, np.int32][int(rng.integers(2))]
    return Sparse.from_coo(
        rng.integers(0, source, size),
        rng.integers(0, target, size),
        weight.astype(np.float32 if dyadic or rng.random() < 0.5 else np.float64),
        shape=(target, source),
        delay=rng.integers(0, 9, size).astype(kind) if late else None,
        bias=rng.integers(0, 3, target) / 16,
    )


def draw_matrix(rng: np.random.Generator, source: int, target: int, *, dyadic: bool) -> Dense:
    """Return weights of which some, or none, are 0."""
    shape = (target, source)
    weight = rng.integers(-3, 5, shape) / 32 if dyadic else rng.normal(0.02, 0.1, shape)
    if rng.random() < 0.5:
        weight[weight == 0] = 1 / 32
    return Dense(weight=weight.astype([np.float32, np.float64][int(rng.integers(2))]))


def draw_neurons(rng: np.random.Generator, size: int, *, dyadic: bool) -> Node:
    """Return neurons of which some kinds are alike and others not."""
    reset = "hard" if rng.random() < 0.5 else "soft"
    high = rng.integers(8, 14, size if rng.random() < 0.5 else 1) / 8
    if rng.random() < 0.3 and not dyadic:
        return ALIF(leak=rng.uniform(0.1, 0.4, size), threshold=0.5, beta=0.3, rho=0.9)
    own = None if dyadic or rng.random() < 0.5 else Seconds(1.5e-3)
    halves = Seconds(1e-3 / math.log(2))  # the membrane is halved in a tick
    return LIF(
        tau=math.inf if dyadic and rng.random() < 0.5 else halves,
        threshold=high if high.size > 1 else float(high[0]),
        tau_syn=own,
        reset=reset,
        refractory=Seconds(1e-3 * int(rng.integers(0, 3))),
    )


def draw_loop(
    seed: int, *, dyadic: bool, fed: bool | None = None, currents: bool | None = None
) -> Graph:
    """Return populations a, b, c in a loop, and input to some of them.

    currents: the synapses into c go through two LIs, of which one gets input from outside, too.
    """
    rng = np.random.default_rng(seed)
    fed = bool(rng.random() < 0.7) if fed is None else fed
    currents = bool(rng.random() < 0.4) if currents is None else currents
    into = {"bc": "slow", "cc": "fast", "spread": "fast"} if currents else {}
    nodes: dict[str, Node] = {"x": Input(shape=(4,))}
    nodes |= {name: draw_neurons(rng, n, dyadic=dyadic) for name, n in SIZES.items()}
    edges = []
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), *zip("abc", "abc", strict=True), ("c", "b")]
    for k, (source, target) in enumerate(pairs):
        late = bool(k < 2 or rng.random() < 0.6)
        sizes = SIZES[source], SIZES[target]
        matrix = k > 1 and rng.random() < 0.3
        nodes[f"{source}{target}"] = (
            draw_matrix(rng, *sizes, dyadic=dyadic)
            if matrix
            else draw_synapses(rng, *sizes, dyadic=dyadic, late=late)
        )
        edges.append(Edge(source, f"{source}{target}", Ticks(int(rng.integers(1, 4)))))
        name = f"{source}{target}"
        edges.append(Edge(name, into.get(name, target)))
    again = draw_synapses(rng, SIZES["c"], SIZES["a"], dyadic=dyadic, late=True)
    nodes["again"] = replace(again, bias=None)  # a second path from c to a
    edges += [Edge("c", "again", Ticks(2)), Edge("again", "a")]
    enter = Dense(weight=rng.integers(-2, 9, (SIZES["a"], 4)) / 8)
    spread = Sparse.from_coo(
        rng.integers(0, 4, 30),
        rng.integers(0, SIZES["c"], 30),
        rng.integers(1, 9, 30) / 8,
        shape=(SIZES["c"], 4),
        delay=rng.integers(0, 5, 30),
    )
    nodes |= {"enter": enter} | ({"spread": spread} if fed else {})
    edges += [Edge("x", "enter"), Edge("enter", "a", Ticks(1))]
    if fed:
        edges += [Edge("x", "spread", Ticks(2)), Edge("spread", into.get("spread", "c"))]
    if currents:
        nodes |= {"slow": LI(tau=Seconds(1e-3 / math.log(2))), "fast": LI(tau=1e-9, gain=0.5)}
        edges += [Edge("slow", "c"), Edge("fast", "c")]
    return Graph(nodes=nodes, edges=tuple(edges), dt=DT)


def draw_input(seed: int, ticks: int = 30, samples: int = 2) -> dict[str, Events]:
    rng = np.random.default_rng(seed)
    raster = rng.random((ticks, samples, 4)) < 0.3
    return {"x": to_events(raster.astype(np.float32))}


def cut(events: Events, start: int, stop: int) -> Events:
    keep = (events.tick >= start) & (events.tick < stop)
    sample, tick, neuron, value = (c[keep] for c in events[:4])
    return Events(sample, tick - start, neuron, value, (stop - start, *events.shape[1:]))


def find_loops(graph: Graph) -> list[loops.Loop]:
    groups = compile_graph(graph, np.dtype(np.float64)).groups
    return [group.loop for group in groups if group.loop]


def same(one: Record, other: Record) -> None:
    np.testing.assert_equal(one.spikes, other.spikes)
    np.testing.assert_equal(one.states, other.states)
    assert one.counts == other.counts


def same_states(one: EngineState, other: EngineState) -> None:
    np.testing.assert_equal(one.neurons, other.neurons)
    assert one.pending.keys() == other.pending.keys()
    np.testing.assert_equal(one.pending, other.pending)


@pytest.mark.slow
@laws
@given(seed=SEEDS)
def test_ring_oracle_and_torch_agree_bit_for_bit_and_count_the_same(seed: int) -> None:
    graph, x = draw_loop(seed, dyadic=True), draw_input(seed, ticks=14)
    (loop,) = find_loops(graph)
    assert set(loop.populations) - {"slow", "fast"} == {"a", "b", "c"}
    fast, slow = simulate(graph, x)[0], simulate_slowly(graph, x)
    np.testing.assert_equal(fast.spikes, slow.spikes)
    np.testing.assert_equal(fast.spikes, replay(graph, x).spikes)
    implied = count(graph, fast)
    for name, found in fast.counts.items():
        updates = found.updates
        if name in loop.populations:
            updates = 14 * 2 * graph.size(name)
        assert found.updates == updates
        for counted in (slow.counts[name], implied[name]):
            assert replace(found, updates=0) == replace(counted, updates=0)
    assert sum(fast.counts[name].spikes for name in SIZES) > 0


@pytest.mark.slow
@laws
@given(seed=SEEDS, single=st.booleans(), stretch=st.integers(1, 40))
def test_threads_stretches_and_workers_change_nothing(
    seed: int, single: bool, stretch: int
) -> None:
    graph, x = draw_loop(seed, dyadic=False), draw_input(seed, samples=3)
    clock = Grid(dtype=np.float32 if single else np.float64)
    record = Recording(states=(7, 20))
    want, end = simulate(graph, x, clock, record=record)
    for threads in (2, 3, 4):
        now = replace(clock, threads=threads, stretch=stretch)
        have, state = simulate(graph, x, now, record=record)
        same(have, want)
        same_states(state, end)
    have, state = simulate(graph, x, clock, record=record, workers=2)
    same(have, want)
    same_states(state, end)


@laws
@given(seed=SEEDS, middle=st.integers(1, 29), threads=st.integers(1, 3))
def test_a_run_in_two_parts_equals_one_run(seed: int, middle: int, threads: int) -> None:
    graph, x = draw_loop(seed, dyadic=False), draw_input(seed)
    whole, end = simulate(graph, x)
    clock = Grid(threads=threads)
    first, state = simulate(graph, {"x": cut(x["x"], 0, middle)}, clock)
    second, state = simulate(graph, {"x": cut(x["x"], middle, 30)}, state=state)
    for name, spikes in whole.spikes.items():
        np.testing.assert_equal(first.spikes[name], cut(spikes, 0, middle))
        np.testing.assert_equal(second.spikes[name], cut(spikes, middle, 30))
    for name, counted in whole.counts.items():
        halves = first.counts[name], second.counts[name]
        events = sum(c.synaptic_events for c in halves), sum(c.spikes for c in halves)
        every = sum(c.synaptic_events_all for c in halves)
        assert (*events, every) == (
            counted.synaptic_events,
            counted.spikes,
            counted.synaptic_events_all,
        )
    same_states(state, end)


def run_slow_ring(
    rows: Sparse, cell: LIF, late: int, membranes: np.ndarray, ticks: int
) -> list[tuple[int, int]]:
    """Return (tick, neuron) of all spikes of one population: the model, step by step.

    Slots are a list of arrays that never turns round.
    """
    n = membranes.size
    slots = [np.zeros(n) for _ in range(ticks + late + int(rows.delay.max()) + 1)]
    a, c = math.exp(-DT / cell.tau), math.exp(-DT / cell.tau_syn)
    v, i, wait, spikes = membranes.copy(), np.zeros(n), np.zeros(n), []
    for t in range(ticks):
        i = c * i + (slots[t] + rows.bias)
        free = wait == 0
        v = np.where(free, a * v + i, v)
        fires = free & (v >= cell.threshold)
        v = np.where(fires, 0.0, v)
        wait = np.where(fires, round(cell.refractory / DT), np.maximum(wait - 1, 0))
        for j in np.flatnonzero(fires):
            spikes.append((t, int(j)))
            for e in range(rows.indptr[j], rows.indptr[j + 1]):
                slots[t + late + rows.delay[e]][rows.indices[e]] += rows.weight[e]
    return spikes


@pytest.mark.parametrize(
    ("n", "longest", "ticks", "threads"), [(40, 11, 200, 3), (700, 900, 260, 2)]
)
def test_the_ring_equals_a_slow_one_that_never_turns_round(
    n: int, longest: int, ticks: int, threads: int
) -> None:
    """The larger ring has 5.7 MB: its slots are prefetched."""
    rng = np.random.default_rng(n)
    size, rng_delay = 12 * n, rng.integers(0, longest, 12 * n)
    rng_delay[:2] = 0, longest
    rows = Sparse.from_coo(
        rng.integers(0, n, size),
        rng.integers(0, n, size),
        rng.normal(0.02, 0.25, size),
        shape=(n, n),
        delay=rng_delay,
        bias=rng.uniform(0.02, 0.06, n),
    )
    cell = LIF(tau=20e-3, threshold=1.0, tau_syn=2e-3, reset="hard", refractory=Seconds(3e-3))
    nodes = {"x": Input(shape=(n,)), "rows": rows, "cells": cell}
    edges = (Edge("x", "cells"), Edge("cells", "rows", Ticks(2)), Edge("rows", "cells"))
    graph = Graph(nodes=nodes, edges=edges, dt=DT)
    membranes = rng.uniform(0, 0.99, n)
    no, none = np.zeros(0, np.int32), np.zeros(0)
    state = simulate(graph, {"x": Events(no, no, no, none, (1, 1, n))})[1]
    state.neurons["cells"][:, 0] = 0
    state.neurons["cells"][0, 0] = membranes
    (loop,) = find_loops(graph)
    assert (loop.window, loop.slots) == (2, 1 << (longest + 1).bit_length())
    empty = {"x": Events(no, no, no, none, (ticks, 1, n))}
    record, _ = simulate(graph, empty, Grid(threads=threads), state=state)
    spikes = record.spikes["cells"]
    have = list(zip(spikes.tick.tolist(), spikes.neuron.tolist(), strict=True))
    assert have == run_slow_ring(rows, cell, 2, membranes, ticks)
    assert len(have) > n


def test_the_partial_record_of_a_runaway_counts_what_has_arrived() -> None:
    graph, x = draw_loop(3, dyadic=True, fed=True), draw_input(3)
    with pytest.raises(Runaway) as error:
        simulate(graph, x, Grid(stretch=5, budget=60))
    partial = error.value.record
    assert partial.ticks % 5 == 0
    want, _ = simulate(graph, {"x": cut(x["x"], 0, partial.ticks)})
    np.testing.assert_equal(partial.spikes, want.spikes)
    assert [c for n, c in partial.counts.items() if n != "x"] == [
        c for n, c in want.counts.items() if n != "x"
    ]


def keep(graph: Graph, **changes: Node) -> Graph:
    return replace(graph, nodes={**graph.nodes, **changes})


def with_delay(graph: Graph, name: str, delay: int) -> Graph:
    edges = [e._replace(delay=Ticks(delay)) if e.target == name else e for e in graph.edges]
    return replace(graph, edges=tuple(edges))


def without_delays(graph: Graph, delay: int) -> Graph:
    late = [n for n, node in graph.nodes.items() if isinstance(node, Sparse) and n != "spread"]
    graph = keep(graph, **{n: replace(graph.nodes[n], delay=None) for n in late})
    inner = [n for n in graph.nodes if (len(n) == 2 and set(n) <= set("abc")) or n == "again"]
    for name in inner:
        graph = with_delay(graph, name, delay)
    return graph


def join_directly(graph: Graph) -> Graph:
    return replace(graph, edges=(*graph.edges, Edge("a", "a", Ticks(2))))


def add_current(graph: Graph) -> Graph:
    edges = [e for e in graph.edges if (e.source, e.target) != ("ca", "a")]
    edges += [Edge("ca", "current"), Edge("current", "a", Ticks(1))]
    nodes = {**graph.nodes, "current": LI(tau=2e-3)}
    return replace(graph, nodes=nodes, edges=tuple(edges))


OTHERS: dict[str, Callable[[Graph], Graph]] = {
    "a synapse without delay": lambda graph: with_delay(graph, "ab", 0),
    "an edge without connection": join_directly,
    "a current with a delay": add_current,
}


@pytest.mark.parametrize("change", OTHERS, ids=OTHERS.get and str)
def test_other_loops_run_node_by_node(change: str) -> None:
    graph = OTHERS[change](draw_loop(5, dyadic=True, currents=False))
    assert not find_loops(graph)
    x = draw_input(5, ticks=12)
    fast, slow = simulate(graph, x, Grid(threads=2))[0], simulate_slowly(graph, x)
    np.testing.assert_equal(fast.spikes, slow.spikes)


def test_one_delay_needs_a_slot_for_each_of_its_ticks_and_the_longest_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = without_delays(draw_loop(5, dyadic=True, currents=False), 3)
    (loop,) = find_loops(graph)
    assert (loop.window, loop.slots) == (3, 4)
    graph = with_delay(with_delay(graph, "ca", 4), "cb", 2)
    (loop,) = find_loops(graph)
    assert (loop.window, loop.slots) == (2, 4)
    for longest, loops_found in ((4, 1), (3, 0)):
        monkeypatch.setattr(loops, "LONGEST", longest)
        compile.compile_graph.cache_clear()
        assert len(find_loops(graph)) == loops_found
    compile.compile_graph.cache_clear()


def test_a_loop_takes_no_buffer_unless_input_reaches_it() -> None:
    graph = draw_loop(8, dyadic=True, fed=True, currents=False)
    program = compile_graph(graph, np.dtype(np.float64))
    assert set(program.buffered) == {"enter", "spread", "a", "c"}
    graph = draw_loop(8, dyadic=True, fed=True, currents=True)
    program = compile_graph(graph, np.dtype(np.float64))
    assert set(program.buffered) == {"enter", "spread", "a", "fast"}


def test_currents_come_first_and_recorded_ones_run_node_by_node() -> None:
    graph, x = draw_loop(8, dyadic=True, fed=True, currents=True), draw_input(8, ticks=20)
    (loop,) = find_loops(graph)
    assert set(loop.populations[:2]) == {"slow", "fast"}
    plain, end = simulate(graph, x)
    record = Recording(values=("slow", "fast"), states=(11,))
    recorded, same_end = simulate(graph, x, record=record)
    np.testing.assert_equal(recorded.spikes, plain.spikes)
    same_states(same_end, end)
    for name in ("slow", "fast"):
        np.testing.assert_array_equal(recorded.values[name][11], recorded.states[11][name][0])
        np.testing.assert_array_equal(recorded.values[name][-1], end.neurons[name][0])
        assert np.ptp(recorded.values[name]) > 0


def test_weights_and_delays_of_one_kind_are_not_copied() -> None:
    rng = np.random.default_rng(0)
    rows = draw_synapses(rng, 9, 9, dyadic=True, late=True)
    rows = replace(rows, delay=rows.delay.astype(np.uint16) + np.uint16(1))
    nodes = {"x": Input(shape=(9,)), "rows": rows, "cells": LIF(tau=0.01)}
    edges = (Edge("x", "cells"), Edge("cells", "rows"), Edge("rows", "cells"))
    (loop,) = find_loops(Graph(nodes=nodes, edges=edges, dt=DT))
    for column in (rows.indptr, rows.indices, rows.weight, rows.delay):
        assert any(np.shares_memory(column, kept) for kept in loop.kept)


def join_twice(cells: Node, seed: int) -> Graph:
    """Return 12 neurons and two listed connections from them to the first three of them."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Node] = {"x": Input(shape=(12,)), "cells": cells}
    edges = [Edge("x", "cells")]
    for name in ("one", "two"):
        nodes[name] = Sparse.from_coo(
            rng.integers(0, 12, 90),
            rng.integers(0, 3, 90),
            rng.normal(0.0, 0.3, 90),
            shape=(12, 12),
            delay=rng.integers(2, 5, 90),
        )
        edges += [Edge("cells", name), Edge(name, "cells")]
    return Graph(nodes=nodes, edges=tuple(edges), dt=DT)


@pytest.mark.parametrize("seed", range(4))
def test_spikes_on_their_way_are_added_in_the_order_of_their_run(seed: int) -> None:
    """Many weights that sum to other last bits in another order meet in few neurons."""
    graph = join_twice(LIF(tau=20e-3, threshold=4.0), seed)
    raster = np.zeros((7, 1, 12), np.float32)
    raster[:2] = 5.0
    x = to_events(raster)
    _, end = simulate(graph, {"x": x})
    assert np.unique(end.neurons["cells"][0]).size > 3
    for middle in range(1, 7):
        _, state = simulate(graph, {"x": cut(x, 0, middle)})
        same_states(simulate(graph, {"x": cut(x, middle, 7)}, state=state)[1], end)


def test_a_threshold_raised_by_an_earlier_run_falls_in_a_loop_as_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = join_twice(ALIF(leak=0.2, threshold=0.2, beta=0.0, rho=0.75), 1)
    rng = np.random.default_rng(0)
    x = {"x": to_events((rng.random((20, 1, 12)) < 0.4).astype(np.float32))}
    ends = []
    for longest in (loops.LONGEST, 0):
        monkeypatch.setattr(loops, "LONGEST", longest)
        compile.compile_graph.cache_clear()
        assert bool(find_loops(graph)) is (longest > 0)
        _, state = simulate(graph, {"x": cut(x["x"], 0, 1)})
        state.neurons["cells"][2] = 0.4
        ends.append(simulate(graph, x, state=state)[0].spikes["cells"])
    compile.compile_graph.cache_clear()
    np.testing.assert_equal(ends[0], ends[1])
    assert ends[0].tick.size == 41


def test_a_loop_whose_only_delay_is_that_of_its_synapses_agrees_with_the_oracle() -> None:
    graph = join_twice(LIF(tau=math.inf, threshold=2.0, reset="hard"), 3)
    for name in ("one", "two"):
        node = graph.nodes[name]
        graph = keep(graph, **{name: replace(node, weight=np.round(node.weight * 32) / 8)})
    x = {"x": to_events(2.0 * np.eye(9, 12, dtype=np.float32)[:, None])}
    fast, slow = simulate(graph, x)[0], simulate_slowly(graph, x)
    np.testing.assert_equal(fast.spikes, slow.spikes)
    assert fast.counts["one"].synaptic_events == slow.counts["one"].synaptic_events > 0
    assert fast.counts["cells"].spikes > 9


@pytest.mark.parametrize(
    "targets",
    [
        np.arange(200),
        np.repeat(np.arange(0, 200, 3), 3),
        np.r_[np.zeros(90), np.arange(100, 200, 2)],
        np.r_[np.arange(40), np.full(70, 199)],
        np.array([7]),
        np.zeros(0),
    ],
)
def test_the_part_of_a_thread_begins_where_a_search_finds_it(targets: np.ndarray) -> None:
    indices = np.r_[5, 5, targets, 3].astype(np.uint32)  # rows of others around it
    start, stop, size = 2, 2 + len(targets), 200
    for low in range(size + 1):
        expected = start + int(np.searchsorted(targets, low))
        assert loop_kernels.find_target(indices, start, stop, low, size) == expected
