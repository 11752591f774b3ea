"""A small network, its stimulus and its run, which tests/slips uses wrongly."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn
from written_graphs import chain

from lava_export import lower
from neuro import LIF, Dense, Graph, Input, Spiking, Stack, to_events
from neuro.base.units import Seconds
from neuro.events import simulate

DT, HALF = Seconds(1e-3), Seconds(5e-4)
RASTER = np.ones((4, 2, 3), np.float32)
X = torch.ones(4, 2, 3)
GRAPH = chain(
    input=Input(shape=(3,)), fc=Dense(weight=np.ones((2, 3))), out=LIF(tau=0.02), dt=DT
)
STIMULUS = {"input": to_events(RASTER)}
RECORD, STATE = simulate(GRAPH, STIMULUS)
PROGRAM = lower(GRAPH, ticks=4)
CELLS = Spiking(LIF(tau=0.02))


def net() -> Any:
    return Stack(fc=nn.Linear(3, 2), cells=Spiking(LIF(tau=0.02)))


def graph(**changes: Any) -> Graph:
    return Graph(**{"nodes": GRAPH.nodes, "edges": GRAPH.edges, "dt": DT, **changes})


def change(**nodes: Any) -> Graph:
    return graph(nodes={**GRAPH.nodes, **nodes})


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch will drop this way to quantise
    QUANTISED = torch.ao.quantization.quantize_dynamic(net(), {nn.Linear})
