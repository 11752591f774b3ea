"""Training with less memory: the backward pass computes a module again, chunk by chunk.

With a number of states, the run goes forward from the last stored state to the chunk whose
gradients are next. It stores states on the way while there is room, and drops each state after
its chunk: binomial checkpointing.
Names: ``d_x`` is the derivative of the loss by x.
"""

from collections.abc import Callable, Sequence
from itertools import count
from math import comb
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten
from torch.utils.checkpoint import checkpoint, get_device_states, set_device_states

from neuro.base.arguments import make_type_error, require_whole, require_whole_ticks
from neuro.base.units import Ticks
from neuro.nn.spiking import Temporal, require_module, require_stimulus


class Checkpointed(Temporal):
    """``module`` in chunks of ticks; the backward pass keeps only the states between them.

    Outputs, states and gradients are those of the module alone. For T ticks in n chunks, the
    backward pass holds the stored states and all values of the ticks of one chunk. With

        states = None   all n states are stored, and each chunk is computed twice;
        states = S      at most S are stored, for any T, and each chunk is computed at most
                        r + 1 times, for the least r with n < C(S + r, S) = (S + r)! / (S! r!).

    So 4 states reverse 14 chunks with r = 2, 34 with 3 and 69 with 4. states = None needs least
    memory for chunks near the square root of T; four times the ticks then take twice the
    memory. Input, output and their gradients stay whole. Random numbers (dropout) repeat. The
    Graph is that of the inner module; gradients of gradients need states = None.

    module: a Temporal, for example a Stack. ticks: of a chunk, >= 1. states: >= 1, or None.
    Source: Griewank and Walther 2000, Algorithm 799: revolve, ACM TOMS 26, 19-45.

    >>> from neuro.nn.layers import Spiking, Stack
    >>> from neuro.neurons import LIF
    >>> net = Checkpointed(Stack(nn.Linear(4, 2), Spiking(LIF(tau=0.02))), Ticks(10), states=3)
    >>> spikes, state = net(torch.ones(100, 1, 4))
    >>> spikes.shape
    torch.Size([100, 1, 2])
    """

    def __init__(self, module: Temporal, ticks: Ticks, states: int | None = None) -> None:
        super().__init__()
        require_module("Checkpointed.module", module)
        if not isinstance(module, Temporal):
            cure = "Stack(module) makes one"
            raise make_type_error(
                "Checkpointed.module", "a Stack, or another Temporal", module, cure
            )
        require_whole_ticks("Checkpointed.ticks", ticks)
        if states is not None:
            require_whole("Checkpointed.states", states, "None keeps one for each chunk")
        problems = []
        if ticks < 1:
            problems.append(
                f"ticks must be >= 1, got {ticks}; the square root of all ticks of a run needs "
                "least memory"
            )
        if states is not None and states < 1:
            problems.append(f"states must be >= 1, got {states}; None keeps one for each chunk")
        if problems:
            raise ValueError("; ".join(f"Checkpointed.{problem}" for problem in problems))
        self.module = module
        self.ticks = ticks
        self.states = states

    def extra_repr(self) -> str:
        """Return the ticks of a chunk and the number of states."""
        return f"ticks={self.ticks}, states={self.states}"

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs and the state of the module.

        Raises:
            ValueError: a batch norm is trained, which needs all ticks of a run as one batch and
                would count each chunk twice; or, with a number of states, the module uses a
                trained tensor that is neither x, nor in the state, nor a parameter.
        """
        require_stimulus(self, x)
        norm = nn.modules.batchnorm._NormBase
        modules = self.module.named_modules()
        names = [name for name, m in modules if m.training and isinstance(m, norm)]
        if names:
            raise ValueError(
                f"Checkpointed cannot train the batch norms {', '.join(names)}: they take all "
                "ticks of a run as one batch; set them to eval(), or leave Checkpointed out"
            )
        if self.states is not None and torch.is_grad_enabled():
            return run_in_chunks(self.module, self.ticks, self.states, x, state)
        outs = []
        for part in torch.split(x, self.ticks):
            if torch.is_grad_enabled():
                y, state = checkpoint(self.module, part, state, use_reentrant=False)
            else:
                y, state = self.module(part, state)
            outs.append(y)
        return torch.cat(outs), state


def run_in_chunks(
    module: nn.Module, ticks: Ticks, states: int, x: Float[Tensor, "T B *N"], state: Any
) -> tuple[Tensor, Any]:
    """Return (y, state) of a module (x, state) -> (y, state) over all ticks.

    ticks: of a chunk, >= 1. states: the most states in memory, >= 1.

    Raises:
        ValueError: the module uses a trained tensor that is neither its input, nor in its
            state, nor one of its parameters.
    """
    run = _ChunkedRun(module, ticks, states, x, state)
    apply: Any = _ChunkedFunction.apply  # torch annotates it in some versions only
    y, tree, *after = apply(run, x, *tree_leaves(state), *run.trained)
    return y, tree_unflatten(after, tree)


def choose_stride(chunks: int, states: int) -> int:
    """Return how many of >= 2 chunks to compute before the next state is stored.

    s states can reverse C(s + r, s) chunks if each chunk is passed at most r times on the way
    to another. states: s >= 1, including the state before the first chunk.

    >>> choose_stride(10, 3), choose_stride(6, 2)
    (4, 3)
    """
    r = next(r for r in count(1) if comb(states + r, states) >= chunks)
    return max(1, comb(states + r - 2, states), chunks - comb(states + r - 1, r))


class _StoredState(NamedTuple):
    """The state before a chunk. random: states of the generators of CPU and devices."""

    chunk: int
    state: Any
    random: tuple[Tensor, list[int], list[Tensor]]


class _ChunkedRun:
    """A run without its input. kept: at most ``states`` states; the first stays to the end."""

    def __init__(
        self, module: nn.Module, ticks: Ticks, states: int, x: Tensor, state: Any
    ) -> None:
        self.module, self.ticks, self.states = module, ticks, states
        self.trained = [p for p in module.parameters() if p.requires_grad]
        self.x_trained = x.requires_grad
        self.kept: list[_StoredState] = []
        self.keep(0, x, state)
        kind = x.device.type if torch.amp.is_autocast_available(x.device.type) else "cpu"
        to, on = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        self.cast = torch.autocast(kind, to, on)

    def keep(self, chunk: int, x: Tensor, state: Any) -> None:
        """Store a copy: a view would hold more memory, and the caller may change it."""
        random = (torch.get_rng_state(), *get_device_states(x, state))
        self.kept.append(_StoredState(chunk, tree_map_only(Tensor, _own, state), random))

    def compute(self, x: Tensor, state: Any) -> tuple[list[Any], Tensor, Any]:
        """Return (leaves of the inputs, outputs, next state) of a chunk with its own graph.

        Gradients are always on: without them a Stack divides its ticks differently, and sums in
        another order can give other spikes.
        """
        x = x.detach().requires_grad_(self.x_trained)
        state = tree_map_only(Tensor, _leaf, state)
        with torch.enable_grad(), self.cast:
            y, after = self.module(x, state)
        inputs = [x, *tree_leaves(state)]
        _refuse_others([y, *tree_leaves(after)], [*inputs, *self.trained])
        return inputs, y, after

    def advance(
        self, parts: Sequence[Tensor], end: int, collect: Callable[[Tensor], object]
    ) -> Any:
        """Return the state before chunk ``end``. collect: called with each output before it."""
        first, state, (cpu, devices, others) = self.kept[-1]
        torch.set_rng_state(cpu)
        set_device_states(devices, others, device_type=parts[0].device.type)
        stop = first
        for k in range(first, end):
            if k == stop:
                if k > first:
                    self.keep(k, parts[k], state)
                stop += choose_stride(end + 1 - k, self.states + 1 - len(self.kept))
            inputs, y, after = self.compute(parts[k], state)
            collect(y.detach())
            state = tree_map_only(Tensor, _leaf, after)
            del inputs, y, after  # frees the graph before the next one
        return state

    def compute_gradients(
        self, parts: Sequence[Tensor], k: int, d_outputs: Sequence[Any]
    ) -> list[Any]:
        """Return the gradients of a chunk: its input, the state before it, and parameters.

        d_outputs: the gradients of its output and of the state after it.
        """
        inputs, y, after = self.compute(parts[k], self.advance(parts, k, lambda _: None))
        if k and self.kept[-1].chunk == k:
            self.kept.pop()
        return _gradients([y, *tree_leaves(after)], d_outputs, [*inputs, *self.trained])


class _ChunkedFunction(torch.autograd.Function):
    """(run, x, leaves of a state, parameters) -> (y, tree of a state, its leaves)."""

    @staticmethod
    def forward(ctx: Any, run: _ChunkedRun, x: Tensor, *_: Any) -> tuple[Any, ...]:
        """Run all chunks."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, *run.trained)  # torch reports changes in place
        ctx.run = run
        outs: list[Tensor] = []
        parts = torch.split(x, run.ticks)
        state = run.advance(parts, len(parts), outs.append)
        leaves, tree = tree_flatten(tree_map_only(Tensor, _own, state))
        constant = (c for c in leaves if isinstance(c, Tensor) and not c.requires_grad)
        ctx.mark_non_differentiable(*constant)
        return torch.cat(outs), tree, *leaves

    @staticmethod
    def backward(ctx: Any, d_y: Tensor | None, _: None, *d_state: Any) -> tuple[Any, ...]:
        """Return the gradients, chunk by chunk; random generators keep their state."""
        if torch.is_grad_enabled():
            raise ValueError(
                "Checkpointed with a number of states has no gradients of gradients; leave "
                "states out, Checkpointed(module, ticks), or create_graph"
            )
        run, (x, *trained) = ctx.run, ctx.saved_tensors
        parts = torch.split(x, run.ticks)
        d_parts = [None] * len(parts) if d_y is None else torch.split(d_y, run.ticks)
        d_x = x.new_zeros(x.shape) if ctx.needs_input_grad[1] else None
        sums: list[Tensor | None] = [None] * len(trained)
        with torch.random.fork_rng(run.kept[0].random[1], device_type=x.device.type):
            for k in reversed(range(len(parts))):
                d_part, *d_rest = run.compute_gradients(parts, k, [d_parts[k], *d_state])
                if d_x is not None and d_part is not None:
                    torch.split(d_x, run.ticks)[k].copy_(d_part)
                d_state = d_rest[: len(d_rest) - len(trained)]
                pairs = zip(sums, d_rest[len(d_state) :], strict=True)
                sums = [b if a is None else a if b is None else a + b for a, b in pairs]
        return None, d_x, *d_state, *sums


