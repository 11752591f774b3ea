"""Spiking networks from training to chip: one Graph, three executors, one Record."""

from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    GraphError,
    Input,
    Sparse,
    Upsample,
)
from neuro.layers import Delay, Recurrent, Residual, Spiking, Stack
from neuro.neurons import ALIF, IF, LI, LIF
from neuro.record import Counts, Record
from neuro.spikes import Events, Times, to_events, to_raster, to_ticks, to_times
from neuro.units import Joules, Seconds, Ticks

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "AvgPool2d",
    "Concat",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Counts",
    "Delay",
    "Dense",
    "Edge",
    "Events",
    "Flatten",
    "Graph",
    "GraphError",
    "Input",
    "Joules",
    "Record",
    "Recurrent",
    "Residual",
    "Seconds",
    "Sparse",
    "Spiking",
    "Stack",
    "Ticks",
    "Times",
    "Upsample",
    "to_events",
    "to_raster",
    "to_ticks",
    "to_times",
]
