"""One file per neuron model: its equation, parameters, state, step and jump."""

from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.base import Coefficients, Dynamics
from neuro.neurons.integrate_and_fire import IF
from neuro.neurons.li import LI, LIState, psc_gain
from neuro.neurons.lif import LIF, LIFState
from neuro.neurons.run import Neuron, State, run

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "ALIFState",
    "Coefficients",
    "Dynamics",
    "LIFState",
    "LIState",
    "Neuron",
    "State",
    "psc_gain",
    "run",
]
