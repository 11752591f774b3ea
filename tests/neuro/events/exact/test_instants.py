"""Equal sums of spike times, delays and refractory periods are one instant."""

import math
from contextlib import suppress

import numpy as np
import pytest
from exact_laws import by_neuron
from hypothesis import given, settings, strategies as st
from tiny_networks import TICKS, count_meetings, find_differences, make_network, run_engine
from written_graphs import chain, wire

from neuro.base.units import Seconds, Ticks
from neuro.events import Exact, Runaway, simulate
from neuro.events.exact.state import make_rest_state
from neuro.graph import Dense, Edge, Graph, Input, Node
from neuro.neurons import LI, LIF
from neuro.spikes import Times, to_events


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), at=st.integers(1, TICKS - 1))
def test_drivers_threads_splits_and_the_oracle_find_the_spikes_of_forty_digits(
    seed: int, at: int
) -> None:
    graph, train = make_network(seed)
    with suppress(Runaway):
        assert find_differences(graph, train, at) == []


def test_the_random_networks_fire_and_their_refractory_periods_end_as_spikes_arrive() -> None:
    spikes = meetings = 0
    for seed in range(40):
        graph, train = make_network(seed)
        spikes += sum(len(rows) for rows in run_engine(graph, train).values())
        meetings += count_meetings(graph, train)
    assert spikes > 1000
    assert meetings > 150


def ways(dt: float, *delays: int) -> Graph:
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


@pytest.mark.filterwarnings("ignore:a tick of dt")
@pytest.mark.parametrize("dt", [1e-3, 0.1, 3e-4, 2**-10])
@pytest.mark.parametrize("driver", ["window", "heap"])
def test_excitation_and_inhibition_of_one_instant_meet_on_all_ways(
    dt: float, driver: str
) -> None:
    """T + 4 and (t + 1) + 3 excite, t + 4 inhibits: together they leave the cell at rest."""
    graph = ways(dt, 4, 3, 4)
    times = [0.1 * dt, 7.3 * dt, 7 * 1.1 * dt + 13 * dt]
    record, _ = simulate(graph, {"x": spike_at(*times)}, Exact(driver=driver))
    assert record.times["cells"].time.size == 0
    assert record.times["relay"].time.size == 3
    late, _ = simulate(ways(dt, 4, 3, 5), {"x": spike_at(*times)}, Exact(driver=driver))
    np.testing.assert_allclose(late.times["cells"].time, np.add(times, 4 * dt), rtol=1e-12)


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_spikes_between_ticks_meet_on_all_ways_too(driver: str) -> None:
    """Cells that their drive fires in the first tick, where a float64 has bits to lose.

    (t + 1) + 3 excites, t + 4 inhibits.
    """
    size, dt = 500, Seconds(1e-3)
    eye = np.eye(size)
    none = to_events(np.zeros((8, 1, size)))
    graph = wire(
        "x>drive drive>odd odd>on:1 on>relay relay>late:3 late>cells "
        "odd>against:4 against>cells",
        {
            "x": Input(shape=(size,)),
            "drive": Dense(weight=0 * eye, bias=np.linspace(1.1, 3, size)),
            "odd": LIF(tau=9 * dt, reset="hard", refractory=Seconds(1.0)),
            "on": Dense(weight=eye),
            "relay": LIF(tau=dt, reset="hard"),
            "late": Dense(weight=1.5 * eye),
            "against": Dense(weight=-5 * eye),
            "cells": LIF(tau=dt, reset="hard"),
        },
        dt=dt,
    )
    record, _ = simulate(graph, {"x": none}, Exact(driver=driver))
    assert record.times["odd"].time.size == record.times["relay"].time.size == size
    assert record.times["odd"].time.max() < dt
    assert record.times["cells"].time.size == 0


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_an_arrival_at_the_end_of_a_refractory_period_is_taken(driver: str) -> None:
    """3 * 0.1 / 0.1 is 3.0000000000000004 in float64, and three ticks here."""
    cell = LIF(tau=1.0, reset="hard", refractory=Seconds(3 * 0.1))
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((1, 1))), cells=cell, dt=0.1)
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
    graph = chain(x=Input(shape=(2,)), w=Dense(weight=weight), cells=cell)
    raster = np.zeros((12, 1, 2))
    raster[2, 0, 0] = raster[3, 0, 1] = 1
    record, _ = simulate(graph, {"x": to_events(raster)}, Exact(driver=driver))
    assert record.times["cells"].time.tolist() == [4 * 1e-3]


def test_times_that_mean_whole_ticks_are_whole_ticks_in_a_long_run() -> None:
    """A relay passes a spike on at its own instant: times come back as they went in."""
    nodes = {"x": Input(shape=(1,)), "w": Dense(weight=np.ones((1, 1))), "cells": LIF(tau=0.01)}
    graph = wire("x>w w>cells:1", nodes, dt=Seconds(1e-4))
    ticks = np.arange(1, 199_999, 37)
    train = spike_at(*(ticks * 1e-4), ticks=200_000)
    record, _ = simulate(graph, {"x": train}, Exact())
    assert record.times["cells"].time.tolist() == ((ticks + 1) * 1e-4).tolist()


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("tau", [4.0, math.inf])
def test_a_crossing_comes_after_the_arrival_that_it_follows(driver: str, tau: float) -> None:
    """The arrival leaves v below its threshold by what the drive adds in a quarter quantum."""
    q = 2.0**-40
    at_end = 0.75  # that is what a bias adds in a tick, with and without leak
    rises = 0.75 if tau == math.inf else (at_end / -math.expm1(-1 / tau) - 1) / tau  # [1/tick]
    graph = chain(
        x=Input(shape=(1,)),
        w=Dense(weight=np.array([[1 - at_end - q * rises / 4]]), bias=np.array([at_end])),
        cell=LIF(tau=tau, reset="hard", refractory=Seconds(100.0)),
        dt=1.0,
    )
    record, _ = simulate(graph, {"x": spike_at(1.0, ticks=9)}, Exact(driver=driver))
    assert record.times["cell"].time.tolist() == [1 + q]


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_what_comes_at_once_is_not_lost(driver: str) -> None:
    """A time below half a quantum is the first instant after 0, where a run begins."""
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((1, 1))), cell=LIF(tau=0.01))
    record, _ = simulate(graph, {"x": spike_at(1e-17, 2e-3)}, Exact(driver=driver))
    assert record.times["cell"].time.tolist() == [2.0**-40 * 1e-3, 2e-3]


