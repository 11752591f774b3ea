"""Training with less memory where batch norms train: each block is computed twice.

Batch norms take all ticks and samples as one batch. A Stack is divided into its blocks, and
each sees the whole batch: outputs, gradients and running statistics are those of the Stack.
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
    """Return the output of a Stack from rest; the backward pass computes each block again.

    A block is a module of the Stack; of a Stack of Stacks and Residuals, one of those. Between
    forward and backward pass only the inputs of blocks stay, and in the backward pass the
    values of one block. The second run has the modes (training or evaluation) and the random
    numbers of the first, and leaves running statistics alone.
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
    """Yield a list of the bytes that each block of :func:`run_in_blocks` needs.

    They are those that the backward pass keeps while it computes the block again. For
    measurements: a run in this context has no backward pass.
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
    """Run a block of code in these modes, in which training changes no running statistics."""
    before = {m: m.training for m in modes}
    norms: list[Any] = [m for m in modes if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    # Without running statistics autograd would keep fewer values than in the first run.
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
    """Yield a function that returns the bytes that autograd has kept in a block of code.

    Without the parameters and buffers of the module.
    """
    own = {_id_of(t) for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, Tensor] = {}  # stay alive, so that no other tensor takes their memory

    def keep(tensor: Tensor) -> Tensor:
        if _id_of(tensor) not in own:
            kept[_id_of(tensor)] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield lambda: sum(t.untyped_storage().nbytes() for t in kept.values())


def _id_of(tensor: Tensor) -> int:
    """Return a number that tensors have in common if they share their memory."""
    storage: Any = tensor.untyped_storage()
    return int(storage._cdata)
