"""A population as a torch module that runs over time: state in, state out.

Axes: T ticks, B batch, ``*N`` the population's shape, ``*X`` the input's shape, ``*P`` the
output's shape (``*N``, or the shape after a pool).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from neuro.base.arguments import describe, make_type_error, require_dt
from neuro.base.text import format_model
from neuro.base.units import Seconds
from neuro.neurons import (
    NO_CONTEXT,
    FusedContext,
    Neuron,
    find_misfit,
    is_neuron,
    run_population,
)
from neuro.neurons.normal_form import to_number
from neuro.neurons.parameter_names import describe_other_dt, warn_of_long_times

DT = Seconds(1e-3)
RESTART = "continue with the samples and model of the last run, or start at rest: state=None"


class Temporal(nn.Module):
    """A module whose forward is ``(x, state) -> (y, state)``."""


class LayerError(ValueError):
    """A layer cannot run on its input. name: the layer's name within the outermost module."""

    def __init__(self, layer: nn.Module, problem: str) -> None:
        super().__init__(problem)
        self.layer = layer
        self.name = ""

    def find_name(self, modules: Iterable[tuple[str, nn.Module]]) -> None:
        """Set the name of the layer, if it is among these modules."""
        self.name = next((n for n, m in modules if m is self.layer), self.name)

    def __str__(self) -> str:
        return f"{self.name or type(self.layer).__name__}: {self.args[0]}"


class NotANumber(LayerError, FloatingPointError):
    """A membrane is NaN."""


def require_module(what: str, module: object) -> None:
    """Raise a TypeError unless a value is a torch module."""
    if not isinstance(module, nn.Module):
        cure = "Spiking(LIF(tau=0.02)) makes one of a neuron"
        raise make_type_error(what, "a torch module", module, cure)


def require_stimulus(layer: nn.Module, x: Any) -> None:
    """Raise a TypeError or LayerError unless ``x`` is a tensor T B ... with T >= 1."""
    if not isinstance(x, Tensor):
        cure = "torch.from_numpy(array).float(); for Events, array = neuro.to_raster(events)"
        raise make_type_error(f"x of {type(layer).__name__}", "a tensor", x, cure)
    if x.dim() < 2 or not len(x):
        raise LayerError(
            layer,
            "x must have axes (ticks, samples, ...) and at least one tick, got shape "
            f"{tuple(x.shape)}",
        )


def require_floats(layer: nn.Module, x: Tensor) -> None:
    """Raise a LayerError unless ``x`` holds floating-point numbers.

    As an integer, a decay would be 0 or 1.
    """
    if not x.is_floating_point():
        raise LayerError(layer, f"x must hold floating-point numbers, got {x.dtype}; x.float()")


def require_one_dt(layer: nn.Module) -> None:
    """Raise a ValueError if populations inside a layer have ticks of different lengths."""
    dts = {float(m.dt): n for n, m in layer.named_modules() if isinstance(m, Spiking)}
    if len(dts) > 1:
        text = ", ".join(f"{name} has {dt:g} s" for dt, name in dts.items())
        raise ValueError(
            f"the layers of a {type(layer).__name__} have different dt: {text}; use one dt "
            "for all"
        )


def split_state(layer: nn.Module, state: Any, parts: int) -> tuple[Any, ...]:
    """Return the parts of a state (None if at rest); raise a LayerError for a wrong number."""
    if state is None:
        return (None,) * parts
    if type(state) not in (tuple, list) or len(state) != parts:
        actual = f"{len(state)}" if type(state) is tuple else describe(state)
        raise LayerError(layer, f"its state is a tuple of {parts}, got {actual}; {RESTART}")
    return tuple(state)


def require_cells(layer: nn.Module, state: Mapping[str, Any], need: Mapping[str, Any]) -> None:
    """Raise a LayerError unless a state's tensors have these shapes; None means no tensor."""
    for name, shape in need.items():
        have = None if state[name] is None else tuple(getattr(state[name], "shape", ()))
        if have != shape:
            what = f"its state has {name} of shape {have}, x needs {shape}"
            raise LayerError(layer, f"{what}; {RESTART}")


def require_number(layer: nn.Module, state: Any) -> None:
    """Raise a NotANumber if a membrane or a current is NaN. state: the state after a run.

    A NaN stays in the membrane and never reaches the threshold: without this check the
    population would merely be silent. An input that a refractory period keeps out of the
    membrane is not checked. With several processes no error is raised, because the other
    processes would wait for this one; :func:`neuro.training.fit` checks the gradients of all.
    """
    if torch.compiler.is_compiling() or state.v.device.type == "meta":
        return
    cells = [c.detach() for c in (state.v, getattr(state, "i", None)) if c is not None]
    # One sum per run costs almost nothing.
    if all(math.isfinite(c.sum().item()) for c in cells):
        return
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return
    if not any(bool(c.isnan().any()) for c in cells):
        return
    raise NotANumber(
        layer,
        "its membrane is NaN: its input, its state or its parameters hold NaN or infinity; "
        "look for them in the data and weights, or lower the learning rate",
    )


