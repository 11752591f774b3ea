"""A population over time, as one fused operator with a backward pass, or tick by tick.

The operator computes the numbers and gradients of the loop over :meth:`step`. Gradients of
gradients are computed tick by tick in plain torch. This module has the CPU operator, which
keeps only its input for the backward pass; :mod:`neuro.neurons.fused_triton` has the GPU
operator.
Axes: T ticks, B batch, ``*N`` the population's shape, M its neurons in memory order, ``*X`` the
input's shape (``*N``, except for a GatedLI), ``*P`` the output's shape (``*N``, or the shape
after a pool).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.base.units import Seconds, Ticks
from neuro.neurons import fused_backward as backward_kernels, fused_kernels as kernels
from neuro.neurons.fused_backward import ForwardArrays, GradientArrays
from neuro.neurons.fused_kernels import FormArrays, PoolBlocks, StateArrays
from neuro.neurons.fused_plain import differentiate_plainly
from neuro.neurons.neuron import Neuron, has_tensors
from neuro.neurons.normal_form import Tensors
from neuro.neurons.reset import SOFT_OR_HARD, is_hard
from neuro.neurons.surrogate import Surrogate, arctan, triangle
from neuro.ops.threads import can_read, run_in_shares

SURROGATES = {arctan: backward_kernels.ARCTAN, triangle: backward_kernels.TRIANGLE}
NOT_POOLED = PoolBlocks(0, 0, 0, 0)


class FusedForm(NamedTuple):
    """A model as the operator takes it: normal form, reset (soft or hard), surrogate."""

    tensors: Tensors
    hard: bool
    surrogate: Surrogate


class FusedOptions(NamedTuple):
    """Arguments of the operator that are not tensors; ticks and size describe the output."""

    hard: bool
    surrogate: Surrogate
    blocks: PoolBlocks
    ticks: int
    size: int


class FusedContext(NamedTuple):
    """Operations before and after a population that the operator performs in the same pass.

    repeats: how often the input's single tick is repeated; 0: the input has every tick.
    pool: size of the windows of an average pool after the population; None: no pool.
    """

    repeats: Ticks = Ticks(0)
    pool: tuple[int, int] | None = None


NO_CONTEXT = FusedContext()


def make_fused_form(neuron: Neuron, x: Tensor, dt: Seconds) -> FusedForm | None:
    """Return a population as :func:`run_fused` takes it, or None if it cannot run it on ``x``.

    The operator supports soft and hard resets, and gradients of decay, gain and threshold. It
    does not support refractory periods.
    """
    if (
        not has_tensors(neuron)
        or neuron.refractory
        or neuron.reset not in SOFT_OR_HARD
        or not (can_read(x) or _runs_in_triton(x) or x.is_meta)
        or not x.numel()
        or torch.compiler.is_compiling()
    ):
        return None
    form = neuron.tensors(x, dt)
    if any(p.requires_grad for p in (form.decay_syn, form.beta, form.decay_adapt)):
        return None
    return FusedForm(form, is_hard(neuron.reset), neuron.surrogate)


def _runs_in_triton(x: Tensor) -> bool:
    return x.is_cuda and x.dtype in (torch.float32, torch.float64) and has_triton()


@lru_cache(maxsize=1)
def has_triton() -> bool:
    """Say whether Triton is installed and passes tuples to kernels: 3.5, as with torch 2.9."""
    if find_spec("triton") is None:
        return False
    import triton

    major, minor = triton.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (3, 5)


def run_fused(
    form: FusedForm,
    x: Float[Tensor, "T B *N"],
    state: Any,
    context: FusedContext = NO_CONTEXT,
    operator: type[torch.autograd.Function] | None = None,
) -> tuple[Float[Tensor, "_ B *P"], Any]:
    """Return (spikes or means, next state) of T >= 1 ticks, as the loop over ``step`` does.

    operator: for example :class:`FusedOnCPU`; None: the operator for the device of ``x``. The
    operators for a GPU, and for the device "meta" that stands for one, need every tick of the
    input and do not pool.

    Raises:
        ValueError: the state has another number of samples or another shape than ``x``.
    """
    for cell in _cells_of(state):  # kernels write without bounds checks
        if cell is not None and cell.shape != x.shape[1:]:
            have, need = tuple(cell.shape), tuple(x.shape[1:])
            cure = "continue with the same samples, or start at rest: state=None"
            raise ValueError(f"the state is of shape {have}, a tick of x of {need}; {cure}")
    if (x.is_cuda or x.is_meta) and context.repeats:
        x = x.expand(context.repeats, *x.shape[1:])
    order = _order(x)
    parameters = [_rows_of(p, x.shape[2:], order) for p in form.tensors]
    cells = [None if c is None else _flat(c, order) for c in _cells_of(state)]
    blocks, shape = NOT_POOLED, x.shape[2:]
    if context.pool:
        (channels, height, width), (rows, columns) = shape, context.pool
        blocks = PoolBlocks(rows, columns, width, channels)
        shape = torch.Size((channels, height // rows, width // columns))
    options = FusedOptions(
        form.hard, form.surrogate, blocks, context.repeats or len(x), shape.numel()
    )
    arguments = (_flat(x, order, 2), *cells, *parameters, options)
    operator = operator or choose_operator(x)
    bare = operator is FusedOnCPU and not torch.is_grad_enabled()  # apply would be slower
    apply: Any = _run_on_cpu if bare else operator.apply  # torch annotates it in some versions
    out, *after = apply(*arguments)
    y = _shaped(out, torch.Size((*out.shape[:2], *shape)), order)
    cells = [None if c is None else _shaped(c, state.v.shape, order) for c in after]
    return y, replace_cells(state, cells)


def can_pool(x: Float[Tensor, "T B *N"], size: tuple[int, int]) -> bool:
    """Say whether :func:`run_fused` can pool the spikes: ``x`` holds channels-last images."""
    return (
        can_read(x)
        and x.dim() == 5
        and _order(x) == [1, 2, 0]
        and x.shape[3] >= size[0]
        and x.shape[4] >= size[1]
    )


def _run_on_cpu(*arguments: Any, adapts: bool = False) -> tuple[Tensor | None, ...]:
    """Return the outputs of :class:`FusedOnCPU`; for ``adapts`` see :func:`_arrays`."""
    x, before, form = _arrays(arguments, adapts)
    options = arguments[-1]
    after = StateArrays(*(c.copy() for c in before))
    out = np.empty((options.ticks, x.shape[1], options.size), x.dtype)

    def run_share(low: int, high: int) -> None:
        kernels.run_forward(x, after, form, low, high, options.blocks, out)

    run_in_shares(x.shape[1], options.ticks * x[0].size, run_share)
    return tuple(torch.from_numpy(y) if y.size else None for y in (out, *after))


def choose_operator(x: Tensor) -> type[torch.autograd.Function]:
    """Return the operator that runs on the device of ``x``."""
    if x.is_meta:
        return FusedWithoutValues
    if not x.is_cuda:
        return FusedOnCPU
    from neuro.neurons.fused_triton import FusedOnGPU

    return FusedOnGPU


class FusedOnCPU(torch.autograd.Function):
    """(x, v, i, a, six parameters, options) -> (spikes or their means, v, i, a).

    i is None, in input and output, without a current; a is None without adaptation.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Run T >= 1 ticks. x: T B M; v, i, a: B M; parameters: (M), or (1) if shared."""
        out = _run_on_cpu(*arguments, adapts=ctx.needs_input_grad[3])
        ctx.save_for_backward(*arguments[:-1])
        ctx.options, ctx.used = arguments[-1], tuple(y is not None for y in out[1:])
        ctx.set_materialize_grads(False)
        # The state passes gradients, except an adaptation that only spikes have raised.
        differentiable = (True, ctx.used[1], ctx.needs_input_grad[3])
        pairs = zip(out[1:], differentiable, strict=True)
        ctx.mark_non_differentiable(*(y for y, d in pairs if y is not None and not d))
        return out

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of :meth:`forward`."""
        saved, options = ctx.saved_tensors, ctx.options
        if torch.is_grad_enabled():  # a gradient of these gradients may follow
            return differentiate_plainly((*saved, options), d_outputs)
        x, before, form = _arrays((*saved, options), ctx.needs_input_grad[3])
        run = ForwardArrays(x, before, options.blocks)
        surrogate, derivative = _derivative(run, form, options)
        shapes = [(options.ticks, x.shape[1], options.size), *(c.shape for c in before)]
        pairs = zip(d_outputs, shapes, strict=True)
        d_out, *d_cells = (
            np.zeros(shape, x.dtype) if y is None else y.contiguous().numpy()
            for y, shape in pairs
        )
        d_x = (np.zeros_like if len(x) < options.ticks else np.empty_like)(x)
        d_state = StateArrays(*(y.copy() for y in d_cells))
        trained = any(ctx.needs_input_grad[4:])

        def run_share(low: int, high: int) -> np.ndarray:
            sums = np.zeros((3, x.shape[2] if trained else 0))
            gradients = GradientArrays(d_out, surrogate, derivative, d_x, d_state, sums)
            backward_kernels.run_backward(run, form, low, high, gradients)
            return sums

        shares = run_in_shares(x.shape[1], options.ticks * x[0].size, run_share)
        learning = (saved[4], saved[5], saved[7])
        d_decay, d_gain, d_threshold = _summed(shares, *learning) if trained else [None] * 3
        d_inputs = [
            torch.from_numpy(y) if u else None
            for y, u in zip((d_x, *d_state), (True, *ctx.used), strict=True)
        ]
        return (*d_inputs, d_decay, d_gain, None, d_threshold, None, None, None)


