"""The Page-Hinkley test: has the mean of a sequence of errors risen?

    G(t) = max(0, G(t-1) + e(t) - mean(e(1) ... e(t)) - delta),   alarm where G > threshold

Page 1954 (Biometrika 41, 100-115), Hinkley 1971 (Biometrika 58, 509-523). It is told an error
as soon as it is known, which for a forecaster is a horizon after its answer. After an alarm it
begins anew. Axes: S sequences side by side, V errors of each.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor


class PageHinkley(NamedTuple):
    """A test of S sequences. delta: rise that does not count. threshold: of G."""

    delta: Float64[Tensor, " S"]
    threshold: Float64[Tensor, " S"]


class DriftState(NamedTuple):
    """What the test keeps: number and mean of the errors since it began, and G."""

    number: Float64[Tensor, " S"]
    mean: Float64[Tensor, " S"]
    height: Float64[Tensor, " S"]


def begin_test(sequences: int) -> DriftState:
    """Return the state before any error."""
    zero = torch.zeros(sequences, dtype=torch.float64)
    return DriftState(number=zero, mean=zero, height=zero)


def observe(
    test: PageHinkley, state: DriftState, errors: Float[Tensor, " S"]
) -> tuple[Bool[Tensor, " S"], DriftState]:
    """Return where an error raises an alarm, and the state behind it."""
    number = state.number + 1
    mean = state.mean + (errors - state.mean) / number
    height = (state.height + errors - mean - test.delta).clamp(min=0)
    alarm = height > test.threshold
    kept = (torch.where(alarm, 0.0, value) for value in (number, mean, height))
    return alarm, DriftState(*kept)


def fit_test(errors: Float[Tensor, "S V"], tolerance: float = 0.1) -> PageHinkley:
    """Return the most sensitive test that raises no alarm on errors of validation.

    delta is so many standard deviations of them, and the threshold the largest G there.

    Raises:
        ValueError: there are fewer than two errors, or some are no finite numbers.
    """
    if errors.shape[1] < 2 or not bool(errors.isfinite().all()):
        raise ValueError(
            f"{errors.shape[1]} errors of validation; give at least two, and finite ones"
        )
    known = errors.double()
    delta = tolerance * known.std(1)
    never = PageHinkley(delta=delta, threshold=torch.full_like(delta, torch.inf))
    state, largest = begin_test(len(known)), torch.zeros_like(delta)
    for k in range(known.shape[1]):
        _, state = observe(never, state, known[:, k])
        largest = torch.maximum(largest, state.height)
    return PageHinkley(delta=delta, threshold=largest)
