"""Dilated and grouped convolutions, from the torch layer to integers on Lava."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import same as same_graph
from graphs import stimulus
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from written_graphs import chain, wire

from lava_export import lower, reference
from lava_export.run import available, run
from neuro.base.seeds import seeded
from neuro.base.units import Seconds
from neuro.energy import count, find_chip
from neuro.energy.mapping import place
from neuro.energy.synapses import (
    compose,
    count_reached_cores,
    count_route_fan_out,
    iterate_reached_cores,
)
from neuro.events import Exact, Grid, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import (
    AvgPool2d,
    Connection,
    Conv1d,
    Conv2d,
    Flatten,
    Graph,
    GraphError,
    Input,
    Node,
)
from neuro.graph.connections import apply_connection
from neuro.graph.paths import find_gain
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import LIF
from neuro.nn import replay
from neuro.nn.layers import Spiking, Stack
from neuro.nn.trace import trace
from neuro.spikes.record import Record

SEEDS = st.integers(0, 10**6)
DT = Seconds(2**-10)


def convolution(
    rng: np.random.Generator, axes: int, groups: int, given: int
) -> Conv1d | Conv2d:
    """Return a convolution of ``given`` channels with dyadic weights, some of them zero."""
    kernel = rng.integers(1, 4, axes)
    weight = rng.integers(-3, 9, (groups * int(rng.integers(1, 3)), given // groups, *kernel))
    steps = {
        "stride": tuple(map(int, rng.integers(1, 4, axes))),
        "padding": tuple(map(int, rng.integers(0, 3, axes))),
        "dilation": tuple(map(int, rng.integers(1, 4, axes))),
    }
    bias = rng.integers(-2, 3, len(weight)) / 16
    parts = {"weight": weight / 16, "bias": bias, "groups": groups}
    if axes == 2:
        return Conv2d(**parts, **steps)
    return Conv1d(**parts, **{name: step for name, (step,) in steps.items()})


def drawn(seed: int, axes: int | None = None) -> Graph:
    """Return input -> convolution -> cells -> convolution, flat -> cells, of odd sizes."""
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 3)) if axes is None else axes
    groups = int(rng.choice([1, 2, 4]))  # 4 is depthwise
    shape = (4, *map(int, rng.integers(8, 11, axes)))
    first = convolution(rng, axes, groups, 4)
    size = first.output_shape(shape)
    assert isinstance(size, tuple)
    kernel = tuple(min(2, n) for n in size[1:])
    second = replace(
        first,
        weight=rng.integers(-3, 9, (size[0], 1, *kernel)) / 16,
        bias=None,
        stride=1 if axes == 1 else (1, 1),
        padding=1 if axes == 1 else (1, 1),
        groups=size[0],
        dilation=2 if axes == 1 else (2, 1),
    )
    nodes: dict[str, Node] = {
        "x": Input(shape=shape),
        "conv": first,
        "cells": LIF(tau=0.01, threshold=0.5, reset="hard"),
        "deep": second,
        "flat": Flatten(),
        "more": LIF(tau=0.02, threshold=0.25, reset="hard"),
    }
    return chain(dt=DT, **nodes)


def same(one: Record, other: Record) -> None:
    np.testing.assert_equal(one.spikes, other.spikes)


@pytest.mark.slow
@given(seed=SEEDS)
def test_clock_queue_and_oracle_agree_in_spikes_and_counts(seed: int) -> None:
    graph = drawn(seed)
    x = stimulus(graph, seed, ticks=8)
    record, _ = simulate(graph, x)
    same(replay(graph, x), record)
    same(replay(graph, x, torch.float32), simulate(graph, x, Grid(dtype=np.float32))[0])
    slow = simulate_slowly(graph, x)
    same(slow, record)
    implied = count(graph, record)
    for name in ("conv", "deep"):
        for each in (slow.counts[name], implied[name]):
            assert each.synaptic_events == record.counts[name].synaptic_events, name
            assert each.synaptic_events_all == record.counts[name].synaptic_events_all, name


def without_ties(graph: Graph, seed: int) -> Graph:
    """Return a graph in which no two spikes on different paths can meet by construction.

    Equal biases and weights of few digits let whole maps fire at one instant, whose rounding
    depends on the order of sums.
    """
    rng = np.random.default_rng(seed)

    def moved(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values + rng.normal(0, 0.02, values.shape)

    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if isinstance(node, Conv1d | Conv2d):
            nodes[name] = replace(node, weight=moved(node.weight), bias=moved(node.bias))
        elif isinstance(node, LIF):
            nodes[name] = replace(node, reset="soft")
    return replace(graph, nodes=nodes)


@pytest.mark.slow
@given(seed=SEEDS)
def test_continuous_time_agrees_with_its_oracle(seed: int) -> None:
    graph = without_ties(drawn(seed), seed)
    x = stimulus(graph, seed, ticks=6, samples=1)
    exact, slow = simulate(graph, x, Exact())[0], simulate_exactly_slowly(graph, x)[0]
    same(slow, exact)
    for name, counts in exact.counts.items():
        assert counts.synaptic_events == slow.counts[name].synaptic_events, name


@given(seed=SEEDS, axes=st.integers(1, 2))
def test_synapses_and_fan_out_are_those_of_unit_impulses(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    node = convolution(rng, axes, int(rng.choice([1, 2, 4])), 4)
    shape = (4, *map(int, rng.integers(8, 11, axes)))
    size = math.prod(shape)
    ones = node.with_weight(np.ones_like(node.weight), None)
    x = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    y, near = (apply_connection(n, x).flatten(1).numpy() for n in (node, ones))
    found, every = np.zeros_like(y), np.zeros_like(y)
    for j, row in enumerate(node.synapses(shape)):
        for s in row:
            found[j, s.target] += s.weight
            every[j, s.target] += 1
    np.testing.assert_array_equal(found, y)
    np.testing.assert_array_equal(every, near)
    np.testing.assert_array_equal(node.fan_out(shape).every, (near != 0).sum(1))
    np.testing.assert_array_equal(node.fan_out(shape).nonzero, (y != 0).sum(1))


@given(seed=SEEDS)
def test_a_plain_kernel_is_the_same_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    node = convolution(rng, 2, int(rng.choice([1, 2, 4])), 4)
    assert isinstance(node, Conv2d)
    plain = node.plain()
    assert (plain.dilation, plain.groups) == ((1, 1), 1)
    assert plain.weight.shape[1:] == (4, *node.window)
    assert np.count_nonzero(plain.weight) == np.count_nonzero(node.weight)
    x = torch.tensor(rng.integers(0, 2, (3, 4, 9, 10)).astype(np.float64))
    torch.testing.assert_close(
        apply_connection(plain, x), apply_connection(node, x), rtol=0, atol=0
    )


def in_a_row(seed: int, axes: int) -> tuple[Graph, Tensor, Tensor]:
    """Return up to three pools and convolutions in a row, images, and what they become."""
    rng = np.random.default_rng(seed)
    shape: tuple[int, ...] = (4, 13, 14)[: 1 + axes]
    nodes: dict[str, Node] = {"x": Input(shape=shape)}
    images = torch.tensor(rng.integers(0, 2, (3, *shape)).astype(np.float64))
    y = images
    for k in range(int(rng.integers(1, 4))):
        node: Connection = AvgPool2d(kernel=(2, 2), stride=(1, 2))
        if axes == 1 or rng.random() < 0.7:
            groups = int(rng.choice([1, shape[0]]))
            node = replace(convolution(rng, axes, groups, shape[0]), bias=None)
        made = node.output_shape(shape)
        if isinstance(made, str):
            continue
        nodes[f"n{k}"], shape, y = node, made, apply_connection(node, y)
    nodes["out"] = LIF(tau=0.01, threshold=1.0)
    return chain(dt=DT, **nodes), images, y.flatten(1)


@given(seed=SEEDS, axes=st.integers(1, 2))
def test_a_composed_chain_is_the_same_map_and_a_single_node_keeps_its_groups(
    seed: int, axes: int
) -> None:
    graph, x, y = in_a_row(seed, axes)
    (route,) = compose(graph)
    if route.kind == "conv":
        found = apply_connection(route.conv, x.reshape(3, *route.shape)).flatten(1)
    else:
        weight = torch.tensor(route.weight)
        found = x.flatten(1) * weight if route.kind == "identity" else x.flatten(1) @ weight.T
    factor = torch.tensor(find_gain(graph, "out").copy())
    torch.testing.assert_close(found, y * factor, rtol=1e-10, atol=1e-12)
    if len(route.via) == 1:
        node = graph.nodes[route.via[0]]
        if isinstance(node, Conv1d | Conv2d):
            assert (route.dilation, route.groups) in {
                (node.dilation, node.groups),
                ((1, node.dilation), node.groups),
            }
            np.testing.assert_array_equal(
                np.stack(count_route_fan_out(route)), np.stack(node.fan_out(graph.shapes["x"]))
            )


@given(seed=SEEDS, per_core=st.integers(1, 40))
def test_a_spike_goes_to_the_cores_that_hold_its_targets(seed: int, per_core: int) -> None:
    graph = drawn(seed)
    for route in compose(graph):
        assert route.kind == "conv"
        sources, size = math.prod(route.shape), graph.size(route.target)
        rows = route.conv.synapses(route.shape)
        expected = np.zeros((sources, math.ceil(size / per_core)), bool)
        for j, row in enumerate(rows):
            expected[j, [s.target // per_core for s in row]] = True
        where = np.arange(size) // per_core
        found = [x for _, x in iterate_reached_cores([route], sources, where)]
        np.testing.assert_array_equal(np.concatenate(found, 1), expected)
        count = count_reached_cores([route], sources, where)
        np.testing.assert_array_equal(count, expected.sum(1))


def test_a_depthwise_kernel_takes_a_channel_s_share_of_a_core() -> None:
    weight = np.ones((64, 1, 3, 3))
    deep = Conv2d(weight=weight, padding=(2, 2), dilation=(2, 2), groups=64)
    found = {}
    for name, node in (("deep", deep), ("plain", deep.plain())):
        nodes: dict[str, Node] = {"x": Input(shape=(64, 8, 8)), "w": node, "y": LIF(tau=0.01)}
        found[name] = place(wire("x>w w>y", nodes, dt=DT), find_chip("loihi1")).layers["y"]
    ratio = [x.use["synapse_words"] / x.per_core for x in (found["deep"], found["plain"])]
    assert ratio[1] / ratio[0] > 64 * 25 / 9 * 0.5


@settings(max_examples=10)
@given(seed=SEEDS)
def test_the_integers_are_those_of_torch_on_the_lowered_weights(seed: int) -> None:
    graph = drawn(seed)
    graph = replace(graph, nodes={**graph.nodes, "conv": _without_bias(graph)})
    program = lower(graph)
    for c in program.connections:
        node, name = graph.nodes[c.name.partition("+")[0]], c.target
        assert isinstance(node, Conv1d | Conv2d)
        assert c.kind == "conv"
        scale = program[name].scale * find_gain(graph, name)[0]
        x = np.random.default_rng(seed).integers(0, 2, (3, math.prod(c.shape)))
        kernel = torch.tensor(2 * np.rint(node.weight * scale / 2))
        images = torch.tensor(x.reshape(3, *graph.shapes[c.source]).astype(np.float64))
        y = node.apply(images, kernel)
        np.testing.assert_array_equal(
            reference.make_weighted_sum(c)(x.astype(bool)), y.flatten(1)
        )


def _without_bias(graph: Graph) -> Node:
    return replace(graph.nodes["conv"], bias=None)  # type: ignore[call-arg]


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed; make setup installs it")
@pytest.mark.parametrize("seed", range(3))
def test_the_reference_and_lava_agree_bit_for_bit(seed: int) -> None:
    graph = drawn(seed, axes=1 + (seed > 0))
    program = lower(graph)
    x = stimulus(graph, seed, ticks=8)
    one = reference.run(program, x, 8)
    assert all(len(e.tick) for e in one.spikes.values())
    same(one, run(program, x, 8))


def test_a_traced_batch_norm_is_folded_into_a_grouped_convolution() -> None:
    with seeded(0):
        conv = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        norm = nn.BatchNorm2d(8)
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    stack = Stack(conv=conv, norm=norm, cells=Spiking(LIF(tau=0.01), DT)).double().eval()
    node = trace(stack, (4, 7, 6)).nodes["conv"]
    assert isinstance(node, Conv2d)
    assert (node.dilation, node.groups, node.weight.shape) == ((2, 2), 4, (8, 1, 3, 3))
    x = torch.rand(2, 4, 7, 6, dtype=torch.float64)
    ours = node.apply(x, torch.tensor(node.weight), torch.tensor(node.bias))
    torch.testing.assert_close(ours, norm(conv(x)))


def test_a_file_keeps_dilation_and_groups(tmp_path: Path) -> None:
    for axes in (1, 2):
        graph = drawn(3, axes)
        save_graph(tmp_path / "graph.safetensors", graph)
        assert same_graph(load_graph(tmp_path / "graph.safetensors"), graph)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"weight": np.ones((3, 2, 1, 1)), "groups": 2}, r"groups 2 must be >= 1 and div"),
        ({"weight": np.ones((3, 4, 1, 1)), "groups": 0}, r"groups 0 must be >= 1"),
        ({"weight": np.ones((2, 4, 1, 1)), "groups": 2}, r"takes \(8, H, W\), got \(4, 5, 5\)"),
        ({"weight": np.ones((1, 4, 3, 3)), "dilation": (3, 1)}, r"kernel \(7, 3\) does not"),
        ({"weight": np.ones((1, 4, 3, 3)), "dilation": (0, 1)}, r"dilation \(0, 1\) and"),
    ],
)
def test_what_does_not_fit_is_refused(node: dict[str, Any], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        chain(x=Input(shape=(4, 5, 5)), w=Conv2d(**node), y=LIF(tau=0.01), dt=DT)
