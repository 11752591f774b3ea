"""Chunks of gated linear attention and of the delta rule in compiled loops, on a CPU.

A head reads and writes its state chunk by chunk, so that its arrays stay in the cache; products
of matrices are BLAS's. In a chunk of tokens 0 to r, keys and what reads them are scaled about
the middle of its decay. With upto[t] = g[1] + ... + g[t] and half = exp(upto[r] / 2),

    q~ = q exp(upto) / half      k~ = k half / exp(upto)      H = half exp(g[0]) S
    y = tril(q~ k~^T) u + q~ H        S' = half (H + k~^T u)

Gated linear attention writes u = v. The delta rule writes u = beta e, where e is the difference
between v and what the state holds under a key, with p~ = k exp(upto) / half:

    e = v - p~ H - tril(p~ k~^T, -1) u

A chunk lies in a block of :data:`BLOCK` tokens, and ends earlier where the sum of g after its
first token would exceed :data:`MAX_LOG_DECAY`. The gradients of g need no further product: that
of g[t] is S' dS' plus q~ dq~ + p~ dp~ - k~ dk~ of the tokens from t on, and that of g[0] H dH,
summed over values. Axes: T tokens, B samples, H heads, K channels of keys, V of values.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.mixers.arguments import refuse_second_derivative
from neuro.ops.jit import kernel
from neuro.ops.threads import can_read, run_in_shares

BLOCK = 32  # tokens
# Largest sum of decays in a chunk. Keys are multiplied by exp(-g / 2), queries by exp(g / 2);
# in float32 that is 1e14 times 1e-14, with a relative error of 2e-6.
MAX_LOG_DECAY = 64.0


def can_run_chunks(*tensors: Tensor) -> bool:
    """Say whether the loops apply: tensors of one precision that compiled loops can read."""
    return all(can_read(x) and x.dtype == tensors[0].dtype for x in tensors)


def run_in_chunks(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    g: Float[Tensor, "T B H #K"],
    s: Float[Tensor, "B H K V"],
    beta: Float[Tensor, "T B H"] | None = None,
) -> tuple[Float[Tensor, "T B H V"], Float[Tensor, "B H K V"]]:
    """Return (y, state) of the delta rule, or, without a beta, of gated linear attention.

    There is no second derivative.
    """
    apply: Any = _Chunks.apply  # annotated only in some versions of torch
    rates = k.new_empty(0, *s.shape[:2]) if beta is None else beta
    y, end = apply(q, k, v, g.expand_as(k), s, rates)
    return y, end


class _Chunks(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913 - the arguments of the cores
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, g: Tensor, s: Tensor, beta: Tensor
    ) -> tuple[Tensor, Tensor]:
        q, k, v, g, beta = (x.detach().contiguous() for x in (q, k, v, g, beta))
        grow, y, end = torch.empty_like(g), torch.empty_like(v), s.detach().clone()
        stops = torch.zeros(*s.shape[:2], len(k), dtype=torch.int64)
        _run(cut_chunks, k, g, grow, stops)
        grow.exp_()
        states = s.new_empty(-(-len(k) // BLOCK), *s.shape)
        _run(run_chunks, k, stops, q, k, v, g, grow, beta, states, end, y)
        ctx.save_for_backward(stops, q, k, v, g, grow, beta, states, end)
        return y, end.clone()

    @staticmethod
    def backward(ctx: Any, to_y: Tensor, to_end: Tensor) -> tuple[Tensor, ...]:
        refuse_second_derivative()
        stops, q, k, v, g, grow, beta, states, end = ctx.saved_tensors
        out = [torch.empty_like(x) for x in (q, k, v, g)]
        to_state, to_beta = to_end.contiguous().clone(), torch.empty_like(beta)
        given = stops, q, k, v, g, grow, beta, states, end, to_y.contiguous()
        _run(run_chunks_back, k, *given, *out, to_state, to_beta)
        return *out, to_state, to_beta


def _run(run: Any, k: Tensor, *arrays: Tensor) -> None:
    """Run a kernel on all heads of all samples, which are divided among threads."""
    rows = [x.numpy() for x in arrays]
    heads = k.shape[1] * k.shape[2]
    run_in_shares(heads, k.numel(), lambda low, high: run(low, high, *rows))


@kernel
def cut_chunks(low: int, high: int, g: np.ndarray, sums: np.ndarray, stops: np.ndarray) -> None:
    """Write the chunks of each head, and the sums of g about the middle of a token's chunk.

    sums: T B H K; of g after the chunk's first token up to this one, less half of the chunk's.
    stops: B H T; at the first token of a chunk, the token after its last one.
    """
    tokens, _, heads, channels = g.shape
    total = np.empty(channels, g.dtype)
    for head in range(low, high):
        b, h, start = head // heads, head % heads, 0
        total[:] = 0
        for t in range(tokens + 1):
            over = t == tokens or t % BLOCK == 0
            if not over:
                for c in range(channels):
                    total[c] += g[t, b, h, c]
                    over |= abs(total[c]) > MAX_LOG_DECAY
            if over:
                stops[b, h, start] = t
                half = sums[t - 1, b, h] / 2
                sums[start:t, b, h] -= half
                start = t
                total[:] = 0
            if t < tokens:
                sums[t, b, h] = total


@kernel
def enter_chunk(state: np.ndarray, g: np.ndarray, half: np.ndarray) -> None:
    """Multiply a state by the decay of a chunk's first token and half of the others'."""
    for c in range(len(g)):
        state[c] *= math.exp(g[c]) * half[c]


@kernel
def leave_chunk(
    state: np.ndarray, keys: np.ndarray, values: np.ndarray, half: np.ndarray
) -> None:
    """Add what a chunk writes to a state, and multiply it by the other half of the decay."""
    new = np.dot(keys.T, values)
    for c in range(len(half)):
        for j in range(state.shape[1]):
            state[c, j] = half[c] * (state[c, j] + new[c, j])


@kernel
def multiply_earlier(a: np.ndarray, b: np.ndarray, own: bool) -> np.ndarray:
    """Return tril(a b^T), or without the ``own`` token of each row."""
    scores = np.dot(a, b.T)
    for t in range(len(a)):
        scores[t, t + own :] = 0
    return scores


@kernel
def read_chunk(  # noqa: PLR0913 - arguments of a kernel have names
    at: tuple[int, int, int, int],
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    grow: np.ndarray,
    beta: np.ndarray,
    state: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return q~, k~ and p~ (3 r K), and u and e (2 r V), of the tokens of a chunk.

    Without a beta, there is no p~ (2 r K) and no e (1 r V). at: sample, head, first token and
    the one after the last. state: H.
    """
    b, h, start, stop = at
    kinds, r = 3 if beta.size else 2, stop - start
    rows = np.empty((kinds, r, k.shape[3]), k.dtype)
    values = np.empty((kinds - 1, r, v.shape[3]), k.dtype)
    queries, keys, probes = rows[0], rows[1], rows[-1]
    for t in range(r):
        query, key, scale = q[start + t, b, h], k[start + t, b, h], grow[start + t, b, h]
        for c in range(key.size):
            queries[t, c], keys[t, c] = query[c] * scale[c], key[c] / scale[c]
        values[:, t] = v[start + t, b, h]
        if beta.size:
            probes[t] = key * scale
    if beta.size:
        held, scores = np.dot(probes, state), multiply_earlier(probes, keys, False)
        for t in range(r):
            error = values[1, t]
            error -= held[t]
            for i in range(t):
                for j in range(error.size):
                    error[j] -= scores[t, i] * values[0, i, j]
            values[0, t] = beta[start + t, b, h] * error
    return rows, values


