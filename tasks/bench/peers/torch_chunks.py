"""Gated linear attention and the delta rule in chunks, in a few lines of torch: peers of ours.

Both compute all chunks at once, and carry the state from chunk to chunk in a loop (Yang et al.
2023, section 4; Yang et al. 2024, section 3). Attention divides by the decays of a chunk, so
that it is right only where these are weak. ``size`` tokens are a chunk; it divides all tokens.
"""

import torch
from torch import Tensor


def run_gla_in_torch(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, *, size: int
) -> tuple[Tensor, Tensor]:
    """Return (y, state) as :func:`neuro.mixers.gla.run_gla` does."""
    heads = q.shape[1:3]
    q, k, v, g = (_split(x, size) for x in (q, k, v, g))
    upto = g.cumsum(2)
    total = upto[:, :, -1:]
    q = q * upto.exp()
    y = (q @ (k * (-upto).exp()).mT).tril() @ v
    states, s = [], v.new_zeros(k.shape[1], k.shape[-1], v.shape[-1])
    added = (k * (total - upto).exp()).mT @ v
    for keep, new in zip(total.exp().mT.unbind(), added.unbind(), strict=True):
        states.append(s)
        s = keep * s + new
    return _join(y + q @ torch.stack(states), heads), torch.unflatten(s, 0, heads)


def run_delta_in_torch(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, *, size: int
) -> tuple[Tensor, Tensor]:
    """Return (y, state) as :func:`neuro.mixers.delta.run_delta` does."""
    heads = q.shape[1:3]
    q, k, v, beta, g = (_split(x, size) for x in (q, k, v, beta[..., None], g[..., None]))
    upto = g.cumsum(2)
    total = upto[:, :, -1:]
    decay = (upto - upto.mT).tril().exp().tril()
    weighted = beta * k
    system = (weighted @ k.mT * decay).tril(-1)
    given = torch.cat([beta * v, weighted * upto.exp()], -1)
    solved = torch.linalg.solve_triangular(system, given, upper=False, unitriangular=True)
    new, reads = torch.split(solved, [v.shape[-1], k.shape[-1]], -1)
    states, written, s = [], [], v.new_zeros(k.shape[1], k.shape[-1], v.shape[-1])
    rows = total.exp(), new, reads, (k * (total - upto).exp()).mT
    for keep, n, read, key in zip(*(x.unbind() for x in rows), strict=True):
        states.append(s)
        written.append(n - read @ s)
        s = keep * s + key @ written[-1]
    y = (q * upto.exp()) @ torch.stack(states) + (q @ k.mT * decay) @ torch.stack(written)
    return _join(y, heads), torch.unflatten(s, 0, heads)


def _split(x: Tensor, size: int) -> Tensor:
    """Return chunks (N, B H, size, K) of x (T, B, H, K)."""
    return torch.unflatten(x, 0, (-1, size)).permute(0, 2, 3, 1, 4).flatten(1, 2)


def _join(y: Tensor, heads: torch.Size) -> Tensor:
    """Return y (T, B, H, V) of its chunks (N, B H, size, V)."""
    return torch.unflatten(y, 1, heads).permute(0, 3, 1, 2, 4).flatten(0, 1)