def _leaf(cell: Tensor) -> Tensor:
    return cell.detach().requires_grad_(cell.requires_grad)


def _own(cell: Tensor) -> Tensor:
    return cell.detach().clone().requires_grad_(cell.requires_grad)


def _requires_grad(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _gradients(
    outputs: list[Any], d_outputs: Sequence[Any], inputs: list[Any]
) -> list[Tensor | None]:
    """Return the gradient of each of ``inputs``, or None."""
    pairs = zip(outputs, d_outputs, strict=True)
    pairs_used = [(y, d_y) for y, d_y in pairs if d_y is not None and _requires_grad(y)]
    trained = [c for c in inputs if _requires_grad(c)]
    if not pairs_used or not trained:
        return [None] * len(inputs)
    outs, d_outs = zip(*pairs_used, strict=True)
    gradients = iter(torch.autograd.grad(outs, trained, d_outs, allow_unused=True))
    return [next(gradients) if _requires_grad(c) else None for c in inputs]


def _refuse_others(outputs: list[Any], inputs: list[Any]) -> None:
    """Raise if a gradient would be lost: a leaf of the graph is not among ``inputs``."""
    known, seen = {id(c) for c in inputs}, {None}
    nodes = {y.grad_fn for y in outputs if _requires_grad(y)}
    while nodes := nodes - seen:
        seen |= nodes
        leaves = [node.variable for node in nodes if hasattr(node, "variable")]
        if lost := [tuple(c.shape) for c in leaves if id(c) not in known]:
            raise ValueError(
                f"with a number of states, Checkpointed has no gradient for tensors of shape "
                f"{lost}: they are neither its input, nor in its state, nor parameters of its "
                "module; make them parameters, or leave states out"
            )
        nodes = {before for node in nodes for before, _ in node.next_functions}
