import numpy as np
import pytest
from builders import example
from graphs import random_graph
from hypothesis import given, strategies as st
from torch import nn
from written_graphs import wire

from neuro.base.units import Seconds, Ticks
from neuro.graph import Concat, Connection, Dense, Input
from neuro.graph.sparse import unroll_delays
from neuro.neurons import LIF
from neuro.nn import Net
from neuro.nn.layers import Recurrent, Spiking, Stack
from neuro.nn.trace import trace


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
def test_parameters_are_those_of_the_net_and_synapses_those_listed_one_by_one(
    seed: int,
) -> None:
    graph = unroll_delays(random_graph(seed)).graph
    summary = graph.summary()
    assert tuple(n.name for n in summary.nodes) == graph.order
    assert summary.parameters == sum(p.numel() for p in Net(graph).parameters())
    for told in summary.nodes:
        node = graph.nodes[told.name]
        assert (told.shape, told.edges) == (graph.shapes[told.name], graph.into(told.name))
        assert told.neurons == (graph.size(told.name) if told.name in graph.populations else 0)
        want = 0
        if (
            isinstance(node, Connection)
            and node.fan_out(graph.input_shape(told.name)).every.any()
        ):
            want = sum(map(len, node.synapses(graph.input_shape(told.name))))
        assert told.synapses == want


def test_a_summary_is_a_table_with_sums() -> None:
    net = Stack(
        fc=nn.Linear(3, 40),
        cells=Recurrent(Spiking(LIF(tau=0.02)), nn.Linear(40, 40, bias=False), Ticks(2)),
        out=nn.Linear(40, 1000),
        last=Spiking(LIF(tau=0.01, reset="hard")),
    )
    assert str(trace(net, (3,)).summary()).splitlines() == [
        "node            what                                                 shape  "
        "neurons  parameters  synapses  from",
        "─" * 136,
        "input           Input(shape=(3,))                                        3",
        "fc              Dense(weight=float32[40, 3], bias=float32[40])          40      "
        "            160       120  input",
        "cells_feedback  Dense(weight=float32[40, 40])                           40      "
        "          1,600     1,600  cells_spiking (2 ticks later)",
        "cells_spiking   LIF(tau=0.02, threshold=1)                              40      "
        " 40                        fc, cells_feedback",
        "out             Dense(weight=float32[1000, 40], bias=float32[1000])   1000      "
        "         41,000    40,000  cells_spiking",
        "last            LIF(tau=0.01, threshold=1, reset='hard')              1000    "
        "1,000                        out",
        "6 nodes, 6 edges, dt = 0.001 s: 1,040 neurons, 42,760 parameters, 41,720 synapses",
    ]


def test_a_graph_says_in_a_line_what_it_is() -> None:
    graph = trace(example(), (1, 5, 5))
    assert repr(graph) == (
        "Graph(10 nodes, 11 edges, dt=0.001: input conv alif res_body_c res_body_s flat fc "
        "rec_feedback ...; graph.summary() is a table of them)"
    )
    small = wire(
        "x>c x>c:1 c>fc fc>s",
        {
            "x": Input(shape=(2,)),
            "fc": Dense(weight=np.ones((4, 4))),
            "c": Concat(),
            "s": LIF(tau=0.01),
        },
        dt=Seconds(2e-3),
    )
    assert repr(small) == (
        "Graph(4 nodes, 4 edges, dt=0.002: x c fc s; graph.summary() is a table of them)"
    )
    joined = next(n for n in small.summary().nodes if n.name == "c")
    assert (joined.shape, joined.synapses, joined.parameters) == ((4,), 0, 0)
    assert "x, x (1 tick later)" in str(small.summary())
