"""Names that other libraries have for a model's parameters, for errors with a cure."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar

import numpy as np

from neuro.arguments import describe

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

NO_NUMBERS = ("reset", "surrogate")
TIMES = ("tau", "tau_syn", "refractory")


def explain_parameters(model: M) -> M:
    """Decorate a model: wrong parameters raise a TypeError with the cure.

    It lists parameters that are unknown, without a name, or text instead of a number; if there
    are none, it lists missing parameters.
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
            own, cure = FOREIGN_NAMES.get(name, ("", ""))
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
