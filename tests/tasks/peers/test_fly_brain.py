"""The model of a fly's brain obeys its equations; all simulators run the same brain."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from one_process import measure_together, run_one

from drivers.connectome import Connectome, draw_connectome
from neuro.events import Exact, Recording, simulate
from neuro.graph import Input, Sparse
from neuro.spikes import Events, Times
from neuro.units import Ticks
from tasks.peers import subjects_brian, subjects_neuro
from tasks.peers.engine import CPP, EXACT
from tasks.peers.fly_brain import FULL, SMALL, STIMULUS, brain, fly_brain, make_problem
from tasks.peers.problem import CELLS

MS = 1e-3
ALONE = (250, 0, 200)


def run_chain(counts: tuple[float, ...], ticks: list[int]) -> Times:
    """Run neurons 0 -> 1 -> 2 ... with these synapses; neuron 0 has input at ``ticks``."""
    n, k = len(counts) + 1, len(ticks)
    pairs = Sparse.from_coo(
        np.arange(n - 1), np.arange(1, n), np.array(counts, np.float32), shape=(n, n)
    )
    graph, _ = fly_brain(Connectome(np.arange(n), pairs), np.array([0]))
    graph = replace(graph, nodes={**graph.nodes, STIMULUS: Input(shape=(1,))})
    zeros = np.zeros(k, np.int32)
    events = Events(zeros, np.array(ticks, np.int32), zeros, np.ones(k), (600, 1, 1))
    record, _ = simulate(graph, {STIMULUS: events}, Exact(), record=Recording(spikes=(CELLS,)))
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
    times = run_chain((400, 900), [11])
    first, *others = (times.time[times.neuron == k][0] for k in range(3))
    second = first + 1.8 * MS + find_crossing(400 * 0.275)
    third = second + 1.8 * MS + find_crossing(900 * 0.275)
    np.testing.assert_allclose(others, [second, third], rtol=0, atol=1e-12)


def test_the_peak_of_one_spike_decides_whether_a_neuron_fires() -> None:
    peak = (4 ** (-1 / 3) - 4 ** (-4 / 3)) / 3  # of v over the current
    assert 161 < 7 / (0.275 * peak) < 162
    fired = [run_chain((count,), [11]).neuron.tolist() for count in (161, 162, -5000)]
    assert fired == [[0], [0, 1], [0]]


def test_stimulated_neurons_receive_a_poisson_input() -> None:
    drawn = draw_connectome(5, 40, 90)
    graph, membranes = fly_brain(drawn, np.array([31, 2, 17]), Ticks(1))
    kick, synapses = graph.nodes["kick"], graph.nodes["synapses"]
    assert isinstance(kick, Sparse)
    assert isinstance(synapses, Sparse)
    assert (kick.indices.tolist(), kick.weight.tolist()) == ([31, 2, 17], [68.75] * 3)
    assert [e.delay for e in graph.into("synapses")] == [19]
    assert (synapses.weight == drawn.connections.weight * np.float32(0.275)).all()
    assert synapses.weight.dtype == np.float32
    assert membranes[CELLS].tolist() == [0.0] * 40


def test_the_input_of_a_problem_is_that_of_its_poisson_node() -> None:
    problem = make_problem((30, 40, 12), 0.5)
    assert abs(problem.inputs[STIMULUS].value.sum() - 200 * 0.5 * 12) < 4 * math.sqrt(1200)
    graph, _ = fly_brain(draw_connectome(1, 30, 40), np.arange(12))
    itself, _ = simulate(graph, {}, Exact(), ticks=5000)
    drawn, _ = simulate(problem.graph, problem.inputs, Exact())
    assert np.array_equal(itself.times[CELLS].time, drawn.times[CELLS].time)
    assert np.array_equal(itself.times[CELLS].neuron, drawn.times[CELLS].neuron)


def count_alone(dead: int, late: int = 0) -> int:
    """Count the spikes of stimulated neurons without synapses.

    dead: ticks for which a spike holds them. late: ticks from the input to the spike.
    """
    events, last, spikes = make_problem(ALONE, 0.1).inputs[STIMULUS], np.full(200, -1000), 0
    for tick, neuron in zip(events.tick, events.neuron, strict=True):
        if tick - last[neuron] > dead and tick + late < 1000:
            last[neuron], spikes = tick, spikes + 1
    return spikes


def test_both_clocks_and_brian2_run_the_same_brain() -> None:
    """They differ in the tick from which input counts after a refractory period."""
    brian = partial(subjects_brian.cython, target="numpy")
    grid = partial(subjects_neuro.grid, dtype=np.float32)
    alone, small = partial(make_problem, ALONE, 0.1), partial(make_problem, SMALL, 0.1)
    found = measure_together({"alone": partial(brian, alone), "small": partial(brian, small)})
    if "is not installed" in found["small"].problem:
        pytest.skip(found["small"].problem)
    for subject, make in (("alone", alone), ("small", small)):
        found[f"exact {subject}"] = run_one(partial(subjects_neuro.exact, make))
        found[f"grid {subject}"] = run_one(partial(grid, partial(make, 1)))
    counts = {name: own.runs[0].counted for name, own in found.items()}
    assert counts["exact alone"] == count_alone(21)
    assert counts["grid alone"] == count_alone(22)
    assert counts["alone"] == count_alone(23, late=1)
    assert counts["exact small"] > counts["exact alone"] + 400
    for name in ("grid small", "small"):
        assert counts[name] == pytest.approx(counts["exact small"], rel=0.05)


def test_the_bench_has_the_published_size_and_a_limit() -> None:
    (quick,), (full,) = brain(True), brain(False)
    assert FULL == (138_639, 15_091_983, 105)
    found = [(p.ours, p.theirs, p.target) for p in full.pairs[:2]]
    assert found == [(EXACT, ("limit",), 1.0), (EXACT, (CPP,), None)]
    assert quick.subjects["limit"](1)().cpu == pytest.approx(0.02)
