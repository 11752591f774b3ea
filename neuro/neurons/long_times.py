"""A warning of times so long that milliseconds were meant: they are in seconds."""

import warnings

import numpy as np

from neuro.neurons.normal_form import Param, as_array
from neuro.neurons.parameter_names import TIMES
from neuro.units import Seconds

LONG = Seconds(1.0)
MANY_TICKS = 1000  # who takes ticks of 1 s has long times, too


def warn_of_long_times(model: object, dt: Seconds, level: int) -> None:
    """Warn of each time of a neuron that is longer than 1 s and than 1,000 ticks of ``dt`` [s].

    level: calls from the line that is warned of to this function.
    """
    for name in TIMES:
        value = getattr(model, name, None)
        if isinstance(value, float | np.ndarray):
            warn_of_long_time(f"{type(model).__name__}.{name}", value, dt, level + 1)


def warn_of_long_time(what: str, time: Param, dt: Seconds, level: int) -> None:
    """Warn of one, named ``what``; infinity, no leak, is not long."""
    times = as_array(time)
    longest = float(times.max(initial=0.0, where=np.isfinite(times)))
    if longest > max(LONG, MANY_TICKS * dt):
        warnings.warn(
            f"{what} is {longest:g} s, {longest / dt:,.0f} ticks; times are in seconds, "
            f"{longest:g} ms is {longest / 1000:g}; if so long a time is meant: "
            f'warnings.filterwarnings("ignore", "{what}")',
            stacklevel=level + 1,
        )
