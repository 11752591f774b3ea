"""Batches that other processes read while this one computes."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch
from joblib import cpu_count
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from neuro.training.threads import limit_threads

Item = TypeVar("Item")
ReadShare = Callable[[int, int], Iterator[Item]]


def read_ahead(read_share: ReadShare[Item], readers: int) -> Iterator[Item]:
    """Yield items in their order, read by ``readers`` processes; 0: by this one, when asked.

    An error in a reader is raised here, in the place of the item that it was met at. As long as
    there are readers, torch has the cores that they leave, one at least: where threads wait for
    a core that a reader has, all of them wait.

    Args:
        read_share: (k, n) -> the items k, k + n, k + 2 n, ... of all. What it draws at random
            may not come from the global generators, which each process has its own of.
        readers: processes, of which no more run than there are cores; each is two items ahead
            at most.

    >>> list(read_ahead(lambda k, n: iter(range(k, 5, n)), 0))
    [0, 1, 2, 3, 4]
    """
    if readers == 0:
        yield from read_share(0, 1)
        return
    readers = min(readers, cpu_count())
    loader = DataLoader(
        _Shares(read_share),
        batch_size=None,
        num_workers=readers,
        collate_fn=_keep,
        generator=torch.Generator(),  # the loader draws a seed, but not from torch's own
    )
    with limit_threads(max(1, cpu_count() - readers)):
        for item in loader:
            if isinstance(item, _Failure):
                raise item.error
            yield item


class _Failure:
    """An error of a reader."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Shares(IterableDataset[Item], Generic[Item]):
    """The items, of which each reader reads its share."""

    def __init__(self, read_share: ReadShare[Item]) -> None:
        self.read_share = read_share

    def __iter__(self) -> Iterator[Item | _Failure]:  # type: ignore[override]
        info: Any = get_worker_info()  # which there is in every reader
        try:
            yield from self.read_share(info.id, info.num_workers)
        except Exception as error:  # raised where the item is asked for
            yield _Failure(error)


def _keep(item: Item) -> Item:
    return item
