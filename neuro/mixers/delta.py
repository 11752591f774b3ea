"""Gated delta rule: a matrix of associations that corrects the value stored under a key.

    S[t] = a S[t-1] + beta k (v - a S[t-1]^T k)^T        y[t] = q S[t]        a = exp g[t]

q, k, v, beta, g belong to token t. With g = 0 this is DeltaNet (Yang et al. 2024, arXiv
2406.06484), with one decay per head Gated DeltaNet (arXiv 2412.06464). Keys should have length
1: corrections overshoot if beta |k|^2 > 2. Callers scale q and k.
Axes: T tokens, B samples, H heads, K channels of keys, V of values; C tokens per chunk, N
chunks, M samples times heads. g: the logarithm of the decay, <= 0; None is 0. state: S before
the first token; None is zeros.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.mixers.arguments import (
    as_exact,
    clip_log_decay,
    require_heads,
    require_shape,
    without_autocast,
)
from neuro.mixers.chunks import can_run_chunks, run_in_chunks
from neuro.mixers.gla import join_chunks, split_chunks, start_state
from neuro.mixers.kernels import can_run, delta_steps

CHUNK = 16  # tokens; with 32 a training step takes up to a quarter longer on a CPU


def run_delta_recurrence(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    beta: Float[Tensor, "T B H"],
    g: Float[Tensor, "T B H"] | None = None,
    state: Float[Tensor, "B H K V"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return (y, state after the last token), token by token: the reference for run_delta."""
    _require_shapes(q, k, v, beta, g, state)
    q, k, v, beta, g = as_exact(q, k, v, beta, torch.zeros_like(beta) if g is None else g)
    s = start_state(k, v, state)
    decay, out = g.exp(), []
    for t in range(len(q)):
        s = decay[t][..., None, None] * s
        held = (k[t].unsqueeze(-1) * s).sum(-2)
        new = beta[t].unsqueeze(-1) * (v[t] - held)
        s = s + k[t].unsqueeze(-1) * new.unsqueeze(-2)
        out.append((q[t].unsqueeze(-1) * s).sum(-2))
    return torch.stack(out), s


def run_delta(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    beta: Float[Tensor, "T B H"],
    g: Float[Tensor, "T B H"] | None = None,
    state: Float[Tensor, "B H K V"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return (y, state after the last token), in chunks, or in a compiled loop for few tokens.

    Within a chunk, with D[t, s] = exp(g[s+1] + ... + g[t]) and G[t] = exp(g[1] + ... + g[t]),
    the corrections u of all tokens solve one triangular system:

        (1 + M) u = beta (v - G k S)        M[t, s] = beta[t] D[t, s] k[t].k[s], s < t

    This is exact for decays of any strength, as gated linear attention is; elsewhere than on a
    CPU, exponents are never positive. It computes in float32 for 16-bit inputs. On a CPU there
    is no second derivative.
    """
    _require_shapes(q, k, v, beta, g, state)
    q, k, v, beta, g = as_exact(q, k, v, beta, torch.zeros_like(beta) if g is None else g)
    s = start_state(k, v, state)
    if can_run(q, k, v, beta, g, s):
        return delta_steps(q, k, v, beta, g, s)
    g = g.unsqueeze(-1)
    if can_run_chunks(q, k, v, beta, g, s):
        return run_in_chunks(q, k, v, g, s, beta)
    rows = (q, k, v, beta.unsqueeze(-1), clip_log_decay(g))
    q, k, u, beta, g = (split_chunks(x, CHUNK) for x in rows)
    with without_autocast(v):
        y, end = _run_chunks(q, k, u, beta, g, s.flatten(0, 1))
    return join_chunks(y, v), end.view(s.shape)


def _require_shapes(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor | None, state: Tensor | None
) -> None:
    tokens, samples, heads, keys, values = require_heads("delta", q, k, v)
    require_shape("delta", "beta", beta, (tokens, samples, heads))
    require_shape("delta", "g", g, (tokens, samples, heads))
    require_shape("delta", "state", state, (samples, heads, keys, values))


def _run_chunks(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (y, state) for chunks with axes N, M, C, and channels."""
    since_start = g.cumsum(2).exp()
    decay = decay_between(g.squeeze(-1))
    system = beta * (k @ k.mT) * decay
    rows = torch.cat([beta * v, beta * since_start * k], -1)
    solved = torch.linalg.solve_triangular(system, rows, upper=False, unitriangular=True)
    u, w = solved.split([v.shape[-1], k.shape[-1]], -1)
    to_end, total = (k * decay[:, :, -1:].mT).mT, since_start[:, :, -1:]
    states, corrections = [], []
    # Unbind once: indexing would give each u[n] a gradient as large as u.
    for own, read, key, keep in zip(*map(torch.unbind, (u, w, to_end, total)), strict=True):
        states.append(s)
        change = torch.baddbmm(own, read, s, alpha=-1)
        corrections.append(change)
        s = torch.baddbmm(keep * s, key, change)
    y = (q * since_start) @ torch.stack(states)
    return y + ((q @ k.mT) * decay) @ torch.stack(corrections), s


def decay_between(g: Float[Tensor, "N M C"]) -> Float[Tensor, "N M C C"]:
    """Return exp(g[s+1] + ... + g[t]) at [t, s], 0 where s > t; no sum is a difference."""
    size = g.shape[-1]
    lower = torch.ones(size, size, dtype=torch.bool, device=g.device).tril()
    after = lower & ~torch.eye(size, dtype=torch.bool, device=g.device)
    sums = g.unsqueeze(-1).expand(*g.shape, size).masked_fill(~after, 0).cumsum(-2)
    return sums.exp().masked_fill(~lower, 0)
