"""A population over time as one operator, forward and backward.

It does what the loop over :meth:`step` does, on the same numbers, and is differentiable in the
same way. The operator for a CPU stands here; for the way back it keeps its input and nothing
else. That for a GPU is in :mod:`neuro.neurons.fused_triton`.
Axes: T ticks, B batch, ``*N`` the population's shape, M its neurons in the order of memory,
``*P`` the shape of what comes out: ``*N``, or that of the means of a pool.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.neurons import fused_backward as way_back, fused_kernels as kernels
from neuro.neurons.alif import ALIF, ALIFState
from neuro.neurons.fused_backward import Back, Past
from neuro.neurons.fused_kernels import Blocks, Cells, Form
from neuro.neurons.lif import LIF, LIFState
from neuro.neurons.normal_form import Param
from neuro.neurons.surrogate import Surrogate, arctan, triangle
from neuro.ops.threads import in_shares, readable
from neuro.units import Seconds, Ticks

KINDS = {arctan: way_back.ARCTAN, triangle: way_back.TRIANGLE}
NOT_POOLED = Blocks(0, 0, 0, 0)


class How(NamedTuple):
    """What the operator does, beside its numbers. ticks, size: of the output."""

    hard: bool
    surrogate: Surrogate
    blocks: Blocks
    ticks: int
    size: int


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


class Around(NamedTuple):
    """What stands around a population and costs no pass through memory of its own.

    ticks: for so many the first tick of the input stands; 0: each tick has its own.
    pool: size of the blocks of an average pool behind it; None: there is none.
    """

    ticks: Ticks = Ticks(0)
    pool: tuple[int, int] | None = None


NOTHING = Around()


def advance(
    neuron: LIF | ALIF,
    x: Float[Tensor, "T B *N"],
    dt: Seconds,
    state: LIFState | ALIFState,
    around: Around = NOTHING,
    operator: type[torch.autograd.Function] | None = None,
) -> tuple[Float[Tensor, "_ B *P"], LIFState | ALIFState]:
    """Return (spikes or means, next state) of T >= 1 ticks, as the loop over ``step`` does.

    operator: as :class:`FusedOnCPU`; None: that for the device of ``x``. That of a GPU reads
    each tick and pools nothing.
    """
    if x.is_cuda and around.ticks:
        x = x.expand(around.ticks, *x.shape[1:])
    order = _order(x)
    form = [_rows_of(p, x.shape[2:], order) for p in neuron.tensors(x, dt)]
    cells = [None if c is None else _flat(c, order) for c in _cells_of(state)]
    blocks, shape = NOT_POOLED, x.shape[2:]
    if around.pool:
        (channels, high, wide), (down, across) = shape, around.pool
        blocks = Blocks(down, across, wide, channels)
        shape = torch.Size((channels, high // down, wide // across))
    how = How(
        neuron.reset == "hard", neuron.surrogate, blocks, around.ticks or len(x), shape.numel()
    )
    given = (_flat(x, order, 2), *cells, *form, how)
    operator = operator or operator_for(x)
    bare = operator is FusedOnCPU and not torch.is_grad_enabled()  # less around it
    apply: Any = _run if bare else operator.apply  # torch annotates it in some versions only
    out, *after = apply(*given)
    y = _shaped(out, torch.Size((*out.shape[:2], *shape)), order)
    cells = [None if c is None else _shaped(c, state.v.shape, order) for c in after]
    return y, moved(state, cells)


def pools(x: Float[Tensor, "T B *N"], size: tuple[int, int]) -> bool:
    """Say whether :func:`advance` can pool what ``x`` leads to: images, channels last."""
    return (
        readable(x)
        and x.dim() == 5
        and _order(x) == [1, 2, 0]
        and x.shape[3] >= size[0]
        and x.shape[4] >= size[1]
    )


def _run(*given: Any, moves: bool = False) -> tuple[Tensor | None, ...]:
    """Return what :class:`FusedOnCPU` does. moves: adaptations take part in any case."""
    x, before, form = _arrays(given, moves)
    how = given[-1]
    after = Cells(*(c.copy() for c in before))
    found = np.empty((how.ticks, x.shape[1], how.size), x.dtype)

    def advance(low: int, high: int) -> None:
        kernels.forward(x, after, form, (low, high), how.blocks, found)

    in_shares(x.shape[1], how.ticks * x[0].size, advance)
    return tuple(torch.from_numpy(y) if y.size else None for y in (found, *after))


def operator_for(x: Tensor) -> type[torch.autograd.Function]:
    """Return the operator that runs on the device of ``x``."""
    if not x.is_cuda:
        return FusedOnCPU
    from neuro.neurons.fused_triton import FusedOnGPU

    return FusedOnGPU


class FusedOnCPU(torch.autograd.Function):
    """(x, v, i, a, six parameters, how) -> (spikes or their means, v, i, a).

    Without a current i is None, and so it comes out; a, where no threshold rises.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor | None, ...]:
        """Run T >= 1 ticks. x: T B M; cells: B M; parameters: (M), or (1) for all."""
        out = _run(*given, moves=ctx.needs_input_grad[3])
        ctx.save_for_backward(*given[:-1])
        ctx.how, ctx.used = given[-1], tuple(y is not None for y in out[1:])
        ctx.set_materialize_grads(False)
        moving = (True, ctx.used[1], ctx.needs_input_grad[3])  # spikes raise a without gradient
        both = zip(out[1:], moving, strict=True)
        dull = [y for y, moves in both if y is not None and not moves]
        ctx.mark_non_differentiable(*dull)
        return out

    @staticmethod
    def backward(ctx: Any, *flowing: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return what flows to the arguments of :meth:`forward`."""
        given, how = ctx.saved_tensors, ctx.how
        x, before, form = _arrays((*given, how), ctx.needs_input_grad[3])
        past = Past(x, before, how.blocks)
        kind, derivative = _derivative(past, form, how)
        shapes = [(how.ticks, x.shape[1], how.size), *(c.shape for c in before)]
        both = zip(flowing, shapes, strict=True)
        to_out, *to_cells = (_array(y, shape, x.dtype) for y, shape in both)
        to_x = (np.zeros_like if len(x) < how.ticks else np.empty_like)(x)
        cells = Cells(*(y.copy() for y in to_cells))
        learns = any(ctx.needs_input_grad[4:])

        def back(low: int, high: int) -> np.ndarray:
            sums = np.zeros((3, x.shape[2] if learns else 0))
            flow = Back(to_out, kind, derivative, to_x, cells, sums)
            way_back.backward(past, form, (low, high), flow)
            return sums

        shares = in_shares(x.shape[1], how.ticks * x[0].size, back)
        learning = (given[4], given[5], given[7])
        to_decay, to_gain, to_threshold = _summed(shares, *learning) if learns else [None] * 3
        found = [
            torch.from_numpy(y) if u else None
            for y, u in zip((to_x, *cells), (True, *ctx.used), strict=True)
        ]
        return (*found, to_decay, to_gain, None, to_threshold, None, None, None)


def _arrays(given: tuple[Any, ...], adapts: bool) -> tuple[np.ndarray, Cells, Form]:
    """Return what the kernels read of the arguments of the operator.

    adapts: also where no threshold rises now.
    """
    x, *cells, decay, gain, fall, theta, beta, rho, how = given
    parameters = (decay, gain, fall, theta, beta, rho)
    return x.detach().contiguous().numpy(), *_read(cells, parameters, how.hard, adapts)


def _read(
    cells: Iterable[Any], parameters: Sequence[Tensor], hard: bool, adapts: bool
) -> tuple[Cells, Form]:
    v: Any
    v, i, a = (c if c is None else c.detach().contiguous().numpy() for c in cells)
    decay, gain, fall, theta, beta, rho = (p.detach().contiguous().numpy() for p in parameters)
    rises = a is not None and (adapts or bool(a.any() or beta.any()))
    used = (v, i, a if rises else None)
    return Cells(*(v[:, :0] if c is None else c for c in used)), Form(
        decay, gain, fall, theta, beta, rho, hard, rises
    )


def read(neuron: LIF | ALIF, state: LIFState | ALIFState, dt: Seconds) -> tuple[Cells, Form]:
    """Return what the kernels read of a population whose neurons lie in one axis."""
    form = [_rows_of(p, state.v.shape[1:], [0]) for p in neuron.tensors(state.v, dt)]
    return _read(_cells_of(state), form, neuron.reset == "hard", False)


def _cells_of(state: LIFState | ALIFState) -> tuple[Tensor | None, ...]:
    """Return membrane, current and adaptation."""
    i = state.i if isinstance(state, LIFState) else None
    return state.v, i, state.a if isinstance(state, ALIFState) else None


def moved(state: LIFState | ALIFState, cells: Iterable[Tensor | None]) -> Any:
    """Return the state with other cells; an adaptation that does not move is as it was."""
    v, i, a = cells
    if isinstance(state, ALIFState):
        return ALIFState(v=v, a=state.a if a is None else a)  # type: ignore[arg-type]
    return LIFState(v=v, i=i)  # type: ignore[arg-type]


def _array(values: Tensor | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return values, or for None zeros."""
    return np.zeros(shape, dtype) if values is None else values.contiguous().numpy()


def _summed(shares: list[np.ndarray], *learning: Tensor) -> list[Tensor]:
    """Return what flows to decay, gain and threshold."""
    both = zip(torch.from_numpy(np.sum(shares, axis=0)), learning, strict=True)
    return [row.sum_to_size(p.shape).to(p.dtype) for row, p in both]


def _derivative(past: Past, form: Form, how: How) -> tuple[int, np.ndarray]:
    """Return the kind of a derivative, and its values where no kernel knows it."""
    if how.surrogate in KINDS:
        return KINDS[how.surrogate], np.empty((0, 0, 0), past.x.dtype)
    far = np.empty((how.ticks, *past.x.shape[1:]), past.x.dtype)
    way_back.distances(past, form, far)
    return way_back.GIVEN, how.surrogate(torch.from_numpy(far)).contiguous().numpy()


def _order(x: Tensor) -> list[int]:
    """Return the axes of a tick of a sample from the longest stride to the shortest.

    Images may lie in memory channels last: nothing is moved for it.
    """
    return sorted(range(x.dim() - 2), key=lambda axis: -x.stride(axis + 2))


def _flat(x: Tensor, order: list[int], lead: int = 1) -> Tensor:
    """Return x with its neurons in one axis, in this order, behind ``lead`` others."""
    if len(order) == 1:
        return x
    axes = [*range(lead), *(lead + axis for axis in order)]
    return x.permute(axes).reshape(*x.shape[:lead], -1)


def _shaped(x: Tensor, shape: torch.Size, order: list[int]) -> Tensor:
    """Undo :func:`_flat`."""
    if len(order) == 1:
        return x
    lead = len(shape) - len(order)
    axes = [*range(lead), *(lead + axis for axis in order)]
    back = sorted(range(len(axes)), key=axes.__getitem__)
    return x.reshape([shape[axis] for axis in axes]).permute(back)


def _rows_of(p: Tensor, shape: torch.Size, order: list[int]) -> Tensor:
    """Return a parameter as one number (1), or one a neuron (M)."""
    return p.reshape(1) if p.numel() == 1 else _flat(p.expand(shape)[None], order)[0]
