"""Spiking networks from training to chip: one Graph, three executors, one Record."""

import sys

from neuro.base import units
from neuro.base.units import Joules, Seconds, Ticks, ticks
from neuro.base.version import __version__
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    CountSpikes,
    Dense,
    Edge,
    Exceeds,
    Flatten,
    GradedInput,
    Graph,
    GraphError,
    Input,
    MaxPool2d,
    Multiply,
    Outer,
    Pointwise,
    Poisson,
    RMSNorm,
    Softmax,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.neurons import (
    ALIF,
    IF,
    LI,
    LIF,
    Delta,
    DiscreteLIF,
    GatedLI,
    LIFReset,
    SigmaDelta,
    TernaryLIF,
)
from neuro.nn.checkpoint import Checkpointed
from neuro.nn.layers import Delay, Recurrent, Residual, Spiking, Stack
from neuro.spikes import (
    Events,
    Times,
    codes,
    record,
    statistics,
    to_events,
    to_raster,
    to_ticks,
    to_times,
)
from neuro.spikes.record import Counts, Record

# Paths of earlier versions: ``from neuro.units import Seconds`` still works.
for _module in (units, codes, record, statistics):
    sys.modules[f"neuro.{_module.__name__.rsplit('.', 1)[1]}"] = _module

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
    "CountSpikes",
    "Counts",
    "Delay",
    "Delta",
    "Dense",
    "DiscreteLIF",
    "Edge",
    "Events",
    "Exceeds",
    "Flatten",
    "GatedLI",
    "GradedInput",
    "Graph",
    "GraphError",
    "Input",
    "Joules",
    "LIFReset",
    "MaxPool2d",
    "Multiply",
    "Outer",
    "Pointwise",
    "Poisson",
    "RMSNorm",
    "Record",
    "Recurrent",
    "Residual",
    "Seconds",
    "SigmaDelta",
    "Softmax",
    "Sparse",
    "Spiking",
    "Stack",
    "TernaryLIF",
    "Ticks",
    "Times",
    "Unflatten",
    "Upsample",
    "__version__",
    "ticks",
    "to_events",
    "to_raster",
    "to_ticks",
    "to_times",
]
