"""Compiled loops over a few tokens, without gradients: what generates text token by token.

A torch step reads and writes the state once for each of its operations; these do it once.
Axes: T tokens, M samples times heads, H heads, K channels of keys, V of values.
"""

import numpy as np
import torch
from torch import Tensor

from neuro.ops.jit import kernel
from neuro.ops.threads import can_read

MAX_TOKENS = 16  # from more on, chunks are as fast


def can_run(*tensors: Tensor | None) -> bool:
    """Say whether the loops here suit: few tokens (axis 0 of the first), CPU, no gradient."""
    given = [x for x in tensors if x is not None]
    if len(given[0]) > MAX_TOKENS or not all(can_read(x) for x in given):
        return False
    if torch.is_grad_enabled() and any(x.requires_grad for x in given):
        return False
    return len({x.dtype for x in given}) == 1


def gla_steps(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, s: Tensor, bonus: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return (y, state) of :func:`neuro.mixers.gla.run_gla`."""
    decay = g.detach().exp().expand_as(k)
    y, after = v.new_zeros(v.shape), s.detach().clone(memory_format=torch.contiguous_format)
    # A copy: once NumPy has seen a parameter, FSDP cannot resize its storage any more.
    weight = k.new_zeros(0, 0) if bonus is None else bonus.detach().clone()
    run_gla_steps(
        _rows(q), _rows(k), _rows(v), _rows(decay), _plain(weight), _rows(y), _cells(after)
    )
    return y, after


def delta_steps(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (y, state) of :func:`neuro.mixers.delta.run_delta`."""
    y, after = v.new_zeros(v.shape), s.detach().clone(memory_format=torch.contiguous_format)
    rate, decay = (_plain(x.flatten(1)) for x in (beta, g.detach().exp()))
    run_delta_steps(_rows(q), _rows(k), _rows(v), rate, decay, _rows(y), _cells(after))
    return y, after


def _plain(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


def _rows(x: Tensor) -> np.ndarray:
    return _plain(x).reshape(len(x), -1, x.shape[-1])


def _cells(s: Tensor) -> np.ndarray:
    return _plain(s).reshape(-1, *s.shape[-2:])


@kernel
def run_gla_steps(  # noqa: PLR0913 - arguments of a kernel have names
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    decay: np.ndarray,
    bonus: np.ndarray,
    y: np.ndarray,
    s: np.ndarray,
) -> None:
    """Add to y (T M V), which is zero, and change s (M K V) in place.

    bonus: H K, or empty where there is none.
    """
    tokens, rows, keys = k.shape
    heads = len(bonus)
    for m in range(rows):
        for t in range(tokens):
            new, out = v[t, m], y[t, m]
            for c in range(keys):
                cell, keep, write, read = s[m, c], decay[t, m, c], k[t, m, c], q[t, m, c]
                if heads:
                    more = read * bonus[m % heads, c] * write
                    for j in range(new.size):
                        out[j] += read * cell[j] + more * new[j]
                        cell[j] = keep * cell[j] + write * new[j]
                else:
                    for j in range(new.size):
                        cell[j] = keep * cell[j] + write * new[j]
                        out[j] += read * cell[j]


@kernel
def run_delta_steps(  # noqa: PLR0913 - arguments of a kernel have names
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    beta: np.ndarray,
    decay: np.ndarray,
    y: np.ndarray,
    s: np.ndarray,
) -> None:
    """Add to y (T M V), which is zero, and change s (M K V) in place."""
    tokens, rows, keys = k.shape
    change = np.empty_like(v[0, 0])
    for m in range(rows):
        for t in range(tokens):
            new, out, keep, rate = v[t, m], y[t, m], decay[t, m], beta[t, m]
            change[:] = 0
            for c in range(keys):
                cell, key = s[m, c], k[t, m, c]
                for j in range(new.size):
                    cell[j] *= keep
                    change[j] -= key * cell[j]
            for j in range(new.size):
                change[j] = rate * (new[j] + change[j])
            for c in range(keys):
                cell, key, read = s[m, c], k[t, m, c], q[t, m, c]
                for j in range(new.size):
                    cell[j] += key * change[j]
                    out[j] += read * cell[j]
