"""Cores on the mesh: by hand, by trying all, and beside SciPy's quadratic assignment."""

from itertools import permutations

import numpy as np
import pytest
from energy_cases import record_of, with_limit
from hypothesis import given, settings, strategies as st
from written_graphs import wire

from neuro.energy import Chip, estimate, find_chip
from neuro.energy.mesh import CoreFlows, choose_slots, gather_flows
from neuro.energy.operations import count_workload
from neuro.energy.traffic import count_sent, locate_cores
from neuro.graph import Dense, Input
from neuro.neurons import LIF

TILES = with_limit(find_chip("loihi1"), "tile_cores", 1.0)  # a core a tile


def flows_of(matrix: np.ndarray, entering: np.ndarray | None = None) -> CoreFlows:
    """Return the flows of a symmetric matrix of messages."""
    row, column = np.nonzero(matrix)
    return CoreFlows(
        indptr=np.searchsorted(row, np.arange(len(matrix) + 1)),
        indices=column,
        messages=matrix[row, column].astype(float),
        entering=np.zeros(len(matrix)) if entering is None else entering.astype(float),
    )


def draw_flows(rng: np.random.Generator, cores: int, share: float) -> np.ndarray:
    some = np.triu(
        rng.integers(1, 100, (cores, cores)) * (rng.random((cores, cores)) < share), 1
    )
    return np.asarray(some + some.T)


def measure_distances(slots: int, chip: Chip) -> np.ndarray:
    energy = chip.energy
    step = np.array([energy.hop_x.value, energy.hop_y.value, energy.crossing.value])
    places = locate_cores(np.arange(slots), chip) * step
    return np.asarray(np.abs(places[:, None] - places).sum(-1))


def price_slots(flows: CoreFlows, slots: np.ndarray, chip: Chip) -> float:
    apart = measure_distances(int(slots.max()) + 1, chip)
    row = np.repeat(np.arange(len(slots)), np.diff(flows.indptr))
    between = apart[slots[row], slots[flows.indices]]
    return float(flows.messages @ between / 2 + flows.entering @ apart[slots, 0])


def test_the_price_of_slots_is_the_hop_energy_of_the_estimate() -> None:
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(5,)),
        "y": Input(shape=(4,)),
        "z": Dense(weight=rng.integers(0, 2, (8, 4)).astype(float)),
        "w": Dense(weight=rng.integers(0, 2, (8, 5)).astype(float)),
        "a": LIF(tau=0.01),
        "v": Dense(weight=rng.integers(0, 2, (6, 8)).astype(float)),
        "b": LIF(tau=0.01),
        "u": Dense(weight=rng.integers(0, 2, (8, 6)).astype(float)),
    }
    graph = wire("x>w w>a y>z z>a a>v v>b b>u u>a:1", nodes)
    record = record_of(
        x=rng.integers(0, 2, (9, 1, 5)),
        y=rng.integers(0, 2, (9, 1, 4)),
        a=rng.integers(0, 2, (9, 1, 8)),
        b=rng.integers(0, 2, (9, 1, 6)),
    )
    chip = with_limit(with_limit(TILES, "neurons", 2.0), "cores", 5.0)
    found = estimate(graph, record, chip)
    work = count_workload(graph, record, [chip])
    sent = count_sent(work.by_neuron, work.composed, found.placement)
    flows = gather_flows(sent, graph.inputs, 7)
    hops = sum(parts["hop"].nominal for parts in found.parts.values())
    assert hops > 71.6e-12  # some cross to the second chip
    assert price_slots(flows, np.arange(7), chip) == pytest.approx(hops, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_of_few_cores_the_slots_are_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip = with_limit(TILES, "cores", 4.0)  # 6 cores on two chips, two slots stay empty
    matrix, entering = draw_flows(rng, 6, 0.6), rng.integers(0, 60, 6)
    flows = flows_of(matrix, entering)
    chosen = choose_slots(flows, np.arange(6), 8, chip)
    apart = measure_distances(8, chip)
    every = np.array(list(permutations(range(8), 6)))
    costs = (matrix * apart[every[:, :, None], every[:, None, :]]).sum((1, 2)) / 2
    costs += apart[every, 0] @ entering
    assert price_slots(flows, chosen, chip) == pytest.approx(costs.min(), rel=1e-12)


@pytest.mark.slow
@given(st.integers(0, 2**31), st.integers(1, 12), st.floats(0.0, 1.0))
@settings(max_examples=20)
def test_no_exchange_of_two_slots_helps_and_none_is_taken_twice(
    seed: int, cores: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    slots = cores + int(rng.integers(0, 4))
    flows = flows_of(draw_flows(rng, cores, share), rng.integers(0, 50, cores))
    begin = rng.permutation(slots)[:cores]
    chosen = choose_slots(flows, begin, slots, TILES, seed)
    assert len(set(chosen.tolist())) == cores
    assert set(chosen.tolist()) <= set(range(slots))
    np.testing.assert_array_equal(choose_slots(flows, begin, slots, TILES, seed), chosen)
    cost = price_slots(flows, chosen, TILES)
    assert cost <= price_slots(flows, begin, TILES)
    for a in range(slots):
        for b in range(a):
            swapped = np.where(chosen == a, b, np.where(chosen == b, a, chosen))
            assert price_slots(flows, swapped, TILES) >= cost * (1 - 1e-9)


def test_what_talks_together_comes_to_one_chip() -> None:
    # Two groups of four, dealt in turn over two chips; one weak pair holds them together.
    chip = with_limit(TILES, "cores", 4.0)
    group = np.arange(8) % 2
    matrix = 10 * (group[:, None] == group) * (1 - np.eye(8, dtype=int))
    matrix[0, 1] = matrix[1, 0] = 1
    chosen = choose_slots(flows_of(matrix), np.arange(8), 8, chip)
    by_chip = [set((chosen[group == g] // 4).tolist()) for g in (0, 1)]
    assert sorted(by_chip, key=min) == [{0}, {1}]


def test_the_slots_are_as_good_as_those_of_scipy() -> None:
    from scipy.optimize import quadratic_assignment

    matrix = draw_flows(np.random.default_rng(1), 24, 0.4)
    apart = measure_distances(24, TILES) * 1e12
    theirs = [
        quadratic_assignment(matrix, apart, method, {"rng": np.random.default_rng(0)}).fun / 2
        for method in ("faq", "2opt")
    ]
    flows = flows_of(matrix)
    ours = price_slots(flows, choose_slots(flows, np.arange(24), 24, TILES), TILES) * 1e12
    assert ours <= min(theirs) * (1 + 1e-9)
