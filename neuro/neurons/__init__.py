"""Neuron models, one per file (equation, parameters, state, step), and their interface."""

from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.discrete_lif import DiscreteLIF
from neuro.neurons.fused import NO_CONTEXT, FusedContext, run_population
from neuro.neurons.gated import GatedLI, GatedState
from neuro.neurons.li import LI, LIState, psc_gain
from neuro.neurons.lif import IF, LIF, LIFState
from neuro.neurons.lif_reset import LIFReset
from neuro.neurons.loihi import LoihiLI, LoihiLIF
from neuro.neurons.neuron import (
    FusedNeuron,
    LinearNeuron,
    Neuron,
    SteppedNeuron,
    find_misfit,
    has_normal_form,
    has_tensors,
    is_leaky_integrator,
    is_neuron,
    is_stepped,
)
from neuro.neurons.normal_form import Coefficients, Dynamics
from neuro.neurons.reset import Reset
from neuro.neurons.sigma_delta import Delta, SigmaDelta
from neuro.neurons.ternary_lif import TernaryLIF

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "NO_CONTEXT",
    "ALIFState",
    "Coefficients",
    "Delta",
    "DiscreteLIF",
    "Dynamics",
    "FusedContext",
    "FusedNeuron",
    "GatedLI",
    "GatedState",
    "LIFReset",
    "LIFState",
    "LIState",
    "LinearNeuron",
    "LoihiLI",
    "LoihiLIF",
    "Neuron",
    "Reset",
    "SigmaDelta",
    "SteppedNeuron",
    "TernaryLIF",
    "find_misfit",
    "has_normal_form",
    "has_tensors",
    "is_leaky_integrator",
    "is_neuron",
    "is_stepped",
    "psc_gain",
    "run_population",
]
