"""Code that a user would write without a library: a function of one tick in plain torch.

It runs as it is, or compiled by ``torch.compile`` (inductor's C++), which needs a C++ compiler.
The network is that of :mod:`tasks.bench.peers.subjects_training`.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from tasks.bench.harness import Run
from tasks.bench.peers.subjects_training import (
    CELLS,
    TAU,
    Layer,
    Work,
    count_constant_layers,
    timed,
)


class _Spike(torch.autograd.Function):
    """A step function with the derivative of arctan(pi x) / pi."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        y: Tensor = (x >= 0).to(x.dtype)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = grads[0] / (1 + (math.pi * x) ** 2)
        return gradient


class _Tick(nn.Module):
    """Layers at one tick. states: membranes of its neurons, in layer order; 0.0 at first."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Identity() if not isinstance(layer, nn.Module) else layer for layer in layers
        )
        self.fires = [layer == CELLS for layer in layers]

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        after: list[Tensor] = []
        for layer, fires in zip(self.layers, self.fires, strict=True):
            x = layer(x)
            if fires:
                v = states[len(after)] * (1 - 1 / TAU) + x
                x = _Spike.apply(v - 1)  # type: ignore[no-untyped-call]
                after.append(v * (1 - x.detach()))
        return x, after


def compiled(work: Work, threads: int, backend: str = "inductor") -> Run:
    """Return a loop over ticks that calls compiled code, without inductor's cache.

    backend: of ``torch.compile``.
    """
    torch._inductor.config.force_disable_caches = True
    return plain(work, threads, backend)


def plain(work: Work, threads: int, backend: str | None = None) -> Run:
    """Return a loop over ticks. backend: of ``torch.compile``; None: plain torch."""
    layers = work.layers()
    once = count_constant_layers(work, layers)
    first = nn.Sequential(*(x for x in layers[:once] if isinstance(x, nn.Module)))
    rest = _Tick(layers[once:])
    tick: Any = rest
    if backend is not None:
        tick = torch.compile(rest, fullgraph=True, dynamic=False, backend=backend)

    def forward(x: Tensor) -> Tensor:
        inputs = [first(x[0])] * len(x) if once else list(x)
        states = [torch.zeros(())] * sum(rest.fires)
        out = []
        for now in inputs:
            y, states = tick(now, states)
            out.append(y)
        return torch.stack(out)

    before = 2 if backend is None else work.batch  # code is compiled for one batch size
    return timed(work, threads, nn.ModuleList([first, rest]), forward, before=before)
