"""The Graph, a spiking network as a value, and what can be derived from its wiring."""

from neuro.graph.connections import (
    Concat,
    Connection,
    Dense,
    Flatten,
    Reshaping,
    Slot,
    Sparse,
    Unflatten,
    Upsample,
    Weighted,
)
from neuro.graph.convolutions import AvgPool2d, Conv1d, Conv2d, ConvTranspose2d
from neuro.graph.graph import Graph
from neuro.graph.host_ops import (
    CountSpikes,
    Exceeds,
    Host,
    MaxPool2d,
    Multiply,
    Outer,
    Pointwise,
    RMSNorm,
    Softmax,
)
from neuro.graph.nodes import Edge, GradedInput, Input, Node, Poisson, Population
from neuro.graph.validate import GraphError, Hosted

__all__ = [
    "AvgPool2d",
    "Concat",
    "Connection",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CountSpikes",
    "Dense",
    "Edge",
    "Exceeds",
    "Flatten",
    "GradedInput",
    "Graph",
    "GraphError",
    "Host",
    "Hosted",
    "Input",
    "MaxPool2d",
    "Multiply",
    "Node",
    "Outer",
    "Pointwise",
    "Poisson",
    "Population",
    "RMSNorm",
    "Reshaping",
    "Slot",
    "Softmax",
    "Sparse",
    "Unflatten",
    "Upsample",
    "Weighted",
]
