"""Spike times and values of single neurons against their analytic solutions."""

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from exact_laws import CLOCK, DT, agree, run
from hypothesis import Phase, example, given, settings, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.events import Grid, simulate
from neuro.events.exact.membrane import (
    NEURON,
    SPIKE,
    advance_neuron,
    integrate_to_crossing,
    search_crossing,
)
from neuro.events.exact.oracle_neuron import OracleNeuron, bisect, find_zeros, integrate_product
from neuro.graph import Dense, Edge, Graph, Input, Node
from neuro.neurons import ALIF, LI, LIF
from neuro.neurons.li import psc_gain
from neuro.spikes import Times

HEAP = replace(CLOCK, driver="heap")
clocks = pytest.mark.parametrize("clock", [CLOCK, HEAP], ids=["window", "heap"])
laws = settings(phases=(Phase.explicit, Phase.generate))


def spikes(*times: float, ticks: int, values: tuple[float, ...] | None = None) -> Times:
    """Return the spikes of one neuron."""
    zero = np.zeros(len(times), np.int32)
    value = np.array(values or np.ones(len(times)))
    return Times(zero, np.array(times, float), zero, value, (ticks, 1, 1))


def one(model: Node, weight: float, bias: float = 0.0, between: Node | None = None) -> Graph:
    """Return x -> fc -> (between ->) cells, of one neuron each."""
    fc = Dense(weight=np.array([[weight]]), bias=np.array([bias]) if bias else None)
    nodes = {"x": Input(shape=(1,)), "fc": fc, "cells": model}
    edges = (Edge("x", "fc"), Edge("fc", "cells"))
    if between is not None:
        nodes = {"x": nodes["x"], "fc": fc, "i": between, "cells": model}
        edges = (Edge("x", "fc"), Edge("fc", "i"), Edge("i", "cells"))
    return Graph(nodes=nodes, edges=edges, dt=DT)


@clocks
@pytest.mark.parametrize("refractory", [0.0, 0.0037])
@pytest.mark.parametrize("tau", [0.003, 0.02, math.inf])
def test_a_constant_drive_fires_at_the_times_of_its_formula(
    clock: object, tau: float, refractory: float
) -> None:
    bias = 0.3
    model = LIF(tau=tau, reset="hard", refractory=Seconds(refractory))
    got = run(one(model, 0.0, bias), spikes(ticks=49), clock).times["cells"].time
    if tau == math.inf:
        period = DT / bias
    else:
        settles = bias / -math.expm1(-DT / tau)
        period = -tau * math.log1p(-1 / settles)
    k = np.arange(got.size)
    np.testing.assert_allclose(got, (k + 1) * period + k * refractory, rtol=0, atol=1e-14)
    assert got.size == 1 + (49 * DT - period) // (period + refractory)


@clocks
@pytest.mark.parametrize("tau_syn", [0.01, 0.005, 0.003, 0.03])
@pytest.mark.parametrize("excess", [-1e-6, 1e-6, 0.3])
def test_one_current_fires_if_its_peak_reaches_the_threshold_and_when(
    clock: object, tau_syn: float, excess: float
) -> None:
    tau, start = 0.01, 0.00321
    rate, fall = mpmath.mpf(1 / tau), mpmath.mpf(1 / tau_syn)
    with mpmath.workdps(40):
        peak = 1 / rate if rate == fall else mpmath.log(fall / rate) / (fall - rate)
        high = integrate_product(mpmath, rate, fall, peak)
        unit = 1 / integrate_product(mpmath, rate, fall, mpmath.mpf(DT))
        weight = float((1 + excess) / (unit * high))
        size = unit * mpmath.mpf(weight)

        def distance(h: mpmath.mpf) -> mpmath.mpf:
            return size * integrate_product(mpmath, rate, fall, h) - 1

        want = [] if excess < 0 else [start + float(bisect(distance, mpmath.mpf(0), peak))]
    model = LIF(tau=tau, tau_syn=tau_syn, reset="hard")
    got = run(one(model, weight), spikes(start, ticks=24), clock).times["cells"].time
    assert len(got) >= len(want)
    assert len(got) == len(want) or excess > 0.1  # a strong one may fire again
    # where the slope is small, v known to one part in 1e16 leaves its time as much less known
    np.testing.assert_allclose(got[: len(want)], want, rtol=0, atol=1e-12)


