"""One population over time.

Axes: T ticks, B batch, ``*N`` the population's shape, ``*X`` that of its input: the same, but
for a GatedLI.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.fused import advance, fits
from neuro.neurons.gated import GatedLI, GatedState
from neuro.neurons.li import LI, LIState
from neuro.neurons.lif import LIF, LIFState
from neuro.units import Seconds

Integrator = LI | GatedLI
Neuron = LIF | ALIF | Integrator
State = LIFState | ALIFState | LIState | GatedState


def run(
    neuron: Neuron, x: Float[Tensor, "T B *X"], dt: Seconds, state: State | None = None
) -> tuple[Float[Tensor, "T B *N"], State]:
    """Advance T >= 1 ticks; the returned state continues the run."""
    model: Any = neuron
    state = model.initial(x[0]) if state is None else state
    if fits(model, x):
        return advance(model, x, dt, state)  # type: ignore[arg-type]
    return run_slowly(neuron, x, dt, state)


def run_slowly(
    neuron: Neuron, x: Float[Tensor, "T B *X"], dt: Seconds, state: State
) -> tuple[Float[Tensor, "T B *N"], State]:
    """Do as :func:`run`, tick by tick."""
    model: Any = neuron
    out = []
    for x_t in x:
        y, state = model.step(x_t, state, dt)
        out.append(y)
    return torch.stack(out), state
