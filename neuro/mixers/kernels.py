"""Compiled loops over few tokens without gradients, for generation token by token.

A step in torch reads and writes the state once per operation; these loops do it once per token.
Axes: T tokens, B samples, H heads, K channels of keys, V of values. The kernels take tensors in
their own axis order, because permuting a view costs a tenth of a small step.
"""

import numpy as np
import torch
from torch import Tensor

from neuro.ops.jit import kernel
from neuro.ops.threads import can_read

MAX_TOKENS = 16  # with more tokens, chunks are as fast


def can_run(first: Tensor, *others: Tensor | None) -> bool:
    """Say whether the loops apply: few tokens (axis 0 of ``first``), on a CPU, no gradient."""
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
    """Return (y, state) as :func:`neuro.mixers.gla.run_gla` does."""
    decay = g.exp() if g.shape == k.shape else g.exp().expand_as(k)
    values, before = _plain(v), _plain(s)
    y, after = np.zeros(values.shape, values.dtype), np.empty_like(before)
    # A copy, because FSDP cannot resize the storage of a parameter that NumPy has a view of.
    weight = y[0, 0, :0] if bonus is None else _plain(bonus.detach().clone())
    run_gla_steps(_plain(q), _plain(k), values, _plain(decay), weight, before, y, after)
    return torch.from_numpy(y), torch.from_numpy(after)


def delta_steps(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (y, state) as :func:`neuro.mixers.delta.run_delta` does."""
    values, before = _plain(v), _plain(s)
    y, after = np.zeros(values.shape, values.dtype), np.empty_like(before)
    rate, decay = _plain(beta), _plain(g.exp())
    run_delta_steps(_plain(q), _plain(k), values, rate, decay, before, y, after)
    return torch.from_numpy(y), torch.from_numpy(after)


def dplr_steps(  # noqa: PLR0913 - the arguments of the core
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, a: Tensor, b: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (y, state) as :func:`neuro.mixers.dplr.run_dplr` does."""
    values, before = _plain(v), _plain(s)
    y, after = np.zeros(values.shape, values.dtype), np.empty_like(before)
    keys = _plain(q), _plain(k), _plain(g.exp()), _plain(a), _plain(b)
    run_dplr_steps(*keys, values, before, y, after)
    return torch.from_numpy(y), torch.from_numpy(after)


def _plain(x: Tensor) -> np.ndarray:
    return (x.detach() if x.requires_grad else x).contiguous().numpy()


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
    """Add to y (T B H V), initially zero, and write the state (B H K V) after the last token.

    bonus: H K, or empty if there is none.
    before: the state before the first token.
    """
    tokens, samples, heads, keys = k.shape
    for b, h in np.ndindex(samples, heads):
        state = after[b, h]
        for t in range(tokens):
            new, out, keeps = v[t, b, h], y[t, b, h], decay[t, b, h]
            old = state if t else before[b, h]
            for c in range(keys):
                cell, keep, write, read = state[c], keeps[c], k[t, b, h, c], q[t, b, h, c]
                if bonus.size:
                    more = read * bonus[h, c] * write
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
    """Add to y (T B H V), initially zero, and write the state (B H K V) after the last token.

    before: the state before the first token.
    """
    tokens, samples, heads, keys = k.shape
    change = np.empty_like(v[0, 0, 0])
    for b, h in np.ndindex(samples, heads):
        state = after[b, h]
        for t in range(tokens):
            new, out, keep, rate = v[t, b, h], y[t, b, h], decay[t, b, h], beta[t, b, h]
            change[:] = 0
            old = state if t else before[b, h]
            for c in range(keys):
                cell, key = state[c], k[t, b, h, c]
                for j in range(new.size):
                    cell[j] = keep * old[c, j]
                    change[j] -= key * cell[j]
            for j in range(new.size):
                change[j] = rate * (new[j] + change[j])
            for c in range(keys):
                cell, key, read = state[c], k[t, b, h, c], q[t, b, h, c]
                for j in range(new.size):
                    cell[j] += key * change[j]
                    out[j] += read * cell[j]


@kernel
def run_dplr_steps(  # noqa: PLR0913 - arguments of a kernel have names
    q: np.ndarray,
    k: np.ndarray,
    decay: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    v: np.ndarray,
    before: np.ndarray,
    y: np.ndarray,
    after: np.ndarray,
) -> None:
    """Add to y (T B H V), initially zero, and write the state (B H K V) after the last token.

    before: the state before the first token.
    """
    tokens, samples, heads, keys = k.shape
    found = np.empty_like(v[0, 0, 0])
    for n, h in np.ndindex(samples, heads):
        state = after[n, h]
        for t in range(tokens):
            new, out = v[t, n, h], y[t, n, h]
            found[:] = 0
            old = state if t else before[n, h]
            for c in range(keys):
                for j in range(new.size):
                    found[j] += a[t, n, h, c] * old[c, j]
            for c in range(keys):
                cell, keep, read = state[c], decay[t, n, h, c], q[t, n, h, c]
                write, correct = k[t, n, h, c], b[t, n, h, c]
                for j in range(new.size):
                    cell[j] = keep * old[c, j] + correct * found[j] + write * new[j]
                    out[j] += read * cell[j]
