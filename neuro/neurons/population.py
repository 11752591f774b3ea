"""One population over time, in torch.

Axes: T ticks, B batch, ``*N`` the population's shape, ``*X`` that of its input: the same, but
for a GatedLI; ``*P`` that of the output: ``*N``, or that of the means of a pool.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.neurons.fused import NO_CONTEXT, FusedContext, can_pool, make_fused_form, run_fused
from neuro.neurons.neuron import Neuron
from neuro.units import Seconds


def run_population(
    neuron: Neuron,
    x: Float[Tensor, "T B *X"],
    dt: Seconds,
    state: Any = None,
    context: FusedContext = NO_CONTEXT,
) -> tuple[Float[Tensor, "_ B *P"], Any]:
    """Advance T >= 1 ticks: (outputs, state); the state continues the run, None is rest.

    By the fused operator where it has all that the model needs, else tick by tick.
    """
    state = neuron.initial(x[0]) if state is None else state
    form = make_fused_form(neuron, x, dt)
    if form is None:
        return step_population(neuron, x, dt, state, context)
    if context.pool and not can_pool(x, context.pool):
        y, state = run_fused(form, x, state, context._replace(pool=None))
        return _pooled(y, context.pool), state
    return run_fused(form, x, state, context)


def step_population(
    neuron: Neuron,
    x: Float[Tensor, "T B *X"],
    dt: Seconds,
    state: Any,
    context: FusedContext = NO_CONTEXT,
) -> tuple[Float[Tensor, "_ B *P"], Any]:
    """Do as :func:`run_population`, tick by tick."""
    out = []
    for x_t in x.expand(context.repeats or len(x), *x.shape[1:]):
        y, state = neuron.step(x_t, state, dt)
        out.append(y)
    y = torch.stack(out)
    return (_pooled(y, context.pool) if context.pool else y), state


def _pooled(y: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the means of all ticks and samples at once."""
    means = F.avg_pool2d(y.flatten(0, 1), size)
    return means.reshape(*y.shape[:2], *means.shape[1:])
