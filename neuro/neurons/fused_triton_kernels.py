"""The normal form of a population over time, forward and backward, as Triton kernels.

A program runs some cells through all ticks, with their state and parameters in registers.
The steps are those of :mod:`neuro.neurons.fused_kernels` and
:mod:`neuro.neurons.fused_backward`.
Checked in Triton's interpreter, and compiled for GPUs, but run on none yet.
Axes: T ticks, B samples, M neurons. A tick has B M cells, n are those of a program.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import triton
import triton.language as tl
from torch import Tensor

DECAY, GAIN, FALL, THETA, BETA, RHO = (tl.constexpr(row) for row in range(6))  # of the form


class Cells(NamedTuple):
    """Membrane, current and adaptation, or what flows back to them; B M each, empty: none."""

    v: Tensor
    i: Tensor
    a: Tensor


class Sizes(NamedTuple):
    """ticks: T. cells: B M. last: (T - 1) B M. each: M, or 1 where all share the parameters."""

    ticks: int
    cells: int
    last: int
    each: int


class How(NamedTuple):
    """What a kernel is compiled for.

    hard: the reset. flows: there are currents. adapts: some threshold rises. keeps: the
    membranes are kept. learns: some parameter does. kind: of derivative: arctan, triangle, or
    given. block: cells of a program, a power of 2.
    """

    hard: bool
    flows: bool
    adapts: bool
    keeps: bool
    learns: bool = False
    kind: str = "given"
    block: int = 256


class Run(NamedTuple):
    """Input, spikes, and room for the membranes before their reset (empty: not kept); T B M."""

    x: Tensor
    spikes: Tensor
    kept: Tensor


class Past(NamedTuple):
    """What the way back needs. x, kept: as of :class:`Run`; bars: thresholds, T B M, empty
    where none rises; v, a: cells before the run, B M.
    """

    x: Tensor
    kept: Tensor
    bars: Tensor
    v: Tensor
    a: Tensor


class Flow(NamedTuple):
    """What flows back. spikes: to each spike; x: to the input; T B M.

    derivative: of the spikes where it is given, T B M. sums: over T, to decay, gain and
    threshold, 3 B M; that of the gain holds for cells without a current.
    """

    spikes: Tensor
    x: Tensor
    derivative: Tensor
    sums: Tensor


def kernel(function: Callable[..., Any]) -> Any:
    """Compile at the first call.

    Tests wrap every function in a check of its annotations, which Triton could not read:
    unwrapped here.
    """
    return triton.jit(inspect.unwrap(function))


@kernel
def own_cells(sizes: Sizes, how: tl.constexpr) -> Any:
    """Return the cells of this program, and whether they exist."""
    n = tl.program_id(0).to(tl.int64) * how.block + tl.arange(0, how.block)
    return n, n < sizes.cells


@kernel
def parameter(form: tl.tensor, row: tl.constexpr, sizes: Sizes, n: tl.tensor) -> Any:
    """Return a parameter of the cells n; form: 6 M, or 6 1."""
    return tl.load(form + row * sizes.each + n % sizes.each)


@kernel
def fire(u: tl.tensor, bar: tl.tensor) -> Any:
    """Return 1 where a membrane has reached its threshold, else 0."""
    return (u - bar >= 0.0).to(u.dtype)


@kernel
def reset(u: tl.tensor, s: tl.tensor, bar: tl.tensor, how: tl.constexpr) -> Any:
    """Return the membranes with those reset that have fired."""
    return u * (1.0 - s) if how.hard else u - bar * s


@kernel
def forward(run: Run, cells: Cells, form: tl.tensor, sizes: Sizes, how: tl.constexpr) -> None:
    """Run all ticks; ``cells`` move on."""
    n, real = own_cells(sizes, how)
    decay, gain = parameter(form, DECAY, sizes, n), parameter(form, GAIN, sizes, n)
    fall, theta = parameter(form, FALL, sizes, n), parameter(form, THETA, sizes, n)
    beta, rho = parameter(form, BETA, sizes, n), parameter(form, RHO, sizes, n)
    v = tl.load(cells.v + n, mask=real, other=0.0)
    i = tl.load(cells.i + n, mask=real, other=0.0) if how.flows else v
    a = tl.load(cells.a + n, mask=real, other=0.0) if how.adapts else v
    at = n
    for _ in range(sizes.ticks):
        x = tl.load(run.x + at, mask=real, other=0.0)
        if how.flows:
            i = fall * i + x
            x = i
        v = decay * v + gain * x
        if how.keeps:
            tl.store(run.kept + at, v, mask=real)
        bar = theta
        if how.adapts:
            a = rho * a
            bar = theta + a
        s = fire(v, bar)
        tl.store(run.spikes + at, s, mask=real)
        v = reset(v, s, bar, how)
        if how.adapts:
            a = a + beta * s
        at += sizes.cells
    tl.store(cells.v + n, v, mask=real)
    if how.flows:
        tl.store(cells.i + n, i, mask=real)
    if how.adapts:
        tl.store(cells.a + n, a, mask=real)


@kernel
def thresholds(past: Past, form: tl.tensor, sizes: Sizes, how: tl.constexpr) -> None:
    """Write the thresholds of all ticks, where they adapt."""
    n, real = own_cells(sizes, how)
    theta, beta = parameter(form, THETA, sizes, n), parameter(form, BETA, sizes, n)
    rho = parameter(form, RHO, sizes, n)
    a = tl.load(past.a + n, mask=real, other=0.0)
    at = n
    for _ in range(sizes.ticks):
        a = rho * a
        bar = theta + a
        tl.store(past.bars + at, bar, mask=real)
        a = a + beta * fire(tl.load(past.kept + at, mask=real, other=0.0), bar)
        at += sizes.cells


@kernel
def slope(
    u: tl.tensor, bar: tl.tensor, given: tl.tensor, real: tl.tensor, how: tl.constexpr
) -> Any:
    """Return the derivatives of spikes; given: where they lie if no kernel knows them."""
    far = u - bar
    if how.kind == "arctan":
        far = 3.141592653589793 * far
        y = 1.0 / (1.0 + far * far)
    elif how.kind == "triangle":
        y = tl.maximum(1.0 - tl.abs(far), 0.0)
    else:
        y = tl.load(given, mask=real, other=0.0)
    return y


@kernel
def backward(
    past: Past, flow: Flow, cells: Cells, form: tl.tensor, sizes: Sizes, how: tl.constexpr
) -> None:
    """Go back through all ticks; ``cells`` hold what flows to those after, then before them.

    The spikes of reset and adaptation have no derivative.
    """
    n, real = own_cells(sizes, how)
    decay, gain = parameter(form, DECAY, sizes, n), parameter(form, GAIN, sizes, n)
    fall, theta = parameter(form, FALL, sizes, n), parameter(form, THETA, sizes, n)
    rho = parameter(form, RHO, sizes, n)
    to_v = tl.load(cells.v + n, mask=real, other=0.0)
    to_i = tl.load(cells.i + n, mask=real, other=0.0) if how.flows else to_v
    to_a = tl.load(cells.a + n, mask=real, other=0.0) if how.adapts else to_v
    start = tl.load(past.v + n, mask=real, other=0.0)
    to_decay = tl.zeros_like(to_v).to(tl.float64)
    to_gain, to_theta = to_decay, to_decay
    at = n + sizes.last
    u = tl.load(past.kept + at, mask=real, other=0.0)
    bar = tl.load(past.bars + at, mask=real, other=0.0) if how.adapts else theta
    for _ in range(sizes.ticks):
        own = tl.load(flow.spikes + at, mask=real, other=0.0)
        own = own * slope(u, bar, flow.derivative + at, real, how)
        s = fire(u, bar)
        if how.hard:
            to_u = own + to_v * (1.0 - s)
            to_bar = -own
        else:
            to_u = own + to_v
            to_bar = -own - to_v * s
        to_x = gain * to_u
        if how.flows:
            to_x = to_x + to_i
            to_i = fall * to_x
        tl.store(flow.x + at, to_x, mask=real)
        to_v = decay * to_u
        if how.adapts:
            to_a = rho * (to_bar + to_a)
        x = tl.load(past.x + at, mask=real, other=0.0)
        at -= sizes.cells
        earlier = real & (at >= 0)
        u = tl.load(past.kept + at, mask=earlier, other=0.0)
        bar = tl.load(past.bars + at, mask=earlier, other=0.0) if how.adapts else theta
        if how.learns:
            v = tl.where(earlier, reset(u, fire(u, bar), bar, how), start)
            to_decay += (to_u * v).to(tl.float64)
            to_gain += (to_u * x).to(tl.float64)
            to_theta += to_bar.to(tl.float64)
    tl.store(cells.v + n, to_v, mask=real)
    if how.flows:
        tl.store(cells.i + n, to_i, mask=real)
    if how.adapts:
        tl.store(cells.a + n, to_a, mask=real)
    if how.learns:
        tl.store(flow.sums + n, to_decay, mask=real)
        tl.store(flow.sums + sizes.cells + n, to_gain, mask=real)
        tl.store(flow.sums + 2 * sizes.cells + n, to_theta, mask=real)
