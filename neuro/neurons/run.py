"""One population over time.

Axes: T ticks, B batch, ``*N`` the population's shape, ``*X`` that of its input: the same, but
for a GatedLI; ``*P`` that of what comes out: ``*N``, or that of the means of a pool.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.fused import NOTHING, Around, advance, fits, pools
from neuro.neurons.gated import GatedLI, GatedState
from neuro.neurons.li import LI, LIState
from neuro.neurons.lif import LIF, LIFState
from neuro.units import Seconds

Integrator = LI | GatedLI
Neuron = LIF | ALIF | Integrator
State = LIFState | ALIFState | LIState | GatedState


def run(
    neuron: Neuron,
    x: Float[Tensor, "T B *X"],
    dt: Seconds,
    state: State | None = None,
    around: Around = NOTHING,
) -> tuple[Float[Tensor, "_ B *P"], State]:
    """Advance T >= 1 ticks; the returned state continues the run."""
    model: Any = neuron
    state = model.initial(x[0]) if state is None else state
    if not fits(model, x):
        return run_slowly(neuron, x, dt, state, around)
    if around.pool and not pools(x, around.pool):
        y, state = advance(model, x, dt, state, around._replace(pool=None))  # type: ignore[arg-type]
        return _pooled(y, around.pool), state
    return advance(model, x, dt, state, around)  # type: ignore[arg-type]


def run_slowly(
    neuron: Neuron,
    x: Float[Tensor, "T B *X"],
    dt: Seconds,
    state: State,
    around: Around = NOTHING,
) -> tuple[Float[Tensor, "_ B *P"], State]:
    """Do as :func:`run`, tick by tick."""
    model: Any = neuron
    out = []
    for x_t in x.expand(around.ticks or len(x), *x.shape[1:]):
        y, state = model.step(x_t, state, dt)
        out.append(y)
    y = torch.stack(out)
    return (_pooled(y, around.pool) if around.pool else y), state


def _pooled(y: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the means of all ticks and samples at once."""
    means = F.avg_pool2d(y.flatten(0, 1), size)
    return means.reshape(*y.shape[:2], *means.shape[1:])