def cells(v: float, currents: list[float], rates: list[float], rate: float) -> tuple:
    """Return one cell for the kernels: threshold 1."""
    cell = np.zeros(1, NEURON).view(np.recarray)
    cell.v, cell.rate, cell.threshold, cell.free_at = v, rate, 1.0, -np.inf
    return cell, np.array([currents]), np.array([rates])


@laws
@example(ratio=1.0, v=0.9, i=0.5)  # v falls from the start: its peak lies behind
@example(ratio=2.0, v=-2.0, i=0.1)
@given(ratio=st.sampled_from([1.0, 2.0]), v=st.floats(-2.0, 0.999), i=st.floats(0.1, 20.0))
def test_closed_forms_and_the_search_find_the_same_crossing(
    ratio: float, v: float, i: float
) -> None:
    rate, horizon = 100.0, 0.2
    one, other = (cells(v, [i * rate], [ratio * rate], rate) for _ in range(2))
    found, fires = integrate_to_crossing(*one, 0, horizon)
    searched, also = search_crossing(*other, 0, horizon)
    k = {"rate": rate, "threshold": 1.0, "gain": 1.0}
    cell = OracleNeuron(mpmath, {n: mpmath.mpf(p) for n, p in k.items()}, 0)
    cell.v = mpmath.mpf(v)
    with mpmath.workdps(30):
        drives = [(mpmath.mpf(ratio * rate), mpmath.mpf(i * rate))]
        cell.list_drives = lambda: drives  # type: ignore[method-assign]
        want = float(cell.find_crossing(mpmath.mpf(horizon)))
        slope = (drives[0][1] * mpmath.exp(-drives[0][0] * want) - rate) / rate
    assert fires == also == (want < math.inf) or abs(slope) < 1e-6
    if fires and also and slope > 1e-6:
        room = 1e-13 + 1e-15 / (rate * float(slope))
        assert abs(found - want) < room
        assert abs(searched - want) < room


def test_a_crossing_behind_inhibition_that_decays_first_is_found() -> None:
    def v(t: mpmath.mpf) -> mpmath.mpf:
        down, up = (integrate_product(mpmath, 100, r, t) for r in (500, 20))
        return 0.5 * mpmath.exp(-100 * t) - 200 * down + 200 * up

    with mpmath.workdps(30):
        want = float(bisect(lambda t: v(t) - 1, mpmath.mpf("0.001"), mpmath.mpf("0.02")))
    found, fires = search_crossing(*cells(0.5, [-200.0, 200.0], [500.0, 20.0], 100.0), 0, 0.2)
    assert fires
    assert abs(found - want) < 1e-13


def test_a_membrane_without_a_leak_meets_a_falling_threshold_exactly() -> None:
    cell, *rest = cells(0.5, [], [], 0.0)
    cell.drive, cell.adapt, cell.rate_adapt = 1.0, 1.0, 2.0
    with mpmath.workdps(30):
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        want = float(bisect(lambda t: t - 0.5 - mpmath.exp(-2 * t), low, high))
    found, fires = search_crossing(cell, *rest, 0, 10.0)
    assert fires
    assert abs(found - want) < 1e-13


@pytest.mark.parametrize("current", [0.0, -0.05, 0.05])
def test_a_falling_membrane_meets_a_threshold_that_falls_faster_exactly(current: float) -> None:
    cell, *rest = cells(10.0, [current], [0.5], 0.02)
    cell.adapt, cell.rate_adapt = 9.5, 0.03

    def rise(t: mpmath.mpf) -> mpmath.mpf:
        moved = 10 * mpmath.exp(-t / 50) + current * integrate_product(mpmath, 0.02, 0.5, t)
        return moved - 9.5 * mpmath.exp(-0.03 * t) - 1

    with mpmath.workdps(30):
        want = float(bisect(rise, mpmath.mpf(0), mpmath.mpf(30)))
    found, fires = search_crossing(cell, *rest, 0, 100.0)
    assert fires
    assert abs(found - want) < 1e-12


