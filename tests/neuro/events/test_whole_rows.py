"""A Sparse each of whose sources reaches every target after one delay, on both clocks."""

import numpy as np
import pytest
from written_graphs import wire

from neuro.events import Clock, Exact, Grid, simulate
from neuro.events.exact.compile import compile_exactly
from neuro.graph import Concat, Graph, Input, Sparse
from neuro.graph.sparse import reaches_all
from neuro.neurons import LI, LIF, Neuron
from neuro.spikes import to_events

SOURCE, TARGET = np.indices((4, 3)).reshape(2, -1)
LATE = np.array([0, 7, 2, 7])[SOURCE]
# Multiples of 1/64, whose sums are exact in any order.
WEIGHT = np.array([20, 31, -9, 0, 40, 17, 26, -7, 0, 52, 14, 33]) / 64


def whole(late: np.ndarray | None = LATE, source: np.ndarray = SOURCE) -> Sparse:
    return Sparse.from_coo(source, TARGET, WEIGHT, shape=(3, 4), delay=late)


def split(late: np.ndarray | None = LATE) -> Sparse:
    """Return the same node with its last synapse in two halves, so that a row is too long."""
    source, target = np.append(SOURCE, 3), np.append(TARGET, 2)
    weight = np.append(WEIGHT[:-1], [WEIGHT[-1] / 2] * 2)
    late = None if late is None else np.append(late, late[-1])
    return Sparse.from_coo(source, target, weight, shape=(3, 4), delay=late)


def test_rows_are_whole_with_every_target_once_and_one_delay_by_source() -> None:
    assert reaches_all(whole())
    assert reaches_all(whole(None))
    assert not reaches_all(whole(LATE - (np.arange(12) == 11)))
    assert not reaches_all(split())
    assert not reaches_all(whole(None, np.array([*SOURCE[:9], 0, 0, 0])))
    fewer = Sparse.from_coo(SOURCE[:9], TARGET[:9], WEIGHT[:9], shape=(3, 4))
    assert not reaches_all(fewer)


def network(node: Sparse, cell: Neuron) -> Graph:
    """Return 3 + 1 inputs -> node -> cells."""
    nodes = {"a": Input(shape=(3,)), "b": Input(shape=(1,)), "both": Concat()}
    nodes |= {"node": node, "cells": cell}
    return wire("a>both b>both both>node node>cells:1", nodes)


@pytest.mark.parametrize("late", [None, LATE])
@pytest.mark.parametrize("clock", [Grid(), Exact()])
@pytest.mark.parametrize("cell", [LI(tau=0.02), LIF(tau=0.02, reset="hard")])
def test_whole_rows_compute_what_listed_synapses_compute(
    clock: Clock, late: np.ndarray | None, cell: Neuron
) -> None:
    rng = np.random.default_rng(0)
    draws = {name: rng.random((40, 2, size)) < 0.3 for name, size in (("a", 3), ("b", 1))}
    x = {name: to_events(drawn.astype(np.float32)) for name, drawn in draws.items()}
    ours, theirs = (
        simulate(network(node, cell), x, clock)[0] for node in (whole(late), split(late))
    )
    if isinstance(cell, LI):
        assert np.array_equal(ours.values["cells"], theirs.values["cells"])
        assert len(np.unique(ours.values["cells"])) > 100
    else:
        for one, other in zip(ours.spikes["cells"], theirs.spikes["cells"], strict=True):
            assert np.array_equal(one, other)
        assert len(ours.spikes["cells"].tick) > 20
    ours, theirs = ours.counts["node"], theirs.counts["node"]
    extra = theirs.synaptic_events_all - ours.synaptic_events_all
    assert extra == theirs.synaptic_events - ours.synaptic_events > 0
    assert ours.synaptic_events < ours.synaptic_events_all


def test_a_spike_reaches_its_targets_in_one_tick_alone() -> None:
    graph = wire(
        "x>node node>read", {"x": Input(shape=(4,)), "node": whole(), "read": LI(tau=1.0)}
    )
    raster = np.zeros((12, 1, 4), np.float32)
    raster[1, 0, 1] = 1
    record = simulate(graph, {"x": to_events(raster)})[0]
    assert record.counts["read"].updates == 3
    assert record.counts["node"].synaptic_events == 2
    assert not record.values["read"][:8].any()
    assert record.values["read"][8, 0].nonzero()[0].tolist() == [1, 2]


def test_the_exact_clock_lists_no_targets_of_whole_rows() -> None:
    (found,) = compile_exactly(network(whole(), LIF(tau=0.02)), 1).components
    assert found.table.target.size == 0
    assert found.table.delay.tolist() == [1, 8, 3, 8]
