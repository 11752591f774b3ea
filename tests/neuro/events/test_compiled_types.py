"""Kernels are compiled once, not anew for arrays that cannot be written."""

from collections import defaultdict
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from exact_laws import CLOCK, at_any_time, network, on_ticks
from graphs import joined_graph, stimulus
from numba import typeof

from neuro.base.units import Seconds
from neuro.events import Exact, Grid, simulate
from neuro.events.exact import heap_driver, run as exact_run, synapse_table, window_driver
from neuro.events.grid import kernels, run as grid_run
from neuro.graph import Dense, Edge, Graph, Input, Sparse
from neuro.neurons import LI, LIF
from neuro.spikes import Events, Times

HEAP = replace(CLOCK, driver="heap")
TYPES = defaultdict[str, set[tuple[Any, ...]]]

RNG = np.random.default_rng(0)
DENSE = Dense(weight=RNG.normal(1.0, 0.5, (4, 3)), bias=np.array([0.1, 0.2, 0.3, 0.4]))
LISTED = Sparse.from_coo(np.arange(3), np.arange(3), np.ones(3), shape=(4, 3))
LATE = replace(LISTED, delay=np.arange(3))
# Weights of one connection are the node's own, those of several or with a gain are a copy.
PLAIN = LIF(tau=0.01)
SCALED = LIF(tau=0.01, tau_syn=0.004)


def feed_forward(*connections: Dense | Sparse, cells: LIF) -> Graph:
    """Return x -> connections -> cells -> an LI."""
    names = [f"c{k}" for k in range(len(connections))]
    nodes = {"x": Input(shape=(3,)), "cells": cells, "li": LI(tau=0.01)}
    nodes |= dict(zip(names, connections, strict=True)) | {
        "read": Dense(weight=np.ones((2, 4)))
    }
    edges = [e for n in names for e in (Edge("x", n), Edge(n, "cells"))]
    edges += [Edge("cells", "read"), Edge("read", "li")]
    return Graph(nodes=nodes, edges=tuple(edges), dt=Seconds(2**-10))


GRAPHS = [
    feed_forward(*connections, cells=cells)
    for cells in (PLAIN, SCALED)
    for connections in ((DENSE,), (LISTED,), (LATE,), (DENSE, LISTED))
]


def locked(train: Events | Times) -> Events | Times:
    """Return the same spikes in arrays that cannot be written."""
    columns = [column.copy() for column in train[:4]]
    for column in columns:
        column.setflags(write=False)
    return type(train)(*columns, train.shape)


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> TYPES:
    """The types of the arguments with which kernels are called, by name of the kernel."""
    found: TYPES = defaultdict(set)

    def watch(module: ModuleType, name: str) -> None:
        real = getattr(module, name)

        def call(*args: object) -> object:
            found[name].add(tuple(typeof(a) for a in args))
            return real(*args)

        monkeypatch.setattr(module, name, call)

    watch(window_driver, "continue_run")
    watch(heap_driver, "run_to_pause")
    watch(exact_run, "sample_values")
    watch(synapse_table, "survey_groups")
    watch(grid_run, "advance_firing")
    watch(grid_run, "advance_integrator")
    watch(grid_run, "catch_up_all")
    for name in ("add_buffer", "scatter_dense", "scatter_sparse", "collect_spikes"):
        watch(kernels, name)
    return found


def test_in_continuous_time_each_kernel_is_given_arrays_of_one_type(types: TYPES) -> None:
    for clock in (CLOCK, HEAP):
        for graph in GRAPHS:
            for train in (at_any_time(0), locked(at_any_time(1)), locked(on_ticks(2))):
                record, state = simulate(graph, {"x": train}, clock)
                simulate(graph, {"x": train}, clock, state=state)
                assert record.counts["cells"].spikes > 0
    expected = ("continue_run", "run_to_pause", "sample_values", "survey_groups")
    assert {name: len(found) for name, found in types.items()} == dict.fromkeys(expected, 1)


def test_a_run_by_the_heap_that_pauses_goes_on_with_the_same_kernel(
    types: TYPES, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact_run, "WORK_PER_PAUSE", 1)
    simulate(network("delta", 0), {"x": at_any_time(0)}, Exact(driver="heap"))
    assert len(types["run_to_pause"]) == 1


def test_on_a_grid_each_kernel_is_given_arrays_of_one_type(types: TYPES) -> None:
    for graph in (*GRAPHS, network("delta", 0), joined_graph(0), joined_graph(1)):
        _, state = simulate(graph, stimulus(graph, 0), Grid())
        simulate(graph, stimulus(graph, 1), Grid(), state=state)
    expected = (
        *("add_buffer", "scatter_dense", "scatter_sparse", "collect_spikes"),
        *("advance_firing", "advance_integrator", "catch_up_all"),
    )
    assert {name: len(found) for name, found in types.items()} == dict.fromkeys(expected, 1)
