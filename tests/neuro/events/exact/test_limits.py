"""Time constants far shorter than a tick, and what is too large or too long for float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
from exact_laws import CLOCK, DT, agree

from neuro.base.units import Seconds, Ticks
from neuro.events import Exact, Grid, Recording, simulate
from neuro.events.exact import heap_driver, run as exact_run, window_driver
from neuro.events.exact.currents import convert_to_slope
from neuro.events.exact.limits import find_run_quantum, require_finite_states
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.graph import Dense, Edge, Graph, GraphError, Input, Node, Sparse
from neuro.neurons import ALIF, LI, LIF
from neuro.spikes import Events, Times

CLOCKS = {
    "window": CLOCK,
    "heap": replace(CLOCK, driver="heap"),
    "threads": replace(CLOCK, threads=3),
}
every_clock = pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS.keys())


def network(
    cell: Node, weight: float = 1.5, loop: int | None = None, read: float = 0.01
) -> Graph:
    """Return 2 inputs -> 3 cells -> a read-out; loop: the delay of synapses back [ticks]."""
    w = np.array([[1, 1 / 4], [1 / 2, 1], [-1 / 4, 1 / 8]]) * weight
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "w": Dense(weight=w),
        "cells": cell,
        "sum": Dense(weight=np.ones((1, 3))),
        "out": LI(tau=read),
    }
    edges = [Edge("x", "w"), Edge("w", "cells"), Edge("cells", "sum"), Edge("sum", "out")]
    if loop is not None:
        nodes["back"] = Dense(weight=np.full((3, 3), -0.25))
        edges += [Edge("cells", "back", Ticks(loop)), Edge("back", "cells")]
    return Graph(nodes=nodes, edges=tuple(edges), dt=DT)


def train(ticks: int = 4, value: float = 1.0) -> Times:
    rng, none = np.random.default_rng(0), np.zeros(8, np.int32)
    time = np.sort(np.append(rng.uniform(0, 3, 6), [2.0, 3.0])) * DT
    neuron = np.array([1, 0, 0, 1, 1, 0, 1, 0], np.int32)
    return Times(none, time, neuron, np.full(8, value), (ticks, 1, 2))


def make_cell(kind: str, ratio: float) -> Node:
    """Return a model with a time constant of dt / ratio."""
    short = DT / ratio
    return {
        "membrane": LIF(tau=short),
        "held membrane": LIF(tau=short, reset="hard", refractory=Seconds(0.3 * DT)),
        "current": LIF(tau=0.01, tau_syn=short),
        "adaptation": ALIF(leak=0.5, threshold=0.5, beta=0.1, rho=math.exp(-min(ratio, 700))),
    }[kind]


@pytest.mark.parametrize(
    ("ratio", "loop"), [(60, 0), (60, 2), (720, None), (5000, 2), (1e6, 0)]
)
@pytest.mark.parametrize("kind", ["membrane", "held membrane", "current", "adaptation"])
def test_time_constants_far_below_a_tick_run_as_in_the_oracle(
    kind: str, ratio: float, loop: int | None
) -> None:
    graph = network(make_cell(kind, ratio), loop=loop, read=DT / ratio)
    want, neurons = simulate_exactly_slowly(graph, {"x": train()})
    assert want.counts["cells"].spikes > 3
    for clock in CLOCKS.values():
        record, state = simulate(graph, {"x": train()}, clock)
        agree(record, want)
        for name, rows in neurons.items():
            # Spikes are rounded to 2^-40 ticks, in which v moves by their share of tau.
            atol = 1e-8 + 4 * 2.0**-40 * ratio
            np.testing.assert_allclose(state.neurons[name], rows, rtol=0, atol=atol)


@every_clock
@pytest.mark.parametrize("ratio", [720, 5000])
def test_a_silent_neuron_that_forgets_within_a_tick_ends_at_rest(
    ratio: float, clock: Exact
) -> None:
    graph = network(LIF(tau=DT / ratio, threshold=100.0))
    record, state = simulate(graph, {"x": train()}, clock)
    assert record.counts["cells"].spikes == 0
    assert abs(state.neurons["cells"]).max() < 1e-300


@every_clock
def test_spikes_at_ticks_without_memory_are_those_of_the_grid(clock: Exact) -> None:
    graph = network(LIF(tau=DT / 5000, reset="hard"))
    zero = np.zeros(4, np.int32)
    ticks = np.array([0, 1, 1, 3], np.int32)
    x = Events(zero, ticks, np.array([0, 0, 1, 1], np.int32), np.ones(4), (5, 1, 2))
    want, _ = simulate(graph, {"x": x}, Grid())
    record, _ = simulate(graph, {"x": x}, clock)
    assert record.counts["cells"].spikes == want.counts["cells"].spikes == 4
    np.testing.assert_array_equal(record.spikes["cells"].tick, want.spikes["cells"].tick)


def test_a_long_window_between_short_time_constants_is_the_same_as_short_ones() -> None:
    graph = network(LIF(tau=0.01, tau_syn=DT / 8), loop=16)
    one, _ = simulate(graph, {"x": train(20)}, CLOCK)
    other, _ = simulate(graph, {"x": train(20)}, replace(CLOCK, window=Seconds(DT)))
    assert one.counts["cells"].spikes > 3
    agree(one, other)


def test_a_slope_that_adds_one_a_tick_is_found_for_any_two_rates() -> None:
    assert convert_to_slope(np.array(5000.0), np.zeros(())) == 5000.0
    assert convert_to_slope(np.zeros(()), np.array(5000.0)) == 5000.0
    np.testing.assert_allclose(
        convert_to_slope(np.array(0.5), np.array(5000.0)), 4999.5 * math.exp(0.5), rtol=1e-15
    )
    np.testing.assert_allclose(
        convert_to_slope(np.array(5000.0), np.array(0.5)), 4999.5 * math.exp(0.5), rtol=1e-15
    )
    for one, other in ((0.1, 0.3), (0.3, 0.1)):
        want = (other - one) / (math.exp(-one) - math.exp(-other))
        np.testing.assert_allclose(convert_to_slope(np.array(one), np.array(other)), want)
    np.testing.assert_allclose(convert_to_slope(np.array(0.2), np.array(0.2)), math.exp(0.2))


def refused(graph: Graph, message: str, x: Times | None = None) -> None:
    """Require that every driver and the oracle refuse a run with the same kind of error."""
    x = train() if x is None else x
    for clock in CLOCKS.values():
        with pytest.raises(ValueError, match=message):
            simulate(graph, {"x": x}, clock)
    with pytest.raises(ValueError, match=message):
        simulate_exactly_slowly(graph, {"x": x})


def test_time_constants_that_no_instant_resolves_are_refused_with_their_ratio() -> None:
    refused(network(LIF(tau=DT / 2e6)), r"cells: dt / tau = 2e\+06, .* up to 1e\+06; use a sh")
    refused(network(LIF(tau=1e-310)), "cells: dt / tau = inf, ")
    fast = LIF(tau=0.01, tau_syn=DT / 2e6)
    refused(network(fast), r"cells: dt / tau_syn = 2e\+06, ")
    refused(network(LIF(tau=0.01), read=DT / 2e6), r"out: dt / tau = 2e\+06, ")
    graph = network(LIF(tau=DT / 1e6))
    assert find_run_quantum(graph, 2**22) == 2.0**-30  # 10^6 * 2^10 < 2^30
    with pytest.raises(GraphError, match=r"cells: dt / tau = 1e\+06, .* up to 5\.24e\+05"):
        find_run_quantum(graph, 2**23)


def test_a_membrane_and_a_current_that_both_decay_within_a_tick_are_refused() -> None:
    message = r"cells: dt / tau .*current \(cells\) are both 19 or more: .* at most 18.4"
    refused(network(LIF(tau=DT / 20, tau_syn=DT / 19)), message)
    refused(network(LIF(tau=DT / 19, tau_syn=DT / 20)), message)
    graph = network(LIF(tau=DT / 5000))
    li = {**graph.nodes, "i": LI(tau=DT / 720)}
    edges = (Edge("x", "w"), Edge("w", "i"), Edge("i", "cells"))
    li = {n: li[n] for n in ("x", "w", "i", "cells")}
    refused(Graph(nodes=li, edges=edges, dt=DT), r"current \(i\) are both 720 or more")


@every_clock
def test_a_membrane_and_a_current_just_slower_run_as_in_the_oracle(clock: Exact) -> None:
    cell = LIF(tau=DT / 18, tau_syn=DT / 18.4, reset="hard", refractory=Seconds(DT))
    want, _ = simulate_exactly_slowly(network(cell), {"x": train()})
    record, _ = simulate(network(cell), {"x": train()}, clock)
    assert want.counts["cells"].spikes > 3
    agree(record, want)


def test_weights_and_values_that_overflow_are_refused() -> None:
    refused(network(LIF(tau=0.01), weight=1e308), r"x.*weights.* up to 1e\+308, .* 1e\+100;")
    refused(network(LIF(tau=0.01), weight=-1e308), r"x.*weights.* up to 1e\+308")
    wild = r"x: values of spikes must be <= .* got 1e\+308"
    refused(network(LIF(tau=0.01)), wild, train(value=-1e308))
    huge = Dense(weight=np.ones((3, 2)), bias=np.array([0.0, 0.0, -1e200]))
    graph = network(LIF(tau=0.01))
    graph = replace(graph, nodes={**graph.nodes, "w": huge})
    with pytest.raises(GraphError, match=r"cells: biases per tick are up to 1\.05e\+200"):
        simulate(graph, {"x": train()}, CLOCK)


@every_clock
def test_weights_at_the_limit_run(clock: Exact) -> None:
    graph = network(LIF(tau=0.01, reset="hard"), weight=1e100)
    record, state = simulate(graph, {"x": train(value=1e100)}, clock)
    want, _ = simulate_exactly_slowly(graph, {"x": train(value=1e100)})
    agree(record, want)
    assert want.counts["cells"].spikes > 3
    assert state.neurons["cells"][0, 0, 2] < -1e198


def test_a_run_that_leaves_the_range_of_float64_is_named() -> None:
    rows = np.zeros((4, 1, 2))
    require_finite_states({"a": rows, "b": rows})
    for bad in (np.inf, -np.inf, np.nan):
        wild = rows.copy()
        wild[1, 0, 1] = bad
        with pytest.raises(ValueError, match="left the range of float64 in b, c; scale"):
            require_finite_states({"a": rows, "b": wild, "c": wild})


@pytest.mark.filterwarnings("ignore:LIF.refractory")
@pytest.mark.parametrize("dt", [1e-3, 1e-9])
def test_a_refractory_period_beyond_all_instants_is_refused_by_name(dt: float) -> None:
    graph = replace(network(LIF(tau=0.01, refractory=Seconds(1e300))), dt=Seconds(dt))
    x = train()._replace(time=train().time / DT * dt)
    refused(graph, r"up to 8\.59e\+09 ticks.*refractory period of cells lasts (1e\+303|inf)", x)
    with pytest.raises(
        GraphError, match=r"cells: LIF\.refractory: duration 1e\+300 s has too many"
    ):
        simulate(graph, {"x": x}, Grid())


@pytest.mark.filterwarnings("ignore:LIF.refractory")
def test_a_long_refractory_period_lasts_to_the_end() -> None:
    graph = network(LIF(tau=0.01, refractory=Seconds(2**32 * DT)))
    record, state = simulate(graph, {"x": train()}, CLOCK)
    assert record.counts["cells"].spikes == 2  # of three cells, one is inhibited
    assert state.neurons["cells"][3].max() == pytest.approx(2**32, abs=4)


def test_runs_and_delays_beyond_all_instants_are_refused_by_name() -> None:
    graph = network(LIF(tau=0.01), loop=2**33)
    with pytest.raises(GraphError, match=r"the delay of cells -> back lasts 8\.59e\+09 ticks"):
        find_run_quantum(graph, 4)
    with pytest.raises(GraphError, match="the run has 8,589,934,593: shorten it"):
        find_run_quantum(network(LIF(tau=0.01)), 2**33 + 1)
    assert find_run_quantum(network(LIF(tau=0.01)), 2**32) == 2.0**-20


def test_the_longest_delay_of_a_single_synapse_counts_beside_the_ticks_of_a_run() -> None:
    graph, ticks = network(LIF(tau=0.01), loop=0), 2**33 - 2**31 + 2
    one, waits = np.arange(2), np.array([1, 2**31 - 1])
    late = Sparse.from_coo(one, one, np.ones(2), shape=(3, 3), delay=waits)
    assert find_run_quantum(graph, ticks) == 2.0**-20
    with pytest.raises(GraphError, match="the run has 6,442,450,946: shorten it"):
        find_run_quantum(replace(graph, nodes={**graph.nodes, "back": late}), ticks)


def test_windows_and_values_that_do_not_fit_into_memory_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, x = network(LIF(tau=0.01), loop=1), {"x": train()}
    short = replace(CLOCK, window=Seconds(DT * 2.0**-40))
    with pytest.raises(ValueError, match=r"look-ahead windows of cells 8\.8e\+03"):
        simulate(graph, x, short)
    # Per window 8 bytes; of a delay of 1 tick 1 + 3 windows. Values twice: T B N = 4.
    monkeypatch.setattr("neuro.events.resources.find_free_memory", lambda: 4 * 8 + 2 * 4 * 8.0)
    simulate(graph, x, CLOCK)
    monkeypatch.setattr(
        "neuro.events.resources.find_free_memory", lambda: 4 * 8 + 2 * 4 * 8 - 1.0
    )
    with pytest.raises(ValueError, match=r"the run needs 9\.6e-08 GB"):
        simulate(graph, x, CLOCK)
    simulate(graph, x, CLOCK, record=Recording(values=()))


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_a_small_network_looks_for_ctrl_c_as_often_as_its_work_asks(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, calls = driver == "window", []
    module, name = (window_driver, "continue_run") if windows else (heap_driver, "run_to_pause")
    part = getattr(module, name)

    def counted(*arguments: object) -> object:
        calls.append(1)
        return part(*arguments)

    monkeypatch.setattr(module, name, counted)
    monkeypatch.setattr(exact_run, "WORK_PER_PAUSE", 1000)
    none = np.zeros(2000, np.int32)
    time = (np.arange(2000) + 0.5) * DT
    x = Times(none, time, none, np.ones(2000), (2000, 1, 2))
    record, _ = simulate(network(LIF(tau=0.01)), {"x": x}, Exact(driver=driver))  # type: ignore[arg-type]
    assert record.counts["cells"].spikes > 2000
    # A window counts 16, an arrival 16 + 3 synapses, neurons 3: 38. An instant of the heap
    # counts 16, each of 3 neurons that it reaches 17: 67; a call does about 1,048 more.
    least = {"window": 2000 * 38 // 1038, "heap": 2000 * 67 // 2200}
    assert least[driver] <= len(calls) <= 1.5 * least[driver]
