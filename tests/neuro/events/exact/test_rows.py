"""Each way to add a row of synapses or to sort a window gives what the plain way gives."""

from dataclasses import replace

import numpy as np
import pytest
from exact_laws import CLOCK, DT, agree, same
from hypothesis import given, strategies as st
from written_graphs import read_edges

from neuro.events import simulate
from neuro.events.exact import compile as compiler
from neuro.events.exact.compile import compile_exactly
from neuro.events.exact.delay_queue import make_buffer, sort_buffer
from neuro.events.exact.synapse_table import (
    ChainSynapses,
    GroupNodes,
    SynapseTable,
    _find_groups,
)
from neuro.graph import Connection, Dense, Graph, Input, Sparse
from neuro.neurons import LIF
from neuro.ops.jit import view_read_only
from neuro.spikes import Times
from neuro.spikes.record import Record

TICKS = 60


def recurrent(
    first: Connection, loop: Connection, tau_syn: float | None, drive: float
) -> Graph:
    """Return 4 inputs -> cells, which are connected among themselves with 2 ticks of delay."""
    size = first.weight.shape[0] if isinstance(first, Dense) else first.shape[0]  # type: ignore[attr-defined]
    return Graph(
        nodes={
            "x": Input(shape=(4,)),
            "first": replace(first, bias=np.full(size, drive)),  # type: ignore[type-var]
            "cells": LIF(tau=0.01, tau_syn=tau_syn),
            "loop": loop,
        },
        edges=read_edges("x>first first>cells cells>loop:2 loop>cells"),
        dt=DT,
    )


def run(graph: Graph, threads: int = 1) -> Record:
    rng = np.random.default_rng(1)
    time = np.sort(rng.uniform(0, 0.9 * TICKS * DT, 80))
    none, neuron = np.zeros(80, np.int32), rng.integers(0, 4, 80).astype(np.int32)
    train = Times(none, time, neuron, np.ones(80), (TICKS, 1, 4))
    return simulate(graph, {"x": train}, replace(CLOCK, threads=threads))[0]


@pytest.mark.parametrize("tau_syn", [None, 0.004], ids=["jumps", "currents"])
@pytest.mark.parametrize("drive", [0.0, 0.105])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 150])
def test_targets_side_by_side_fire_as_the_same_targets_listed(
    size: int, drive: float, tau_syn: float | None
) -> None:
    rng = np.random.default_rng(size)
    first, loop = rng.uniform(0.3, 0.9, (size, 4)), rng.normal(-0.3, 0.3, (size, size)) / size

    def listed(weight: np.ndarray) -> Sparse:
        target, source = np.indices(weight.shape).reshape(2, -1)
        return Sparse.from_coo(source, target, weight.ravel(), shape=weight.shape)

    dense = run(recurrent(Dense(weight=first), Dense(weight=loop), tau_syn, drive))
    other = recurrent(listed(first), listed(loop), tau_syn, drive)
    assert dense.counts["cells"].spikes > size // 4
    for threads in (1, 2):
        same(dense, run(other, threads))


@pytest.mark.parametrize("tau_syn", [None, 0.004], ids=["jumps", "currents"])
@pytest.mark.parametrize("drive", [0.0, 0.105])
def test_weights_that_are_alike_add_up_as_if_they_were_not(
    monkeypatch: pytest.MonkeyPatch, drive: float, tau_syn: float | None
) -> None:
    rng = np.random.default_rng(7)
    source, target = rng.integers(0, 40, 400), rng.integers(0, 40, 400)
    mild = 1.0 if tau_syn is None else 0.25
    weight = mild * np.where(np.arange(40) < 32, 0.125, -0.625)[source]
    loop = Sparse.from_coo(source, target, weight, shape=(40, 40))
    graph = recurrent(Dense(weight=np.full((40, 4), 0.75 * mild)), loop, tau_syn, drive)
    one = run(graph)
    assert one.counts["cells"].spikes > 50
    common = compile_exactly(graph, 1).components[0].table.common_weight
    assert len(set(common.tolist())) == 3
    assert not np.isnan(common).any()
    assemble = compiler.assemble_table

    def unaware(
        parts: list[ChainSynapses], sources: int, edges: np.ndarray, rank: np.ndarray
    ) -> tuple[SynapseTable, GroupNodes]:
        table, nodes = assemble(parts, sources, edges, rank)
        common = view_read_only(np.full(table.common_weight.size, np.nan))
        return table._replace(common_weight=common), nodes  # of one type: compiled once

    monkeypatch.setattr(compiler, "assemble_table", unaware)
    compile_exactly.cache_clear()
    same(one, run(graph))
    compile_exactly.cache_clear()


