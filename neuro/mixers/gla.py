"""Gated linear attention: a matrix of associations that decays channel by channel.

    S[t] = diag(exp g[t]) S[t-1] + k[t] v[t]^T        y[t] = q[t] S[t]
    with a bonus u:      y[t] = q[t] (S[t-1] + diag(u) k[t] v[t]^T)

Without a bonus it is the core of RetNet (with constant g), GLA (Yang et al. 2024, arXiv
2312.06635) and HGRN-2. With a bonus, a weight for the current token only, it is the core of
RWKV-5 and 6 (Peng et al. 2024, arXiv 2404.05892). Callers scale q, for example by 1 / sqrt(K).
Axes: T tokens, B samples, H heads, K channels of keys, V of values. g: the logarithm of the
decay, <= 0, with K channels or 1. state: S before the first token; None is zeros.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.mixers.arguments import (
    as_exact,
    clip_log_decay,
    require_heads,
    require_shape,
    without_autocast,
)
from neuro.mixers.chunks import MAX_LOG_DECAY, can_run_chunks, run_in_chunks
from neuro.mixers.kernels import can_run, gla_steps

CHUNK = 32  # tokens; 64 is a tenth faster for weak decays, and half as fast for strong ones


def run_gla_recurrence(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    g: Float[Tensor, "T B H #K"],
    state: Float[Tensor, "B H K V"] | None = None,
    bonus: Float[Tensor, "H K"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return (y, state after the last token), token by token: the reference for run_gla."""
    _require_shapes(q, k, v, g, state, bonus)
    q, k, v, g = as_exact(q, k, v, g)
    s = start_state(k, v, state)
    decay, out = g.exp(), []
    for t in range(len(q)):
        new = k[t].unsqueeze(-1) * v[t].unsqueeze(-2)
        after = decay[t].unsqueeze(-1) * s + new
        read = after if bonus is None else s + bonus.unsqueeze(-1) * new
        out.append((q[t].unsqueeze(-1) * read).sum(-2))
        s = after
    return torch.stack(out), s


