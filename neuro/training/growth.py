"""Parameters that grow without bound, by which a training that diverges is known and told."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from neuro.training.sharded import gather

TOLD, DIVERGED = 10.0, 1000.0  # times the largest value at the start, or that of LEAST
LEAST = 0.1
LISTED = 3  # parameters in a message


@torch.no_grad()
def measure_sizes(model: nn.Module) -> dict[str, float]:
    """Return the largest absolute value of each parameter, by name."""
    return {n: float(gather(p).abs().max()) for n, p in model.named_parameters() if p.numel()}


def tell_divergence(grown: str) -> str:
    """Return that a training has diverged, and the cure. grown: as described."""
    return (
        f"the training has diverged: {grown}; lower the learning rate, and train again in "
        "another folder (--out)"
    )


def tell_nonfinite(bad: Sequence[str], lr: float) -> str:
    """Return that these parameters are not finite, and the cure."""
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return (
        f"{', '.join(bad[:5])}{more}: not finite after an update at a learning rate of {lr:g}; "
        "the last good checkpoint is kept; lower it, and train again"
    )


def describe_growth(
    model: nn.Module, before: Mapping[str, float], lr: float, factor: float = TOLD
) -> str:
    """Return which parameters grew, from what to what, and the learning rate; "": none did.

    before: their sizes when the training began. factor: by which a size has grown at least;
    one below :data:`LEAST` counts as that, for biases begin at 0.
    """
    now = measure_sizes(model)
    ratios = {name: now[name] / max(size, LEAST) for name, size in before.items()}
    grown = sorted((n for n in ratios if not ratios[n] <= factor), key=lambda n: -ratios[n])
    if not grown:
        return ""
    told = [f"{name} grew from {before[name]:.3g} to {now[name]:.3g}" for name in grown]
    more = f" and {len(grown) - LISTED} more" if len(grown) > LISTED else ""
    return f"{', '.join(told[:LISTED])}{more} at a learning rate of {lr:g}"