def test_a_row_has_a_common_weight_only_if_all_weights_are_the_same() -> None:
    weight = np.array([[1.0, 2.0, 0.0], [1.0, 2.5, 0.0]])
    graph = recurrent(
        Dense(weight=np.pad(weight, ((0, 0), (0, 1)))), Dense(weight=np.eye(2)), None, 0.0
    )
    component = compile_exactly(graph, 2).components[0]
    common = component.table.common_weight[component.table.group_indptr[2] :]
    np.testing.assert_array_equal(common, [1.0, np.nan, 0.0, 0.0])


@pytest.mark.slow
@given(
    seed=st.integers(0, 10**6),
    longest=st.sampled_from([0, 1, 7, 300, 2**16 - 1, 2**16, 2**20]),
    narrow=st.booleans(),
)
def test_synapses_are_grouped_by_source_and_delay_in_order_of_target(
    seed: int, longest: int, narrow: bool
) -> None:
    rng = np.random.default_rng(seed)
    size, most = int(rng.integers(0, 60)), np.iinfo(np.uint16).max if narrow else 2**20
    source, target = rng.integers(0, 5, size), rng.integers(0, 9, size)
    delay = np.minimum(rng.integers(0, longest + 1, size), most)
    weight = rng.permutation(size) + 0.5
    node = Sparse.from_coo(source, target, weight, shape=(9, 5), delay=delay)
    assert node.delay is not None
    node = replace(node, delay=node.delay.astype(np.uint16 if narrow else np.int32))
    groups = _find_groups(node)
    lengths = np.diff(np.append(groups.start, size))
    rows = zip(groups.source.repeat(lengths), groups.delay.repeat(lengths), strict=True)
    columns = np.arange(size), node.indices, np.asarray(node.delay), node.source
    places = np.lexsort(columns)
    assert list(rows) == [(columns[3][k], columns[2][k]) for k in places]
    assert len({*zip(groups.source, groups.delay, strict=True)}) == groups.source.size
    np.testing.assert_array_equal(groups.target, node.indices[places])
    np.testing.assert_array_equal(groups.weight, node.weight[places])


def test_rows_without_delays_are_not_copied() -> None:
    source, target = np.array([0, 2, 2]), np.array([1, 0, 1])
    node = Sparse.from_coo(source, target, np.array([0.5, 0.25, 2.0]), shape=(3, 3))
    groups = _find_groups(node)
    assert groups.target is node.indices
    assert groups.weight is node.weight
    np.testing.assert_array_equal(groups.source, [0, 2])
    np.testing.assert_array_equal(groups.start, [0, 1])


def test_more_spikes_than_there_was_room_for_are_sent_once_each() -> None:
    size = 3000  # in one instant, with two groups each: room for 1,024 of either at first
    source = np.arange(size).repeat(2)
    delay = np.tile([0, 3], size).astype(np.int32)
    loop = Sparse.from_coo(
        source, (source + 1) % size, np.full(2 * size, 0.4), shape=(size, size), delay=delay
    )
    graph = recurrent(Dense(weight=np.full((size, 4), 1.0)), loop, None, 0.0)
    none = np.zeros(1, np.int32)
    train = {"x": Times(none, np.array([0.01]), none, np.ones(1), (TICKS, 1, 4))}
    heap, _ = simulate(graph, train, replace(CLOCK, driver="heap"))
    assert heap.counts["cells"].spikes == size
    assert heap.counts["loop"].synaptic_events == 2 * size
    for threads in (1, 2, 5):
        record, _ = simulate(graph, train, replace(CLOCK, threads=threads))
        agree(record, heap)
        assert record.counts["loop"].synaptic_events == 2 * size


@given(seed=st.integers(0, 10**6), size=st.integers(0, 300), ways=st.integers(1, 400))
def test_a_window_is_sorted_by_time_then_number(seed: int, size: int, ways: int) -> None:
    rng = np.random.default_rng(seed)
    buffer = make_buffer(size + seed % 3)
    moments = rng.uniform(0, 10.0 ** rng.integers(-300, 3), ways)  # few of them: crowds
    buffer.time[:size] = rng.choice(moments, size)
    buffer.key[:size] = rng.integers(0, 50, size)
    buffer.value[:size] = np.arange(size)
    time, key = buffer.time[:size].copy(), buffer.key[:size].copy()
    sort_buffer(buffer, size)
    order = np.lexsort((key, time))
    np.testing.assert_array_equal(buffer.time[:size], time[order])
    np.testing.assert_array_equal(buffer.key[:size], key[order])
    place = buffer.value[:size].astype(np.int64)
    np.testing.assert_array_equal(time[place], buffer.time[:size])
    np.testing.assert_array_equal(key[place], buffer.key[:size])
    assert sorted(place) == list(range(size))