class Spiking(Temporal):
    """A population over time, whose model's free parameters are trained.

    model: a neuron model: LIF, ALIF, LI, GatedLI, ...
    dt: length of a tick [s].
    """

    def __init__(self, model: Neuron, dt: Seconds = DT) -> None:
        super().__init__()
        if not is_neuron(model):
            cure = "write it with brackets, as LIF(tau=0.02)"
            if not isinstance(model, type) or issubclass(model, nn.Module):
                cure = "put a torch layer before it: Stack(layer, Spiking(LIF(tau=0.02)))"
            raise make_type_error("Spiking.model", "a neuron", model, cure)
        require_dt("Spiking.dt", dt)
        if problem := describe_other_dt(model, dt):
            raise ValueError(f"Spiking.dt is {dt:g} s, and {problem}")
        warn_of_long_times(model, dt, level=2)
        self.model = model
        self.dt = dt
        self.varied = any(np.ndim(getattr(model, f.name)) for f in fields(model))
        free = model.free()
        self.trained = tuple(free)  # names of the trained parameters
        for name, value in free.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(
        self, x: Float[Tensor, "T B *X"], state: Any = None
    ) -> tuple[Float[Tensor, "T B *N"], Any]:
        """Return (spikes, or the membrane of an LI or GatedLI; next state).

        Raises:
            TypeError: ``x`` is not a tensor.
            LayerError: ``x`` has no ticks, does not hold floating-point numbers, or holds NaN;
                or the state does not fit the model or the samples.
        """
        require_stimulus(self, x)
        self.require_state(x, state)
        y, after = self.run_in_context(NO_CONTEXT, x, state)
        require_number(self, after)
        return y, after

    def extra_repr(self) -> str:
        """Return the initial model, dt, and the names of the trained parameters."""
        names = " and ".join(self.trained)
        trained = f", trains {names} from there" if names else ""
        return f"{format_model(self.model)}, dt={self.dt:g}{trained}"

    def require_state(self, x: Float[Tensor, "T B *X"], state: Any) -> None:
        """Raise a LayerError unless a state fits ``x``; None means rest."""
        if state is None and not self.varied:
            return
        rest: Any = self.model.initial(x[0, :0])
        misfit = find_misfit(self.model, tuple(rest.v.shape[1:])) if self.varied else ""
        if misfit:
            raise LayerError(self, misfit)
        if state is None:
            return
        if type(state) is not type(rest):
            what = f"takes a state of type {type(rest).__name__}, got {describe(state)}"
            raise LayerError(self, f"{what}; {RESTART}")
        need = {
            name: None if own is None else (x.shape[1], *own.shape[1:])
            for name, own in rest._asdict().items()
        }
        require_cells(self, state._asdict(), need)

    def run_in_context(
        self, context: FusedContext, x: Float[Tensor, "T B *X"], state: Any = None
    ) -> tuple[Float[Tensor, "_ B *P"], Any]:
        """Run as :meth:`forward`, together with the operations before and after the population.

        Hooks do not run, and state and membrane are not checked.
        """
        require_floats(self, x)
        if x.dtype in (torch.float16, torch.bfloat16):  # from autocast; membranes are float32
            x = x.float()
        return run_population(self.bound(), x, self.dt, state, context)

    def frozen(self) -> Neuron:
        """Return the model with the current values of its parameters, as numbers."""
        model: Any = self.bound()
        numbers = {
            f.name: to_number(f.name, value)
            for f in fields(model)
            if isinstance(value := getattr(model, f.name), Tensor)
        }
        out: Neuron = replace(model, **numbers)
        return out

    def bound(self) -> Neuron:
        """Return the model with its parameters as tensors that keep gradients."""
        return self.model.bind({name: getattr(self, name) for name in self.trained})

    def _apply(self, fn: Any, recurse: bool = True) -> "Spiking":
        """Move the module, but keep a leak's logit in float64, so that the leak stays exact."""
        exact = {name: p.detach().clone() for name, p in self.named_parameters()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, p in self.named_parameters():
            if p.dtype != exact[name].dtype:
                p.data = exact[name].to(p.device)
                p.grad = None
        return self