@pytest.mark.parametrize("driver", ["window", "heap"])
def test_a_refractory_period_of_a_state_ends_at_an_instant(driver: str) -> None:
    cell = LIF(tau=0.01, reset="hard", refractory=Seconds(5e-3))
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((1, 1))), cell=cell)
    state = make_rest_state(graph, 1)
    state.neurons["cell"][3] = np.nextafter(3.0, 4.0)
    x = spike_at(3e-3)
    record, _ = simulate(graph, {"x": x}, Exact(driver=driver), state=state)
    assert record.times["cell"].time.tolist() == [3e-3]


def test_a_crossing_is_found_once_however_it_is_predicted() -> None:
    """Rounding may place the crossing that the heap predicts one quantum off."""
    size, dt = 4000, Seconds(1e-3)
    nodes: dict[str, Node] = {
        "x": Input(shape=(1,)),
        "up": Dense(weight=np.linspace(1.3, 4, size).reshape(-1, 1)),
        "down": Dense(weight=-np.linspace(0.1, 0.4, size).reshape(-1, 1)),
        "fast": LI(tau=0.003),
        "slow": LI(tau=0.02),
        "cells": LIF(tau=0.01, reset="hard", refractory=Seconds(1.3e-3)),
    }
    graph = wire("x>up up>fast fast>cells x>down:1 down>slow slow>cells", nodes, dt=dt)
    x = {"x": spike_at(0.4e-3, 5.3e-3, ticks=16)}
    one, _ = simulate(graph, x, Exact())
    other, _ = simulate(graph, x, Exact(driver="heap"))
    a, b = by_neuron(one.times["cells"]), by_neuron(other.times["cells"])
    assert a.time.size > 2 * size
    np.testing.assert_array_equal(a.neuron, b.neuron)
    np.testing.assert_allclose(a.time, b.time, rtol=0, atol=1e-11 * dt)


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("tau", [0.01, math.inf])
@pytest.mark.parametrize(
    ("refractory", "ticks"), [(0.0, [30, 30, 30]), (1e-3, [30, 31, 32]), (2e-3, [30, 32, 34])]
)
def test_a_sum_of_decimal_weights_is_the_multiple_of_the_threshold_that_it_means(
    driver: str, tau: float, refractory: float, ticks: list[int]
) -> None:
    """0.6 + 0.7 + 0.8 is 2.0999999999999996 in float64, and three thresholds here."""
    weights = np.array([[0.6, 0.7, 0.8]])
    assert weights.sum() - 0.7 - 0.7 < 0.7
    cell = LIF(tau=tau, threshold=0.7, refractory=Seconds(refractory))
    graph = chain(x=Input(shape=(3,)), w=Dense(weight=weights), cell=cell)
    raster = np.zeros((40, 1, 3))
    raster[30] = 1
    record, _ = simulate(graph, {"x": to_events(raster)}, Exact(driver=driver))
    assert np.rint(record.times["cell"].time / 1e-3).tolist() == [t + 1 for t in ticks]


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("taus", [(0.01, 0.01), (0.01, 0.02)])
def test_a_sum_of_decimal_weights_that_means_the_threshold_reaches_it(
    driver: str, taus: tuple[float, float]
) -> None:
    """0.2 + 0.7 is 0.8999999999999999 in float64; neurons alike and of any kind."""
    cells = LIF(tau=np.array(taus), threshold=0.9)
    weight = np.array([[0.2, 0.7], [0.2, 0.7]])
    assert weight[0].sum() < 0.9
    graph = chain(x=Input(shape=(2,)), w=Dense(weight=weight), cells=cells)
    raster = np.zeros((9, 1, 2))
    raster[4] = 1
    record, _ = simulate(graph, {"x": to_events(raster)}, Exact(driver=driver))
    assert record.spikes["cells"].tick.tolist() == [4, 4]


@pytest.mark.parametrize(("late", "tick"), [(5e-10, 3), (2e-9, 4)])
def test_what_rounding_brings_just_after_the_end_of_a_tick_is_read_out_there_and_once(
    late: float, tick: int
) -> None:
    """It leaves at 3 and arrives at 4, where the run may be split, and so much later."""
    dt = Seconds(1e-3)
    nodes = {"x": Input(shape=(1,)), "w": Dense(weight=np.ones((1, 1))), "out": LI(tau=0.005)}
    graph = wire("x>w:1 w>out", nodes, dt=dt)
    time = (3 + late) * dt
    whole = simulate(graph, {"x": spike_at(time, ticks=8)}, Exact())[0].values["out"]
    assert np.flatnonzero(whole)[0] == tick
    a, half = simulate(graph, {"x": spike_at(time, ticks=4)}, Exact())
    b, _ = simulate(graph, {"x": spike_at(ticks=4)}, Exact(), state=half)
    parts = np.concatenate([a.values["out"], b.values["out"]])
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
