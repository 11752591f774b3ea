"""A population over time as one operator, forward and backward, on a GPU (Triton).

It does what the operator for a CPU does (:mod:`neuro.neurons.fused`): spikes and states are
those of the plain loop, bit for bit. It keeps one number a neuron and tick for the way back.
Checked in Triton's interpreter, and compiled for GPUs, but run on none yet.
Axes: T ticks, B samples, M neurons.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from neuro.neurons import fused_triton_kernels as kernels
from neuro.neurons.fused_triton_kernels import Cells, Flow, How, Past, Run, Sizes
from neuro.neurons.surrogate import Surrogate, arctan, triangle

KINDS: dict[Surrogate, str] = {arctan: "arctan", triangle: "triangle"}


class FusedOnGPU(torch.autograd.Function):
    """(x, v, i, a, six parameters, how) -> (spikes, v, i, a); how: hard reset, surrogate.

    Without a current i is None, without adaptation a, and so are they in what comes out.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor | None, ...]:
        """Run T >= 1 ticks. x: T B M; cells: B M; parameters: (M), or (1) for all."""
        x, *cells = (_packed(c, given[0]) for c in given[:4])
        form, (hard, ctx.surrogate, *_) = given[4:-1], given[-1]
        keeps = any(ctx.needs_input_grad)
        ctx.how = How(hard, given[2] is not None, _rises(ctx, given), keeps)
        run = Run(x, torch.empty_like(x), _room(x, keeps))
        after = Cells(*(c.clone() for c in cells))
        _launch(kernels.forward, (run, after), x, form, ctx.how)
        ctx.save_for_backward(x, run.kept, *cells, *form)
        ctx.set_materialize_grads(False)
        if given[3] is not None and not ctx.needs_input_grad[3]:
            ctx.mark_non_differentiable(after.a)  # spikes raise a without gradient
        pairs = zip(after, given[1:4], strict=True)
        return run.spikes, *(None if c is None else y for y, c in pairs)

    @staticmethod
    def backward(ctx: Any, *flowing: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return what flows to the arguments of :meth:`forward`."""
        x, kept, v, i, a, *form = ctx.saved_tensors
        kind, learns = KINDS.get(ctx.surrogate, "given"), any(ctx.needs_input_grad[4:])
        how = ctx.how._replace(kind=kind, learns=learns)
        past = Past(x, kept, _room(x, how.adapts), v, a)
        if how.adapts:
            _launch(kernels.thresholds, (past,), x, form, how)
        given = x.new_empty(0)
        if kind == "given":
            far = kept - (past.bars if how.adapts else form[3])
            given = ctx.surrogate(far).contiguous()
        to_spikes, *to_cells = (
            torch.zeros_like(c) if y is None else y.clone(memory_format=torch.contiguous_format)
            for y, c in zip(flowing, (x, v, i, a), strict=True)
        )
        sums = x.new_empty((3, *v.shape) if learns else 0)
        flow, cells = Flow(to_spikes, torch.empty_like(x), given, sums), Cells(*to_cells)
        _launch(kernels.backward, (past, flow, cells), x, form, how)
        found = zip(cells, (True, how.flows, how.adapts), strict=True)
        back = flow.x, *(y if used else None for y, used in found)
        if not learns:
            return *back, *(None for _ in range(7))
        to_decay, to_gain, to_threshold = (
            row.sum_to_size(p.shape).to(p.dtype)
            for row, p in zip(
                sums.sum(1, dtype=torch.float64), (form[0], form[1], form[3]), strict=True
            )
        )
        return *back, to_decay, to_gain, None, to_threshold, None, None, None


def _packed(values: Tensor | None, x: Tensor) -> Tensor:
    """Return values without gaps, and for None nothing."""
    return x.new_empty(0) if values is None else values.contiguous()


def _room(x: Tensor, needed: bool) -> Tensor:
    return torch.empty_like(x) if needed else x.new_empty(0)


def _rises(ctx: Any, given: tuple[Any, ...]) -> bool:
    """Say whether some threshold rises, or must hand back what would flow to its rise."""
    a, beta = given[3], given[8]
    if a is None or ctx.needs_input_grad[3]:
        return a is not None
    return bool(beta.any() | a.any())


def _launch(kernel: Any, what: tuple[Any, ...], x: Tensor, form: Any, how: How) -> None:
    """Run a kernel over the cells of a tick.

    No a b + c is rounded once: the plain loop rounds twice, and spikes would differ.
    """
    each = max(p.numel() for p in form)
    rows = torch.stack([p.expand(each) for p in form])
    ticks, cells = len(x), x[0].numel()
    sizes = Sizes(ticks, cells, (ticks - 1) * cells, each)
    grid = (triton.cdiv(cells, how.block),)
    with torch.cuda.device(x.get_device()):  # of a CPU: -1, which changes nothing
        kernel[grid](*what, rows, sizes, how, enable_fp_fusion=False)
