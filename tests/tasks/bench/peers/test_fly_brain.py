"""The model of a fly's brain obeys its equations; all simulators run the same brain."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from one_process import measure_together, run_one

from drivers.connectome import Connectome, draw_connectome
from neuro.base.units import Ticks
from neuro.events import Exact, Grid, Recording, simulate
from neuro.graph import Input, Sparse
from neuro.spikes import Events, Times, to_times
from tasks.bench.peers import subjects_brian, subjects_neuro
from tasks.bench.peers.engine import CPP, EXACT
from tasks.bench.peers.fly_brain import FULL, SMALL, STIMULUS, brain, fly_brain, make_problem
from tasks.bench.peers.microcircuit import GRID
from tasks.bench.peers.networks import DT
from tasks.bench.peers.problem import CELLS

MS = 1e-3


START = Events(
    np.zeros(1, np.int32),
    np.full(1, 11, np.int32),
    np.zeros(1, np.int32),
    np.ones(1),
    (600, 1, 1),
)


def run_chain(*counts: float) -> Times:
    """Run neurons 0 -> 1 -> 2 ... with these synapses; the source of neuron 0 spikes once."""
    n = len(counts) + 1
    pairs = Sparse.from_coo(
        np.arange(n - 1), np.arange(1, n), np.array(counts, np.float32), shape=(n, n)
    )
    graph, _ = fly_brain(Connectome(np.arange(n), pairs), np.array([0]))
    graph = replace(graph, nodes={**graph.nodes, STIMULUS: Input(shape=(1,))})
    only = Recording(spikes=(CELLS,))
    record, _ = simulate(graph, {STIMULUS: START}, Exact(), record=only)
    return record.times[CELLS]


def find_crossing(current: float) -> float:
    """Return the time from an arrival until v reaches 7 mV [s], by bisection."""
    low, high = 0.0, 9.24 * MS  # the peak
    for _ in range(100):
        t = (low + high) / 2
        v = current / 3 * (math.exp(-t / (20 * MS)) - math.exp(-t / (5 * MS)))
        low, high = (t, high) if v < 7 else (low, t)
    return high


def test_a_spike_arrives_after_its_delay_and_each_synapse_adds_its_current() -> None:
    times = run_chain(400, 900)
    found = [times.time[times.neuron == k][0] for k in (1, 2)]
    second = to_times(START, DT).time[0] + 1.8 * MS + find_crossing(400 * 0.275)
    third = second + 1.8 * MS + find_crossing(900 * 0.275)
    np.testing.assert_allclose(found, [second, third], rtol=0, atol=1e-12)


def test_the_peak_of_one_spike_decides_whether_a_neuron_fires() -> None:
    peak = (4 ** (-1 / 3) - 4 ** (-4 / 3)) / 3  # of v over the current
    assert 161 < 7 / (0.275 * peak) < 162
    fired = [run_chain(count).neuron.tolist() for count in (161, 162, -5000)]
    assert fired == [[], [1], []]


def test_a_source_has_the_synapses_of_its_neuron() -> None:
    drawn = draw_connectome(4, 40, 156)
    graph, membranes = fly_brain(drawn, np.array([31, 2, 17]), Ticks(1))
    source, every = graph.nodes["stimulated"], graph.nodes["synapses"]
    assert isinstance(source, Sparse)
    assert isinstance(every, Sparse)
    assert (every.weight == drawn.connections.weight * np.float32(0.275)).all()
    assert every.weight.dtype == source.weight.dtype == np.float32
    for k, neuron in enumerate((31, 2, 17)):
        own = slice(source.indptr[k], source.indptr[k + 1])
        whole = slice(every.indptr[neuron], every.indptr[neuron + 1])
        assert source.indices[own].tolist() == every.indices[whole].tolist() != []
        assert source.weight[own].tolist() == every.weight[whole].tolist()
    assert [graph.into(n)[0].delay for n in ("stimulated", "synapses")] == [19, 19]
    assert membranes[CELLS].tolist() == [0.0] * 40


def test_the_input_of_a_problem_is_that_of_its_poisson_node() -> None:
    problem = make_problem((200, 40, 190), 0.5)
    assert (problem.cell.refractory, problem.cell.threshold) == (2.2e-3, 7.0)
    events = problem.inputs[STIMULUS]
    assert abs(events.value.sum() - 200 * 0.5 * 190) < 400  # 1 % come twice
    assert (events.value == 1).all()
    graph, _ = fly_brain(draw_connectome(1, 200, 40), np.arange(190))
    keep = Recording(spikes=(STIMULUS,))
    record, _ = simulate(graph, {}, Grid(), ticks=5000, record=keep)
    assert np.array_equal(record.spikes[STIMULUS].tick, events.tick)
    assert np.array_equal(record.spikes[STIMULUS].neuron, events.neuron)


@pytest.mark.nightly
def test_both_clocks_and_brian2_run_the_same_brain() -> None:
    make = partial(make_problem, SMALL, 0.1)
    found = measure_together({"Brian2": partial(subjects_brian.cython, make, target="numpy")})
    if "is not installed" in found["Brian2"].problem:
        pytest.skip(found["Brian2"].problem)
    (quick,) = brain(True)
    found |= {name: run_one(quick.subjects[name]) for name in (EXACT, GRID)}
    found["float64"] = run_one(partial(subjects_neuro.grid, partial(make, 1), dtype=np.float64))
    counts = {name: own.runs[0].counted for name, own in found.items()}
    assert counts["float64"] == counts["Brian2"] > 1000
    assert counts[GRID] == pytest.approx(counts["Brian2"], rel=0.002)
    assert counts[EXACT] == pytest.approx(counts["Brian2"], rel=0.02)


def test_the_bench_has_the_published_size_and_a_limit() -> None:
    (quick,), (full,) = brain(True), brain(False)
    assert FULL == (138_639, 15_091_983, 70)
    found = [(p.ours, p.theirs, p.target) for p in full.pairs[:2]]
    assert found == [(EXACT, ("limit",), 1.0), (EXACT, (CPP,), None)]
    assert quick.subjects["limit"](1)().cpu == pytest.approx(0.02)
