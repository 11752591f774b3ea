"""Spiking networks from training to chip: one Graph, three executors, one Record."""

from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Exceeds,
    Flatten,
    Graph,
    GraphError,
    Input,
    Multiply,
    Outer,
    Pointwise,
    Softmax,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.neurons import ALIF, IF, LI, LIF, GatedLI
from neuro.nn.checkpoint import Checkpointed
from neuro.nn.layers import Delay, Recurrent, Residual, Spiking, Stack
from neuro.record import Counts, Record
from neuro.spikes import Events, Times, to_events, to_raster, to_ticks, to_times
from neuro.units import Joules, Seconds, Ticks

__version__ = "0.1.0"

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "AvgPool2d",
    "Checkpointed",
    "Concat",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Counts",
    "Delay",
    "Dense",
    "Edge",
    "Events",
    "Exceeds",
    "Flatten",
    "GatedLI",
    "Graph",
    "GraphError",
    "Input",
    "Joules",
    "Multiply",
    "Outer",
    "Pointwise",
    "Record",
    "Recurrent",
    "Residual",
    "Seconds",
    "Softmax",
    "Sparse",
    "Spiking",
    "Stack",
    "Ticks",
    "Times",
    "Unflatten",
    "Upsample",
    "__version__",
    "to_events",
    "to_raster",
    "to_ticks",
    "to_times",
]
