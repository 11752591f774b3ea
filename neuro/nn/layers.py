"""Torch modules that run over time and hand their state in and out.

A temporal module maps (x, state) to (y, state), x with axes ``T B ...``; state None is rest.
Inside a Stack, any other torch module (Conv2d, Linear, BatchNorm2d, ...) acts on each tick: T
is folded into the batch, so a batch norm normalises over ticks too (tdBN, Zheng et al. 2021).
"""

from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from operator import itemgetter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from neuro.neurons import NOTHING, Around, Neuron, run
from neuro.neurons.fused_linear import Fed, Ready, suits
from neuro.neurons.normal_form import frozen
from neuro.nn.fold_time import hooked, on_ticks, same_every_tick, timeless
from neuro.ops.avg_pool import blocks
from neuro.ops.sparse_linear import Lay, laid
from neuro.units import Seconds, Ticks

DT = Seconds(1e-3)
IMAGES = 64  # that run through a Stack together on one thread: their maps stay in the cache
RUN = 2**18  # values of a sample in all ticks, which stay in the cache from tick to tick
VALUES = 2**18  # between two modules, of some ticks together, where no gradient is asked for
# Modules whose training sees, or draws for, all samples at once.
TOGETHER = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)


class Temporal(nn.Module):
    """A module whose forward is ``(x, state) -> (y, state)``."""


