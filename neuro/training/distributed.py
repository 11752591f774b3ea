"""A batch that several processes share (DDP): who holds which samples, and draws for them.

Of n processes, process r holds the samples r, r + n, r + 2 n, ... of the whole batch. Rows T B,
into which ticks and samples are folded, are then shared in the same way.
"""

from collections.abc import Callable

import torch.distributed as dist
from torch import Tensor


def processes() -> tuple[int, int]:
    """Return (which of the processes that train together this one is, how many they are)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def own() -> slice:
    """Return which samples of the whole batch this process holds."""
    rank, n = processes()
    return slice(rank, None, n)


def drawn(draw: Callable[[int], Tensor], samples: int, axis: int = 0) -> Tensor:
    """Return what is drawn at random for this process's samples of the whole batch.

    Every process draws for all samples, from the same seed, and keeps what is for its own: so N
    processes draw what one would. For training alone: the batches that a model is evaluated on
    are not shared.

    draw: number of samples -> tensor. samples: that this process holds. axis: of the samples.

    >>> import torch
    >>> drawn(lambda samples: torch.zeros(3, samples), 4, axis=1).shape
    torch.Size([3, 4])
    """
    whole = draw(samples * processes()[1])
    return whole[(slice(None),) * axis + (own(),)]
