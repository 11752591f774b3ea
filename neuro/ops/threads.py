"""Tensors that compiled loops can read, and their work shared between the threads of torch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Part = TypeVar("Part")

ALONE = 2**16  # values that are not worth a second thread


def readable(x: Tensor) -> bool:
    """Say whether compiled loops can read a tensor: on a CPU, in float32 or float64."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def in_shares(many: int, values: int, do: Callable[[int, int], Part]) -> list[Part]:
    """Return ``do(low, high)`` for parts of 0 to ``many``, one a thread; values: in all."""
    threads = min(torch.get_num_threads(), many) if values >= ALONE else 1
    if threads == 1:
        return [do(0, many)]
    edges = np.linspace(0, many, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda edge: do(*edge), pairwise(edges)))
