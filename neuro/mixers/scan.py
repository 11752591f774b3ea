"""Elementwise linear recurrence over time, h[t] = f[t] h[t-1] + i[t], and its gradients.

Axes: T tokens, B samples, ``*N`` any other axes. h: state before the first token; None is
zeros.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.mixers.arguments import as_exact, refuse_second_derivative, require_shape
from neuro.ops.jit import kernel
from neuro.ops.threads import can_read, run_in_shares


def run_scan_recurrence(
    f: Float[Tensor, "T B *N"],
    i: Float[Tensor, "T B *N"],
    h: Float[Tensor, "B *N"] | None = None,
) -> tuple[Float[Tensor, "T B *N"], Float[Tensor, "B *N"]]:
    """Return (h of every token, the last h), token by token: the reference for run_scan."""
    _require_shapes(f, i, h)
    f, i = as_exact(f, i)
    h = torch.zeros_like(i[0]) if h is None else h
    out = []
    for f_t, i_t in zip(f, i, strict=True):
        h = torch.addcmul(i_t, f_t, h)
        out.append(h)
    return torch.stack(out), h


def run_scan(
    f: Float[Tensor, "T B *N"],
    i: Float[Tensor, "T B *N"],
    h: Float[Tensor, "B *N"] | None = None,
) -> tuple[Float[Tensor, "T B *N"], Float[Tensor, "B *N"]]:
    """Return (h of every token, the last h); the second is a view of the first.

    On a CPU both passes are compiled loops; elsewhere they use doubling (Hillis and Steele
    1986), log2 T rounds over all tokens. f may be 0, because neither method divides. There is
    no second derivative. It computes in float32 for 16-bit inputs.
    """
    _require_shapes(f, i, h)
    f, i = as_exact(f, i)
    h = torch.zeros_like(i[0]) if h is None else h.to(i.dtype)
    apply: Any = _Scan.apply  # annotated only in some versions of torch
    out: Tensor = apply(f, i, h)
    return out, out[-1]


def _require_shapes(f: Tensor, i: Tensor, h: Tensor | None) -> None:
    if i.dim() < 2 or 0 in i.shape:
        raise ValueError(
            f"scan: i must have axes T B *N without an empty one, got shape {tuple(i.shape)}"
        )
    same = tuple(i.shape)
    require_shape("scan", "f", f, same)
    require_shape("scan", "h", h, same[1:])


def run_by_doubling(
    f: Float[Tensor, "T B *N"], i: Float[Tensor, "T B *N"], h: Float[Tensor, "B *N"]
) -> Float[Tensor, "T B *N"]:
    """Return h of every token; works on any device."""
    out, keep = torch.cat([torch.addcmul(i[:1], f[:1], h[None]), i[1:]]), f
    reach = 1
    while reach < len(i):  # out[t] sums the inputs after t - reach, keep[t] is the decay
        later = torch.addcmul(out[reach:], keep[reach:], out[:-reach])
        out = torch.cat([out[:reach], later])
        keep = torch.cat([keep[:reach], keep[reach:] * keep[:-reach]])
        reach *= 2
    return out


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Tensor, i: Tensor, h: Tensor) -> Tensor:
        if can_read(i):
            out = torch.empty(i.shape, dtype=i.dtype)
            _in_shares(scan_forward, *(_flat(x, len(i)) for x in (f, i, h[None], out)))
        else:
            out = run_by_doubling(f, i, h)
        ctx.save_for_backward(f, h, out)
        return out

    @staticmethod
    def backward(ctx: Any, to_out: Tensor) -> tuple[Tensor, ...]:
        refuse_second_derivative()
        f, h, out = ctx.saved_tensors
        if not can_read(out):
            keep = torch.cat([f[1:], torch.zeros_like(f[:1])])  # decay of later gradients
            flow = run_by_doubling(keep.flip(0), to_out.flip(0), torch.zeros_like(h)).flip(0)
            return flow * torch.cat([h[None], out[:-1]]), flow, f[0] * flow[0]
        to_f, to_i, to_h = (torch.empty(x.shape, dtype=x.dtype) for x in (out, out, h[None]))
        rows = (f, h[None], out, to_out, to_f, to_i, to_h)
        _in_shares(scan_backward, *(_flat(x, len(out)) for x in rows))
        return to_f, to_i, to_h[0]


def _flat(x: Tensor, tokens: int) -> np.ndarray:
    rows = tokens if len(x) == tokens else 1
    return x.detach().contiguous().view(rows, -1).numpy()


def _in_shares(run: Any, *rows: np.ndarray) -> None:
    """Run a kernel on the columns of all arrays, which are divided among threads."""
    size = max(x.size for x in rows)
    run_in_shares(rows[0].shape[1], size, lambda low, high: run(low, high, *rows))


@kernel
def scan_forward(
    low: int, high: int, f: np.ndarray, i: np.ndarray, h: np.ndarray, out: np.ndarray
) -> None:
    """Write h of every token to ``out``, columns low to high; h: 1 N, the others T N."""
    before = h[0]
    for t in range(i.shape[0]):
        keep, new, now = f[t], i[t], out[t]
        for n in range(low, high):
            now[n] = keep[n] * before[n] + new[n]
        before = now


@kernel
def scan_backward(  # noqa: PLR0913 - arguments of a kernel have names
    low: int,
    high: int,
    f: np.ndarray,
    h: np.ndarray,
    out: np.ndarray,
    to_out: np.ndarray,
    to_f: np.ndarray,
    to_i: np.ndarray,
    to_h: np.ndarray,
) -> None:
    """Write the gradients of f, i and the first h for columns low to high."""
    flow = to_h[0]  # gradient from later tokens
    flow[low:high] = 0
    for t in range(out.shape[0] - 1, -1, -1):
        before = out[t - 1] if t else h[0]
        keep, direct, new, gate = f[t], to_out[t], to_i[t], to_f[t]
        for n in range(low, high):
            here = flow[n] + direct[n]
            new[n] = here
            gate[n] = here * before[n]
            flow[n] = here * keep[n]