class FusedWithoutValues(torch.autograd.Function):
    """The operator for torch's device "meta": shapes only; it saves what the GPU's saves."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Return outputs with the shapes of :meth:`FusedOnCPU.forward`."""
        x, *cells = arguments[:4]
        membranes = torch.empty_like(x)  # before the reset
        ctx.save_for_backward(membranes, *arguments[:-1])
        after = [None if c is None else torch.empty_like(c) for c in cells]
        if after[2] is not None and not ctx.needs_input_grad[3]:
            ctx.mark_non_differentiable(after[2])
        return torch.empty_like(x), *after


def _arrays(
    arguments: tuple[Any, ...], adapts: bool
) -> tuple[np.ndarray, StateArrays, FormArrays]:
    """Return the operator's arguments as the kernels read them.

    adapts: keep the adaptation even if no threshold rises.
    """
    x, v, i, a, *parameters, options = arguments
    state, form = _read_arrays((v, i, a), parameters, options.hard, adapts)
    return x.detach().contiguous().numpy(), state, form


def _read_arrays(
    cells: Iterable[Any], parameters: Sequence[Tensor], hard: bool, adapts: bool
) -> tuple[StateArrays, FormArrays]:
    v: Any
    v, i, a = (c if c is None else c.detach().contiguous().numpy() for c in cells)
    decay, gain, decay_syn, threshold, beta, decay_adapt = (
        p.detach().contiguous().numpy() for p in parameters
    )
    rises = a is not None and (adapts or bool(a.any() or beta.any()))
    used = (v, i, a if rises else None)
    return StateArrays(*(v[:, :0] if c is None else c for c in used)), FormArrays(
        decay, gain, decay_syn, threshold, beta, decay_adapt, hard, rises
    )


