"""The way back through a long run in chunks of ticks, with a fixed number of states kept.

It goes on from the last state that is kept to the chunk that is due, keeps others meanwhile
where there is room, and forgets each that it has come back to: binomial checkpointing.
Source: Griewank and Walther 2000, Algorithm 799: revolve, ACM TOMS 26, 19-45.
"""

from collections.abc import Callable, Sequence
from itertools import count
from math import comb
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten
from torch.utils.checkpoint import get_device_states, set_device_states

from neuro.units import Ticks


def reversible(
    module: nn.Module, ticks: Ticks, states: int, x: Float[Tensor, "T B *N"], state: Any
) -> tuple[Tensor, Any]:
    """Return what a module (x, state) -> (y, state) makes of all ticks.

    ticks: of a chunk, >= 1. states: that are kept at most, >= 1.

    Raises:
        ValueError: a gradient is wanted of what is not x, nor in the state, nor a parameter.
    """
    run = _Run(module, ticks, states, x, state)
    apply: Any = _Reversed.apply  # torch annotates it in some versions only
    y, tree, *after = apply(run, x, *tree_leaves(state), *run.learned)
    return y, tree_unflatten(after, tree)


def stride(chunks: int, states: int) -> int:
    """Return how many of >= 2 chunks to compute before a state is kept again.

    With s states C(s + r, s) chunks can be reversed, and none of them is passed more than r
    times on the way to another. states: s >= 1, with the one before the first chunk.

    >>> stride(10, 3), stride(6, 2)
    (4, 3)
    """
    r = next(r for r in count(1) if comb(states + r, states) >= chunks)
    return max(1, comb(states + r - 2, states), chunks - comb(states + r - 1, r))


class _Kept(NamedTuple):
    """The state before a chunk. random: generators of the CPU and of other devices then."""

    chunk: int
    state: Any
    random: tuple[Tensor, list[int], list[Tensor]]


class _Run:
    """A run but for its input. kept: at most ``states``; the first one to the very end."""

    def __init__(
        self, module: nn.Module, ticks: Ticks, states: int, x: Tensor, state: Any
    ) -> None:
        self.module, self.ticks, self.states = module, ticks, states
        self.learned = [p for p in module.parameters() if p.requires_grad]
        self.x_learns = x.requires_grad
        self.kept: list[_Kept] = []
        self.keep(0, x, state)
        kind = x.device.type if torch.amp.is_autocast_available(x.device.type) else "cpu"
        to, on = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        self.cast = torch.autocast(kind, to, on)

    def keep(self, chunk: int, x: Tensor, state: Any) -> None:
        """Keep a copy: a view would keep more than a state, and who gave it may change it."""
        random = (torch.get_rng_state(), *get_device_states(x, state))
        self.kept.append(_Kept(chunk, tree_map_only(Tensor, _own, state), random))

    def compute(self, x: Tensor, state: Any) -> tuple[list[Any], Tensor, Any]:
        """Return (leaves of what goes in, outputs, next state) of a chunk, a graph of its own.

        Also when only a state is due: without gradients a Stack runs its ticks in other parts,
        and another sum may be another spike.
        """
        x = x.detach().requires_grad_(self.x_learns)
        state = tree_map_only(Tensor, _leaf, state)
        with torch.enable_grad(), self.cast:
            y, after = self.module(x, state)
        given = [x, *tree_leaves(state)]
        _refuse_others([y, *tree_leaves(after)], [*given, *self.learned])
        return given, y, after

    def advance(
        self, parts: Sequence[Tensor], end: int, hear: Callable[[Tensor], object]
    ) -> Any:
        """Return the state before chunk ``end``. hear: is told what comes out until there."""
        first, state, (cpu, devices, others) = self.kept[-1]
        torch.set_rng_state(cpu)
        set_device_states(devices, others, device_type=parts[0].device.type)
        stop = first
        for k in range(first, end):
            if k == stop:
                if k > first:
                    self.keep(k, parts[k], state)
                stop += stride(end + 1 - k, self.states + 1 - len(self.kept))
            given, y, after = self.compute(parts[k], state)
            hear(y.detach())
            state = tree_map_only(Tensor, _leaf, after)
            del given, y, after  # and the graph, before there is another
        return state

    def back(self, parts: Sequence[Tensor], k: int, flow: Sequence[Any]) -> list[Any]:
        """Return what flows to the input of chunk ``k``, the state before it, and parameters.

        flow: to its output and the state after it.
        """
        given, y, after = self.compute(parts[k], self.advance(parts, k, lambda _: None))
        if k and self.kept[-1].chunk == k:
            self.kept.pop()
        return _gradients([y, *tree_leaves(after)], flow, [*given, *self.learned])


