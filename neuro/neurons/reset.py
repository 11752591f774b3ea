"""The kinds of reset: what a spike does to the membrane.

A kind that an executor does not know is refused there: whoever computes with the two kinds
below asks :func:`is_hard`, which raises for any other.
"""

from enum import StrEnum
from typing import Literal

from torch import Tensor


class Reset(StrEnum):
    """SOFT subtracts the threshold that was reached; HARD sets the membrane to 0."""

    SOFT = "soft"
    HARD = "hard"


ResetLike = Reset | Literal["soft", "hard"]  # as users may write it


def as_reset(field: str, value: str) -> Reset:
    """Return a reset given by its name.

    Raises:
        ValueError: there is no such kind; names ``field`` and all kinds.
    """
    try:
        return Reset(value)
    except ValueError:
        kinds = " or ".join(repr(str(kind)) for kind in Reset)
        raise ValueError(f"{field} must be {kinds}, got {str(value)!r}") from None


def reset_membrane(v: Tensor, s: Tensor, threshold: Tensor, reset: ResetLike) -> Tensor:
    """Return the membrane after the spikes ``s``; no gradient through ``s``.

    Raises:
        ValueError: a reset that is neither soft nor hard.
    """
    fired = s.detach()
    return v * (1 - fired) if is_hard(reset) else v - threshold * fired


def is_hard(reset: str) -> bool:
    """Say whether a reset is hard; if not, it is soft.

    Raises:
        ValueError: it is neither; for executors that have these two.
    """
    if reset not in (Reset.SOFT, Reset.HARD):
        raise ValueError(
            f"reset {str(reset)!r} is not known here, only 'soft' and 'hard' are; use one of "
            "them, or run the network on torch's clock, neuro.nn.replay"
        )
    return reset == Reset.HARD
