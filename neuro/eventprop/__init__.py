"""EventProp: exact gradients of a spiking network from its recorded spike times."""

from neuro.eventprop.adjoint import Activity, Gradients, compute_activity, compute_gradients
from neuro.eventprop.layers import EventPropError
from neuro.eventprop.outputs import (
    LEAST,
    Tally,
    compute_module_outputs,
    compute_outputs,
    find_first_spikes,
)

__all__ = [
    "LEAST",
    "Activity",
    "EventPropError",
    "Gradients",
    "Tally",
    "compute_activity",
    "compute_gradients",
    "compute_module_outputs",
    "compute_outputs",
    "find_first_spikes",
]
