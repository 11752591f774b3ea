"""Hybrid attention: softmax inside an image, and a matrix that carries images before it.

    y_i = softmax(q_i k_i^T) v_i + (q_i exp(G_i)) S_i        G_i[n] = g_i[1] + ... + g_i[n]
    S_(i+1) = exp(mean of g_i) S_i + k_i^T v_i               S_1 = 0

Every token of an image sees all others of it, and of earlier images only S, whose size does not
depend on their number. Later tokens of an image read an attenuated S. This follows the code of
ARFlow (Hui et al. 2025, arXiv 2501.16085). Callers scale k, for example by 1 / sqrt(K).
Axes: I images of a sequence, B samples, N tokens of an image, H heads, K channels of keys, V of
values. g: the logarithm of the decay, <= 0. state: S before the first image, B H K V; None is
zeros.
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
    """Return (y, S behind the last image); one image is a step.

    Raises:
        ValueError: the state is of other samples, heads or channels.
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
    """Return softmax(q k^T) v of each image alone."""
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
    """Return (y, S), image by image and token by token: the slow twin of run_hybrid."""
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
