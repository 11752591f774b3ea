"""One file per neuron model: its equation, parameters, state, step and jump."""

from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.base import Coefficients
from neuro.neurons.integrate_and_fire import IF
from neuro.neurons.li import LI, LIState
from neuro.neurons.lif import LIF, LIFState
from neuro.neurons.run import Neuron, State, run

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "ALIFState",
    "Coefficients",
    "LIFState",
    "LIState",
    "Neuron",
    "State",
    "run",
]
