"""Spiking networks in torch: layers that run over time, and the Net of a Graph."""

from neuro.nn.delayed import DelayedLinear
from neuro.nn.layers import Delay, Recurrent, Residual, Spiking, Stack, Temporal
from neuro.nn.net import Net, NetState, record, record_activity, replay
from neuro.nn.rounding import compute_margins

__all__ = [
    "Delay",
    "DelayedLinear",
    "Net",
    "NetState",
    "Recurrent",
    "Residual",
    "Spiking",
    "Stack",
    "Temporal",
    "compute_margins",
    "record",
    "record_activity",
    "replay",
]
