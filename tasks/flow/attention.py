"""Hybrid attention: softmax inside an image, and a matrix that carries images before it.

    y_i = softmax(q_i k_i^T) v_i + (q_i exp(G_i)) S_i        G_i[n] = g_i[1] + ... + g_i[n]
    S_(i+1) = exp(mean of g_i) S_i + k_i^T v_i               S_1 = 0

Every token sees all tokens of its own image. It sees earlier images only through S, whose size
does not depend on their number. Later tokens of an image read an attenuated S, as in the code
of ARFlow (Hui et al. 2025, arXiv 2501.16085). Callers scale k, for example by 1 / sqrt(K).
g: logarithm of the decay, <= 0. state: S before the first image, B H K V; None means zeros.
Axes: I images of a sequence, B samples, N tokens of an image, H heads, K channels of keys, V of
values.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.mixers.scan import run_scan

CURE = "continue with the samples of the run before, or start with state=None"


def run_hybrid(
    q: Float[Tensor, "I B N H K"],
    k: Float[Tensor, "I B N H K"],
    v: Float[Tensor, "I B N H V"],
    g: Float[Tensor, "I B N H"],
    state: Tensor | None = None,
) -> tuple[Float[Tensor, "I B N H V"], Float[Tensor, "B H K V"]]:
    """Return (y, S after the last image). The recurrence takes one step per image.

    Raises:
        ValueError: the state has another number of samples, heads or channels.
    """
    start = _start_state(k, v, state)
    written = torch.einsum("ibnhk,ibnhv->ibhkv", k, v)
    decay = g.mean(2).exp()[..., None, None].expand_as(written)
    if len(k) == 1:
        after = decay[0] * start + written[0]
        before = start[None]
    else:
        every, after = run_scan(decay, written, start)
        before = torch.cat([start[None], every[:-1]])
    opened = q * g.cumsum(2).exp().unsqueeze(-1)
    return attend_inside(q, k, v) + torch.einsum("ibnhk,ibhkv->ibnhv", opened, before), after


def attend_inside(
    q: Float[Tensor, "I B N H K"],
    k: Float[Tensor, "I B N H K"],
    v: Float[Tensor, "I B N H V"],
) -> Float[Tensor, "I B N H V"]:
    """Return softmax(q k^T) v, computed for each image separately."""
    q2, k2, v2 = (x.flatten(0, 1).transpose(1, 2) for x in (q, k, v))  # I B, H, N, channels
    y = F.scaled_dot_product_attention(q2, k2, v2, scale=1.0)
    return y.transpose(1, 2).reshape(v.shape)


def run_hybrid_recurrence(
    q: Float[Tensor, "I B N H K"],
    k: Float[Tensor, "I B N H K"],
    v: Float[Tensor, "I B N H V"],
    g: Float[Tensor, "I B N H"],
    state: Tensor | None = None,
) -> tuple[Float[Tensor, "I B N H V"], Float[Tensor, "B H K V"]]:
    """Return (y, S) as :func:`run_hybrid` does, but loop over images and tokens (slow)."""
    s = _start_state(k, v, state)
    images = []
    for i in range(len(q)):
        tokens, opened = [], torch.zeros_like(g[i, :, 0])
        for n in range(q.shape[2]):
            opened = opened + g[i, :, n]
            scores = (q[i, :, n, None] * k[i]).sum(-1)  # B N H
            weight = scores.exp() / scores.exp().sum(1, keepdim=True)
            inside = (weight[..., None] * v[i]).sum(1)
            read = (q[i, :, n, :, :, None] * opened.exp()[..., None, None] * s).sum(2)
            tokens.append(inside + read)
        images.append(torch.stack(tokens, 1))
        s = s * (g[i].sum(1) / g.shape[2]).exp()[..., None, None]
        for n in range(q.shape[2]):
            s = s + k[i, :, n, :, :, None] * v[i, :, n, :, None, :]
    return torch.stack(images), s


def _start_state(k: Tensor, v: Tensor, state: Tensor | None) -> Tensor:
    _, samples, _, heads, channels = k.shape
    shape = (samples, heads, channels, v.shape[-1])
    if state is None:
        return k.new_zeros(shape)
    if tuple(state.shape) != shape:
        raise ValueError(
            f"flow: the state has shape {tuple(state.shape)}, and these images need {shape} "
            f"(samples, heads, keys, values); {CURE}"
        )
    return state