def read_arrays(form: FusedForm, state: Any) -> tuple[StateArrays, FormArrays]:
    """Return a population that has one axis as the kernels read it."""
    parameters = [_rows_of(p, state.v.shape[1:], [0]) for p in form.tensors]
    return _read_arrays(_cells_of(state), parameters, form.hard, False)


def _cells_of(state: Any) -> tuple[Tensor | None, ...]:
    """Return membrane, current and adaptation; None for one that the state lacks."""
    return state.v, getattr(state, "i", None), getattr(state, "a", None)


def replace_cells(state: Any, cells: Iterable[Tensor | None]) -> Any:
    """Return the state with new tensors for v, i and a; None keeps the old one."""
    pairs = zip(("v", "i", "a"), cells, strict=True)
    return state._replace(**{name: c for name, c in pairs if c is not None})


def _summed(shares: list[np.ndarray], *learning: Tensor) -> list[Tensor]:
    """Return the gradients of decay, gain and threshold."""
    pairs = zip(torch.from_numpy(np.sum(shares, axis=0)), learning, strict=True)
    return [row.sum_to_size(p.shape).to(p.dtype) for row, p in pairs]


def _derivative(
    run: ForwardArrays, form: FormArrays, options: FusedOptions
) -> tuple[int, np.ndarray]:
    """Return the kind of the surrogate derivative, and its values if no kernel computes it."""
    if options.surrogate in SURROGATES:
        return SURROGATES[options.surrogate], np.empty((0, 0, 0), run.x.dtype)
    distances = np.empty((options.ticks, *run.x.shape[1:]), run.x.dtype)
    backward_kernels.write_distances(run, form, distances)
    values = options.surrogate(torch.from_numpy(distances)).contiguous().numpy()
    return backward_kernels.GIVEN, values


def _order(x: Tensor) -> list[int]:
    """Return a sample's axes by stride, so that channels-last images need no copy."""
    return sorted(range(x.dim() - 2), key=lambda axis: -x.stride(axis + 2))


def _flat(x: Tensor, order: list[int], lead: int = 1) -> Tensor:
    """Return x with all neuron axes merged into one, in this order, after ``lead`` axes."""
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
    """Return a parameter as (1) if all neurons share it, else as (M)."""
    return p.reshape(1) if p.numel() == 1 else _flat(p.expand(shape)[None], order)[0]


def run_population(
    neuron: Neuron,
    x: Float[Tensor, "T B *X"],
    dt: Seconds,
    state: Any = None,
    context: FusedContext = NO_CONTEXT,
) -> tuple[Float[Tensor, "_ B *P"], Any]:
    """Advance T >= 1 ticks; return (outputs, state). A state continues a run; None is rest.

    The fused operator runs the models that it supports; others run tick by tick.
    """
    state = neuron.initial(x[0]) if state is None else state
    form = make_fused_form(neuron, x, dt)
    if form is None:
        return step_population(neuron, x, dt, state, context)
    if context.pool and not can_pool(x, context.pool):
        y, state = run_fused(form, x, state, context._replace(pool=None))
        return _pooled(y, context.pool), state
    return run_fused(form, x, state, context)


def step_population(
    neuron: Neuron,
    x: Float[Tensor, "T B *X"],
    dt: Seconds,
    state: Any,
    context: FusedContext = NO_CONTEXT,
) -> tuple[Float[Tensor, "_ B *P"], Any]:
    """Advance tick by tick; arguments and result as in :func:`run_population`."""
    out = []
    for x_t in x.expand(context.repeats or len(x), *x.shape[1:]):
        y, state = neuron.step(x_t, state, dt)
        out.append(y)
    y = torch.stack(out)
    return (_pooled(y, context.pool) if context.pool else y), state


def _pooled(y: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the average pool of every tick and sample."""
    means = F.avg_pool2d(y.flatten(0, 1), size)
    return means.reshape(*y.shape[:2], *means.shape[1:])
