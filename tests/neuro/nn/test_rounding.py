"""What rounding may do to a spike: how runs in float32 may differ, and where first."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from graphs import random_graph, stimulus
from hypothesis import given, settings, strategies as st
from written_graphs import chain, read_edges, wire

from neuro.base.units import Seconds
from neuro.events import Grid, simulate
from neuro.graph import AvgPool2d, Concat, Dense, Graph, Input, Node, Softmax
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF
from neuro.nn import replay
from neuro.nn.rounding import (
    FirstDifference,
    bound_rounding,
    compute_margins,
    count_near,
    find_first_differences,
)
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record

DT = Seconds(1e-3)
SEEDS = st.integers(0, 10**6)
UNIT = (2.0**-23 + 2.0**-52) / 2


def tied(seed: int) -> tuple[Graph, dict[str, Events]]:
    """Return a network of decimal weights, whose sums meet the threshold but for rounding."""
    rng = np.random.default_rng(seed)

    def dense(out: int, into: int) -> Dense:
        bias = rng.integers(-1, 2, out) / 10 if rng.random() < 0.5 else None
        return Dense(weight=rng.integers(-3, 6, (out, into)) / 10.0, bias=bias)

    def neuron() -> Node:
        reset = str(rng.choice(["soft", "hard"]))
        refractory = Seconds(float(rng.integers(0, 3)) * DT)
        if rng.random() < 0.3:
            return ALIF(leak=0.5, threshold=0.25, beta=0.1, reset=reset, refractory=refractory)
        tau = float(rng.choice([math.inf, 0.01]))
        return LIF(tau=tau, threshold=0.7, reset=reset, refractory=refractory)

    nodes: dict[str, Node] = {
        "x": Input(shape=(9,)),
        "in": dense(8, 9),
        "a": neuron(),
        "other": dense(5, 9),
        "both": Concat(),
        "on": dense(6, 13),
        "i": LI(tau=0.005),
        "b": neuron(),
        "back": dense(8, 6),
    }
    edges = read_edges("x>in in>a x>other:1 a>both other>both both>on on>i i>b b>back:1 back>a")
    x = to_events((rng.random((12, 2, 9)) < 0.4).astype(float))
    return Graph(nodes=nodes, edges=edges, dt=DT), {"x": x}


def run_all(graph: Graph, x: dict[str, Events]) -> list[Record]:
    """Return what torch and the engine do in float32, and torch in float64."""
    clock = replay(graph, x, torch.float32)
    engine, _ = simulate(graph, x, Grid(dtype=np.float32))
    return [clock, engine, replay(graph, x)]


def find_all(graph: Graph, x: dict[str, Events]) -> list[FirstDifference]:
    """Return the first differences of all three runs."""
    clock, engine, double = run_all(graph, x)
    pairs = ((clock, engine), (engine, clock), (double, clock), (double, engine))
    return [d for one, other in pairs for d in find_first_differences(graph, one, other)]


@pytest.mark.slow
@given(seed=SEEDS)
def test_runs_in_float32_first_differ_where_rounding_decides(seed: int) -> None:
    assert [d for d in find_all(*tied(seed)) if not d.is_rounding] == []


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=SEEDS)
def test_so_do_those_of_convolutions_pools_and_delays_of_synapses(seed: int) -> None:
    graph = random_graph(seed, dyadic=False)
    assert [d for d in find_all(graph, stimulus(graph, seed)) if not d.is_rounding] == []


@pytest.mark.slow
def test_sums_in_another_order_do_change_spikes_and_bounds_are_small() -> None:
    """What is explained above happens, and not because everything would be."""
    differ = near = membranes = 0
    for seed in range(40):
        graph, x = tied(seed)
        clock, engine, double = run_all(graph, x)
        differ += bool(find_first_differences(graph, clock, engine))
        bounds = bound_rounding(graph, double)
        near += sum(count_near(bounds).values())
        membranes += sum(b.margin.size for b in bounds.values())
        assert max(b.bound.max() for b in bounds.values()) < 1e-3
    assert differ >= 5
    assert 0 < near < 0.05 * membranes


def alone(neuron: Node, *weight: float, bias: float = 0.0) -> Graph:
    return chain(
        x=Input(shape=(len(weight),)),
        w=Dense(weight=np.array([weight]), bias=np.array([bias]) if bias else None),
        s=neuron,
    )


def ones(ticks: int, size: int) -> dict[str, Events]:
    return {"x": to_events(np.ones((ticks, 1, size)))}


def test_a_bound_counts_the_roundings_of_a_sum_and_of_the_membrane() -> None:
    """Three weights and a bias: 1 + 3 + 4 roundings of at most 1.6, then those of two ticks."""
    graph = alone(LIF(tau=math.inf, threshold=4.0), 0.3, -0.4, 0.5, bias=0.4)
    found = bound_rounding(graph, replay(graph, ones(2, 3)))["s"]
    np.testing.assert_allclose(found.margin.ravel(), [0.8 - 4, 1.6 - 4], rtol=1e-15)
    arrives = 8 * UNIT / (1 - 8 * UNIT) * 1.6 + 4 * UNIT * 0.8
    one = arrives + 4 * UNIT * 0.8
    two = one + arrives + 4 * UNIT * (0.8 + 0.8)
    want = [one + 4 * UNIT * 4, two + 4 * UNIT * 4]
    np.testing.assert_allclose(found.bound.ravel(), want, rtol=1e-12)
    double = bound_rounding(graph, replay(graph, ones(2, 3)), np.float64)["s"]
    np.testing.assert_allclose(double.bound, found.bound * 2.0**-52 / UNIT, rtol=1e-6)


def bound_after(terms: int, magnitude: float, threshold: float) -> float:
    """Return the bound of a first tick without a leak: of the sum, current, v and threshold."""
    arrives = terms * UNIT / (1 - terms * UNIT) * magnitude
    return arrives + 4 * UNIT * (magnitude + magnitude + threshold)


def test_roundings_of_pools_joins_and_of_edges_that_add_up_are_counted() -> None:
    """Each begins with the one of its input; a chain adds its fan-ins, and 4 a connection."""
    one = Dense(weight=np.ones((2, 2)))
    cell = LIF(tau=math.inf, threshold=9.0)
    pool = {"x": Input(shape=(1, 2, 2)), "w": AvgPool2d(kernel=(2, 2), stride=(2, 2))}
    sums = {"x": Input(shape=(2,)), "w": one, "v": one}
    join = {"x": Input(shape=(2,)), "w": one, "c": Concat(), "v": Dense(weight=np.ones((1, 4)))}
    cases = [
        (pool, "x>w w>s", 1 + (4 + 4), 1.0),
        (sums, "x>w x>v w>s v>s", 2 * (1 + (2 + 4)), 4.0),
        (join, "x>c x>w w>c c>v v>s", 1 + (2 + 4) + (1 + 4) + (4 + 4), 6.0),
    ]
    for nodes, edges, terms, magnitude in cases:
        graph = wire(edges, {**nodes, "s": cell})
        found = bound_rounding(graph, replay(graph, ones(1, graph.size("x"))))["s"]
        want = bound_after(terms, magnitude, 9.0)
        np.testing.assert_allclose(found.bound[0, 0], want, rtol=1e-9)


def test_a_bound_follows_the_synaptic_current() -> None:
    tau_syn = Seconds(float(DT / math.log(2)))
    graph = alone(LIF(tau=math.inf, tau_syn=tau_syn, threshold=4.0), 0.5)
    found = bound_rounding(graph, replay(graph, ones(2, 1)))["s"]
    arrives, r = 6 * UNIT / (1 - 6 * UNIT) * 0.5, 4 * UNIT
    current = arrives + r * 0.5
    one = current + r * 0.5
    two = one + (0.5 * current + arrives + r * (0.25 + 0.5)) + r * (0.5 + 0.75)
    np.testing.assert_allclose(found.margin.ravel(), [0.5 - 4, 1.25 - 4], rtol=1e-12)
    np.testing.assert_allclose(found.bound.ravel(), [one + r * 4, two + r * 4], rtol=1e-9)


def test_what_a_current_is_off_by_goes_on_into_the_population_behind_it() -> None:
    graph = alone(LIF(tau=math.inf, threshold=4.0), 0.5)
    graph = wire("x>w w>i i>s", {**graph.nodes, "i": LI(tau=math.inf, gain=2.0)})
    found = bound_rounding(graph, replay(graph, ones(1, 1)))["s"]
    r, six, one = 4 * UNIT, 6 * UNIT / (1 - 6 * UNIT), UNIT / (1 - UNIT)
    error = 2 * (six * 0.5 + r * 0.5) + r * 1.0  # of the current, which is 1
    arrives = error * (1 + one) + one * 1.0
    assert found.margin.item() == -3
    want = arrives + r * (1.0 + 1.0 + 4.0)
    np.testing.assert_allclose(found.bound.item(), want, rtol=1e-12)


def test_a_bound_follows_the_adaptation_and_what_a_soft_reset_hands_on() -> None:
    """In parts of e, by which the current is off, and r, four roundings; by hand."""
    cell = ALIF(leak=0.5, threshold=0.25, beta=0.5, rho=0.5, reset="soft")
    graph = alone(cell, 0.5)
    found = bound_rounding(graph, replay(graph, ones(4, 1)))["s"]
    np.testing.assert_allclose(found.margin.ravel(), [0, -0.25, 0, -0.3125], atol=1e-15)
    e, r = 6 * UNIT / (1 - 6 * UNIT) * 0.5 + 4 * UNIT * 0.5, 4 * UNIT
    want = [
        0.5 * e + (0.25 + 0.25) * r,
        0.75 * e + (0.625 + 0.5 + 0.5) * r,
        0.875 * e + (0.6875 + 0.375 + 0.375) * r,
        0.9375 * e + (1.15625 + 0.8125 + 0.5625) * r,
    ]
    np.testing.assert_allclose(found.bound.ravel(), want, rtol=1e-9)


def test_a_hard_reset_leaves_no_error_and_a_soft_one_keeps_it() -> None:
    for reset, kept in (("hard", False), ("soft", True)):
        graph = alone(LIF(tau=math.inf, threshold=0.5, reset=reset), 0.3)
        found = bound_rounding(graph, replay(graph, ones(3, 1)))["s"]
        first, fires, after = found.bound.ravel()
        assert fires > first
        assert (after > fires) == kept
        if not kept:
            assert after == first


def test_a_hard_reset_to_a_value_leaves_the_rounding_of_that_value() -> None:
    def bounds(to: float) -> np.ndarray:
        cell = DiscreteLIF(decay=1.0, threshold=0.5, reset="hard", reset_to=to)
        graph = alone(cell, 0.75)
        return bound_rounding(graph, replay(graph, ones(2, 1)))["s"].bound.ravel()

    added = bounds(-4.0) - bounds(0.0)
    # The value that is set is rounded, and so is its product with the decay.
    np.testing.assert_allclose(added, [0, 4 * UNIT * (4 + 4)], rtol=1e-9)


def test_margins_follow_the_spikes_that_are_given() -> None:
    graph = alone(LIF(tau=math.inf, threshold=0.5), 0.3)
    record = replay(graph, ones(3, 1))
    e = record.spikes["s"]
    assert e.tick.tolist() == [1]
    late = replace(record, spikes={**record.spikes, "s": e._replace(tick=e.tick + 1)})
    own, other = (bound_rounding(graph, r)["s"].margin.ravel() for r in (record, late))
    np.testing.assert_allclose(own, [-0.2, 0.1, -0.1], rtol=1e-12)
    np.testing.assert_allclose(other, [-0.2, 0.1, 0.4], rtol=1e-12)
    (found,) = find_first_differences(graph, record, late)
    assert found[:4] == (0, 1, "s", 0)
    assert found.margin == pytest.approx(0.1)
    assert not found.is_rounding


def test_a_record_of_another_network_has_no_bounds() -> None:
    one, other = (alone(LIF(tau=math.inf, threshold=x), 0.3) for x in (0.5, 0.6))
    with pytest.raises(ValueError, match=r"record does not belong .* another network"):
        bound_rounding(other, replay(one, ones(3, 1)))


@pytest.mark.slow
@settings(max_examples=20)
@given(seed=SEEDS)
def test_margins_along_the_spikes_of_float64_are_those_of_the_clock(seed: int) -> None:
    graph, x = tied(seed)
    for name, found in bound_rounding(graph, replay(graph, x)).items():
        want = compute_margins(graph, x, name)
        held = np.isinf(want)
        np.testing.assert_array_equal(np.isinf(found.margin), held)
        assert not found.bound[held].any()
        np.testing.assert_allclose(found.margin[~held], want[~held], rtol=0, atol=1e-12)


def test_nodes_of_which_nothing_is_known_are_refused_all_at_once() -> None:
    graph = alone(LIF(tau=0.01), 0.3)
    graph = wire("x>soft soft>w w>s", {**graph.nodes, "soft": Softmax()})
    with pytest.raises(ValueError, match="soft: bounds exist for connections"):
        bound_rounding(graph, replay(graph, ones(3, 1)))
