"""Networks whose synapses have different delays, with several chains of connections."""

from dataclasses import replace

import numpy as np
import pytest
from exact_laws import CLOCK, DT, agree, at_any_time, on_ticks, run, same
from hypothesis import Phase, given, settings, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.events import simulate
from neuro.events.exact.compile import Component, compile_exactly
from neuro.events.exact.membrane import NEURON, NeuronTable
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.exact.scaled_state import DELTA, GENERAL, PSC, BlockWindow
from neuro.events.exact.step_psc import bound_end, count_parts, make_frame
from neuro.events.exact.synapse_table import GroupArrivals
from neuro.graph import Graph, Input, Node, Sparse
from neuro.neurons import LI, LIF
from neuro.spikes import Times

HEAP = replace(CLOCK, driver="heap")
MILD = {"jumps": 0.6, "one current": 0.3, "two currents": 0.45}
SIZE = {"x": 3, "a": 7, "b": 5}
ENDS = {"jumps": "ab", "one current": "ab", "two currents": ("fast_a", "fast_b")}


def drawn(kind: str, seed: int, least: int = 1) -> Graph:
    """Return 3 inputs -> 7 and 5 cells, all connected, that have only their rates in common.

    least: the least delay [ticks]; the longest is at most 8 ticks more.
    """
    rng = np.random.default_rng(seed)

    def listed(source: str, target: str, number: int, mean: float) -> Sparse:
        pre, post = rng.integers(0, SIZE[source], number), rng.integers(0, SIZE[target], number)
        return Sparse.from_coo(
            pre,
            post,
            np.round(rng.normal(mean, 0.5, number) * MILD[kind] * 256) / 256,
            shape=(SIZE[target], SIZE[source]),
            delay=rng.integers(least, least + 9, number),
            bias=rng.uniform(0.0, 0.03, SIZE[target]),
        )

    cell = LIF(tau=0.01, tau_syn=0.004 if kind == "one current" else None)
    nodes: dict[str, Node] = {
        "x": Input(shape=(3,)),
        "a": replace(cell, reset="hard", refractory=Seconds(0.0013)),
        "b": replace(cell, threshold=1.3, reset="soft", refractory=Seconds(0.004)),
        "xa": listed("x", "a", 30, 0.7),
        "xb": listed("x", "b", 25, 0.5),
        "aa": listed("a", "a", 33, -0.1),
        "ab": listed("a", "b", 20, 0.2),
        "twin": listed("a", "b", 17, -0.2),
        "ba": listed("b", "a", 23, -0.3),
        "bb": listed("b", "b", 14, 0.1),
    }
    a, b = ENDS[kind]
    edges = {"x": ("xa", "xb"), "a": ("aa", "ab", "twin"), "b": ("ba", "bb")}
    pairs = [(source, name) for source, names in edges.items() for name in names]
    pairs += [("xa", a), ("aa", a), ("xb", b), ("ab", b), ("twin", b)]
    if kind == "two currents":
        for name in "ab":
            nodes |= {
                f"fast_{name}": LI(tau=0.003, gain=0.5),
                f"slow_{name}": LI(tau=0.02, gain=0.3),
            }
        pairs += [(f"{speed}_{n}", n) for speed in ("fast", "slow") for n in "ab"]
        a, b = "slow_a", "slow_b"
    pairs += [("ba", a), ("bb", b)]
    return wire(" ".join(f"{p}>{q}" for p, q in pairs), nodes, DT)


def component(graph: Graph) -> Component:
    (found,) = compile_exactly(graph, 1).components
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", MILD)
@settings(max_examples=8, phases=(Phase.explicit, Phase.generate))
@given(seed=st.integers(0, 10**6), least=st.sampled_from([1, 4]))
def test_every_driver_agrees_with_the_oracle(kind: str, seed: int, least: int) -> None:
    graph, train = drawn(kind, seed, least), at_any_time(seed, 40, graded=True, spikes=70)
    if seed % 2:
        train = on_ticks(seed, 40, graded=True)
    want, neurons = simulate_exactly_slowly(graph, {"x": train})
    one, state = simulate(graph, {"x": train}, CLOCK)
    agree(one, want)
    agree(run(graph, train, HEAP), want)
    for threads in (2, 4):
        same(one, run(graph, train, replace(CLOCK, threads=threads)))
    for name, rows in neurons.items():
        np.testing.assert_allclose(state.neurons[name], rows, rtol=0, atol=1e-10)
    for name, counts in want.counts.items():
        assert one.counts[name].synaptic_events == counts.synaptic_events
        assert one.counts[name].synaptic_events_all == counts.synaptic_events_all


