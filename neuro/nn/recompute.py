"""Training with less memory, batch norms included: each block is computed twice.

A batch norm takes all ticks and samples as one batch. So a Stack is divided into its blocks,
and each block sees the whole batch: outputs, gradients and running statistics are those of the
Stack.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from neuro.nn.layers import Stack, Temporal

_NOTED: ContextVar[list[int] | None] = ContextVar("_NOTED", default=None)


def run_in_blocks(stack: Stack, x: Float[Tensor, "T B *N"]) -> Tensor:
    """Return the output of a Stack that starts at rest; backward computes each block again.

    A block is a module of the Stack, or, in a Stack of Stacks and Residuals, one of these.
    Between forward and backward pass only the blocks' inputs are kept, and in the backward pass
    the values of one block. The second computation repeats the modes (training or evaluation)
    and random numbers of the first, and does not change running statistics.
    """
    for block in list_blocks(stack):
        modes = {m: m.training for m in block.modules()}
        x = checkpoint(
            partial(_run_from_rest, block),
            x,
            use_reentrant=False,
            context_fn=partial(_make_contexts, block, modes),
        )
    return x


def _make_contexts(
    block: nn.Module, modes: dict[nn.Module, bool]
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return _note(block), _repeat(modes)


def list_blocks(stack: Stack) -> list[nn.Module]:
    """Return the blocks of a Stack, in order."""
    blocks: list[nn.Module] = []
    for module in stack.children():
        if isinstance(module, Stack) and all(
            isinstance(m, Temporal) for m in module.children()
        ):
            blocks += list_blocks(module)
        else:
            blocks.append(module)
    return blocks


@contextmanager
def note_recomputed() -> Iterator[list[int]]:
    """Yield a list that receives the bytes each block of :func:`run_in_blocks` needs.

    These are the bytes kept while the backward pass computes the block again. For measurements:
    a run in this context has no backward pass.
    """
    noted: list[int] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def _run_from_rest(block: nn.Module, x: Tensor) -> Tensor:
    out = block(x)
    y: Tensor = out[0] if isinstance(block, Temporal) else out
    return y


@contextmanager
def _repeat(modes: dict[nn.Module, bool]) -> Iterator[None]:
    """Run the context in the given modes, without changing running statistics in training."""
    before = {m: m.training for m in modes}
    norms: list[Any] = [m for m in modes if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    # If running statistics were off, autograd would keep fewer values than in the first run.
    counts = [None if (n := m.num_batches_tracked) is None else n.clone() for m in norms]
    momenta = [m.momentum for m in norms]
    try:
        for module, training in modes.items():
            module.training = training
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if count is not None:
                norm.num_batches_tracked.copy_(count)
        for module, training in before.items():
            module.training = training


@contextmanager
def _note(block: nn.Module) -> Iterator[None]:
    noted = _NOTED.get()
    if noted is None:
        yield
        return
    with count_kept(block) as count:
        yield
    noted.append(count())


@contextmanager
def count_kept(module: nn.Module) -> Iterator[Callable[[], int]]:
    """Yield a function that returns how many bytes autograd has kept inside the context.

    The module's parameters and buffers are not counted.
    """
    own = {_id_of(t) for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, Tensor] = {}  # alive, so that no other tensor reuses their memory

    def keep(tensor: Tensor) -> Tensor:
        if _id_of(tensor) not in own:
            kept[_id_of(tensor)] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield lambda: sum(t.untyped_storage().nbytes() for t in kept.values())


def _id_of(tensor: Tensor) -> int:
    """Return a number that is equal for tensors that share their memory."""
    storage: Any = tensor.untyped_storage()
    return int(storage._cdata)
