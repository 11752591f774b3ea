"""EventProp: exact gradients of a spiking network from its recorded spike times."""

from neuro.eventprop.adjoint import Activity, Gradients, activity, gradients
from neuro.eventprop.layers import EventPropError
from neuro.eventprop.outputs import LEAST, Tally, first_spikes, outputs, outputs_of

__all__ = [
    "LEAST",
    "Activity",
    "EventPropError",
    "Gradients",
    "Tally",
    "activity",
    "first_spikes",
    "gradients",
    "outputs",
    "outputs_of",
]
