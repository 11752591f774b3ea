"""A fixed number of states is kept, whatever the ticks, and chunks are computed few times."""

from collections import Counter
from functools import cache
from itertools import count
from math import comb, inf
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neuro.base.units import Ticks
from neuro.neurons import ALIF, LI
from neuro.nn.checkpoint import Checkpointed, choose_stride
from neuro.nn.layers import Delay, Spiking, Stack, Temporal
from neuro.spikes.codes import direct


class Alive(TorchDispatchMode):
    """Knows the arrays of torch that were made since it began, and which still are."""

    def __init__(self) -> None:
        super().__init__()
        self.refs: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        arrays = [t.untyped_storage() for t in tree_leaves(out) if isinstance(t, Tensor)]
        for array in arrays:
            if array._cdata not in self.refs:
                self.refs[array._cdata] = StorageWeakRef(array), array.nbytes()
                self.peak = max(self.peak, sum(self.sizes()))
        return out

    def sizes(self) -> list[int]:
        """Return the bytes of each array."""
        self.refs = {k: pair for k, pair in self.refs.items() if not pair[0].expired()}
        return [size for _, size in self.refs.values()]


TAG = 1009  # integers in a state, of which there is no gradient: 8072 bytes, as nothing else


class Watched(Temporal):
    """A leak that counts how often each chunk is computed, and the states there are then."""

    def __init__(self, alive: Alive) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.9, dtype=torch.float64))
        self.alive, self.computed, self.states = alive, Counter[int](), 0

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        self.computed[int(x[0, 0])] += 1
        self.states = max(self.states, self.alive.sizes().count(8 * TAG))
        v, tag = state
        out = []
        for now in x:
            v = torch.tanh(self.weight * v + now / 50)
            out.append(v)
        return torch.stack(out), (v, tag + 1)


@settings(max_examples=40)
@given(chunks=st.integers(1, 30), ticks=st.integers(1, 3), states=st.integers(1, 6))
def test_chunks_are_computed_as_few_times_as_can_be_with_so_many_states(
    chunks: int, ticks: int, states: int
) -> None:
    alive = Alive()
    module = Watched(alive)
    x = torch.arange(chunks * ticks, dtype=torch.float64)[:, None]
    state = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64).expand(TAG)
    r = next(r for r in count(1) if comb(states + r, states) > chunks)
    with alive:
        y = Checkpointed(module, Ticks(ticks), states)(x, state)[0]
        assert set(module.computed.values()) == {1}
        y.sum().backward()
    assert max(module.computed.values()) <= r + 1
    # Griewank and Walther, for the steps and one that follows on them: the loss.
    passed = r * (chunks + 1) - comb(states + r, states + 1)
    assert module.computed.total() == passed + chunks
    assert module.states == min(chunks, states) + (chunks > 1)  # and the one it goes on from
    slow = module(x, state)[0].sum()
    torch.testing.assert_close(module.weight.grad, torch.autograd.grad(slow, module.weight)[0])


class Memory(NamedTuple):
    """Bytes beside input, output and last state."""

    kept: int
    way_back: int  # at its peak


def memory(ticks: int, states: int | None) -> Memory:
    stack = Stack(
        fc=nn.Linear(30, 100),
        cells=Spiking(ALIF(threshold=0.2, beta=0.1)),
        late=Delay(Ticks(2)),  # its states are views of more
        out=nn.Linear(100, 3),
    )
    module, image = Checkpointed(stack, Ticks(4), states), torch.rand(8, 30)
    with Alive() as alive:
        y, state = module(direct(image, Ticks(ticks)))
        own = sum(c.nbytes for c in (y, *tree_leaves(state)) if c is not None)
        kept, alive.peak = sum(alive.sizes()) - own, 0
        y.sum().backward()
    return Memory(kept, alive.peak - own)


def test_four_times_the_ticks_take_the_same_memory() -> None:
    few = memory(32, states=3)
    assert memory(128, states=3) == few  # to the byte
    assert few.kept - memory(32, states=2).kept == 4 * 8 * (100 + 100 + 2 * 100)  # v, a, delay
    assert memory(128, states=None).kept > 15 * few.kept


@given(chunks=st.integers(2, 60), states=st.integers(1, 8))
def test_the_best_place_for_a_state_is_found(chunks: int, states: int) -> None:
    @cache
    def passed(chunks: int, states: int) -> float:
        """Return how many chunks are passed on the way to others, at best."""
        if chunks == 1 or not states:
            return 0 if chunks == 1 else inf
        return min(price(i, chunks, states) for i in range(1, chunks))

    def price(first: int, chunks: int, states: int) -> float:
        return first + passed(first, states) + passed(chunks - first, states - 1)

    assert price(choose_stride(chunks, states), chunks, states) == passed(chunks, states)


def linear() -> Stack:
    return Stack(fc=nn.Linear(3, 4), out=Spiking(LI(tau=0.01)))


def test_a_graph_that_is_retained_goes_back_twice() -> None:
    stack = linear()
    weight = stack.get_parameter("fc.weight")
    loss = Checkpointed(stack, Ticks(2), states=2)(torch.rand(9, 1, 3))[0].sum()
    (once,) = torch.autograd.grad(loss, weight, retain_graph=True)
    (twice,) = torch.autograd.grad(loss, weight)
    assert torch.equal(once, twice)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_parameters_that_changed_before_the_way_back_are_noticed() -> None:
    stack = linear()
    loss = Checkpointed(stack, Ticks(2), states=2)(torch.rand(9, 1, 3))[0].sum()
    with torch.no_grad():
        stack.get_parameter("fc.weight").add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_gradient_that_would_be_lost_is_refused() -> None:
    rises = torch.full((4,), 0.5, requires_grad=True)  # a tensor of the model, no parameter
    stack = Stack(nn.Linear(3, 4), Spiking(ALIF(beta=rises)))
    with pytest.raises(ValueError, match=r"no gradient .* shape \[\(4,\)\].* make them param"):
        Checkpointed(stack, Ticks(2), states=2)(torch.rand(6, 1, 3))
    y, _ = Checkpointed(stack, Ticks(2))(torch.rand(6, 1, 3))
    y.sum().backward()
    assert rises.grad is not None


def test_it_is_computed_again_in_the_precision_of_the_way_there() -> None:
    stack, x = linear(), torch.rand(9, 5, 3)
    used = Counter[torch.dtype]()
    stack.get_submodule("fc").register_forward_hook(
        lambda *given: used.update([given[2].dtype])
    )
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = Checkpointed(stack, Ticks(2), states=2)(x)
    y.square().sum().backward()
    assert used == {torch.bfloat16: 5 + 8}  # there, and on the way back


def test_only_some_gradients_are_asked_for_or_flow() -> None:
    stack, x = linear(), torch.rand(9, 5, 3, requires_grad=True)
    stack.get_parameter("fc.weight").requires_grad_(False)
    module = Checkpointed(stack, Ticks(2), states=2)
    want = torch.autograd.grad(tree_leaves(stack(x)[1])[-1].sum(), x)
    (found,) = torch.autograd.grad(tree_leaves(module(x)[1])[-1].sum(), x)  # y is not heard
    torch.testing.assert_close(found, *want)
    nothing, _ = Checkpointed(linear().requires_grad_(False), Ticks(2), states=2)(x.detach())
    assert not nothing.requires_grad
