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


def can_run(first: Tensor, *others: Tensor | None) -> bool:
    """Say whether the loops here suit: few tokens (axis 0 of the first), CPU, no gradient."""
    if first.shape[0] > MAX_TOKENS or not can_read(first):
        return False
    recorded, dtype = torch.is_grad_enabled(), first.dtype
    for x in (first, *others):
        if x is None:
            continue
        if not x.is_cpu or x.dtype != dtype or (recorded and x.requires_grad):
            return False
    return True


def gla_steps(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, s: Tensor, bonus: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return (y, state) of :func:`neuro.mixers.gla.run_gla`."""
    decay = g.exp() if g.shape == k.shape else g.exp().expand_as(k)
    rows, before = _rows(v), _cells(s)
    y, after = np.zeros(rows.shape, rows.dtype), np.empty_like(before)
    # A copy: once NumPy has seen a parameter, FSDP cannot resize its storage any more.
    weight = y[0, :0] if bonus is None else _plain(bonus.detach().clone())
    run_gla_steps(_rows(q), _rows(k), rows, _rows(decay), weight, before, y, after)
    return _as_tensor(y, v), _as_tensor(after, s)


def delta_steps(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (y, state) of :func:`neuro.mixers.delta.run_delta`."""
    rows, before = _rows(v), _cells(s)
    y, after = np.zeros(rows.shape, rows.dtype), np.empty_like(before)
    rate, decay = (_plain(x).reshape(len(rows), -1) for x in (beta, g.exp()))
    run_delta_steps(_rows(q), _rows(k), rows, rate, decay, before, y, after)
    return _as_tensor(y, v), _as_tensor(after, s)


def _plain(x: Tensor) -> np.ndarray:
    return (x.detach() if x.requires_grad else x).contiguous().numpy()


def _rows(x: Tensor) -> np.ndarray:
    return _plain(x).reshape(x.shape[0], -1, x.shape[-1])


def _cells(s: Tensor) -> np.ndarray:
    _, _, keys, values = s.shape
    return _plain(s).reshape(-1, keys, values)


def _as_tensor(x: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(x.reshape(like.shape))  # four times as fast as a view of torch's


@kernel
def run_gla_steps(  # noqa: PLR0913 - arguments of a kernel have names
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    decay: np.ndarray,
    bonus: np.ndarray,
    before: np.ndarray,
    y: np.ndarray,
    after: np.ndarray,
) -> None:
    """Add to y (T M V), which is zero, and write the state (M K V) after the last token.

    bonus: H K, or empty where there is none. before: the state before the first token.
    """
    tokens, rows, keys = k.shape
    heads = len(bonus)
    for m in range(rows):
        for t in range(tokens):
            new, out = v[t, m], y[t, m]
            old = after[m] if t else before[m]
            for c in range(keys):
                cell, keep, write, read = after[m, c], decay[t, m, c], k[t, m, c], q[t, m, c]
                if heads:
                    more = read * bonus[m % heads, c] * write
                    for j in range(new.size):
                        held = old[c, j]
                        out[j] += read * held + more * new[j]
                        cell[j] = keep * held + write * new[j]
                else:
                    for j in range(new.size):
                        cell[j] = keep * old[c, j] + write * new[j]
                        out[j] += read * cell[j]


@kernel
def run_delta_steps(  # noqa: PLR0913 - arguments of a kernel have names
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    beta: np.ndarray,
    decay: np.ndarray,
    before: np.ndarray,
    y: np.ndarray,
    after: np.ndarray,
) -> None:
    """Add to y (T M V), which is zero, and write the state (M K V) after the last token.

    before: the state before the first token.
    """
    tokens, rows, keys = k.shape
    change = np.empty_like(v[0, 0])
    for m in range(rows):
        for t in range(tokens):
            new, out, keep, rate = v[t, m], y[t, m], decay[t, m], beta[t, m]
            change[:] = 0
            old = after[m] if t else before[m]
            for c in range(keys):
                cell, key = after[m, c], k[t, m, c]
                for j in range(new.size):
                    cell[j] = keep * old[c, j]
                    change[j] -= key * cell[j]
            for j in range(new.size):
                change[j] = rate * (new[j] + change[j])
            for c in range(keys):
                cell, key, read = after[m, c], k[t, m, c], q[t, m, c]
                for j in range(new.size):
                    cell[j] += key * change[j]
                    out[j] += read * cell[j]
