"""A population over time as one operator, forward and backward.

It does what the loop over :meth:`step` does, on the same numbers, and is differentiable in the
same way. It keeps one number a neuron and tick for the way back. The operator for a CPU stands
here, that for a GPU in :mod:`neuro.neurons.fused_triton`.
Axes: T ticks, B batch, ``*N`` the population's shape, M its neurons in the order of memory.
"""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.neurons import fused_back as way_back, fused_kernels as kernels
from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.base import Param
from neuro.neurons.fused_back import Back, Past
from neuro.neurons.fused_kernels import Cells, Form
from neuro.neurons.lif import LIF, LIFState
from neuro.shares import in_shares, readable
from neuro.surrogate import Surrogate, arctan, triangle
from neuro.units import Seconds

KINDS = {arctan: way_back.ARCTAN, triangle: way_back.TRIANGLE}


def fits(neuron: object, x: Tensor) -> bool:
    """Say whether :func:`advance` can run a population on ``x``."""
    return (
        isinstance(neuron, LIF | ALIF)
        and not neuron.refractory
        and not (isinstance(neuron, ALIF) and (_learns(neuron.beta) or _learns(neuron.rho)))
        and (readable(x) or _on_gpu(x))
        and x.numel() > 0
        and not torch.compiler.is_compiling()
    )


def _on_gpu(x: Tensor) -> bool:
    return x.is_cuda and x.dtype in (torch.float32, torch.float64) and has_triton()


@lru_cache(maxsize=1)
def has_triton() -> bool:
    """Say whether there is a Triton that hands tuples to kernels: 3.5, as torch 2.9 has it."""
    if find_spec("triton") is None:
        return False
    import triton

    major, minor = triton.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (3, 5)


def _learns(p: Param) -> bool:
    return isinstance(p, Tensor) and p.requires_grad


def advance(
    neuron: LIF | ALIF,
    x: Float[Tensor, "T B *N"],
    dt: Seconds,
    state: LIFState | ALIFState,
    operator: type[torch.autograd.Function] | None = None,
) -> tuple[Float[Tensor, "T B *N"], LIFState | ALIFState]:
    """Return (spikes, next state) of T >= 1 ticks, as the loop over ``neuron.step`` does.

    operator: as :class:`FusedOnCPU`; None: that for the device of ``x``.
    """
    order = _order(x)
    form = [_rows_of(p, x.shape[2:], order) for p in neuron.tensors(x, dt)]
    i = state.i if isinstance(state, LIFState) else None
    a = state.a if isinstance(state, ALIFState) else None
    cells = [None if c is None else _flat(c, order) for c in (state.v, i, a)]
    apply: Any = (operator or operator_for(x)).apply  # torch annotates it in some versions only
    how = (neuron.reset == "hard", neuron.surrogate)
    spikes, *after = apply(_flat(x, order, 2), *cells, *form, how)
    moved: Any = (None if c is None else _shaped(c, state.v.shape, order) for c in after)
    v, i, a = moved
    s = _shaped(spikes, x.shape, order)
    if isinstance(state, ALIFState):
        return s, ALIFState(v=v, a=a)
    return s, LIFState(v=v, i=None if state.i is None else i)


def operator_for(x: Tensor) -> type[torch.autograd.Function]:
    """Return the operator that runs on the device of ``x``."""
    if not x.is_cuda:
        return FusedOnCPU
    from neuro.neurons.fused_triton import FusedOnGPU  # imports triton, which few machines have

    return FusedOnGPU


