"""Equal sums of spike times, delays and refractory periods are one instant."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from neuro.events import Exact, Runaway, simulate
from neuro.events.exact.membrane import find_quantum
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.graph import Dense, Edge, Graph, Input, Node
from neuro.neurons import ALIF, LIF
from neuro.record import Record
from neuro.spikes import Events, Times, to_events
from neuro.units import Seconds, Ticks

TICKS = 14
LIMIT = 20_000
NAMES = ("a", "b")
Spikes = dict[str, list[tuple[float, int]]]


def tiny(seed: int) -> tuple[Graph, Events]:
    """Return two recurrent populations whose arrivals often meet, and their input.

    Delays of one to eight ticks on different ways, refractory periods of whole and half ticks,
    and lengths of a tick that no float64 holds exactly.
    """
    rng = np.random.default_rng(seed)
    dt = float(rng.choice([1e-3, 1e-4, 5e-4, 0.1]))
    size = int(rng.integers(1, 4))
    kind = rng.choice(["delta", "no leak", "current", "adaptive", "drive"])
    reset = str(rng.choice(["soft", "hard"]))
    refractory = Seconds(float(rng.choice([0, 0, 1, 2, 1.5, 0.3])) * dt)

    def population() -> Node:
        if kind == "adaptive":
            return ALIF(leak=0.25, threshold=0.25, beta=0.0625, rho=0.9, reset=reset)
        tau = math.inf if kind == "no leak" else float(rng.choice([5, 20])) * dt
        own = 2.5 * dt if kind == "current" else None
        return LIF(tau=tau, tau_syn=own, reset=reset, refractory=refractory)

    def dense(out: int, into: int, scale: float = 1.0, bias: float = 0.0) -> Dense:
        weight = scale * rng.choice([-1, -0.5, -0.25, 0.25, 0.5, 0.75, 1, 1.5], (out, into))
        return Dense(weight=weight, bias=np.full(out, bias) if bias else None)

    def delay(least: int, most: int) -> Ticks:
        return Ticks(int(rng.integers(least, most)))

    drive = float(rng.choice([0.125, 0.1, 0.25])) if kind == "drive" else 0.0
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "in": dense(size, 2, bias=drive),
        "a": population(),
        "own": dense(size, size, 0.75),
        "on": dense(2, size),
        "by": dense(2, 2),
        "b": population(),
    }
    edges = [
        Edge("x", "in"),
        Edge("in", "a"),
        Edge("a", "own", delay(1, 4)),
        Edge("own", "a"),
        Edge("a", "on", delay(0, 4)),
        Edge("on", "b"),
        Edge("x", "by", delay(0, 5)),
        Edge("by", "b"),
    ]
    if rng.random() < 0.5:
        nodes["back"] = Dense(weight=-abs(dense(size, 2).weight))
        edges += [Edge("b", "back", delay(1, 3)), Edge("back", "a")]
    x = to_events((rng.random((TICKS, 1, 2)) < 0.5).astype(float))
    return Graph(nodes=nodes, edges=tuple(edges), dt=Seconds(dt)), x


def cut(e: Events, start: int, stop: int) -> Events:
    mine = (e.tick >= start) & (e.tick < stop)
    ticks = e.tick[mine] - start
    return Events(e.sample[mine], ticks, e.neuron[mine], e.value[mine], (stop - start, 1, 2))


def listed(record: Record, dt: float, start: int = 0) -> Spikes:
    """Return (time [ticks], neuron) of all spikes, to a ten-millionth of a tick."""
    return {
        n: sorted(
            (round(float(t) / dt + start, 7), int(j))
            for t, j in zip(record.times[n].time, record.times[n].neuron, strict=True)
        )
        for n in NAMES
    }


def joined(one: Spikes, other: Spikes) -> Spikes:
    return {n: sorted(one[n] + other[n]) for n in NAMES}


def run(graph: Graph, x: Events, clock: Exact) -> Spikes:
    return listed(simulate(graph, {"x": x}, clock)[0], graph.dt)


def run_in_two(graph: Graph, x: Events, at: int) -> Spikes:
    """Return the spikes of a run that is split at a tick."""
    first, state = simulate(graph, {"x": cut(x, 0, at)}, Exact(budget=LIMIT))
    second, _ = simulate(graph, {"x": cut(x, at, TICKS)}, Exact(budget=LIMIT), state=state)
    return joined(listed(first, graph.dt), listed(second, graph.dt, at))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), at=st.integers(1, TICKS - 1))
def test_drivers_threads_splits_and_the_oracle_find_the_same_spikes(seed: int, at: int) -> None:
    graph, x = tiny(seed)
    try:
        want = run(graph, x, Exact(budget=LIMIT))
    except Runaway:
        return
    assert run(graph, x, Exact(driver="heap", budget=LIMIT)) == want
    assert run(graph, x, Exact(threads=2, budget=LIMIT)) == want
    assert run(graph, x, Exact(window=Seconds(0.4 * graph.dt), budget=LIMIT)) == want
    assert run_in_two(graph, x, at) == want
    assert listed(simulate_exactly_slowly(graph, {"x": x})[0], graph.dt) == want


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_forty_digits_find_the_same_spikes(seed: int) -> None:
    graph, x = tiny(seed)
    with mpmath.workdps(40):
        want, _ = simulate_exactly_slowly(graph, {"x": x}, arithmetic=mpmath)
    assert run(graph, x, Exact(budget=LIMIT)) == listed(want, graph.dt)


def chain(dt: float, *delays: int) -> Graph:
    """Return x -> cells on one way for each number of ticks, the last of which inhibits.

    Two ways of excitation reach the threshold together.
    """
    nodes: dict[str, Node] = {"x": Input(shape=(1,)), "relay": LIF(tau=0.01, reset="hard")}
    nodes["cells"] = LIF(tau=0.5 * dt, reset="hard")
    edges = [Edge("x", "relay", Ticks(1))]
    for k, delay in enumerate(delays):
        inhibits = k == len(delays) - 1
        nodes[f"w{k}"] = Dense(weight=np.array([[-5.0 if inhibits else 0.75]]))
        source = "relay" if k % 2 else "x"
        edges += [Edge(source, f"w{k}", Ticks(delay)), Edge(f"w{k}", "cells")]
    return Graph(nodes=nodes, edges=tuple(edges), dt=Seconds(dt))


def spike_at(*times: float, ticks: int = 40) -> Times:
    zero = np.zeros(len(times), np.int32)
    return Times(zero, np.array(times), zero, np.ones(len(times)), (ticks, 1, 1))


@pytest.mark.parametrize("dt", [1e-3, 0.1, 3e-4, 2**-10])
@pytest.mark.parametrize("driver", ["window", "heap"])
def test_excitation_and_inhibition_of_one_instant_meet_on_all_ways(
    dt: float, driver: str
) -> None:
    """T + 4 and (t + 1) + 3 excite, t + 4 inhibits: together they leave the cell at rest."""
    graph = chain(dt, 4, 3, 4)
    times = [0.1 * dt, 7.3 * dt, 7 * 1.1 * dt + 13 * dt]
    record, _ = simulate(graph, {"x": spike_at(*times)}, Exact(driver=driver))
    assert record.times["cells"].time.size == 0
    assert record.times["relay"].time.size == 3
    late, _ = simulate(chain(dt, 4, 3, 5), {"x": spike_at(*times)}, Exact(driver=driver))
    np.testing.assert_allclose(late.times["cells"].time, np.add(times, 4 * dt), rtol=1e-12)


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_spikes_between_ticks_meet_on_all_ways_too(driver: str) -> None:
    """Cells that their drive fires in the first tick, where a float64 has bits to lose.

    (t + 1) + 3 excites, t + 4 inhibits.
    """
    size, dt = 500, Seconds(1e-3)
    eye = np.eye(size)
    nodes: dict[str, Node] = {
        "x": Input(shape=(size,)),
        "drive": Dense(weight=0 * eye, bias=np.linspace(1.1, 3, size)),
        "odd": LIF(tau=9 * dt, reset="hard", refractory=Seconds(1.0)),
        "on": Dense(weight=eye),
        "relay": LIF(tau=dt, reset="hard"),
        "late": Dense(weight=1.5 * eye),
        "against": Dense(weight=-5 * eye),
        "cells": LIF(tau=dt, reset="hard"),
    }
    edges = (
        *(Edge("x", "drive"), Edge("drive", "odd"), Edge("odd", "on", Ticks(1))),
        Edge("on", "relay"),
        *(Edge("relay", "late", Ticks(3)), Edge("late", "cells")),
        *(Edge("odd", "against", Ticks(4)), Edge("against", "cells")),
    )
    none = to_events(np.zeros((8, 1, size)))
    graph = Graph(nodes=nodes, edges=edges, dt=dt)
    record, _ = simulate(graph, {"x": none}, Exact(driver=driver))
    assert record.times["odd"].time.size == record.times["relay"].time.size == size
    assert record.times["odd"].time.max() < dt
    assert record.times["cells"].time.size == 0


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_an_arrival_at_the_end_of_a_refractory_period_is_taken(driver: str) -> None:
    """3 * 0.1 / 0.1 is 3.0000000000000004 in float64, and three ticks here."""
    cell = LIF(tau=1.0, reset="hard", refractory=Seconds(3 * 0.1))
    nodes = {"x": Input(shape=(1,)), "w": Dense(weight=np.ones((1, 1))), "cells": cell}
    edges = (Edge("x", "w"), Edge("w", "cells"))
    graph = Graph(nodes=nodes, edges=edges, dt=Seconds(0.1))
    x = to_events(np.ones((13, 1, 1)))
    record, _ = simulate(graph, {"x": x}, Exact(driver=driver))
    assert record.spikes["cells"].tick.tolist() == [0, 3, 6, 9, 12]


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("tau", [0.004, 0.01, 0.0173])
@pytest.mark.parametrize("tau_syn", [0.0011, 0.0025, 0.0037])
def test_a_current_that_reaches_the_threshold_as_inhibition_arrives_fires(
    driver: str, tau: float, tau_syn: float
) -> None:
    """A current of weight 1 lifts v by 1 in its first tick: to the threshold."""
    cell = LIF(tau=tau, tau_syn=tau_syn, reset="hard")
    weight = np.array([[1.0, -1.0]])
    nodes = {"x": Input(shape=(2,)), "w": Dense(weight=weight), "cells": cell}
    edges = (Edge("x", "w"), Edge("w", "cells"))
    graph = Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))
    raster = np.zeros((12, 1, 2))
    raster[2, 0, 0] = raster[3, 0, 1] = 1
    record, _ = simulate(graph, {"x": to_events(raster)}, Exact(driver=driver))
    assert record.times["cells"].time.tolist() == [4 * 1e-3]


def test_a_quantum_is_a_power_of_two_that_leaves_all_instants_of_a_run_exact() -> None:
    assert find_quantum(100.0) == 2**-40
    assert find_quantum(8191.0) == 2**-40
    assert find_quantum(8192.0) == 2**-39
    long = find_quantum(1e7)
    assert 1e7 + long > 1e7
    assert (1e7 + long) - 1e7 == long


def test_times_that_mean_whole_ticks_are_whole_ticks_in_a_long_run() -> None:
    """A relay passes a spike on at its own instant: times come back as they went in."""
    nodes = {"x": Input(shape=(1,)), "w": Dense(weight=np.ones((1, 1))), "cells": LIF(tau=0.01)}
    graph = Graph(
        nodes=nodes, edges=(Edge("x", "w"), Edge("w", "cells", Ticks(1))), dt=Seconds(1e-4)
    )
    ticks = np.arange(1, 199_999, 37)
    train = spike_at(*(ticks * 1e-4), ticks=200_000)
    record, _ = simulate(graph, {"x": train}, Exact())
    assert record.times["cells"].time.tolist() == ((ticks + 1) * 1e-4).tolist()
