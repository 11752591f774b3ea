"""The microcircuit has the published numbers at every scale. Axes: 8 targets, 8 sources."""

import math
import tracemalloc

import numpy as np
import pytest

from neuro.base.units import Seconds, Ticks
from neuro.graph import Graph, Sparse
from neuro.graph.paths import find_bias
from neuro.neurons import LI, LIF, psc_gain
from tasks.bench.peers.potjans_diesmann import NEURONS, count_synapses, microcircuit

SIZES = {
    "L23E": 83,
    "L23I": 23,
    "L4E": 88,
    "L4I": 22,
    "L5E": 19,
    "L5I": 4,
    "L6E": 58,
    "L6I": 12,
}


@pytest.fixture(scope="module")
def small() -> Graph:
    return microcircuit(0.004, 3).graph


def synapses(graph: Graph, name: str) -> Sparse:
    node = graph.nodes[name]
    assert isinstance(node, Sparse)
    return node


def delays(node: Sparse) -> np.ndarray:
    assert node.delay is not None
    return node.delay


def below(x: float) -> float:
    """Return the share of a standard normal distribution below x."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def test_at_full_scale_neurons_and_in_degrees_are_the_published_ones() -> None:
    found = count_synapses(1.0)
    assert sum(NEURONS.values()) == 77_169
    assert sum(found.values()) == 298_880_970
    degrees = [[found.get((s, t), 0) // n for s in NEURONS] for t, n in NEURONS.items()]
    assert degrees == [
        [2199, 1079, 979, 467, 159, 0, 109, 0],
        [2990, 860, 703, 289, 380, 0, 60, 0],
        [159, 34, 1117, 794, 32, 0, 667, 0],
        [1480, 16, 1813, 953, 16, 0, 1608, 0],
        [2188, 374, 1135, 31, 420, 496, 296, 0],
        [1165, 159, 570, 12, 300, 404, 124, 0],
        [325, 38, 467, 91, 285, 21, 581, 752],
        [766, 5, 74, 2, 136, 8, 979, 459],
    ]
    # An own calculation of one of them, by the chance that a pair has no synapse.
    pairs = 1065 * 4850
    assert (1 - 1 / pairs) ** found["L5I", "L5E"] == pytest.approx(1 - 0.3726, rel=1e-6)


def test_a_smaller_network_has_fewer_neurons_and_the_same_in_degrees(small: Graph) -> None:
    assert {name: small.size(name) for name in small.firing} == SIZES
    full, found = count_synapses(1.0), count_synapses(0.004)
    assert len(found) == 55
    for (source, target), number in found.items():
        node = synapses(small, f"{source} to {target}")
        assert node.indices.size == number == round(full[source, target] * 0.004)
        assert (node.input_length, node.shape) == (SIZES[source], (SIZES[target],))
        assert (node.weight.dtype, delays(node).dtype) == (np.float32, np.uint16)
        (onward,) = small.out_of(f"{source} to {target}")
        assert onward == (f"{source} to {target}", f"current of {target}", 0)


def test_weights_have_the_published_mean_spread_and_sign(small: Graph) -> None:
    for (source, target), number in count_synapses(0.004).items():
        w = synapses(small, f"{source} to {target}").weight.astype(np.float64)
        mean = {"E": 3.512, "I": -14.048}[source[-1]]
        mean *= 2 if (source, target) == ("L4E", "L23E") else 1
        assert (w * mean > 0).all()
        if number > 10_000:
            assert w.mean() == pytest.approx(mean, rel=5 * 0.1 / number**0.5)
            assert w.std() == pytest.approx(0.1 * abs(mean), rel=5 / number**0.5)


@pytest.mark.parametrize(("name", "mean"), [("L4E to L23E", 15.0), ("L6I to L6E", 7.5)])
def test_delays_are_normal_drawn_again_below_half_a_tick_and_rounded(
    small: Graph, name: str, mean: float
) -> None:
    found = np.bincount(delays(synapses(small, name)), minlength=60)
    above = 1 - below((0.5 - mean) / (mean / 2))
    edges = np.array([below((k + 0.5 - mean) / (mean / 2)) for k in range(60)])
    expected = found.sum() * np.diff(edges) / above  # of 1, 2, ... ticks
    assert found[0] == 0
    assert (np.abs(found[1:] - expected) < 5 * np.sqrt(expected) + 5).all()


def test_a_seed_draws_these_delays_and_weights(small: Graph) -> None:
    late = synapses(small, "L4E to L23E")
    assert late.indices.size == 81_015
    assert np.bincount(delays(late))[:5].tolist() == [0, 744, 999, 1279, 1519]
    np.testing.assert_allclose(late.weight[:3], [6.8645906, 7.255201, 6.7560883], rtol=1e-6)
    other = synapses(microcircuit(0.004, 4).graph, "L4E to L23E")
    assert np.bincount(delays(other))[:5].tolist() != [0, 744, 999, 1279, 1519]


def test_cells_currents_and_the_drive_have_the_published_numbers(small: Graph) -> None:
    external = (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100)
    for name, number in zip(SIZES, external, strict=True):
        cell, current = small.nodes[name], small.nodes[f"current of {name}"]
        assert isinstance(cell, LIF)
        assert isinstance(current, LI)
        assert (cell.tau, cell.threshold, cell.refractory, cell.reset) == (
            0.01,
            15,
            0.002,
            "hard",
        )
        assert (current.tau, current.gain) == (
            0.0005,
            psc_gain(Seconds(0.0005), Seconds(0.01), small.dt),
        )
        # 8 spikes a second, each of 87.8 pA for 0.5 ms into 25 MOhm.
        drive = find_bias(small, name, [])[0] / -np.expm1(-small.dt / 0.01)
        assert drive == pytest.approx(number * 8 * 0.0005 * 87.8 * 0.04, rel=1e-12)
    assert small.dt == 1e-4


def test_membranes_start_around_7_mv() -> None:
    start = microcircuit(0.02, 5, delay=Seconds(1e-3)).membranes
    every = np.concatenate([*start.values()])
    assert list(start) == list(NEURONS)
    assert every.size == 1544
    assert every.mean() == pytest.approx(7, abs=0.6)
    assert every.std() == pytest.approx(5, abs=0.4)


@pytest.mark.parametrize(
    ("delay", "late", "ticks"), [(None, 1, 1), (1.5e-3, 0, 15), (2e-4, 3, 5)]
)
def test_one_delay_stands_on_the_edges_instead(
    delay: float | None, late: int, ticks: int
) -> None:
    given = None if delay is None else Seconds(delay)
    graph = microcircuit(0.001, 1, delay=given, late=Ticks(late)).graph
    connections = [f"{source} to {target}" for source, target in count_synapses(0.001)]
    assert {e.delay for name in connections for e in graph.into(name)} == {ticks}
    assert {e.delay for name in connections for e in graph.out_of(name)} == {0}
    assert {synapses(graph, name).delay is None for name in connections} == {delay is not None}


def test_building_takes_hardly_more_than_ten_bytes_a_synapse() -> None:
    tracemalloc.start()
    graph = microcircuit(0.02, 1).graph
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    number = sum(count_synapses(0.02).values())
    nodes = [synapses(graph, f"{s} to {t}") for s, t in count_synapses(0.02)]
    held = sum(n.indices.nbytes + n.weight.nbytes + delays(n).nbytes for n in nodes)
    assert held == 10 * number == 59_776_200
    assert held < peak < held + 10e6  # a block of synapses, or the checks of one connection


@pytest.mark.parametrize("scale", [0.0009, 1.001, math.nan])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=rf"scale must be from 0.001 to 1, got {scale}"):
        microcircuit(scale, 1)