class _Reversed(torch.autograd.Function):
    """(run, x, leaves of a state, parameters) -> (y, tree of a state, its leaves)."""

    @staticmethod
    def forward(ctx: Any, run: _Run, x: Tensor, *_: Any) -> tuple[Any, ...]:
        """Run all chunks."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, *run.learned)  # and notice if they are changed meanwhile
        ctx.run = run
        outs: list[Tensor] = []
        parts = torch.split(x, run.ticks)
        state = run.advance(parts, len(parts), outs.append)
        leaves, tree = tree_flatten(tree_map_only(Tensor, _own, state))
        dull = (c for c in leaves if isinstance(c, Tensor) and not c.requires_grad)
        ctx.mark_non_differentiable(*dull)
        return torch.cat(outs), tree, *leaves

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_y: Tensor | None, _: None, *flow: Any) -> tuple[Any, ...]:
        """Run all chunks back. The random generators are left where they were."""
        run, (x, *learned) = ctx.run, ctx.saved_tensors
        parts = torch.split(x, run.ticks)
        to_parts = [None] * len(parts) if to_y is None else torch.split(to_y, run.ticks)
        to_x = x.new_zeros(x.shape) if ctx.needs_input_grad[1] else None
        sums: list[Tensor | None] = [None] * len(learned)
        with torch.random.fork_rng(run.kept[0].random[1], device_type=x.device.type):
            for k in reversed(range(len(parts))):
                to_part, *found = run.back(parts, k, [to_parts[k], *flow])
                if to_x is not None and to_part is not None:
                    torch.split(to_x, run.ticks)[k].copy_(to_part)
                flow = found[: len(found) - len(learned)]
                both = zip(sums, found[len(flow) :], strict=True)
                sums = [b if a is None else a if b is None else a + b for a, b in both]
        return None, to_x, *flow, *sums


def _leaf(cell: Tensor) -> Tensor:
    return cell.detach().requires_grad_(cell.requires_grad)


def _own(cell: Tensor) -> Tensor:
    return cell.detach().clone().requires_grad_(cell.requires_grad)


def _learns(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _gradients(made: list[Any], flow: Sequence[Any], given: list[Any]) -> list[Tensor | None]:
    """Return what flows to each of ``given``; None: nothing does."""
    ways = [(y, g) for y, g in zip(made, flow, strict=True) if g is not None and _learns(y)]
    asked = [c for c in given if _learns(c)]
    if not ways or not asked:
        return [None] * len(given)
    outs, to_outs = zip(*ways, strict=True)
    found = iter(torch.autograd.grad(outs, asked, to_outs, allow_unused=True))
    return [next(found) if _learns(c) else None for c in given]


def _refuse_others(made: list[Any], given: list[Any]) -> None:
    """Raise if a gradient would be lost: if it flows to what is not among ``given``."""
    known, seen = {id(c) for c in given}, {None}
    nodes = {y.grad_fn for y in made if _learns(y)}
    while nodes := nodes - seen:
        seen |= nodes
        leaves = [node.variable for node in nodes if hasattr(node, "variable")]
        if lost := [tuple(c.shape) for c in leaves if id(c) not in known]:
            raise ValueError(
                f"with a number of states, Checkpointed has no gradient for tensors of shape "
                f"{lost}: they are not its input, nor in its state, nor parameters of its "
                "module; make them parameters, or leave states out"
            )
        nodes = {before for node in nodes for before, _ in node.next_functions}
