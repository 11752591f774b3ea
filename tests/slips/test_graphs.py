"""Graphs, nodes and edges, as a new user may write them by mistake."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from written_slips import (
    GRAPH,
    Slip,
    call,
    graph,
    net,
    require_told,
)

from neuro import (
    ALIF,
    LIF,
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    GraphError,
    Input,
    Outer,
    Softmax,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.graph.random import fixed_indegree, fixed_probability
from neuro.io.graph_file import load_graph, save_graph
from neuro.nn.trace import trace
from neuro.units import Seconds, Ticks

SLIPS: dict[str, Slip] = {
    "save_graph(swapped)": Slip(
        call(save_graph, GRAPH, "net.safetensors"),
        TypeError,
        "graph must be a Graph, got 'net.safetensors'",
        "trace(net, ",
    ),
    "fixed_indegree(1.5)": Slip(
        call(fixed_indegree, 3, 3, 1.5, 1.0, np.random.default_rng(0)),
        TypeError,
        "indegree must be a whole number, got 1.5",
        "number of inputs",
    ),
    "fixed_probability(3.5)": Slip(
        call(fixed_probability, 3, 3.5, 0.5, 1.0, np.random.default_rng(0)),
        TypeError,
        "outputs must be a whole number, got 3.5",
        "neurons",
    ),
    "from_coo(2-D)": Slip(
        call(Sparse.from_coo, [[0]], [[0]], [[1.0]], shape=(1, 1)),
        ValueError,
        "one entry a synapse in every column, got shapes {'source': (1, 1)",
        "",
    ),
    "from_coo(shape=1)": Slip(
        call(Sparse.from_coo, [0], [0], [1.0], shape=1),
        ValueError,
        "shape must be (out, in), got (1,)",
        "",
    ),
    "Dense(0 outputs)": Slip(
        call(graph, nodes={**GRAPH.nodes, "fc": Dense(weight=np.ones((0, 3)))}),
        GraphError,
        "fc: its output must be >= 1, got (0,)",
        "",
    ),
    "Graph(trained)": Slip(
        call(
            graph,
            nodes={
                **GRAPH.nodes,
                "out": LIF(tau=0.02, threshold=torch.ones(2, requires_grad=True)),
            },
        ),
        GraphError,
        "out.threshold: is a tensor that is trained, and a Graph never changes",
        "tensor.detach()",
    ),
    "Graph(dt=True)": Slip(call(graph, dt=True), TypeError, "got True", "1 ms is 1e-3"),
    "Edge(delay=True)": Slip(
        call(graph, edges=(Edge("input", "fc"), Edge("fc", "out", True))),
        GraphError,
        "delay True is not a whole number of ticks",
        "neuro.units.ticks",
    ),
    "node 1": Slip(
        call(graph, nodes={**GRAPH.nodes, 1: LIF(tau=0.02)}),
        TypeError,
        "the name of a node must be a word, got 1",
        '"cells"',
    ),
    "edge of numbers": Slip(
        call(graph, edges=((0, 1),)),
        TypeError,
        "an end of an edge must be the name of a node, a word, got 0",
        'Edge("input"',
    ),
    "Dense(complex)": Slip(
        call(Dense, weight=np.ones((2, 3)) * 1j),
        TypeError,
        "Dense.weight must be real numbers, got a NumPy array of shape (2, 3), complex128",
        "floats",
    ),
    "Dense(complex bias)": Slip(
        call(Dense, weight=np.ones((2, 3)), bias=torch.ones(2) * 1j),
        TypeError,
        "Dense.bias must be real numbers",
        "floats",
    ),
    "Conv2d(words)": Slip(
        call(Conv2d, weight=np.full((1, 1, 1, 1), "1")),
        TypeError,
        "Conv2d.weight must be real numbers",
        "floats",
    ),
    "Dense(None)": Slip(call(Dense, weight=None), TypeError, "Dense.weight", "got None"),
    "Dense(2^24 + 1)": Slip(
        call(Dense, weight=np.array([[1, 2**24 + 1]])),
        ValueError,
        "Dense.weight: 16777217 is no float32",
        "give float64",
    ),
    "Dense(in, out)": Slip(
        call(graph, nodes={**GRAPH.nodes, "fc": Dense(weight=np.ones((3, 2)))}),
        GraphError,
        "fc: Dense takes (2,), got (3,); its weight is (out, in)",
        "give weight.T",
    ),
    "Conv2d(in, out)": Slip(
        call(
            graph,
            nodes={
                **GRAPH.nodes,
                "input": Input(shape=(3, 5, 5)),
                "fc": Conv2d(weight=np.ones((3, 2, 1, 1))),
            },
        ),
        GraphError,
        "Conv2d takes (2, H, W), got (3, 5, 5); its weight is (C_out, C_in, kH, kW)",
        "weight.swapaxes(0, 1)",
    ),
    "Sparse(indices=0.5)": Slip(
        call(
            Sparse,
            indptr=[0, 1],
            indices=np.array([0.5]),
            weight=np.ones(1),
            shape=(1,),
        ),
        ValueError,
        "Sparse.indices: 0.5 is no int32",
        "whole numbers",
    ),
    "Sparse(delay=NaN)": Slip(
        call(
            Sparse.from_coo,
            np.zeros(1),
            np.zeros(1, int),
            np.ones(1),
            shape=(1, 1),
            delay=np.array([math.nan]),
        ),
        ValueError,
        "Sparse.from_coo: delay: nan is no int32",
        "whole numbers",
    ),
    "Sparse(2^31)": Slip(
        call(Sparse, indptr=[0, 1], indices=[2**31], weight=[1.0], shape=1),
        ValueError,
        "Sparse.indices: 2147483648 is no int32",
        "of its range",
    ),
    "Sparse(shape=2.5)": Slip(
        call(Sparse, indptr=[0, 0], indices=[], weight=[], shape=2.5),
        TypeError,
        "Sparse.shape must be whole numbers, one an axis, got 2.5",
        "(1, 28, 28)",
    ),
    "Unflatten(2.5)": Slip(
        call(Unflatten, shape=(2.5, 2)),
        TypeError,
        "Unflatten.shape must be whole numbers",
        "(1, 28, 28)",
    ),
    "Conv1d(stride=2.0)": Slip(
        call(Conv1d, weight=np.ones((1, 1, 2)), stride=2.0),
        TypeError,
        "Conv1d.stride must be a whole number, got 2.0",
        "1 is usual",
    ),
    "Conv2d(groups=True)": Slip(
        call(Conv2d, weight=np.ones((1, 1, 2, 2)), groups=True),
        TypeError,
        "Conv2d.groups",
        "got True",
    ),
    "Conv2d(stride=True)": Slip(
        call(Conv2d, weight=np.ones((1, 1, 2, 2)), stride=True),
        TypeError,
        "Conv2d.stride must be a whole number, or two",
        "got True",
    ),
    "Input(shape=True)": Slip(
        call(Input, shape=(True, 2)), TypeError, "Input.shape", "a tuple"
    ),
    "Softmax(axis=0.5)": Slip(call(Softmax, axis=0.5), TypeError, "got 0.5", "0 is the first"),
    "Outer(first=1.5)": Slip(call(Outer, first=1.5), TypeError, "got 1.5", "one factor"),
    "Graph(dt='1 ms')": Slip(call(graph, dt="1 ms"), TypeError, "got '1 ms'", "1 ms is 1e-3"),
    "node nn.Linear": Slip(
        call(graph, nodes={**GRAPH.nodes, "fc": nn.Linear(3, 2)}),
        TypeError,
        "node 'fc' must be a node of neuro.graph or a neuron, got a Linear",
        "trace(net, input_shape) makes a Graph",
    ),
    "node LIF": Slip(
        call(graph, nodes={**GRAPH.nodes, "out": LIF}),
        TypeError,
        "got the class LIF",
        "LIF(tau=0.02)",
    ),
    "nodes a list": Slip(
        call(graph, nodes=[Input(shape=(3,))]), TypeError, "a list", '{"input": '
    ),
    "edge a word": Slip(
        call(graph, edges=("input -> fc",)),
        TypeError,
        "got 'input -> fc'",
        'Edge("input", "fc")',
    ),
    "one Edge": Slip(
        call(graph, edges=Edge("input", "fc")),
        TypeError,
        "edges must be a tuple of Edges, got an Edge",
        '(Edge("input", "fc"), ',
    ),
    "Input(shape=2.5)": Slip(call(Input, shape=2.5), TypeError, "got 2.5", "(1, 28, 28)"),
    "Conv2d(stride='2')": Slip(
        call(Conv2d, weight=np.ones((1, 1, 2, 2)), stride="2"),
        TypeError,
        "Conv2d.stride must be a whole number, or two: (height, width), got '2'",
        "(1, 1)",
    ),
    "AvgPool2d(three)": Slip(
        call(AvgPool2d, kernel=(1, 2, 2), stride=2),
        TypeError,
        "AvgPool2d.kernel",
        "(height, width)",
    ),
    "Edge(0, 1)": Slip(
        call(graph, edges=(Edge(0, 1),)),  # type: ignore[arg-type]
        TypeError,
        "an end of an edge must be the name of a node, a word, got 1",
        'Edge("input", "fc")',
    ),
    "Graph(dt of another ALIF)": Slip(
        call(graph, nodes={**GRAPH.nodes, "out": ALIF.with_tau(Seconds(0.02), Seconds(5e-4))}),
        GraphError,
        "out: dt of the graph is 0.001 s, and ALIF.with_tau made this ALIF for ticks of 0.0005",
        "use one dt for both",
    ),
    "load_graph(none)": Slip(
        call(load_graph, "none.safetensors"),
        ValueError,
        "none.safetensors: no such file; ",
        "neuro.io.graph_file.save_graph writes one",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_was_given_and_the_cure(slip: str) -> None:
    require_told(SLIPS[slip])


def test_tuples_are_edges_and_numbers_are_sizes() -> None:
    edges: Any = (("input", "fc"), ["fc", "out", 1])
    with pytest.raises(TypeError, match="got a list"):
        graph(edges=edges)
    assert graph(edges=(edges[0], ("fc", "out", np.int64(1)))).edges == (
        Edge("input", "fc"),
        Edge("fc", "out", Ticks(1)),
    )
    for made in (
        Conv2d(weight=np.ones((1, 1, 2, 2)), stride=2, padding=2, dilation=2),  # type: ignore[arg-type]
        ConvTranspose2d(weight=np.ones((1, 1, 2, 2)), stride=2, padding=2, output_padding=2),  # type: ignore[arg-type]
        AvgPool2d(kernel=2, stride=2),  # type: ignore[arg-type]
        Upsample(scale=2),  # type: ignore[arg-type]
    ):
        sizes = {k: v for k, v in vars(made).items() if k not in ("weight", "bias", "groups")}
        assert set(sizes.values()) == {(2, 2)}
    assert Input(shape=3).shape == (3,)  # type: ignore[arg-type]
    assert trace(net(), 3).shapes["input"] == (3,)  # type: ignore[arg-type]
    weight = nn.Linear(3, 2).weight
    assert np.array_equal(Dense(weight=weight).weight, weight.detach().numpy())  # type: ignore[arg-type]
