"""Warnings about times and ticks that look like milliseconds; a leak of another dt."""

import math
import warnings

import numpy as np

from neuro.neurons.normal_form import Param, as_array
from neuro.neurons.parameter_names import TIMES
from neuro.units import Seconds

LONG = Seconds(1.0)
MANY_TICKS = 1000  # with ticks of 1 s, times are long too
LONG_TICK = Seconds(0.1)
TICK_OF_LEAK = "_made_for"  # attribute: the dt for which a leak was computed


def warn_of_long_times(model: object, dt: Seconds, level: int) -> None:
    """Warn of each time of a neuron that is longer than 1 s and than 1,000 ticks of ``dt`` [s].

    Warn also of a tick of 0.1 s or more that is longer than the membrane's time constant.

    level: calls between the user's line and this function.
    """
    for name in TIMES:
        value = getattr(model, name, None)
        if isinstance(value, float | np.ndarray):
            warn_of_long_time(f"{type(model).__name__}.{name}", value, dt, level + 1)
    tau = getattr(model, "tau", None)
    if isinstance(tau, float | np.ndarray):
        warn_of_long_tick(f"{type(model).__name__}.tau", tau, dt, level + 1)


def warn_of_long_time(what: str, time: Param, dt: Seconds, level: int) -> None:
    """Warn of one time, named ``what``; infinity (no leak) is not long."""
    times = as_array(time)
    longest = float(times.max(initial=0.0, where=np.isfinite(times)))
    if longest > max(LONG, MANY_TICKS * dt):
        many = longest / dt
        warnings.warn(
            f"{what} is {longest:g} s, {many:{',.0f' if many < 1e12 else '.3g'}} ticks; times "
            "are in seconds, "
            f"{longest:g} ms is {longest / 1000:g}; if the time is correct: "
            f'warnings.filterwarnings("ignore", "{what}")',
            stacklevel=level + 1,
        )


def warn_of_long_tick(what: str, tau: Param, dt: Seconds, level: int) -> None:
    """Warn of a tick ``dt`` >= 0.1 s that is longer than a time constant, named ``what``.

    The longest finite time constant counts.
    """
    taus = as_array(tau)
    longest = float(taus.max(initial=0.0, where=np.isfinite(taus)))
    if dt >= LONG_TICK and 0 < longest < dt:
        warnings.warn(
            f"a tick of dt = {dt:g} s is longer than {what} = {longest:g} s; times are in "
            f"seconds, {dt:g} ms is {dt / 1000:g}; if the tick is correct: "
            'warnings.filterwarnings("ignore", "a tick of dt")',
            stacklevel=level + 1,
        )


def describe_other_dt(model: object, dt: Seconds) -> str:
    """Return the problem of a model with a leak for another tick than ``dt``, or ""."""
    tick = getattr(model, TICK_OF_LEAK, None)
    if tick is None or math.isclose(tick, dt):
        return ""
    kind = type(model).__name__
    return (
        f"{kind}.with_tau made this {kind} for ticks of {tick:g} s: its leak is per tick, and "
        "another dt changes the time constant; use one dt for both"
    )
