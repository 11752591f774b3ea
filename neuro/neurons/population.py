"""One population over time, in torch.

Axes: T ticks, B batch, ``*N`` the population's shape, ``*X`` the input's shape: ``*N``, except
for a GatedLI; ``*P`` the output's shape: ``*N``, or the shape after a pool.
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

    The fused operator runs the models that it supports; other models run tick by tick.
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
    """Do the same as :func:`run_population`, tick by tick."""
    out = []
    for x_t in x.expand(context.repeats or len(x), *x.shape[1:]):
        y, state = neuron.step(x_t, state, dt)
        out.append(y)
    y = torch.stack(out)
    return (_pooled(y, context.pool) if context.pool else y), state


def _pooled(y: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the average pool of all ticks and samples."""
    means = F.avg_pool2d(y.flatten(0, 1), size)
    return means.reshape(*y.shape[:2], *means.shape[1:])
