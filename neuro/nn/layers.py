"""Torch modules that run over time: state in, state out.

A temporal module maps (x, state) to (y, state), where x has axes ``T B ...`` and the state None
means rest. Inside a Stack, any other torch module (Conv2d, Linear, BatchNorm2d, ...) acts on
each tick: T is folded into the batch, so a batch norm averages over ticks too (tdBN, Zheng et
al. 2021).
"""

import warnings
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.base.arguments import describe, make_type_error, require_ticks
from neuro.base.units import Ticks
from neuro.neurons import NO_CONTEXT
from neuro.nn.fold_time import (
    BATCH_NORMS,
    DROPOUTS,
    SAMPLE_WISE,
    WITH_WEIGHTS,
    has_hooks,
    keep_input,
    require_fit,
    require_on_ticks,
)
from neuro.nn.schedule import run_module, run_sequence
from neuro.nn.spiking import (
    DT,
    RESTART,
    LayerError,
    Spiking,
    Temporal,
    require_cells,
    require_module,
    require_number,
    require_one_dt,
    require_stimulus,
    split_state,
)

__all__ = ["DT", "Delay", "Recurrent", "Residual", "Spiking", "Stack", "Temporal", "list_steps"]


class Delay(Temporal):
    """Returns the input of ``ticks`` ticks ago, and zeros at the start."""

    def __init__(self, ticks: Ticks) -> None:
        super().__init__()
        require_ticks("Delay.ticks", ticks, "leave the layer out for 0")
        self.ticks = ticks

    def extra_repr(self) -> str:
        """Return the ticks."""
        return f"ticks={self.ticks}"

    def forward(
        self, x: Float[Tensor, "T B *N"], state: Float[Tensor, "D B *N"] | None = None
    ) -> tuple[Float[Tensor, "T B *N"], Float[Tensor, "D B *N"]]:
        """Return (delayed x, the last ``ticks`` ticks)."""
        both = torch.cat([start_past(self, x, self.ticks, state), x])
        return both[: len(x)], both[len(x) :]


def start_past(layer: nn.Module, x: Tensor, ticks: Ticks, past: Any) -> Tensor:
    """Return the ticks before ``x`` (zeros for None); raise a LayerError if they do not fit."""
    shape = (ticks, *x.shape[1:])
    if past is None:
        return x.new_zeros(shape)
    require_cells(layer, {"past": past}, {"past": shape})
    out: Tensor = past
    return out


