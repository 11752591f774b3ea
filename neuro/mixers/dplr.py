"""Delta rule with a decay per channel: the state changes by a diagonal plus a matrix of rank 1.

    S[t] = (diag(exp g[t]) + b[t] a[t]^T) S[t-1] + k[t] v[t]^T        y[t] = q[t] S[t]

This is the core of RWKV-7 (Peng et al. 2025, arXiv 2503.14456): a is the negated key that the
state forgets, b that key times a learning rate per channel. With a = exp(g) k and b = -beta k,
and beta k written in place of k, it is Kimi Delta Attention (arXiv 2510.26692), and with one
decay per head the gated delta rule (:mod:`neuro.mixers.delta`), which has a faster form.
Axes: T tokens, B samples, H heads, K channels of keys, V of values; C tokens per chunk, N
chunks, M samples times heads. g: the logarithm of the decay, <= 0. state: S before the first
token; None is zeros.
"""

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
from neuro.mixers.gla import join_chunks, split_chunks, start_state
from neuro.mixers.kernels import can_run, dplr_steps

CHUNK = 32  # tokens; 16 is a tenth slower for weak decays, and a tenth faster for strong ones


def run_dplr_recurrence(  # noqa: PLR0913 - the arguments of the core
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    g: Float[Tensor, "T B H K"],
    a: Float[Tensor, "T B H K"],
    b: Float[Tensor, "T B H K"],
    state: Float[Tensor, "B H K V"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return (y, state after the last token), token by token: the reference for run_dplr."""
    _require_shapes(q, k, v, g, a, b, state)
    q, k, v, g, a, b = as_exact(q, k, v, g, a, b)
    s = start_state(k, v, state)
    decay, out = g.exp(), []
    for t in range(len(q)):
        found = (a[t].unsqueeze(-1) * s).sum(-2, keepdim=True)
        new = b[t].unsqueeze(-1) * found + k[t].unsqueeze(-1) * v[t].unsqueeze(-2)
        s = decay[t].unsqueeze(-1) * s + new
        out.append((q[t].unsqueeze(-1) * s).sum(-2))
    return torch.stack(out), s


def run_dplr(  # noqa: PLR0913 - the arguments of the core
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    g: Float[Tensor, "T B H K"],
    a: Float[Tensor, "T B H K"],
    b: Float[Tensor, "T B H K"],
    state: Float[Tensor, "B H K V"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return (y, state after the last token), in chunks, or in a compiled loop for few tokens.

    Within a chunk, what all tokens find, u[t] = a[t]^T S[t-1], solves one triangular system.
    With <x[t], z[s]> = sum over channels of x[t] z[s] exp(g[s+1] + ... + g[t-1]) and the sum
    since[t] = g[1] + ... + g[t-1]:

        u[t] - sum_{s<t} <a[t], b[s]> u[s] = sum_{s<t} <a[t], k[s]> v[s] + a[t] exp(since[t]) S

    This is exact for decays of any strength: exponents are positive only within a block, where
    their sum is at most :data:`neuro.mixers.gla.MAX_LOG_DECAY`. It computes in float32 for
    16-bit inputs.
    """
    _require_shapes(q, k, v, g, a, b, state)
    q, k, v, g, a, b = as_exact(q, k, v, g, a, b)
    s = start_state(k, v, state)
    if can_run(q, k, v, g, a, b, s):
        return dplr_steps(q, k, v, g, a, b, s)
    rows = (q, k, v, clip_log_decay(g), a, b)
    q, k, u, g, a, b = (split_chunks(x, CHUNK) for x in rows)
    with without_autocast(v):
        y, end = _run_chunks(q, k, u, g, a, b, s.flatten(0, 1))
    return join_chunks(y, v), end.view(s.shape)


def run_kda(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    beta: Float[Tensor, "T B H"],
    g: Float[Tensor, "T B H K"],
    state: Float[Tensor, "B H K V"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return what run_delta returns, for a decay per channel (Kimi Delta Attention)."""
    _require_kda_shapes(q, k, v, beta, g, state)
    q, k, v, beta, g = as_exact(q, k, v, beta, g)
    s = start_state(k, v, state)
    if not can_run(q, k, v, beta, g, s) and can_run_chunks(q, k, v, beta, g, s):
        return run_in_chunks(q, k, v, g, s, beta)
    write = beta.unsqueeze(-1) * k
    return run_dplr(q, write, v, g, g.exp() * k, -write, s)


def _require_shapes(  # noqa: PLR0913 - the arguments of the core
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, a: Tensor, b: Tensor, state: Tensor | None
) -> None:
    *rows, keys, values = require_heads("dplr", q, k, v)
    for name, x in (("g", g), ("a", a), ("b", b)):
        require_shape("dplr", name, x, (*rows, keys))
    require_shape("dplr", "state", state, (*rows[1:], keys, values))


def _require_kda_shapes(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor | None
) -> None:
    *rows, keys, values = require_heads("kda", q, k, v)
    require_shape("kda", "beta", beta, tuple(rows))
    require_shape("kda", "g", g, (*rows, keys))
    require_shape("kda", "state", state, (*rows[1:], keys, values))


def _run_chunks(  # noqa: PLR0913 - the arguments of the core
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, a: Tensor, b: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (y, state) for chunks with axes N, M, C, and channels."""
    upto = g.cumsum(2)
    # Queries read after their own token: their decay is one token longer.
    rows, columns = torch.stack([a, q * g.exp()], 2), torch.stack([b, k], 2)
    (found_b, found_k), (read_b, read_k) = (
        x.unbind(3) for x in _score(rows, columns, g).unbind(2)
    )
    read_b, read_k = (
        x + torch.diag_embed((q * now).sum(-1)) for x, now in ((read_b, b), (read_k, k))
    )
    from_start, read = (rows * _sum_earlier(g).exp().unsqueeze(2)).unbind(2)
    right = torch.cat([found_k @ v, from_start], -1)
    solved = torch.linalg.solve_triangular(-found_b, right, upper=False, unitriangular=True)
    u, w = solved.split([v.shape[-1], k.shape[-1]], -1)
    to_end = _sum_later(g).exp()
    keep, add = upto[:, :, -1].exp().unsqueeze(-1), (k * to_end).mT @ v
    states, found = [], []
    # Unbind once: indexing would give each u[n] a gradient as large as u.
    parts = (u, w, (b * to_end).mT, keep, add)
    for own, reads, key, rest, new in zip(*map(torch.unbind, parts), strict=True):
        states.append(s)
        found.append(torch.baddbmm(own, reads, s))
        s = torch.baddbmm(torch.addcmul(new, rest, s), key, found[-1])
    return read @ torch.stack(states) + read_b @ torch.stack(found) + read_k @ v, s


def _score(
    rows: Float[Tensor, "*N R C K"],
    columns: Float[Tensor, "*N R C K"],
    g: Float[Tensor, "*N C K"],
) -> Float[Tensor, "*N R C R C"]:
    """Return <x[t], z[s]> for R kinds of rows x and of columns z; 0 where s >= t.

    Where decays are strong, the second half of the tokens reads the first half over the border
    between them, and each half is a smaller case.
    """
    upto = g.cumsum(-2)
    total = upto[..., -1:, :]
    tokens = g.shape[-2]
    if tokens == 1 or g.is_meta or bool(total.detach().abs().max() <= MAX_LOG_DECAY):
        middle = total / 2
        scores = _multiply(rows, upto - g - middle, columns, middle - upto)
        unseen = torch.ones(tokens, tokens, dtype=torch.bool, device=g.device).triu()
        return scores.masked_fill(unseen.unsqueeze(1), 0)
    rows, columns = (torch.unflatten(x, -2, (2, -1)).movedim(-3, -4) for x in (rows, columns))
    g = torch.unflatten(g, -2, (2, -1))
    top, bottom = _score(rows, columns, g).unbind(-5)
    first, second = g.unbind(-3)
    rows, columns = rows.select(-4, 1), columns.select(-4, 0)
    across = _multiply(rows, _sum_earlier(second), columns, _sum_later(first))
    top = F.pad(top, (0, tokens // 2))
    return torch.cat([top, torch.cat([across, bottom], -1)], -3)


def _multiply(
    rows: Float[Tensor, "*N R C K"],
    grow: Float[Tensor, "*N C K"],
    columns: Float[Tensor, "*N R C K"],
    shrink: Float[Tensor, "*N C K"],
) -> Float[Tensor, "*N R C R C"]:
    """Return the products of rows exp(grow) with columns exp(shrink)."""
    later, earlier = rows * grow.exp().unsqueeze(-3), columns * shrink.exp().unsqueeze(-3)
    kinds = rows.shape[-3]
    scores = later.flatten(-3, -2) @ earlier.flatten(-3, -2).mT
    return torch.unflatten(torch.unflatten(scores, -1, (kinds, -1)), -3, (kinds, -1))


def _sum_earlier(g: Float[Tensor, "*N C K"]) -> Float[Tensor, "*N C K"]:
    """Return g[1] + ... + g[t-1]; as a difference of sums it would lose a weak decay."""
    return F.pad(g[..., :-1, :], (0, 0, 1, 0)).cumsum(-2)


def _sum_later(g: Float[Tensor, "*N C K"]) -> Float[Tensor, "*N C K"]:
    """Return g[t+1] + ... + g[C]."""
    return F.pad(g[..., 1:, :], (0, 0, 0, 1)).flip(-2).cumsum(-2).flip(-2)
