"""In long silences nothing is missed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from exact_laws import CLOCK, DT, KINDS, agree, network, same
from hypothesis import Phase, assume, given, settings, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.events import Exact, Runaway, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.exact.state import ExactState, make_rest_state
from neuro.graph import Dense, Graph, Input, Node, Sparse
from neuro.neurons import ALIF, LIF
from neuro.spikes import Times
from neuro.spikes.record import Record

HEAP = replace(CLOCK, driver="heap")
THREADS = replace(CLOCK, threads=2)
CLOCKS = pytest.mark.parametrize(
    "clock", [CLOCK, HEAP, THREADS], ids=["window", "heap", "blocks"]
)


def pair(cell: Node, weight: float, drive: float = 0.0) -> Graph:
    """Return one input to two cells that are joined by synapses of weight 0 and 2 ticks."""
    nothing = Sparse.from_coo(
        np.array([0, 1]), np.array([1, 0]), np.zeros(2), shape=(2, 2), bias=np.full(2, drive)
    )
    return wire(
        "x>in in>cells cells>loop:2 loop>cells",
        {
            "x": Input(shape=(1,)),
            "in": Dense(weight=np.array([[weight], [0.0]])),
            "cells": cell,
            "loop": nothing,
        },
        dt=DT,
    )


def spikes_of(graph: Graph, clock: Exact, at: float, ticks: int) -> np.ndarray:
    none = np.zeros(1, np.int32)
    train = Times(none, np.array([at]), none, np.ones(1), (ticks, 1, 1))
    times = simulate(graph, {"x": train}, clock)[0].times["cells"]
    return times.time[times.neuron == 0]


@pytest.mark.slow
@CLOCKS
@pytest.mark.parametrize("tau", [math.inf, 0.01])
def test_a_soft_reset_fires_at_the_end_of_a_long_refractory_period(
    clock: Exact, tau: float
) -> None:
    cell = LIF(tau=tau, reset="soft", refractory=Seconds(0.1))
    found = spikes_of(pair(cell, 3.5), clock, 0.0105, 500)
    np.testing.assert_allclose(found, [0.0105, 0.1105, 0.2105], rtol=0, atol=1e-14)


@pytest.mark.parametrize("part", [0.05, 0.3, 1.0])
@settings(max_examples=15, phases=(Phase.explicit, Phase.generate))
@given(at=st.floats(0.001, 0.005), left=st.floats(0.95, 0.999))
def test_what_an_arrival_leaves_just_below_the_threshold_fires_by_the_drive(
    part: float, at: float, left: float
) -> None:
    v_inf, tau = 1.25, 0.01
    weight = left + 1.0 - v_inf * -math.expm1(-at / tau)
    graph = pair(LIF(tau=tau, reset="soft"), weight, v_inf * -math.expm1(-DT / tau))
    found = spikes_of(graph, replace(CLOCK, window=Seconds(part * DT)), at, 20)
    again = at + tau * math.log((v_inf - left) / (v_inf - 1.0))
    np.testing.assert_allclose(found[:2], [at, again], rtol=0, atol=1e-12)


@CLOCKS
@pytest.mark.parametrize("v_inf", [1.0 + 1e-3, 1.0 + 1e-6])
def test_the_drive_alone_fires_a_cell_after_a_long_silence(clock: Exact, v_inf: float) -> None:
    drive = -math.expm1(-DT / 0.01) * v_inf
    found = spikes_of(pair(LIF(tau=0.01), 0.0, drive), clock, 0.1, 160)
    want = 0.01 * math.log(v_inf / (v_inf - 1.0))
    np.testing.assert_allclose(found, want * np.arange(1, found.size + 1), rtol=0, atol=1e-9)
    assert found.size == int(160 * DT / want)


@CLOCKS
def test_a_slow_current_fires_a_cell_long_after_it_came(clock: Exact) -> None:
    tau, tau_syn, after = 0.02, 0.1, 0.04
    rise = math.exp(-after / tau_syn) - math.exp(-after / tau)
    one = LIF(tau=tau, tau_syn=tau_syn)
    full = pair(replace(one, threshold=1e9), 1.0)
    current = simulate_exactly_slowly(full, _one(0.01, 51))[1]["cells"][0, 0, 0]
    gone = 51 * DT - 0.01
    peak = current / (math.exp(-gone / tau_syn) - math.exp(-gone / tau))
    found = spikes_of(pair(replace(one, threshold=float(peak * rise)), 1.0), clock, 0.01, 400)
    np.testing.assert_allclose(found[0], 0.01 + after, rtol=0, atol=1e-9)


def _one(at: float, ticks: int) -> dict[str, Times]:
    none = np.zeros(1, np.int32)
    return {"x": Times(none, np.array([at]), none, np.ones(1), (ticks, 1, 1))}


@CLOCKS
def test_a_driven_cell_whose_threshold_adapts_fires_when_that_has_come_down(
    clock: Exact,
) -> None:
    cell = ALIF(leak=0.05, threshold=0.05, beta=0.05, rho=0.995)
    graph = pair(cell, 2.0, 0.06)
    found = spikes_of(graph, clock, 0.0105, 1500)
    want = simulate_exactly_slowly(graph, _one(0.0105, 1500))[0].times["cells"]
    np.testing.assert_allclose(found, want.time[want.neuron == 0], rtol=0, atol=1e-12)
    assert found.size >= 2
    assert np.diff(found).max() > 100 * DT


def rare(seed: int, ticks: int) -> Times:
    """Return a few bursts of spikes for 3 inputs, far apart."""
    rng = np.random.default_rng(seed)
    begin = rng.uniform(0, 0.9 * ticks * DT, 3)
    time = begin[rng.integers(0, 3, 15)] + rng.exponential(2 * DT, 15)
    neuron, none = rng.integers(0, 3, 15).astype(np.int32), np.zeros(15, np.int32)
    order = np.lexsort((neuron, time))
    return Times(none, time[order], neuron[order], np.ones(15), (ticks, 1, 3))


def anywhere(graph: Graph, seed: int) -> ExactState:
    """Return a state with membranes anywhere below their thresholds, no two alike."""
    rng, state = np.random.default_rng(seed), make_rest_state(graph, 1)
    for name in ("cells", "late"):
        high = graph.nodes[name].dynamics(graph.dt).threshold  # type: ignore[union-attr]
        state.neurons[name][0, 0] = rng.uniform(-0.5, 0.9, graph.size(name)) * high
    return state


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, phases=(Phase.explicit, Phase.generate))
@given(
    seed=st.integers(0, 10**6),
    drive=st.sampled_from([0.0, 0.05, 0.12]),
    refractory=st.sampled_from([0.0, 0.0004, 0.0071]),
    loop=st.integers(1, 20),
    tick=st.integers(1, 149),
)
def test_rare_events_find_all_as_the_oracle_does(
    kind: str, seed: int, drive: float, refractory: float, loop: int, tick: int
) -> None:
    weak = {"no leak": 0.0, "adaptive": 0.1 * drive, "adaptive currents": 0.1 * drive}
    steady = weak.get(kind, drive)
    graph = network(kind, seed, loop=loop, drive=steady, refractory=refractory)
    train, start = rare(seed, 150), anywhere(graph, seed)

    def run(
        clock: Exact, part: Times = train, state: ExactState = start
    ) -> tuple[Record, ExactState]:
        return simulate(graph, {"x": part}, clock, state=state)

    try:
        one, end = run(replace(CLOCK, budget=500))
    except Runaway:
        assume(False)
    want, _ = simulate_exactly_slowly(graph, {"x": train}, start.neurons)
    agree(one, want, 1e-10)
    agree(one, run(HEAP)[0], 1e-10)
    agree(one, run(replace(CLOCK, window=0.03 * DT))[0], 1e-10)
    blocks, same_end = run(replace(CLOCK, threads=3))
    same(one, blocks)
    np.testing.assert_equal(end.neurons, same_end.neurons)
    early = train.time <= tick * DT
    first = Times(*(c[early] for c in train[:4]), (tick, 1, 3))
    second = Times(*(c[~early] for c in train[:4]), (150 - tick, 1, 3))
    a, half = run(CLOCK, first)
    b, _ = run(CLOCK, second._replace(time=second.time - tick * DT), half)
    for name in ("cells", "late"):
        time = np.concatenate([a.times[name].time, b.times[name].time + tick * DT])
        np.testing.assert_allclose(np.sort(time), np.sort(one.times[name].time), atol=1e-10)


@CLOCKS
def test_a_threshold_that_falls_onto_a_falling_membrane_is_crossed(clock: Exact) -> None:
    cell = ALIF(leak=0.1, threshold=1.0, beta=0.5, rho=0.99)
    nodes = {
        "x": Input(shape=(1,)),
        "in": Dense(weight=np.array([[1.5]]), bias=np.array([1.2])),
        "cells": cell,
    }
    graph = wire("x>in in>cells", nodes, dt=DT)
    none, ticks = np.zeros(1, np.int32), 400
    train = Times(none, np.array([55 * DT]), none, np.ones(1), (ticks, 1, 1))
    found = simulate(graph, {"x": train}, clock)[0].times["cells"].time
    want = simulate_exactly_slowly(graph, {"x": train})[0].times["cells"].time
    assert want.size == 4
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-12)
