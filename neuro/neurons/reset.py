"""The kinds of reset: the effect of a spike on the membrane.

Models and executors that support only a soft and a hard reset call :func:`as_reset` or
:func:`is_hard`, which raise an error for any other reset.
"""

from enum import StrEnum
from typing import Literal

from torch import Tensor


class Reset(StrEnum):
    """SOFT subtracts the threshold (or a value); HARD sets the membrane to 0 (or a value)."""

    SOFT = "soft"
    HARD = "hard"


ResetLike = Reset | Literal["soft", "hard"]  # type of an argument
SOFT_OR_HARD = (Reset.SOFT, Reset.HARD)


def as_reset(field: str, value: str) -> Reset:
    """Return the soft or the hard reset, given its name or member; else raise a ValueError."""
    if value not in SOFT_OR_HARD:
        raise ValueError(
            f"{field} must be 'soft' or 'hard', got {str(value)!r}; soft subtracts the "
            "threshold, hard sets the membrane to 0"
        )
    return Reset(value)


def reset_membrane(v: Tensor, s: Tensor, threshold: Tensor, reset: ResetLike) -> Tensor:
    """Return the membrane after the spikes ``s``; no gradient passes through ``s``."""
    fired = s.detach()
    return v * (1 - fired) if is_hard(reset) else v - threshold * fired


def is_hard(reset: str) -> bool:
    """Say whether a reset is hard (True) or soft (False); else raise a ValueError."""
    if reset not in SOFT_OR_HARD:
        raise ValueError(
            f"reset {str(reset)!r} is unknown here, where 'soft' and 'hard' exist; use one of "
            "them, or run the network on torch's clock, neuro.nn.replay"
        )
    return reset == Reset.HARD