@pytest.mark.parametrize(("short", "stands"), [(0.3, 1.0), (0.7, 1 - 0.7 * 2**-10)])
def test_a_crossing_less_than_half_a_quantum_ahead_is_at_the_instant_itself(
    short: float, stands: float
) -> None:
    quantum = 2**-10
    cell, *rest = cells(-short * quantum, [], [], 0.0)
    cell.drive = 1.0  # a tick: the crossing is at 1 + short * quantum
    advance_neuron(cell, *rest, 0, 1.0, quantum, np.zeros(4, SPIKE).view(np.recarray))
    assert (cell.time[0], cell.v[0]) == (1.0, stands)


@pytest.mark.slow
@laws
@given(
    ratio=st.sampled_from([1.0, 2.0]),
    start=st.floats(-1.0, 0.5),
    beyond=st.floats(1e-9, 1e-6),
    above=st.booleans(),
)
def test_a_crossing_within_a_millionth_of_tangency_is_told_from_a_miss(
    ratio: float, start: float, beyond: float, above: bool
) -> None:
    rate = 100.0
    low, high = mpmath.mpf(0), mpmath.mpf(1000)
    with mpmath.workdps(30):

        def peak(i: mpmath.mpf) -> mpmath.mpf:
            terms = [(mpmath.mpf(1), [start, i if ratio == 1 else 0])]
            if ratio == 2:
                terms = [(mpmath.mpf(1), [start + i, 0]), (mpmath.mpf(2), [-i, 0])]
            slope = [(r, [p[1] - r * p[0], -r * p[1]]) for r, p in terms]
            found = find_zeros(mpmath, slope, mpmath.mpf(20))
            at = found[0] if found else mpmath.mpf(0)
            return sum((p[0] + p[1] * at) * mpmath.exp(-r * at) for r, p in terms)

        for _ in range(50):  # to 1e-12, a thousandth of the least that is beyond
            middle = (low + high) / 2
            low, high = (low, middle) if peak(middle) >= 1 else (middle, high)
        i = float(low) * (1 + (beyond if above else -beyond))
    for method in (integrate_to_crossing, search_crossing):
        _, fires = method(*cells(start, [i * rate], [ratio * rate], rate), 0, 0.2)
        assert fires == above


@clocks
def test_li_values_at_the_ends_of_ticks_are_their_closed_form(clock: object) -> None:
    graph = wire(
        "x>fc:2 fc>out",
        {
            "x": Input(shape=(1,)),
            "fc": Dense(weight=np.array([[0.5], [2.0]]), bias=np.array([0.25, 0.0])),
            "out": LI(tau=np.array([0.004, 0.02]), gain=np.array([1.0, 0.5])),
        },
        dt=DT,
    )
    train = spikes(0.3125 * DT, 3 * DT, 4.5 * DT, ticks=12, values=(1.0, -2.0, 0.5))
    got = run(graph, train, clock).values["out"][:, 0]
    ends = (np.arange(12) + 1)[:, None, None] * DT
    tau, since = np.array([0.004, 0.02]), ends - (train.time + 2 * DT)[None, :, None]
    left = np.where(since >= -1e-12, np.exp(-since / tau), 0) * train.value[:, None]
    want = left.sum(1) * np.array([0.5, 1.0])
    a = math.exp(-DT / 0.004)
    want[:, 0] += 0.25 * (1 - a ** np.arange(1, 13)) / (1 - a)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)


