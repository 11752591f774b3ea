"""Messages for wrong parameters: other libraries' names, milliseconds, a leak of another dt."""

import math
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar

import numpy as np

from neuro.base.arguments import describe
from neuro.base.units import Seconds
from neuro.neurons.normal_form import Param, as_array

M = TypeVar("M", bound=Callable[..., Any])

# Name in the call -> (name of the parameter here, how to write it).
FOREIGN_NAMES = {
    "beta": ("tau", "snnTorch's beta is a decay a tick: tau = -dt / math.log(beta) [s]"),
    "alpha": (
        "tau_syn",
        "snnTorch's alpha is a decay a tick: tau_syn = -dt / math.log(alpha) [s]",
    ),
    "tau_mem_inv": ("tau", "Norse's is an inverse: tau = 1 / tau_mem_inv [s]"),
    "tau_syn_inv": ("tau_syn", "Norse's is an inverse: tau_syn = 1 / tau_syn_inv [s]"),
    "leak": ("tau", "an ALIF's leak is tau = -dt / math.log1p(-leak) [s], weights times leak"),
    "tau": ("leak", "leak = -math.expm1(-dt / tau), or ALIF.with_tau(tau, dt)"),
    "tau_adapt": (
        "rho",
        "rho = math.exp(-dt / tau_adapt), or ALIF.with_tau(..., tau_adapt=...)",
    ),
    "tau_m": ("tau", "it is called tau [s]"),
    "v_th": ("threshold", "it is called threshold"),
    "V_th": ("threshold", "it is called threshold"),
    "v_threshold": ("threshold", "it is called threshold"),
    "v_reset": ("reset", "reset='hard' sets the membrane to 0, 'soft' subtracts the threshold"),
    "reset_mechanism": ("reset", "'subtract' is reset='soft', 'zero' is reset='hard'"),
    "spike_grad": ("surrogate", "surrogate is a function of v - threshold: the derivative"),
    "surrogate_function": (
        "surrogate",
        "surrogate is a function of v - threshold: the derivative",
    ),
    "t_ref": ("refractory", "it is called refractory [s]"),
}

# The same for a model that takes decays per tick.
FOREIGN_NAMES_PER_TICK = {
    "beta": ("decay", "snnTorch's beta is the decay"),
    "alpha": ("decay_syn", "snnTorch's alpha is decay_syn"),
    "tau": ("decay", "decay = math.exp(-dt / tau), or 1 - dt / tau in steps of Euler"),
    "tau_syn": ("decay_syn", "decay_syn = math.exp(-dt / tau_syn)"),
    "tau_mem_inv": ("decay", "in Norse decay = 1 - dt * tau_mem_inv, gain = dt * tau_mem_inv"),
    "tau_syn_inv": ("decay_syn", "in Norse decay_syn = 1 - dt * tau_syn_inv"),
    "v_reset": ("reset_to", "reset='hard' sets the membrane to reset_to"),
    "v_leak": ("rest", "it is called rest"),
}

NO_NUMBERS = ("reset", "surrogate", "strict", "relu", "cumulative")
TIMES = ("tau", "tau_syn", "refractory")


LONG = Seconds(1.0)
MANY_TICKS = 1000  # if ticks last 1 s, long times are plausible
LONG_TICK = Seconds(0.1)
TICK_OF_LEAK = "_made_for"  # attribute: the dt for which a leak was computed


def explain_parameters(model: M) -> M:
    """Decorate a model so that wrong parameters raise a TypeError with the cure.

    The error lists parameters that are unknown, positional, or text instead of a number; if
    there are none of these, it lists missing parameters.
    """
    known = signature(model).parameters
    is_class = isinstance(model, type)
    make: Any = vars(model)["__init__"] if is_class else model

    @wraps(make)
    def check_and_make(*unnamed: Any, **named: Any) -> Any:
        problems = _list_problems(model.__name__, known, unnamed[is_class:], named)
        if problems:
            raise TypeError("\n".join(problems))
        return make(*unnamed, **named)

    if not is_class:
        return check_and_make  # type: ignore[return-value]
    setattr(model, "__init__", check_and_make)  # noqa: B010 - mypy knows no other way
    return model


def _list_problems(
    model: str,
    known: Mapping[str, Parameter],
    unnamed: tuple[Any, ...],
    named: Mapping[str, Any],
) -> list[str]:
    first = next(iter(known))
    problems = [
        f"{model} takes parameters by name, got {describe(value)}; write {model}({first}=...)"
        for value in unnamed[:1]
    ]
    for name, value in named.items():
        if name not in known:
            foreign = FOREIGN_NAMES
            if "decay" in known:
                foreign = {**foreign, **FOREIGN_NAMES_PER_TICK}
            own, cure = foreign.get(name, ("", ""))
            close = get_close_matches(name, known, 1)
            if own not in known:
                cure = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
            problems.append(
                f"{model} has no parameter {name}, got {name}={describe(value)}; {cure}"
            )
        elif isinstance(value, str | bool | np.bool_) and name not in NO_NUMBERS:
            cure = "times are in seconds, 20 ms is 0.02" if name in TIMES else "give a float"
            problems.append(f"{model}.{name} must be a number, got {value!r}; {cure}")
    missing = [n for n, p in known.items() if p.default is p.empty and n not in named]
    if missing and not problems:
        problems.append(f"{model} needs {', '.join(missing)}; write {model}({missing[0]}=...)")
    return problems


def warn_of_long_times(model: object, dt: Seconds, level: int) -> None:
    """Warn about each time of a neuron that exceeds both 1 s and 1,000 ticks of ``dt`` [s].

    Warn too about a tick of 0.1 s or more that is longer than the membrane's time constant.

    level: number of calls between the user's line and this function.
    """
    for name in TIMES:
        value = getattr(model, name, None)
        if isinstance(value, float | np.ndarray):
            warn_of_long_time(f"{type(model).__name__}.{name}", value, dt, level + 1)
    tau = getattr(model, "tau", None)
    if isinstance(tau, float | np.ndarray):
        warn_of_long_tick(f"{type(model).__name__}.tau", tau, dt, level + 1)


def warn_of_long_time(what: str, time: Param, dt: Seconds, level: int) -> None:
    """Warn about one long time, named ``what``; infinity (no leak) is not long."""
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
    """Warn about a tick ``dt`` >= 0.1 s that is longer than a time constant, named ``what``.

    The tick is compared with the longest finite time constant.
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
    """Explain that a model's leak was computed for another tick than ``dt``; "" if it fits."""
    tick = getattr(model, TICK_OF_LEAK, None)
    if tick is None or math.isclose(tick, dt):
        return ""
    kind = type(model).__name__
    return (
        f"{kind}.with_tau made this {kind} for ticks of {tick:g} s: its leak is per tick, and "
        "another dt changes the time constant; use one dt for both"
    )
