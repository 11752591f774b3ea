"""The normal form of a population over time, forward and backward, as Triton kernels.

One program runs a block of neurons through all ticks, with state and parameters in registers.
The steps are those of :mod:`neuro.neurons.fused_kernels` and
:mod:`neuro.neurons.fused_backward`.
They are checked in Triton's interpreter and compile for GPUs, but have not run on one yet.
Names: ``d_x`` is the derivative of the loss by x; u is a membrane before its reset.
Axes: T ticks, B samples, M neurons. A tick has B M cells (a neuron of one sample each); n are
the cells of one program.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor

# Rows of the parameters.
DECAY, GAIN, DECAY_SYN, THRESHOLD, BETA, DECAY_ADAPT = (tl.constexpr(row) for row in range(6))


class StateTensors(NamedTuple):
    """Membrane, current and adaptation, or their gradients; B M each, empty if absent."""

    v: Tensor
    i: Tensor
    a: Tensor


class KernelSizes(NamedTuple):
    """ticks: T. cells: B M. last: (T - 1) B M. each: M, or 1 if parameters are shared."""

    ticks: int
    cells: int
    last: int
    each: int


class KernelSpec(NamedTuple):
    """The options for which a kernel is compiled.

    hard: whether the reset is hard.
    has_current: whether neurons have currents.
    adapts: whether any threshold rises.
    keeps: whether to keep membranes for the backward pass.
    learns: whether a parameter has a gradient.
    kind: the surrogate derivative: "arctan", "triangle", or "given" as values.
    block: cells per program, a power of 2.
    """

    hard: bool
    has_current: bool
    adapts: bool
    keeps: bool
    learns: bool = False
    kind: str = "given"
    block: int = 256


class ForwardTensors(NamedTuple):
    """Input, spikes, and membranes before their reset (empty if not kept); T B M each."""

    x: Tensor
    spikes: Tensor
    kept: Tensor


class SavedTensors(NamedTuple):
    """Tensors of the forward pass for the backward pass.

    x, kept: as in :class:`ForwardTensors`.
    thresholds: T B M, empty if none rises.
    v, a: state before the run, B M.
    """

    x: Tensor
    kept: Tensor
    thresholds: Tensor
    v: Tensor
    a: Tensor


class GradientTensors(NamedTuple):
    """Derivatives of the loss.

    spikes, x: by each spike and by the input, T B M.
    derivative: the surrogate derivative for the kind "given", T B M.
    sums: over T, by decay, gain and threshold, 3 B M; the sum for the gain holds for neurons
        without a current.
    """

    spikes: Tensor
    x: Tensor
    derivative: Tensor
    sums: Tensor


def kernel(function: Callable[..., Any]) -> Any:
    """Compile at the first call.

    Tests wrap every function in a check of its annotations. Triton cannot read that wrapper, so
    it is removed here.
    """
    return triton.jit(inspect.unwrap(function))


@kernel
def own_cells(sizes: KernelSizes, spec: tl.constexpr) -> Any:
    """Return this program's cells, and a mask of those that exist."""
    n = tl.program_id(0).to(tl.int64) * spec.block + tl.arange(0, spec.block)
    return n, n < sizes.cells


@kernel
def parameter(form: tl.tensor, row: tl.constexpr, sizes: KernelSizes, n: tl.tensor) -> Any:
    """Return one parameter of the cells n. form: 6 M, or 6 1."""
    return tl.load(form + row * sizes.each + n % sizes.each)


@kernel
def fire(u: tl.tensor, threshold: tl.tensor) -> Any:
    """Return 1 where a membrane has reached its threshold, else 0."""
    return (u - threshold >= 0.0).to(u.dtype)


@kernel
def reset(u: tl.tensor, s: tl.tensor, threshold: tl.tensor, spec: tl.constexpr) -> Any:
    """Return the membranes u after the reset by the spikes s."""
    return u * (1.0 - s) if spec.hard else u - threshold * s


@kernel
def forward(
    run: ForwardTensors,
    cells: StateTensors,
    form: tl.tensor,
    sizes: KernelSizes,
    spec: tl.constexpr,
) -> None:
    """Run all ticks; the state in ``cells`` changes in place."""
    n, real = own_cells(sizes, spec)
    decay, gain = parameter(form, DECAY, sizes, n), parameter(form, GAIN, sizes, n)
    decay_syn, at_rest = (
        parameter(form, DECAY_SYN, sizes, n),
        parameter(form, THRESHOLD, sizes, n),
    )
    beta, decay_adapt = parameter(form, BETA, sizes, n), parameter(form, DECAY_ADAPT, sizes, n)
    v = tl.load(cells.v + n, mask=real, other=0.0)
    i = tl.load(cells.i + n, mask=real, other=0.0) if spec.has_current else v
    a = tl.load(cells.a + n, mask=real, other=0.0) if spec.adapts else v
    at = n
    for _ in range(sizes.ticks):
        x = tl.load(run.x + at, mask=real, other=0.0)
        if spec.has_current:
            i = decay_syn * i + x
            x = i
        v = decay * v + gain * x
        if spec.keeps:
            tl.store(run.kept + at, v, mask=real)
        threshold = at_rest
        if spec.adapts:
            a = decay_adapt * a
            threshold = at_rest + a
        s = fire(v, threshold)
        tl.store(run.spikes + at, s, mask=real)
        v = reset(v, s, threshold, spec)
        if spec.adapts:
            a = a + beta * s
        at += sizes.cells
    tl.store(cells.v + n, v, mask=real)
    if spec.has_current:
        tl.store(cells.i + n, i, mask=real)
    if spec.adapts:
        tl.store(cells.a + n, a, mask=real)


