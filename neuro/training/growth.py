"""Find parameters that grow without bound, the sign of a diverging training."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from neuro.training.sharded import gather

REPORTED, DIVERGED = 10.0, 1000.0  # factors on the largest initial value, or on LEAST
LEAST = 0.1
LISTED = 3  # parameters in a message


@torch.no_grad()
def measure_sizes(model: nn.Module) -> dict[str, float]:
    """Return the largest absolute value of each parameter, by name."""
    return {n: float(gather(p).abs().max()) for n, p in model.named_parameters() if p.numel()}


def explain_divergence(grown: str) -> str:
    """Return the message of a diverged training, with the cure.

    grown: from :func:`describe_growth`.
    """
    return (
        f"the training has diverged: {grown}; lower the learning rate, and train again in "
        "another folder (--out)"
    )


def explain_nonfinite(names: Sequence[str], lr: float) -> str:
    """Return the message for parameters that are not finite, with the cure."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (
        f"{', '.join(names[:5])}{more}: not finite after an update at a learning rate of "
        f"{lr:g}; the last good checkpoint remains; lower the rate, and train again"
    )


def describe_growth(
    model: nn.Module, before: Mapping[str, float], lr: float, factor: float = REPORTED
) -> str:
    """Return which parameters grew, their sizes, and the learning rate; "" if none grew.

    before: their sizes at the start of the training. factor: the least growth. A size below
    :data:`LEAST` counts as LEAST, because biases start at 0.
    """
    now = measure_sizes(model)
    ratios = {name: now[name] / max(size, LEAST) for name, size in before.items()}
    grown = sorted((n for n in ratios if not ratios[n] <= factor), key=lambda n: -ratios[n])
    if not grown:
        return ""
    sizes = [f"{name} grew from {before[name]:.3g} to {now[name]:.3g}" for name in grown]
    more = f" and {len(grown) - LISTED} more" if len(grown) > LISTED else ""
    return f"{', '.join(sizes[:LISTED])}{more} at a learning rate of {lr:g}"
