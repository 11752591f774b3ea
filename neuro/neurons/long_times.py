"""Warnings of times and ticks so long that milliseconds were meant, and ticks of another dt."""

import math
import warnings

import numpy as np

from neuro.neurons.normal_form import Param, as_array
from neuro.neurons.parameter_names import TIMES
from neuro.units import Seconds

LONG = Seconds(1.0)
MANY_TICKS = 1000  # who takes ticks of 1 s has long times, too
LONG_TICK = Seconds(0.1)
MADE_FOR = "_made_for"  # attribute: the dt of the ticks that parameters were converted to


def warn_of_long_times(model: object, dt: Seconds, level: int) -> None:
    """Warn of each time of a neuron that is longer than 1 s and than 1,000 ticks of ``dt`` [s].

    And of a tick of 0.1 s or more that is longer than the time constant of its membrane.

    level: calls from the line that is warned of to this function.
    """
    for name in TIMES:
        value = getattr(model, name, None)
        if isinstance(value, float | np.ndarray):
            warn_of_long_time(f"{type(model).__name__}.{name}", value, dt, level + 1)
    tau = getattr(model, "tau", None)
    if isinstance(tau, float | np.ndarray):
        warn_of_long_tick(f"{type(model).__name__}.tau", tau, dt, level + 1)


def warn_of_long_time(what: str, time: Param, dt: Seconds, level: int) -> None:
    """Warn of one, named ``what``; infinity, no leak, is not long."""
    times = as_array(time)
    longest = float(times.max(initial=0.0, where=np.isfinite(times)))
    if longest > max(LONG, MANY_TICKS * dt):
        many = longest / dt
        warnings.warn(
            f"{what} is {longest:g} s, {many:{',.0f' if many < 1e12 else '.3g'}} ticks; times "
            "are in seconds, "
            f"{longest:g} ms is {longest / 1000:g}; if so long a time is meant: "
            f'warnings.filterwarnings("ignore", "{what}")',
            stacklevel=level + 1,
        )


def warn_of_long_tick(what: str, tau: Param, dt: Seconds, level: int) -> None:
    """Warn of a tick ``dt`` >= 0.1 s that is longer than a time constant, named ``what``.

    Of several time constants the longest counts; infinity is none.
    """
    taus = as_array(tau)
    longest = float(taus.max(initial=0.0, where=np.isfinite(taus)))
    if dt >= LONG_TICK and 0 < longest < dt:
        warnings.warn(
            f"a tick of dt = {dt:g} s is longer than {what} = {longest:g} s; times are in "
            f"seconds, {dt:g} ms is {dt / 1000:g}; if so long a tick is meant: "
            'warnings.filterwarnings("ignore", "a tick of dt")',
            stacklevel=level + 1,
        )


def describe_other_dt(model: object, dt: Seconds) -> str:
    """Return what is wrong where a model was made for ticks of another length than ``dt``.

    "" where it was made for these, or for none in particular.
    """
    made_for = getattr(model, MADE_FOR, None)
    if made_for is None or math.isclose(made_for, dt):
        return ""
    kind = type(model).__name__
    return (
        f"{kind}.with_tau made this {kind} for ticks of {made_for:g} s: its leak is a part a "
        "tick, and the time constant would be another; give both the same dt"
    )