class Spiking(Temporal):
    """A population over time; its model's free parameters are trained.

    model: LIF, ALIF, LI or GatedLI. dt: length of a tick [s].
    """

    def __init__(self, model: Neuron, dt: Seconds = DT) -> None:
        super().__init__()
        self.model = model
        self.dt = dt
        for name, value in model.free().items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(
        self, x: Float[Tensor, "T B *X"], state: Any = None
    ) -> tuple[Float[Tensor, "T B *N"], Any]:
        """Return (spikes, or the membrane of a LI or GatedLI; next state)."""
        return self.among(NOTHING, x, state)

    def among(
        self, around: Around, x: Float[Tensor, "T B *X"], state: Any = None
    ) -> tuple[Float[Tensor, "_ B *P"], Any]:
        """Return the same with what stands around the population; no hook hears of it."""
        if x.dtype in (torch.float16, torch.bfloat16):  # from autocast; membranes are float32
            x = x.float()
        return run(self._bound(), x, self.dt, state, around)

    def frozen(self) -> Neuron:
        """Return the model with the present values of its parameters, as numbers."""
        model: Any = self._bound()
        numbers = {
            f.name: frozen(value)
            for f in fields(model)
            if isinstance(value := getattr(model, f.name), Tensor)
        }
        out: Neuron = replace(model, **numbers)
        return out

    def _bound(self) -> Neuron:
        return self.model.bind(dict(self.named_parameters()))

    def _apply(self, fn: Any, recurse: bool = True) -> "Spiking":
        """Move as asked, but leave the free parameters in the precision they are defined in.

        In another one the neuron would be another neuron: a logit in float32 does not give
        the leak back.
        """
        exact = {name: p.detach().clone() for name, p in self.named_parameters()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, p in self.named_parameters():
            if p.dtype != exact[name].dtype:
                p.data = exact[name].to(p.device)
                p.grad = None
        return self


class Delay(Temporal):
    """Return what came in ``ticks`` ticks ago; at the start, zeros."""

    def __init__(self, ticks: Ticks) -> None:
        super().__init__()
        if ticks < 1:
            raise ValueError(
                f"Delay.ticks must be >= 1, got {ticks}; leave the layer out for 0"
            )
        self.ticks = ticks

    def forward(
        self, x: Float[Tensor, "T B *N"], state: Float[Tensor, "D B *N"] | None = None
    ) -> tuple[Float[Tensor, "T B *N"], Float[Tensor, "D B *N"]]:
        """Return (delayed x, the last ``ticks`` ticks)."""
        past = x.new_zeros(self.ticks, *x.shape[1:]) if state is None else state
        both = torch.cat([past, x])
        return both[: len(x)], both[len(x) :]


class Recurrent(Temporal):
    """A population that also hears itself ``delay`` ticks later, through ``feedback``.

    feedback: a torch module that keeps the shape, for example ``nn.Linear(n, n)``.
    """

    def __init__(self, spiking: Spiking, feedback: nn.Module, delay: Ticks = Ticks(1)) -> None:
        super().__init__()
        if delay < 1:
            raise ValueError(f"Recurrent.delay must be >= 1 tick, got {delay}")
        if any(isinstance(m, Temporal) for m in feedback.modules()):
            raise ValueError(
                "Recurrent.feedback must keep no state, for example nn.Linear(n, n); for a "
                "loop through another population describe a Graph and train its Net"
            )
        self.spiking = spiking
        self.feedback = feedback
        self.delay = delay

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return (spikes, (population state, the last ``delay`` ticks of spikes))."""
        inner, past = (None, None) if state is None else state
        heard = list(x.new_zeros(self.delay, *x.shape[1:]) if past is None else past)
        for t, x_t in enumerate(x):
            s, inner = self.spiking((x_t + self.feedback(heard[t]))[None], inner)
            heard.append(s[0])
        return torch.stack(heard[self.delay :]), (inner, torch.stack(heard[-self.delay :]))


class Residual(Temporal):
    """body(x) + shortcut(x); without a shortcut, body(x) + x."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return (sum, states of both branches)."""
        left, right = (None, None) if state is None else state
        y, left = apply(self.body, x, left)
        z, right = apply(self.shortcut, x, right)
        return y + z, (left, right)


class Stack(Temporal):
    """Modules one after the other; keyword arguments give them names.

    >>> from neuro.neurons import LIF
    >>> net = Stack(fc=nn.Linear(4, 2), out=Spiking(LIF(tau=0.02)))
    >>> spikes, state = net(torch.ones(8, 1, 4))
    >>> spikes.shape
    torch.Size([8, 1, 2])
    """

    def __init__(self, *modules: nn.Module, **named: nn.Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            self.add_module(str(i), module)
        for name, module in named.items():
            self.add_module(name, module)

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return (output of the last module, the state of each)."""
        modules = [module for _, module in steps_of(self)]
        states = (None,) * len(modules) if state is None else tuple(state)
        ticks, first = len(x), 0
        if same_every_tick(x):  # for all samples together, and no gradient is wider than it
            x = x[:1]
            while first < len(modules) and timeless(modules[first]):
                x, first = on_ticks(modules[first], x), first + 1
        y, after = _in_parts(modules[first:], x, ticks, states[first:])
        return y, (*states[:first], *after)


def _in_parts(
    modules: list[nn.Module], x: Tensor, ticks: int, states: tuple[Any, ...]
) -> tuple[Tensor, tuple[Any, ...]]:
    """Run modules one after the other, with as many samples and ticks at a time as suit.

    x: all ticks, or one that stands for ``ticks`` of them. Where one thread of a CPU works, its
    cache holds what is between two modules; more threads would wait for each other at the end
    of each part, which costs more than the cache gives.
    """
    alone = x.device.type == "cpu" and torch.get_num_threads() == 1
    if not alone or not _apart(modules):
        return _in_turn(modules, x, ticks, states)
    learning, images = torch.is_grad_enabled(), x.dim() == 5
    whole = learning or ticks == 1 or (images and ticks * x[0, 0].numel() <= RUN)
    go = _in_turn if whole else _a_few_ticks
    many = IMAGES if learning else 4 * IMAGES  # of which less is kept
    some = max(1, many // (ticks if whole else 1)) if images else x.shape[1]
    if some >= x.shape[1]:
        return go(modules, x, ticks, states)
    outs, ends = [], []
    for k, part in enumerate(torch.split(x, some, 1)):
        own = tree_map_only(Tensor, itemgetter(slice(k * some, (k + 1) * some)), states)
        y, after = go(modules, part, ticks, own)
        outs.append(y)
        ends.append(after)
    joined = tree_map(lambda *c: None if c[0] is None else torch.cat(c), *ends)
    return torch.cat(outs, 1), joined


def _a_few_ticks(
    modules: list[nn.Module], x: Tensor, ticks: int, states: tuple[Any, ...]
) -> tuple[Tensor, tuple[Any, ...]]:
    """Do as :func:`_in_turn`, a few ticks at a time: nothing is kept for a way back.

    The first tick tells how many values there are between two modules.
    """
    lay = cache(laid)
    y, states = _in_turn(modules, x[:1], 1, states, Ready(lay))
    cells = (c for c in tree_leaves(states) if c is not None)
    many = max(1, VALUES // max(v.numel() for v in (x[0], y[0], *cells)))
    ready = Ready(lay, _fed(modules, states, lay))
    out = y.expand(ticks, *y.shape[1:]).clone()
    for first in range(1, ticks, many):
        now = slice(first, min(first + many, ticks))
        part = x[now] if len(x) == ticks else x
        out[now], states = _in_turn(modules, part, now.stop - first, states, ready)
    return out, states


def _fed(modules: list[nn.Module], states: tuple[Any, ...], lay: Lay) -> dict[int, Fed]:
    """Return linear layers and the populations they feed, by place."""
    found = {}
    for k, (linear, cells) in enumerate(pairwise(modules)):
        if type(linear) is nn.Linear and type(cells) is Spiking:
            model, state = cells._bound(), states[k + 1]
            if suits(linear, model, state) and not (hooked(linear) or hooked(cells)):
                found[k] = Fed(linear, model, state, cells.dt, lay)
    return found


def _in_turn(
    modules: list[nn.Module],
    x: Tensor,
    ticks: int,
    states: tuple[Any, ...],
    ready: Ready = Ready(),  # noqa: B008
) -> tuple[Tensor, tuple[Any, ...]]:
    """Run modules one after the other, a population together with what stands around it."""
    after: list[Any] = []
    while len(after) < len(modules):
        (module, *rest), state = modules[len(after) :], states[len(after)]
        if fed := ready.fed.get(len(after)):
            x = fed(x.expand(ticks, *x.shape[1:]))
            after += [None, fed.state]
        elif type(module) is Spiking and not hooked(module):
            pool = _blocks(rest)
            around = Around(Ticks(ticks if len(x) < ticks else 0), pool)
            x, state = module.among(around, x, state)
            after += [state] if pool is None else [state, None]
        else:
            x, state = apply(module, x.expand(ticks, *x.shape[1:]), state, ready.lay)
            after.append(state)
    return x, tuple(after)


def _blocks(modules: list[nn.Module]) -> tuple[int, int] | None:
    """Return the size of the blocks that the first module averages, if it does just this."""
    pool = modules[0] if modules else None
    return blocks(pool) if type(pool) is nn.AvgPool2d and not hooked(pool) else None


def _apart(modules: list[nn.Module]) -> bool:
    """Say whether samples do not depend on each other, and ticks only through states."""
    inner = [m for module in modules for m in module.modules()]
    return all(
        type(m) in (Spiking, Residual, Stack)  # their states have one row a sample
        if isinstance(m, Temporal)
        else not (m.training and isinstance(m, TOGETHER))
        for m in inner
    )


def steps_of(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the names and modules of a sequence; unlike children(), twice if used twice."""
    return [(name, child) for name, child in module._modules.items() if child is not None]


def apply(module: nn.Module, x: Tensor, state: Any, lay: Lay = laid) -> tuple[Tensor, Any]:
    """Run a temporal module over time, or any other module on each tick."""
    if isinstance(module, Temporal):
        y, state = module(x, state)
        return y, state
    return on_ticks(module, x, lay), None
