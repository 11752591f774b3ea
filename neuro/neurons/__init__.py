"""One file per neuron model: its equation, parameters, state, step and jump."""

from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.fused import NOTHING, Around
from neuro.neurons.gated import GatedLI, GatedState
from neuro.neurons.integrate_and_fire import IF
from neuro.neurons.li import LI, LIState, psc_gain
from neuro.neurons.lif import LIF, LIFState
from neuro.neurons.normal_form import Coefficients, Dynamics
from neuro.neurons.run import Integrator, Neuron, State, run

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "NOTHING",
    "ALIFState",
    "Around",
    "Coefficients",
    "Dynamics",
    "GatedLI",
    "GatedState",
    "Integrator",
    "LIFState",
    "LIState",
    "Neuron",
    "State",
    "psc_gain",
    "run",
]
