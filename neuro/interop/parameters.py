"""Converts the parameters of other libraries' neurons to those of a Graph's populations."""

from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from neuro.base.arguments import make_type_error
from neuro.base.units import Seconds
from neuro.interop.neuron_reader import CaptureError, NeuronNodes, NeuronReader
from neuro.neurons import LI, DiscreteLIF
from neuro.neurons.normal_form import as_array

Shape = tuple[int, ...]
Value = float | np.ndarray
_HARMLESS = ("__init__", "extra_repr")


class ParameterReader:
    """Reads parameters of one module for a population of ``shape``, and collects problems."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.problems: list[str] = []

    def __call__(self, what: str, value: Any) -> Value:
        """Return a parameter as one number, or as float64 that broadcasts to the population.

        If it does not broadcast, note a problem and return its first value.
        """
        numbers = as_array(value)
        if numbers.size == 1:
            return float(numbers.item())
        while numbers.ndim > len(self.shape) and numbers.shape[0] == 1:  # the batch axis
            numbers = numbers[0]
        try:
            fits = np.broadcast_shapes(numbers.shape, self.shape) == self.shape
        except ValueError:
            fits = False
        if fits:
            return numbers
        self.problems.append(
            f"{what} has shape {as_array(value).shape}, a population of {self.shape} needs one "
            "value or one for each neuron"
        )
        return float(numbers.ravel()[0])

    def make(self, neuron: Callable[[], DiscreteLIF]) -> DiscreteLIF:
        """Return a neuron, or raise a CaptureError that lists all problems."""
        if self.problems:
            raise CaptureError(self.problems)
        try:
            return neuron()
        except ValueError as error:
            raise CaptureError([str(error)]) from None

    def make_integrator(self, decay: Value, gain: Value, dt: float) -> LI:
        """Return an LI with this decay per tick, or raise a CaptureError with all problems."""
        lowest, highest = float(np.min(decay)), float(np.max(decay))
        if not 0 <= lowest <= highest <= 1:
            self.problems.append(
                f"a decay in a tick must be in [0, 1], got {lowest:g}; use a shorter dt or a "
                "longer time constant"
            )
        if self.problems:
            raise CaptureError(self.problems)
        return LI(tau=find_tau(decay, Seconds(dt)), gain=gain)

    def make_readout(
        self, decay: Value, gain: Value, decay_syn: Value, dt: float, emits: str
    ) -> NeuronNodes:
        """Return the LI of a membrane that never resets, after the LI of its current if any."""
        current = self.make_integrator(decay_syn, 1.0, dt)
        before = (("current", current),) if np.any(decay_syn) else ()
        membrane = self.make_integrator(decay, gain, dt)
        return NeuronNodes(node=membrane, emits=emits, before=before)


def find_tau(decay: Value, dt: Seconds) -> Value:
    """Return the time constant [s] for which ``decay`` = exp(-dt / tau).

    Without leak it is infinite. For a decay of 0, where nothing remains after a tick, it is dt
    / 1000, because exp(-1000) is 0 in float64.
    """
    with np.errstate(divide="ignore"):
        tau: Value = dt / np.minimum(np.abs(np.log(decay)), 1000.0)
    return tau


def show_parameter(value: Any) -> str:
    """Return a parameter as text; if neurons differ, as its range."""
    numbers = as_array(value)
    low, high = numbers.min(), numbers.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def describe(kind: str, parameters: Mapping[str, Any]) -> str:
    """Describe a module in words, with its parameters."""
    shown = [
        f"{name}={value if isinstance(value, bool | str | None) else show_parameter(value)}"
        for name, value in parameters.items()
    ]
    return f"{kind}({', '.join(shown)})"


def find_library_class(module: nn.Module, package: str) -> tuple[type | None, list[str]]:
    """Return the library class that a module is or extends, and the methods it changes.

    Args:
        module: any torch module.
        package: package of the library, such as "norse".

    Returns:
        The class, or None if there is none; and the methods, apart from ``__init__`` and
        ``extra_repr``, that classes between it and the module define.
    """
    changed: set[str] = set()
    for cls in type(module).__mro__:
        if cls.__module__.split(".")[0] == package:
            return cls, sorted(changed)
        changed |= {n for n, v in vars(cls).items() if callable(v) and n not in _HARMLESS}
    return None, []


def require_known(
    module: nn.Module,
    package: str,
    known: Container[str],
    reasons: Mapping[str, str],
    cure: str,
) -> str:
    """Return the name of the library class whose computation a module has.

    Args:
        module: the module.
        package: package of the library.
        known: names of classes that have a node.
        reasons: why other classes have none, by a part of their names.
        cure: cure for all of them.

    Raises:
        CaptureError: the class has no node, or the module changes what it computes.
    """
    kind, changed = find_library_class(module, package)
    name = (kind or type(module)).__name__
    if name not in known:
        why = next((f": {why}" for part, why in reasons.items() if part in name), "")
        own = ";" in why  # a cure of its own
        raise CaptureError([f"{name} has no node in a Graph{why}{f'; {cure}' * (not own)}"])
    if changed:
        raise CaptureError(
            [
                f"{', '.join(changed)} of its own, in a class that extends {name}: a node "
                f"holds what {name} computes; write the rest as modules before or behind it"
            ]
        )
    return name


def require_readable(network: nn.Module) -> None:
    """Raise an error unless every part of a network has values and runs in Python.

    Raises:
        TypeError: the network is not a module.
        CaptureError: lists the parts.
    """
    if not isinstance(network, nn.Module):
        raise make_type_error("module", "a torch module", network, "call your function first")
    problems, scripted = [], list[str]()
    for name, part in network.named_modules():
        kind, place = type(part).__name__, name.replace(".", "_") or "module"
        if any(map(is_lazy, [*part.parameters(recurse=False), *part.buffers(recurse=False)])):
            problems.append(f"{place}: {kind} has no weights yet; run it on a stimulus first")
        if isinstance(part, torch.jit.ScriptModule):
            scripted.append(place)
    if scripted:
        problems.append(
            f"{scripted[0]}: torch.jit runs it outside of Python, where nothing can be "
            "recorded; give the module that was scripted or traced"
        )
    if problems:
        raise CaptureError(problems)


def list_unknown(network: nn.Module, reader: NeuronReader) -> list[str]:
    """List why each neuron that has no node has none, with the neuron's name."""
    problems = []
    for name, module in network.named_modules():
        if reader.is_neuron(module):
            try:
                reader.require_known(module)
            except CaptureError as error:
                place = name.replace(".", "_") or "module"
                problems += [f"{place}: {problem}" for problem in error.problems]
    return problems