def test_currents_run_scaled_if_only_their_rates_are_the_same() -> None:
    assert component(drawn("one current", 0)).family == PSC
    assert component(drawn("two currents", 0)).family == PSC
    assert component(drawn("jumps", 0)).family == GENERAL
    graph = drawn("one current", 0)
    slower = replace(graph.nodes["b"], tau=0.011)
    other = replace(graph, nodes={**graph.nodes, "b": slower})
    assert component(other).family == GENERAL
    assert DELTA not in (PSC, GENERAL)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_chains_share_a_group_by_source_and_delay_if_targets_stay_in_order(seed: int) -> None:
    graph = drawn("one current", seed)
    found = component(graph)
    table = found.table
    many = 0
    for j in range(SIZE["a"]):
        rows = []
        for name, shift in (("aa", 0), ("ab", SIZE["a"]), ("twin", SIZE["a"])):
            node: Sparse = graph.nodes[name]
            here = slice(node.indptr[j], node.indptr[j + 1])
            columns = (node.delay[here], node.indices[here] + shift, node.weight[here])
            rows.append(list(zip(*columns, strict=True)))
        reached, groups = [], range(table.group_indptr[j], table.group_indptr[j + 1])
        for g in groups:
            own = slice(table.synapse_indptr[g, 0], table.synapse_indptr[g, -1])
            target = table.target[own].astype(np.int64)
            assert np.all(np.diff(target) >= 0)
            reached += [
                (table.delay[g], *p) for p in zip(target, table.weight[own], strict=True)
            ]
        assert sorted(reached) == sorted(p for row in rows for p in row)
        alone, twin = ({d for d, _, _ in row} for row in (rows[0] + rows[1], rows[2]))
        assert len(alone | twin) <= len(groups) <= len(alone) + len(twin)
        many += len(alone) < len({d for d, _, _ in rows[0]}) + len({d for d, _, _ in rows[1]})
    assert many > 1


def test_a_window_has_a_part_for_every_two_arrivals_per_neuron() -> None:
    found = component(drawn("one current", 2))
    synapses = np.diff(found.table.synapse_indptr[:, [0, -1]]).ravel()
    groups, n = np.flatnonzero(synapses)[:40], 12
    assert synapses[groups].sum() > 48
    for many in (0, 1, 7, 40):
        g = groups[:many].astype(np.int64)
        arrivals = GroupArrivals(np.zeros(many), g, np.ones(many))
        want = max(1, -(-int(synapses[g].sum()) // (2 * n)))
        assert count_parts(found.table, arrivals, n) == want


@given(
    seed=st.integers(0, 10**6),
    rates=st.sampled_from(
        [(0.1, 0.3, 0.02), (0.1, 0.02, 0.3), (0.2, 1.7, 0.5), (2.5, 0.6, 0.4)]
    ),
)
def test_no_order_of_arrivals_lifts_v_above_the_bound(
    seed: int, rates: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(seed)
    start, length, origin = 3.0, float(rng.choice([0.5, 2.0])), 1.25
    rate = np.array(rates)
    record = np.zeros(1, NEURON).view(np.recarray)
    record.rate = rates[0]
    neurons = NeuronTable(record, np.zeros((1, 2)), rate[None, 1:])
    window = BlockWindow(0, 1, 0, start, start + length, origin, 2.0**-40)
    f = make_frame(neurons, window)
    kappa = 1 / (rates[0] - rate[1:])
    modes = rng.normal(0, 1, 3) * rng.choice([0.0, 0.05, 1.0])
    t = start + length * rng.uniform(0, 1, 6) ** rng.choice([1, 6])  # also early arrivals
    port, w = rng.integers(0, 2, 6), rng.uniform(0, 0.4, 6)
    more, from_syn = np.zeros(2), np.zeros(2)
    np.add.at(more, port, w * np.exp(rate[1 + port] * (t - origin)))
    np.add.at(from_syn, port, -kappa[port] * w * np.exp(rate[0] * (t - origin)))
    bound = bound_end(f, *modes, from_syn[0], more[0], from_syn[1], more[1])
    grid = np.linspace(start, start + length, 301)[:, None]
    v = np.exp(-rate[0] * (grid - origin)) * modes[0]
    v += np.exp(-rate[1:] * (grid - origin)) @ (kappa * modes[1:])[:, None]
    since, own = np.maximum(grid - t, 0.0), rate[1 + port]
    response = kappa[port] * (np.exp(-own * since) - np.exp(-rate[0] * since))
    v += (w * response).sum(1, keepdims=True)
    assert v[1:].max() <= max(bound, v[0]) + 1e-12
    late = np.exp(-rate[0] * (start + length - origin)) * (modes[0] + from_syn.sum())
    late += np.exp(-rate[1:] * (start + length - origin)) @ (kappa * (modes[1:] + more))
    assert late == pytest.approx(v[-1, 0], abs=1e-12)


def test_a_spike_at_2_ticks_arrives_at_3_and_12_by_delays_of_1_and_10() -> None:
    node = Sparse.from_coo(
        np.zeros(2, int),
        np.array([1, 0]),
        np.array([2.0, 3.0]),
        shape=(2, 1),
        delay=np.array([1, 10]),
    )
    nodes = {"x": Input(shape=(1,)), "w": node, "c": LIF(tau=0.01)}
    none = np.zeros(1, np.int32)
    train = Times(none, np.array([2 * DT]), none, np.ones(1), (20, 1, 1))
    for clock in (CLOCK, HEAP):
        times = run(wire("x>w w>c", nodes, DT), train, clock).times["c"]
        np.testing.assert_array_equal(times.neuron[:1], [1])
        np.testing.assert_array_equal(times.time[times.neuron == 1][0], 3 * DT)
        np.testing.assert_array_equal(times.time[times.neuron == 0][0], 12 * DT)