@kernel
def run_chunks(  # noqa: PLR0913 - arguments of a kernel have names
    low: int,
    high: int,
    stops: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    g: np.ndarray,
    grow: np.ndarray,
    beta: np.ndarray,
    states: np.ndarray,
    end: np.ndarray,
    y: np.ndarray,
) -> None:
    """Write y (T B H V), and the state after the last token in place of ``end``, the first.

    grow: T B H K, the exponentials of what :func:`cut_chunks` sums.
    states: the state before each block.
    """
    tokens, _, heads, _ = k.shape
    for head in range(low, high):
        b, h, start = head // heads, head % heads, 0
        state = end[b, h]
        while start < tokens:
            stop = stops[b, h, start]
            half = grow[stop - 1, b, h]
            if start % BLOCK == 0:
                states[start // BLOCK, b, h] = state
            enter_chunk(state, g[start, b, h], half)
            rows, values = read_chunk((b, h, start, stop), q, k, v, grow, beta, state)
            new = np.dot(multiply_earlier(rows[0], rows[1], True), values[0])
            old = np.dot(rows[0], state)
            for t in range(stop - start):
                y[start + t, b, h] = new[t] + old[t]
            leave_chunk(state, rows[1], values[0], half)
            start = stop


@kernel
def run_chunks_back(  # noqa: PLR0913 - arguments of a kernel have names
    low: int,
    high: int,
    stops: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    g: np.ndarray,
    grow: np.ndarray,
    beta: np.ndarray,
    states: np.ndarray,
    end: np.ndarray,
    to_y: np.ndarray,
    to_q: np.ndarray,
    to_k: np.ndarray,
    to_v: np.ndarray,
    to_g: np.ndarray,
    to_state: np.ndarray,
    to_beta: np.ndarray,
) -> None:
    """Write the gradients of all arguments, of the first state in place of the last one's."""
    tokens, _, heads, channels = k.shape
    held, starts = np.empty((BLOCK, *states.shape[3:]), k.dtype), np.empty(BLOCK + 1, np.int64)
    total = np.empty(channels, k.dtype)
    for head in range(low, high):
        b, h = head // heads, head % heads
        flow = to_state[b, h]
        sum_products(end[b, h], flow, total)
        for block in range(len(states) - 1, -1, -1):
            # What the chunks of a block read is computed again, in order.
            state, n = states[block, b, h].copy(), 0
            starts[0], last = block * BLOCK, min(tokens, (block + 1) * BLOCK)
            while starts[n] < last:
                start, stop = starts[n], stops[b, h, starts[n]]
                half = grow[stop - 1, b, h]
                enter_chunk(state, g[start, b, h], half)
                held[n] = state
                if stop < last:
                    rows, values = read_chunk((b, h, start, stop), q, k, v, grow, beta, state)
                    leave_chunk(state, rows[1], values[0], half)
                n += 1
                starts[n] = stop
            for chunk in range(n - 1, -1, -1):
                at = b, h, starts[chunk], starts[chunk + 1]
                half = grow[at[3] - 1, b, h]
                rows, values = read_chunk(at, q, k, v, grow, beta, held[chunk])
                for c in range(channels):
                    flow[c] *= half[c]
                to_rows, to_values = pass_back(
                    at, rows, values, beta, held[chunk], to_y, flow, to_beta
                )
                scale_back(at, rows, to_rows, grow, total, to_q, to_k, to_g)
                for t in range(len(to_values)):
                    to_v[at[2] + t, b, h] = to_values[t]
                sum_products(held[chunk], flow, total)
                to_g[at[2], b, h] = total
                enter_chunk(flow, g[at[2], b, h], half)


@kernel
def pass_back(  # noqa: PLR0913 - arguments of a kernel have names
    at: tuple[int, int, int, int],
    rows: np.ndarray,
    values: np.ndarray,
    beta: np.ndarray,
    state: np.ndarray,
    to_y: np.ndarray,
    flow: np.ndarray,
    to_beta: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of q~, k~ and p~ (3 r K), and of v; write that of beta.

    state: H. flow: the gradient of H + k~^T u, replaced by that of H.
    """
    b, h, start, stop = at
    queries, keys, probes = rows[0], rows[1], rows[-1]
    reads = np.empty_like(values[0])
    for t in range(stop - start):
        reads[t] = to_y[start + t, b, h]
    to_rows, scores = np.empty_like(rows), multiply_earlier(reads, values[0], True)
    np.dot(scores, keys, to_rows[0])
    to_rows[0] += np.dot(reads, state.T.copy())
    np.dot(scores.T, queries, to_rows[1])
    to_rows[1] += np.dot(values[0], flow.T.copy())
    to_values = np.dot(multiply_earlier(queries, keys, True).T, reads) + np.dot(keys, flow)
    flow += np.dot(queries.T, reads)
    if beta.size:
        scores = multiply_earlier(probes, keys, False)
        for t in range(stop - start - 1, -1, -1):
            error = to_values[t]
            to_beta[start + t, b, h] = np.dot(error, values[1, t])
            error *= beta[start + t, b, h]
            for i in range(t):
                for j in range(error.size):
                    to_values[i, j] -= scores[t, i] * error[j]
        scores = multiply_earlier(to_values, values[0], False)
        to_rows[2] = -np.dot(scores, keys) - np.dot(to_values, state.T.copy())
        to_rows[1] -= np.dot(scores.T, probes)
        flow -= np.dot(probes.T, to_values)
    return to_rows, to_values


@kernel
def scale_back(  # noqa: PLR0913 - arguments of a kernel have names
    at: tuple[int, int, int, int],
    rows: np.ndarray,
    to_rows: np.ndarray,
    grow: np.ndarray,
    total: np.ndarray,
    to_q: np.ndarray,
    to_k: np.ndarray,
    to_g: np.ndarray,
) -> None:
    """Write the gradients of q, k and g of a chunk; total: S' dS', changed."""
    b, h, start, stop = at
    for t in range(stop - start - 1, -1, -1):
        scale, to_sum = grow[start + t, b, h], to_g[start + t, b, h]
        to_query, to_key = to_q[start + t, b, h], to_k[start + t, b, h]
        for c in range(total.size):
            to_query[c], to_key[c] = to_rows[0, t, c] * scale[c], to_rows[1, t, c] / scale[c]
        for c in range(total.size):
            total[c] += rows[0, t, c] * to_rows[0, t, c] - rows[1, t, c] * to_rows[1, t, c]
        if len(rows) > 2:
            for c in range(total.size):
                total[c] += rows[2, t, c] * to_rows[2, t, c]
                to_key[c] += to_rows[2, t, c] * scale[c]
        to_sum[:] = total


@kernel
def sum_products(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Write the scalar product of each row of a with that of b."""
    for c in range(len(a)):
        out[c] = np.dot(a[c], b[c])