@clocks
@pytest.mark.parametrize("kind", ["lif", "alif", "own current", "LI"])
def test_sampled_at_ticks_a_silent_membrane_is_that_of_the_grid(
    clock: object, kind: str
) -> None:
    model: Node = LIF(tau=0.01, threshold=100.0)
    between, later = None, 0
    if kind == "alif":
        model = ALIF(leak=0.1, threshold=100.0)
    if kind == "own current":
        model, later = LIF(tau=0.01, tau_syn=0.004, threshold=100.0), 1
    if kind == "LI":
        between, later = LI(tau=0.01), 1
    graph = one(model, 1.5, 0.5, between)
    train = spikes(DT, 2 * DT, 6 * DT, ticks=9, values=(1.0, 2.0, -1.0))
    late = train._replace(shape=(9 + later, 1, 1))
    _, exact = simulate(graph, {"x": late}, clock)
    _, grid = simulate(graph, {"x": train}, Grid())
    np.testing.assert_allclose(
        exact.neurons["cells"][0], grid.neurons["cells"][0], rtol=0, atol=1e-13
    )


@clocks
def test_an_own_current_is_an_li_of_the_same_time_constant(clock: object) -> None:
    train = spikes(0.001, 0.0011, 0.0052, 0.0071, ticks=30)
    own = one(LIF(tau=0.01, tau_syn=0.004), 0.6, bias=0.02)
    behind = one(LIF(tau=0.01), 0.6, bias=0.02, between=LI(tau=0.004))
    first = run(own, train, clock)
    assert first.times["cells"].time.size > 3
    agree(first, run(behind, train, clock))


@clocks
def test_a_physical_current_moves_the_membrane_as_its_equation_says(clock: object) -> None:
    gain, (tau, syn, t) = psc_gain(0.005, 0.02, DT), (0.02, 0.005, 0.0123)
    graph = one(LIF(tau=tau, threshold=100.0), 2.0, between=LI(tau=syn, gain=gain))
    _, state = simulate(graph, {"x": spikes(t, ticks=40)}, clock)
    h = 40 * DT - t
    want = 2 * syn / (tau - syn) * (math.exp(-h / tau) - math.exp(-h / syn))
    np.testing.assert_allclose(state.neurons["cells"][0, 0], want, rtol=1e-12)


@clocks
def test_soft_reset_fires_at_once_as_often_as_the_threshold_fits(clock: object) -> None:
    graph = one(LIF(tau=math.inf, reset="soft"), 5.5)
    record, state = simulate(graph, {"x": spikes(1.5 * DT, ticks=4)}, clock)
    np.testing.assert_array_equal(record.times["cells"].time, [1.5 * DT] * 5)
    np.testing.assert_array_equal(record.spikes["cells"].value, [5])
    np.testing.assert_array_equal(state.neurons["cells"][0], [[0.5]])


@clocks
def test_soft_reset_above_threshold_fires_again_after_each_refractory_period(
    clock: object,
) -> None:
    graph = one(LIF(tau=math.inf, reset="soft", refractory=DT), 3.5)
    # The second is lost, the third on time.
    train = spikes(1.5 * DT, 2.0 * DT, 3.5 * DT, ticks=8)
    record, state = simulate(graph, {"x": train}, clock)
    times = DT * (1.5 + np.arange(7))
    np.testing.assert_array_equal(record.times["cells"].time, times)
    np.testing.assert_array_equal(state.neurons["cells"][0], [[0.0]])


@clocks
@pytest.mark.parametrize("between", [None, LI(tau=0.004)], ids=["delta", "current"])
def test_a_negative_value_through_a_negative_weight_excites(
    clock: object, between: Node | None
) -> None:
    train = spikes(0.0015, 0.00401, ticks=12, values=(0.01, -2.0))
    got = run(one(LIF(tau=0.01, reset="hard"), -40.0, between=between), train, clock)
    mirrored = train._replace(value=-train.value)
    want = run(one(LIF(tau=0.01, reset="hard"), 40.0, between=between), mirrored, clock)
    assert 0.004 < got.times["cells"].time[0] < 5 * DT  # in the window of its arrival
    np.testing.assert_array_equal(got.times["cells"].time, want.times["cells"].time)


@clocks
def test_a_spike_at_the_end_of_the_last_tick_is_in_the_run(clock: object) -> None:
    graph = one(LIF(tau=0.01), 1.0)
    record = run(graph, spikes(4 * DT, ticks=4), clock)
    np.testing.assert_array_equal(record.times["cells"].time, [4 * DT])
    np.testing.assert_array_equal(record.spikes["cells"].tick, [3])