@kernel
def thresholds(
    saved: SavedTensors, form: tl.tensor, sizes: KernelSizes, spec: tl.constexpr
) -> None:
    """Write the adaptive thresholds of all ticks."""
    n, real = own_cells(sizes, spec)
    at_rest, beta = parameter(form, THRESHOLD, sizes, n), parameter(form, BETA, sizes, n)
    decay_adapt = parameter(form, DECAY_ADAPT, sizes, n)
    a = tl.load(saved.a + n, mask=real, other=0.0)
    at = n
    for _ in range(sizes.ticks):
        a = decay_adapt * a
        threshold = at_rest + a
        tl.store(saved.thresholds + at, threshold, mask=real)
        a = a + beta * fire(tl.load(saved.kept + at, mask=real, other=0.0), threshold)
        at += sizes.cells


@kernel
def slope(
    u: tl.tensor, threshold: tl.tensor, given: tl.tensor, real: tl.tensor, spec: tl.constexpr
) -> Any:
    """Return the surrogate derivatives. given: their address, for the kind "given"."""
    far = u - threshold
    if spec.kind == "arctan":
        far = 3.141592653589793 * far
        y = 1.0 / (1.0 + far * far)
    elif spec.kind == "triangle":
        y = tl.maximum(1.0 - tl.abs(far), 0.0)
    else:
        y = tl.load(given, mask=real, other=0.0)
    return y


@kernel
def backward(
    saved: SavedTensors,
    gradients: GradientTensors,
    cells: StateTensors,
    form: tl.tensor,
    sizes: KernelSizes,
    spec: tl.constexpr,
) -> None:
    """Propagate gradients back through all ticks.

    cells: derivatives of the loss by the state after the run; overwritten by those by the state
        before it. The spikes of reset and adaptation have no derivative.
    """
    n, real = own_cells(sizes, spec)
    decay, gain = parameter(form, DECAY, sizes, n), parameter(form, GAIN, sizes, n)
    decay_syn, at_rest = (
        parameter(form, DECAY_SYN, sizes, n),
        parameter(form, THRESHOLD, sizes, n),
    )
    decay_adapt = parameter(form, DECAY_ADAPT, sizes, n)
    d_v = tl.load(cells.v + n, mask=real, other=0.0)
    d_i = tl.load(cells.i + n, mask=real, other=0.0) if spec.has_current else d_v
    d_a = tl.load(cells.a + n, mask=real, other=0.0) if spec.adapts else d_v
    start = tl.load(saved.v + n, mask=real, other=0.0)
    d_decay = tl.zeros_like(d_v).to(tl.float64)
    d_gain, d_rest = d_decay, d_decay
    at = n + sizes.last
    u = tl.load(saved.kept + at, mask=real, other=0.0)
    threshold = tl.load(saved.thresholds + at, mask=real, other=0.0) if spec.adapts else at_rest
    for _ in range(sizes.ticks):
        d_s = tl.load(gradients.spikes + at, mask=real, other=0.0)
        d_s = d_s * slope(u, threshold, gradients.derivative + at, real, spec)
        s = fire(u, threshold)
        if spec.hard:
            d_u = d_s + d_v * (1.0 - s)
            d_threshold = -d_s
        else:
            d_u = d_s + d_v
            d_threshold = -d_s - d_v * s
        d_x = gain * d_u
        if spec.has_current:
            d_x = d_x + d_i
            d_i = decay_syn * d_x
        tl.store(gradients.x + at, d_x, mask=real)
        d_v = decay * d_u
        if spec.adapts:
            d_a = decay_adapt * (d_threshold + d_a)
        x = tl.load(saved.x + at, mask=real, other=0.0)
        at -= sizes.cells
        earlier = real & (at >= 0)
        u = tl.load(saved.kept + at, mask=earlier, other=0.0)
        threshold = (
            tl.load(saved.thresholds + at, mask=earlier, other=0.0) if spec.adapts else at_rest
        )
        if spec.learns:
            v = tl.where(earlier, reset(u, fire(u, threshold), threshold, spec), start)
            d_decay += (d_u * v).to(tl.float64)
            d_gain += (d_u * x).to(tl.float64)
            d_rest += d_threshold.to(tl.float64)
    tl.store(cells.v + n, d_v, mask=real)
    if spec.has_current:
        tl.store(cells.i + n, d_i, mask=real)
    if spec.adapts:
        tl.store(cells.a + n, d_a, mask=real)
    if spec.learns:
        tl.store(gradients.sums + n, d_decay, mask=real)
        tl.store(gradients.sums + sizes.cells + n, d_gain, mask=real)
        tl.store(gradients.sums + 2 * sizes.cells + n, d_rest, mask=real)