class FusedOnCPU(torch.autograd.Function):
    """(x, v, i, a, six parameters, how) -> (spikes, v, i, a); how: hard reset, surrogate.

    Without a current i is None, without adaptation a: what comes out for it means nothing.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, ...]:
        """Run T >= 1 ticks. x: T B M; cells: B M; parameters: (M), or (1) for all."""
        x, before, form = _arrays(given)
        form = form._replace(adapts=form.adapts or ctx.needs_input_grad[3])
        used = (True, form.flows, form.adapts)
        after = Cells(*(_begun(c, u) for c, u in zip(before, used, strict=True)))
        spikes = np.empty_like(x)
        kept = np.empty(x.shape if any(ctx.needs_input_grad) else (0, 0, 0), x.dtype)

        def advance(low: int, high: int) -> None:
            kernels.forward(x, after, form, (low, high), spikes, kept)

        in_shares(x.shape[1], x.size, advance)
        ctx.save_for_backward(*given[:-1], torch.from_numpy(kept))
        ctx.how, ctx.used = given[-1], used
        ctx.set_materialize_grads(False)
        out = tuple(torch.from_numpy(y) for y in (spikes, *after))
        moving = (True, form.flows, ctx.needs_input_grad[3])  # spikes raise a without gradient
        dull = [y for y, m in zip(out[1:], moving, strict=True) if not m]
        ctx.mark_non_differentiable(*dull)
        return out

    @staticmethod
    def backward(ctx: Any, *flowing: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return what flows to the arguments of :meth:`forward`."""
        *given, kept = ctx.saved_tensors
        x, before, form = _arrays((*given, ctx.how))
        form = form._replace(adapts=ctx.used[2])
        past = Past(x, kept.numpy(), before)
        kind, derivative = _derivative(past, form, ctx.how[1])
        to_spikes, *to_cells = (
            _array(y, x.shape if k == 0 else x.shape[1:], x.dtype)
            for k, y in enumerate(flowing)
        )
        to_x = np.empty_like(x)
        cells = Cells(*(_begun(c, u) for c, u in zip(to_cells, ctx.used, strict=True)))
        learns = any(ctx.needs_input_grad[4:])

        def back(low: int, high: int) -> np.ndarray:
            sums = np.zeros((3, x.shape[2]))
            flow = Back(to_spikes, kind, derivative, to_x, cells, sums, learns)
            way_back.backward(past, form, (low, high), flow)
            return sums

        sums = torch.from_numpy(np.sum(in_shares(x.shape[1], x.size, back), axis=0))
        to_decay, to_gain, to_threshold = (
            row.sum_to_size(p.shape).to(p.dtype)
            for row, p in zip(sums, (given[4], given[5], given[7]), strict=True)
        )
        found = [
            torch.from_numpy(y) if u else None
            for y, u in zip((to_x, *cells), (True, *ctx.used), strict=True)
        ]
        return (*found, to_decay, to_gain, None, to_threshold, None, None, None)


def _arrays(given: tuple[Any, ...]) -> tuple[np.ndarray, Cells, Form]:
    """Return what the kernels read of the arguments of the operator."""
    x, v, i, a, *form, (hard, _) = given
    x, *form = (t.contiguous().numpy() for t in (x, *form))
    cells = Cells(*(_array(c, x.shape[1:], x.dtype) for c in (v, i, a)))
    flows = i is not None
    adapts = a is not None and bool(form[4].any() or cells.a.any())
    decay, gain, fall, theta, beta, rho = form
    return x, cells, Form(decay, gain, fall, theta, beta, rho, hard, flows, adapts)


def _array(values: Tensor | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return values, or for None zeros, which take no memory until they are read."""
    return np.zeros(shape, dtype) if values is None else values.contiguous().numpy()


def _begun(cells: np.ndarray, used: bool) -> np.ndarray:
    """Return a copy to write on, or, of what is not used, zeros that take no memory."""
    return cells.copy() if used else np.zeros(cells.shape, cells.dtype)


def _derivative(past: Past, form: Form, surrogate: Surrogate) -> tuple[int, np.ndarray]:
    """Return the kind of a derivative, and its values where no kernel knows it."""
    if surrogate in KINDS:
        return KINDS[surrogate], np.empty((0, 0, 0), past.x.dtype)
    far = np.empty_like(past.x)
    way_back.distances(past, form, far)
    return way_back.GIVEN, surrogate(torch.from_numpy(far)).contiguous().numpy()


def _order(x: Tensor) -> list[int]:
    """Return the axes of a tick of a sample from the longest stride to the shortest.

    Images may lie in memory channels last: nothing is moved for it.
    """
    return sorted(range(x.dim() - 2), key=lambda axis: -x.stride(axis + 2))


def _flat(x: Tensor, order: list[int], lead: int = 1) -> Tensor:
    """Return x with its neurons in one axis, in this order, behind ``lead`` others."""
    axes = [*range(lead), *(lead + axis for axis in order)]
    return x.permute(axes).reshape(*x.shape[:lead], -1)


def _shaped(x: Tensor, shape: torch.Size, order: list[int]) -> Tensor:
    """Undo :func:`_flat`."""
    lead = len(shape) - len(order)
    axes = [*range(lead), *(lead + axis for axis in order)]
    back = sorted(range(len(axes)), key=axes.__getitem__)
    return x.reshape([shape[axis] for axis in axes]).permute(back)


def _rows_of(p: Tensor, shape: torch.Size, order: list[int]) -> Tensor:
    """Return a parameter as one number (1), or one a neuron (M)."""
    return p.reshape(1) if p.numel() == 1 else _flat(p.expand(shape)[None], order)[0]