def run_gla(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    g: Float[Tensor, "T B H #K"],
    state: Float[Tensor, "B H K V"] | None = None,
    bonus: Float[Tensor, "H K"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return (y, state after the last token), in chunks, or in a compiled loop for few tokens.

    This is exact for decays of any strength: exponents are positive only within a block, where
    their sum is at most :data:`neuro.mixers.chunks.MAX_LOG_DECAY`. It computes in float32 for
    16-bit inputs. On a CPU there is no second derivative.
    """
    _require_shapes(q, k, v, g, state, bonus)
    q, k, v, g = as_exact(q, k, v, g)
    s = start_state(k, v, state)
    if can_run(q, k, v, g, s, bonus):
        return gla_steps(q, k, v, g, s, bonus)
    compiled = can_run_chunks(q, k, v, g, s)
    if compiled and bonus is None:
        return run_in_chunks(q, k, v, g, s)
    now = q * k if bonus is None else q * k * bonus
    now = now.sum(-1, keepdim=True) * v
    if compiled:
        # Tokens read the state before their own: what the state takes comes a token later.
        q = F.pad(q, (0, 0, 0, 0, 0, 0, 0, 1))
        k, v, g = (F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0)) for x in (k, v, g))
        y, end = run_in_chunks(q, k, v, g, s)
        return y[:-1] + now, end
    if bonus is None:
        q = q * g.exp()
    q, k, g = (split_chunks(x, CHUNK) for x in (q, k, clip_log_decay(g)))
    rows = q, k, split_chunks(v, CHUNK), g
    with without_autocast(v):
        y, end = _run_chunks(*rows, s.flatten(0, 1))
    return join_chunks(y, v) + now, end.view(s.shape)


def start_state(k: Tensor, v: Tensor, state: Tensor | None) -> Float[Tensor, "B H K V"]:
    """Return the state before the first token; the default is zeros."""
    return v.new_zeros(*k.shape[1:], v.shape[-1]) if state is None else state.to(v.dtype)


def _require_shapes(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: Tensor | None, bonus: Tensor | None
) -> None:
    tokens, samples, heads, keys, values = require_heads("gla", q, k, v)
    row = tokens, samples, heads
    require_shape("gla", "g", g, (*row, keys), (*row, 1))
    require_shape("gla", "state", state, (samples, heads, keys, values))
    require_shape("gla", "bonus", bonus, (heads, keys))


def split_chunks(x: Tensor, chunk: int) -> Tensor:
    """Split x (T B H K) into chunks (N, B H, chunk, K); zeros follow the last token."""
    chunks = -(-len(x) // chunk)
    x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, chunks * chunk - len(x)))
    return torch.unflatten(x, 0, (chunks, chunk)).permute(0, 2, 3, 1, 4).flatten(1, 2)


def join_chunks(y: Tensor, like: Tensor) -> Tensor:
    """Join chunks of y (N, B H, chunk, V) to the axes of ``like`` (T B H V)."""
    tokens, *samples_and_heads, _ = like.shape
    y = torch.unflatten(y, 1, samples_and_heads).permute(0, 3, 1, 2, 4)
    return y.flatten(0, 1)[:tokens]


def _run_chunks(q: Tensor, k: Tensor, v: Tensor, g: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each token reads from earlier tokens, and the last state, using chunks.

    The loop joins blocks to blocks of twice the size until a block is a chunk. For each token
    of a block it knows the sums of g ``since`` the start of the block, the rest ``left`` until
    its end, and the ``total``. The second of two blocks reads the first with q exp(since) and k
    exp(left). No sum is a difference of two others, so strong decays do not hide weak ones.
    """
    # The largest power of two of tokens whose blocks keep the sum of g within the limit;
    # 1 on device "meta", which has no values.
    size, sums = 1, g.detach()
    while not g.is_meta and size < g.shape[2]:
        sums = torch.unflatten(sums, 2, (-1, 2)).sum(3)
        if not bool(sums.abs().max() <= MAX_LOG_DECAY):
            break
        size *= 2
    g = torch.unflatten(g, 2, (-1, size))
    upto = g.cumsum(3)
    since, total = upto - g, upto[..., -1:, :]
    left, y = total - upto, torch.unflatten(v, 2, (-1, size))
    if size > 1:
        middle = total / 2
        scores = _multiply(q, since - middle, size) @ _multiply(k, middle - upto, size).mT
        above = torch.ones(size, size, dtype=torch.bool, device=q.device).triu()
        y = scores.masked_fill(above, 0) @ y
    else:
        y = torch.zeros_like(y)
    while size < q.shape[2]:
        (first, second), (later, latest) = _halves(since), _halves(left)
        scores = _multiply(q, second, 2 * size, 1) @ _multiply(k, later, 2 * size, 0).mT
        old, new = _halves(y)
        y = _join(old, new + scores @ torch.unflatten(v, 2, (-1, 2, size))[:, :, :, 0])
        total_first, total_second = _halves(total)
        since = _join(first, second + total_first)
        left = _join(later + total_second, latest)
        total = total_first + total_second
        size *= 2
    states = []
    decay = total[:, :, 0].exp().mT
    for keep, new in zip(decay, (k * left[:, :, 0].exp()).mT @ v, strict=True):
        states.append(s)
        s = keep * s + new
    return y[:, :, 0] + (q * since[:, :, 0].exp()) @ torch.stack(states), s


def _multiply(x: Tensor, log: Tensor, size: int, half: int | None = None) -> Tensor:
    """Return x exp(log) in blocks of ``size`` tokens, or in one half of each block."""
    if half is None:
        return torch.unflatten(x, 2, (-1, size)) * log.exp()
    return torch.unflatten(x, 2, (-1, 2, size // 2))[:, :, :, half] * log.exp()


def _halves(x: Tensor) -> Any:
    """Return the first and the second block of each pair (axis 2)."""
    return torch.unflatten(x, 2, (-1, 2)).unbind(3)


def _join(first: Tensor, second: Tensor) -> Tensor:
    """Join pairs of blocks to blocks of twice the tokens."""
    return torch.cat([first, second], 3)
