"""Units of the whole project: seconds, ticks and joules.

Time constants and durations are in seconds. Simulators count whole ticks of length ``dt``;
:func:`ticks` converts one to the other.
"""

import math
from numbers import Real
from typing import NewType

from neuro.base.arguments import make_type_error

Seconds = NewType("Seconds", float)
Ticks = NewType("Ticks", int)
Joules = NewType("Joules", float)

MOST_TICKS = 2**53  # float64 holds every whole number up to this one


def ticks(duration: Seconds, dt: Seconds) -> Ticks:
    """Return how many steps of ``dt`` [s] fill ``duration`` [s]; the number must be whole.

    >>> ticks(Seconds(0.1), dt=Seconds(0.001))
    100

    Raises:
        TypeError: an argument is not a number.
        ValueError: ``duration`` is negative, not a whole number of steps, or longer than
            MOST_TICKS steps; or ``dt`` is not positive and finite.
    """
    for name, value in (("duration", duration), ("dt", dt)):
        if not isinstance(value, Real):
            raise make_type_error(name, "a number of seconds", value, "1 ms is 1e-3")
    if not 0 < dt < math.inf:
        raise ValueError(f"dt must be > 0 s and finite, got {dt}")
    if not 0 <= duration < math.inf:
        raise ValueError(f"a duration must be >= 0 s and finite, got {duration}")
    if 0 < duration < dt * (1 - 1e-6):
        raise ValueError(
            f"duration {duration} s is shorter than a step of dt = {dt} s; check the order, "
            "ticks(duration, dt), or use a shorter dt"
        )
    if not duration / dt <= MOST_TICKS:
        raise ValueError(
            f"duration {duration} s has too many steps of dt = {dt} s to count; use a longer dt"
        )
    n = round(duration / dt)
    if abs(n * dt - duration) > 1e-6 * dt:
        raise ValueError(
            f"duration {duration} s is not a whole number of steps of dt = {dt} s; "
            f"use {n * dt:.15g} s, or a dt that divides {duration} s"
        )
    return Ticks(n)
