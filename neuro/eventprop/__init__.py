"""EventProp: exact gradients of a spiking network from its recorded spike times."""

from neuro.eventprop.adjoint import (
    LEAST,
    Activity,
    Gradients,
    Tally,
    compute_activity,
    compute_gradients,
    compute_module_outputs,
    compute_outputs,
    find_first_spikes,
)
from neuro.eventprop.layers import EventPropError

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
