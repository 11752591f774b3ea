"""Cores of sequence mixers, each fast form beside its slow twin, with random arguments."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from neuro.mixers.delta import run_delta, run_delta_recurrence
from neuro.mixers.dplr import _require_kda_shapes, run_dplr, run_dplr_recurrence, run_kda
from neuro.mixers.gla import run_gla, run_gla_recurrence
from neuro.mixers.scan import run_scan, run_scan_recurrence
from neuro.mixers.softmax import KeysValues, run_softmax, run_softmax_recurrence

Draw = Callable[..., Tensor]


class Core(NamedTuple):
    """A core: its two forms, and arguments for so many tokens; the last one is the state."""

    fast: Callable[..., Any]
    slow: Callable[..., Any]
    make: Callable[[int, float, Draw], tuple[Tensor, ...]]


def log_decay(draw: Draw, strength: float, *shape: int) -> Tensor:
    """Return logarithms of decays between 0 and -strength, some weak ones among them."""
    u = torch.sigmoid(3 * draw(*shape))
    return -strength * u**2


def scan(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    shape = (tokens, 2, 3, 2)
    return log_decay(draw, strength, *shape).exp(), draw(*shape), draw(*shape[1:])


def gla(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    q, k, v = draw(tokens, 2, 3, 4), draw(tokens, 2, 3, 4), draw(tokens, 2, 3, 5)
    return q, k, v, log_decay(draw, strength, tokens, 2, 3, 4), draw(2, 3, 4, 5)


def one_decay(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    q, k, v, _, s = gla(tokens, strength, draw)
    return q, k, v, log_decay(draw, strength, tokens, 2, 3, 1), s


def with_bonus(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    *rows, s = gla(tokens, strength, draw)
    return *rows, draw(3, 4), s


def delta(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    q, k, v, g, s = one_decay(tokens, strength, draw)
    beta = 2 * torch.sigmoid(draw(tokens, 2, 3))
    return q, F.normalize(k, dim=-1), v, beta, g.squeeze(-1), s


def dplr(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    q, k, v, g, s = gla(tokens, strength, draw)
    kk, rate = F.normalize(draw(*k.shape), dim=-1), 2 * torch.sigmoid(draw(*k.shape))
    return q, k, v, g, -kk, rate * kk, s


def kda(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    q, k, v, beta, _, s = delta(tokens, strength, draw)
    return q, k, v, beta, log_decay(draw, strength, *k.shape), s


def softmax(tokens: int, strength: float, draw: Draw) -> tuple[Tensor, ...]:
    q, k, v, *_ = gla(tokens, strength, draw)
    return q, k, v, draw(6, 2, 3, 4), draw(6, 2, 3, 5)


def run_kda_recurrence(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (y, state) of Kimi Delta Attention as its paper has it: decay, then correct."""
    _require_kda_shapes(q, k, v, beta, g, s)
    out = []
    for t in range(len(q)):
        s = g[t].exp().unsqueeze(-1) * s
        held = (k[t].unsqueeze(-1) * s).sum(-2)
        new = beta[t].unsqueeze(-1) * (v[t] - held)
        s = s + k[t].unsqueeze(-1) * new.unsqueeze(-2)
        out.append((q[t].unsqueeze(-1) * s).sum(-2))
    return torch.stack(out), s


def _bonus_before_state(run: Callable[..., Any]) -> Callable[..., Any]:
    return lambda q, k, v, g, u, s: run(q, k, v, g, s, u)


def _two_to_one(run: Callable[..., Any]) -> Callable[..., Any]:
    def both(q: Tensor, k: Tensor, v: Tensor, *past: Tensor) -> tuple[Tensor, Tensor]:
        y, state = run(q, k, v, KeysValues(*past))
        return y, torch.cat(state, -1)

    return both


CORES = {
    "scan": Core(run_scan, run_scan_recurrence, scan),
    "gla": Core(run_gla, run_gla_recurrence, gla),
    "gla, one decay a head": Core(run_gla, run_gla_recurrence, one_decay),
    "gla with a bonus": Core(
        _bonus_before_state(run_gla), _bonus_before_state(run_gla_recurrence), with_bonus
    ),
    "delta": Core(run_delta, run_delta_recurrence, delta),
    "dplr": Core(run_dplr, run_dplr_recurrence, dplr),
    "kda": Core(run_kda, run_kda_recurrence, kda),
    "softmax": Core(_two_to_one(run_softmax), _two_to_one(run_softmax_recurrence), softmax),
}


def draw_from(seed: int) -> Draw:
    """Return a function that draws normal numbers of a shape, in float64."""
    rng = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


def run_with_gradients(run: Callable[..., Any], given: tuple[Tensor, ...]) -> list[Tensor]:
    """Return output, state, and the gradients of a function of both, in float64."""
    leaves = [x.detach().requires_grad_() for x in given]
    y, state = run(*leaves)
    value = (y.double().sin().sum() + state.double().cos().sum()).to(y.dtype)
    grads = torch.autograd.grad(value, leaves)
    return [x.detach().double() for x in (y, state, *grads)]
