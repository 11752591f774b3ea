"""A population over time as one operator, forward and backward, on a GPU (Triton).

It computes what the CPU operator (:mod:`neuro.neurons.fused`) computes: spikes and states equal
those of the plain loop, bit for bit. For the backward pass it keeps one number per neuron and
tick.
It is checked in Triton's interpreter and compiles for GPUs, but has not run on one yet.
Axes: T ticks, B samples, M neurons.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from neuro.neurons import fused_triton_kernels as kernels
from neuro.neurons.fused_plain import differentiate_plainly
from neuro.neurons.fused_triton_kernels import (
    ForwardTensors,
    GradientTensors,
    KernelSizes,
    KernelSpec,
    SavedTensors,
    StateTensors,
)
from neuro.neurons.surrogate import Surrogate, arctan, triangle

SURROGATES: dict[Surrogate, str] = {arctan: "arctan", triangle: "triangle"}


class FusedOnGPU(torch.autograd.Function):
    """(x, v, i, a, six parameters, options) -> (spikes, v, i, a).

    options: as for the CPU. In input and output, i is None without a current, and a is None
    without adaptation.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run T >= 1 ticks. x: T B M; v, i, a: B M; parameters: (M), or (1) if shared."""
        x, *cells = (_packed(c, arguments[0]) for c in arguments[:4])
        form, (hard, ctx.surrogate, *_) = arguments[4:-1], arguments[-1]
        ctx.fused_options = arguments[-1]
        keeps, has_current = any(ctx.needs_input_grad), arguments[2] is not None
        ctx.options = KernelSpec(hard, has_current, _adapts(ctx, arguments), keeps)
        run = ForwardTensors(x, torch.empty_like(x), _empty(x, keeps))
        after = StateTensors(*(c.clone() for c in cells))
        _launch(kernels.forward, (run, after), x, form, ctx.options)
        ctx.save_for_backward(run.kept, *arguments[:-1])
        ctx.set_materialize_grads(False)
        if arguments[3] is not None and not ctx.needs_input_grad[3]:
            ctx.mark_non_differentiable(after.a)  # spikes raise a without a gradient
        pairs = zip(after, arguments[1:4], strict=True)
        return run.spikes, *(None if c is None else y for y, c in pairs)

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of :meth:`forward`."""
        kept, *inputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of these gradients may follow
            return differentiate_plainly((*inputs, ctx.fused_options), d_outputs)
        x, v, i, a = (_packed(c, inputs[0]) for c in inputs[:4])
        form = inputs[4:]
        kind, learns = SURROGATES.get(ctx.surrogate, "given"), any(ctx.needs_input_grad[4:])
        options = ctx.options._replace(kind=kind, learns=learns)
        saved = SavedTensors(x, kept, _empty(x, options.adapts), v, a)
        if options.adapts:
            _launch(kernels.thresholds, (saved,), x, form, options)
        derivative = x.new_empty(0)
        if kind == "given":
            distances = kept - (saved.thresholds if options.adapts else form[3])
            derivative = ctx.surrogate(distances).contiguous()
        d_spikes, *d_cells = (
            torch.zeros_like(c) if y is None else y.clone(memory_format=torch.contiguous_format)
            for y, c in zip(d_outputs, (x, v, i, a), strict=True)
        )
        sums = x.new_empty((3, *v.shape) if learns else 0)
        gradients = GradientTensors(d_spikes, torch.empty_like(x), derivative, sums)
        cells = StateTensors(*d_cells)
        _launch(kernels.backward, (saved, gradients, cells), x, form, options)
        pairs = zip(cells, (True, options.has_current, options.adapts), strict=True)
        d_inputs = gradients.x, *(y if used else None for y, used in pairs)
        if not learns:
            return *d_inputs, *(None for _ in range(7))
        d_decay, d_gain, d_threshold = (
            row.sum_to_size(p.shape).to(p.dtype)
            for row, p in zip(
                sums.sum(1, dtype=torch.float64), (form[0], form[1], form[3]), strict=True
            )
        )
        return *d_inputs, d_decay, d_gain, None, d_threshold, None, None, None


def _packed(values: Tensor | None, x: Tensor) -> Tensor:
    """Return values in contiguous memory; None becomes an empty tensor."""
    return x.new_empty(0) if values is None else values.contiguous()


def _empty(x: Tensor, needed: bool) -> Tensor:
    return torch.empty_like(x) if needed else x.new_empty(0)


def _adapts(ctx: Any, arguments: tuple[Any, ...]) -> bool:
    """Say whether a threshold rises, or its rise has a gradient."""
    a, beta = arguments[3], arguments[8]
    if a is None or ctx.needs_input_grad[3]:
        return a is not None
    return bool(beta.any() | a.any())


def _launch(
    kernel: Any, tensors: tuple[Any, ...], x: Tensor, form: Any, options: KernelSpec
) -> None:
    """Run a kernel over all B M neurons of a tick.

    Fused multiply-adds are off: they round once where the plain loop rounds twice, so that
    spikes would differ.
    """
    each = max(p.numel() for p in form)
    rows = torch.stack([p.expand(each) for p in form])
    ticks, cells = len(x), x[0].numel()
    sizes = KernelSizes(ticks, cells, (ticks - 1) * cells, each)
    grid = (triton.cdiv(cells, options.block),)
    with torch.cuda.device(x.get_device()):  # -1 on a CPU, which has no effect
        kernel[grid](*tensors, rows, sizes, options, enable_fp_fusion=False)
