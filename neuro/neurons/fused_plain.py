"""The fused operators in plain torch: slow, but their gradients have gradients.

Axes: T ticks, B samples, M neurons in memory order, P outputs (M, or means of a pool).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.neurons.reset import Reset, reset_membrane
from neuro.neurons.surrogate import spike


def run_plain(*arguments: Any) -> tuple[Tensor | None, ...]:
    """Return the outputs of :class:`neuro.neurons.fused.FusedOnCPU` for the same arguments."""
    x, v, i, a, decay, gain, decay_syn, threshold, beta, decay_adapt, options = arguments
    reset = Reset.HARD if options.hard else Reset.SOFT
    spikes = []
    for x_t in x.expand(options.ticks, *x.shape[1:]):
        current = x_t if i is None else decay_syn * i + x_t
        i = None if i is None else current
        v = decay * v + gain * current
        a = None if a is None else decay_adapt * a
        height = threshold if a is None else threshold + a
        s = spike(v - height, options.surrogate)
        v = reset_membrane(v, s, height, reset)
        a = None if a is None else a + beta * s.detach()
        spikes.append(s)
    return _pool(torch.stack(spikes), options), v, i, a


def _pool(spikes: Float[Tensor, "T B M"], options: Any) -> Float[Tensor, "T B P"]:
    blocks = options.blocks
    if not blocks.rows:
        return spikes
    height = spikes.shape[2] // (blocks.width * blocks.channels)
    images = spikes.reshape(-1, height, blocks.width, blocks.channels)
    means = F.avg_pool2d(images.permute(0, 3, 1, 2), blocks[:2]).permute(0, 2, 3, 1)
    return means.reshape(*spikes.shape[:2], -1)


def differentiate_plainly(
    arguments: Sequence[Any], d_outputs: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the arguments of :func:`run_plain`, themselves differentiable.

    d_outputs: gradients of the outputs.
    """
    # Views, so that no gradient flows from one argument to another.
    own = [x.view_as(x) if _is_trained(x) else x for x in arguments]
    pairs = zip(run_plain(*own), d_outputs, strict=True)
    used = [(y, d_y) for y, d_y in pairs if d_y is not None and _is_trained(y)]
    trained = [x for x in own if _is_trained(x)]
    outputs, d_used = zip(*used, strict=True)
    gradients = iter(
        torch.autograd.grad(outputs, trained, d_used, create_graph=True, allow_unused=True)
    )
    return tuple(next(gradients) if _is_trained(x) else None for x in own)


def _is_trained(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad
