"""One population over time.

Axes: T ticks, B batch, ``*N`` the population's shape.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.fused import advance, fits
from neuro.neurons.li import LI, LIState
from neuro.neurons.lif import LIF, LIFState
from neuro.units import Seconds

Neuron = LIF | ALIF | LI
State = LIFState | ALIFState | LIState


def run(
    neuron: Neuron, x: Float[Tensor, "T B *N"], dt: Seconds, state: State | None = None
) -> tuple[Float[Tensor, "T B *N"], State]:
    """Advance T >= 1 ticks; the returned state continues the run."""
    model: Any = neuron
    state = model.initial(x[0]) if state is None else state
    if fits(model, x):
        return advance(model, x, dt, state)  # type: ignore[arg-type]
    return run_slowly(neuron, x, dt, state)


def run_slowly(
    neuron: Neuron, x: Float[Tensor, "T B *N"], dt: Seconds, state: State
) -> tuple[Float[Tensor, "T B *N"], State]:
    """Do as :func:`run`, tick by tick."""
    model: Any = neuron
    out = []
    for x_t in x:
        y, state = model.step(x_t, state, dt)
        out.append(y)
    return torch.stack(out), state