class Recurrent(Temporal):
    """A population whose spikes return ``delay`` ticks later, through ``feedback``.

    In a Graph, :func:`neuro.nn.trace.trace` names the population NAME_spiking and the feedback
    NAME_feedback, where NAME is the name of this layer.

    spiking: the population.
    feedback: a torch module that keeps the shape, for example ``nn.Linear(n, n)``; its bias
        acts at every tick.
    delay: number of ticks; the default 1 is the next tick.
    """

    def __init__(self, spiking: Spiking, feedback: nn.Module, delay: Ticks = Ticks(1)) -> None:
        super().__init__()
        if not isinstance(spiking, Spiking):
            cure = "Spiking(LIF(tau=0.02)) makes one of a neuron"
            raise make_type_error("Recurrent.spiking", "a Spiking", spiking, cure)
        require_module("Recurrent.feedback", feedback)
        require_ticks("Recurrent.delay", delay, "1 acts in the next tick")
        if any(isinstance(m, Temporal) for m in feedback.modules()):
            raise ValueError(
                "Recurrent.feedback must have no state, for example nn.Linear(n, n); for a "
                "loop through another population describe a Graph and train its Net"
            )
        require_on_ticks("Recurrent.feedback", feedback)
        self.spiking = spiking
        self.feedback = feedback
        self.delay = delay

    def extra_repr(self) -> str:
        """Return the delay."""
        return f"delay={self.delay}"

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return (spikes, (population state, the last ``delay`` ticks of spikes))."""
        require_stimulus(self, x)
        require_fit(self.feedback, x)
        inner, past = split_state(self, state, 2)
        spikes = list(start_past(self, x, self.delay, past))
        self.spiking.require_state(x, inner)
        plain = type(self.spiking) is Spiking and not has_hooks(self.spiking)
        run = partial(self.spiking.run_in_context, NO_CONTEXT) if plain else self.spiking
        for t, x_t in enumerate(x):
            back = self.feedback(keep_input(self.feedback, spikes[t]))
            s, inner = run((x_t + back)[None], inner)
            spikes.append(s[0])
        require_number(self.spiking, inner)
        return torch.stack(spikes[self.delay :]), (inner, torch.stack(spikes[-self.delay :]))


class Residual(Temporal):
    """body(x) + shortcut(x); without a shortcut, body(x) + x."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        require_on_ticks("Residual.body", body)
        if shortcut is not None:
            require_on_ticks("Residual.shortcut", shortcut)
        self.body = body
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        require_one_dt(self)

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return (sum, states of both branches)."""
        left, right = split_state(self, state, 2)
        y, left = run_module(self.body, x, left)
        z, right = run_module(self.shortcut, x, right)
        return y + z, (left, right)


class Stack(Temporal):
    """Modules that run one after the other; keyword arguments name them.

    >>> from neuro.neurons import LIF
    >>> net = Stack(fc=nn.Linear(4, 2), out=Spiking(LIF(tau=0.02)))
    >>> spikes, state = net(torch.ones(8, 1, 4))
    >>> spikes.shape
    torch.Size([8, 1, 2])
    """

    def __init__(self, *modules: nn.Module, **named: nn.Module) -> None:
        super().__init__()
        for name, module in [*((str(i), m) for i, m in enumerate(modules)), *named.items()]:
            if isinstance(module, list | tuple):
                cure = "for a list use Stack(*modules)"
                raise make_type_error(f"{name} of a Stack", "a torch module", module, cure)
            require_on_ticks(f"{name} of a Stack", module)
            if name in self._modules:
                raise ValueError(f"{name} names two modules of a Stack; rename one")
            if "." in name or hasattr(self, name):
                what = "holds a dot" if "." in name else "is an attribute of torch's modules"
                raise ValueError(
                    f"a module of a Stack cannot have the name {name!r}, which {what}; rename "
                    f"it, e.g. {name.replace('.', '_')}{'' if '.' in name else '_layer'}"
                )
            self.add_module(name, module)
        require_one_dt(self)
        _warn_of_maximum(self)

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return (output of the last module, the state of each).

        Raises:
            TypeError: ``x`` is not a tensor.
            LayerError: a layer cannot run on its input, because the input has no ticks, a wrong
                shape or precision, or NaN; or the state does not fit the Stack.
        """
        modules = [module for _, module in list_steps(self)]
        try:
            require_stimulus(self, x)
            states = split_state(self, state, len(modules))
            for module, own in zip(modules, states, strict=True):
                if own is not None and not isinstance(module, Temporal):
                    what = f"has no state, got {describe(own)}"
                    raise LayerError(module, f"{what}; {RESTART}")
            y, after = run_sequence(modules, x, states, INDEPENDENT)
            for module, cells in zip(modules, after, strict=True):
                if isinstance(module, Spiking):
                    require_number(module, cells)
        except LayerError as error:
            error.find_name(self.named_modules())
            raise
        return y, after


def _warn_of_maximum(stack: Stack) -> None:
    """Warn about a maximum between weights and neurons, which no node of a Graph computes.

    A network that has another layer without a node gets no warning: it stays on torch anyway.
    """
    plain = (m for m in stack.modules() if not isinstance(m, Temporal))
    if not all(type(m) in SAMPLE_WISE | BATCH_NORMS | DROPOUTS for m in plain):
        return
    weighted, pool = False, ""
    for name, module in _list_inner_steps(stack):
        if isinstance(module, Temporal):
            if pool:
                warnings.warn(
                    f"{pool} of a Stack: a MaxPool2d before neurons has no node in a Graph: "
                    "this network can be trained, but not traced; put the pool behind the "
                    "neuron (conv, Spiking, MaxPool2d), or use AvgPool2d; to train only: "
                    'warnings.filterwarnings("ignore", ".* MaxPool2d before neurons")',
                    stacklevel=3,
                )
                return
            weighted = False
        elif type(module) in WITH_WEIGHTS:
            weighted = True
        elif type(module) is nn.MaxPool2d and weighted:
            pool = name


def _list_inner_steps(module: nn.Module, before: str = "") -> list[tuple[str, nn.Module]]:
    """Return the steps of a sequence; a Sequential among them is replaced by its steps."""
    steps = []
    for name, child in list_steps(module):
        if type(child) is nn.Sequential:
            steps += _list_inner_steps(child, f"{before}{name}.")
        else:
            steps.append((before + name, child))
    return steps


# Their samples are independent; their ticks depend on each other only through states that have
# one row per sample.
INDEPENDENT = (Spiking, Residual, Stack)


def list_steps(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return names and modules of a sequence; unlike children(), it keeps repetitions."""
    return [(name, child) for name, child in module._modules.items() if child is not None]
