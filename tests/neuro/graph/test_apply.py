"""Linear nodes of every kind, against torch's own modules and against their own synapses."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from graphs import DT
from hypothesis import given, strategies as st
from layer_cases import random_layer, trace_layer
from torch import Tensor, nn

from neuro.graph import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    Input,
    Sparse,
    Upsample,
)
from neuro.graph.connections import apply_connection, get_bias, get_weight
from neuro.graph.sparse import to_dense, write_out_synapses
from neuro.neurons import LIF
from neuro.nn.trace import TraceError


@given(seed=st.integers(0, 9999))
def test_a_traced_layer_has_the_shape_and_the_values_of_torch(seed: int) -> None:
    module, shape = random_layer(seed)
    x = torch.rand(3, *shape, dtype=torch.float64)
    node, graph = trace_layer(module, shape)
    y: Tensor = module(x)
    assert graph.shapes["layer"] == tuple(y.shape[1:])
    ours = node.apply(x, get_weight(node, x.dtype), get_bias(node, x.dtype))
    torch.testing.assert_close(ours, y, rtol=0, atol=0)


@given(seed=st.integers(0, 9999))
def test_written_out_it_is_the_same_map(seed: int) -> None:
    module, shape = random_layer(seed)
    node, _ = trace_layer(module, shape)
    listed = write_out_synapses(node, shape)
    x = torch.rand(3, *shape, dtype=torch.float64)
    y = apply_connection(node, x).flatten(1)
    matrix = torch.tensor(to_dense(listed).weight, dtype=x.dtype)
    torch.testing.assert_close(x.flatten(1) @ matrix.T, y)
    assert listed.weight.dtype == getattr(node, "weight", np.zeros(0, np.float32)).dtype


def test_written_out_weights_of_zero_are_synapses_and_padding_is_none() -> None:
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 1, 1] = 2
    listed = write_out_synapses(Conv2d(weight=weight, padding=(1, 1)), (1, 2, 2))
    assert np.diff(listed.indptr).tolist() == [4, 4, 4, 4]
    assert listed.weight[listed.source == listed.indices].tolist() == [2, 2, 2, 2]
    assert listed.weight.sum() == 8


def test_synapses_written_out_are_themselves() -> None:
    rng = np.random.default_rng(0)
    node = Sparse.from_coo(
        rng.integers(0, 5, 9), rng.integers(0, 4, 9), rng.normal(size=9), shape=(4, 5)
    )
    np.testing.assert_allclose(
        to_dense(write_out_synapses(node, (5,))).weight, to_dense(node).weight, atol=1e-15
    )


@pytest.mark.parametrize(
    ("module", "shape", "said"),
    [
        (nn.ConvTranspose2d(4, 2, 2, groups=2), (4, 3, 3), "ConvTranspose2d with groups or"),
        (nn.ConvTranspose2d(4, 2, 2, dilation=2), (4, 3, 3), "use Upsample and a Conv2d"),
        (nn.Conv1d(4, 2, 2, padding="same"), (4, 9), "Conv1d padding must be numbers"),
        (nn.Upsample(scale_factor=1.5), (4, 3, 3), "nearest, by a whole scale_factor"),
        (nn.Upsample(size=(4, 4)), (4, 3, 3), "nearest, by a whole scale_factor"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (4, 3, 3), "must be nearest"),
    ],
)
def test_a_layer_that_no_node_holds_is_refused(
    module: nn.Module, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(TraceError, match=f"layer: .*{said}"):
        trace_layer(module, shape)


def test_every_kind_runs_on_the_clock() -> None:
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(2, 6)),
        "line": Conv1d(weight=rng.normal(size=(3, 2, 2)), stride=2),
        "flat": Flatten(),
        "cells": LIF(tau=0.01),
        "out": Dense(weight=rng.normal(size=(2, 9))),
        "end": LIF(tau=0.01),
    }
    ends = ["x", "line", "flat", "cells", "out", "end"]
    edges = tuple(Edge(a, b) for a, b in pairwise(ends))
    assert Graph(nodes=nodes, edges=edges, dt=DT).shapes["cells"] == (9,)
    pool = AvgPool2d(kernel=(2, 2), stride=(2, 2))
    nodes = {
        "x": Input(shape=(2, 2, 2)),
        "up": Upsample(scale=(2, 3)),
        "paint": ConvTranspose2d(weight=np.ones((2, 1, 3, 3)), stride=(2, 1)),
        "pool": pool,
        "cells": LIF(tau=0.01),
    }
    ends = ["x", "up", "paint", "pool", "cells"]
    edges = tuple(Edge(a, b) for a, b in pairwise(ends))
    graph = Graph(nodes=nodes, edges=edges, dt=DT)
    assert [graph.shapes[n] for n in ends[1:]] == [(2, 4, 6), (1, 9, 8), (1, 4, 4), (1, 4, 4)]
