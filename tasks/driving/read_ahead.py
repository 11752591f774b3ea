"""Read batches ahead in other processes."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch
from joblib import cpu_count
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from neuro.training.threads import limit_threads

Item = TypeVar("Item")
ReadShare = Callable[[int, int], Iterator[Item]]


def read_ahead(read_share: ReadShare[Item], readers: int) -> Iterator[Item]:
    """Yield items in order, read by ``readers`` processes; 0: by this one, on demand.

    An error in a reader is raised here, in place of its item. While there are readers, torch
    uses the remaining cores, at least one.

    Args:
        read_share: (k, n) -> the items k, k + n, k + 2 n, ... of all. It must not draw from
            global random generators, because each process has its own.
        readers: number of processes, at most that of cores; each reads up to two items ahead.

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
        generator=torch.Generator(),  # so that the loader does not draw from torch's global one
    )
    with limit_threads(max(1, cpu_count() - readers)):
        for item in loader:
            if isinstance(item, Exception):
                raise item
            yield item


class _Shares(IterableDataset[Item], Generic[Item]):
    """The items; each reader reads its share."""

    def __init__(self, read_share: ReadShare[Item]) -> None:
        self.read_share = read_share

    def __iter__(self) -> Iterator[Item | Exception]:  # type: ignore[override]
        info: Any = get_worker_info()  # not None in a reader
        try:
            yield from self.read_share(info.id, info.num_workers)
        except Exception as error:  # raised in the main process
            yield error


def _keep(item: Item) -> Item:
    return item
