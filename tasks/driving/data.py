"""Batches of windows from nuScenes or the generated world.

Training and validation share the official training split; validation takes its last scenes. The
test split is the official validation split. The driver is imported inside functions, because
the devkit takes seconds to import and belongs to an extra.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from joblib import cpu_count
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from drivers.folders import in_neuro_data
from drivers.nuscenes.devkit import require_devkit
from drivers.nuscenes.window import ImageSize
from neuro.training.distributed import list_own_samples
from neuro.training.shuffle import shuffle_batches
from neuro.training.threads import limit_threads
from tasks.driving.batch import DrivingBatch, make_batch
from tasks.driving.config import STRIDE, DrivingConfig, Source, find_phase
from tasks.driving.displace import displace_starts, draw_speeds, draw_starts, mirror_windows
from tasks.runs.samples import pick_spread
from tasks.runs.task import Split

if TYPE_CHECKING:
    from drivers.nuscenes.tables import Tables
    from drivers.nuscenes.windows import Skipped, Windows, WindowSettings
    from drivers.nuscenes.world.make import GeneratorSettings
    from tasks.driving.drives import DisturbedWindow

Item = TypeVar("Item")
ReadShare = Callable[[int, int], Iterator[Item]]


def read_ahead(read_share: ReadShare[Item], readers: int) -> Iterator[Item]:
    """Yield items in order, read by ``readers`` processes, or on demand in this one for 0.

    An error in a reader is raised here when its item is due. While readers run, torch uses the
    remaining cores, at least one.

    Args:
        read_share: (k, n) -> the items k, k + n, k + 2 n, ... It must not draw from global
            random generators, because each process has its own.
        readers: number of processes, capped at the number of cores; each reads up to two items
            ahead.

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
    """The data set of the items, of which each reader reads its share."""

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


OFFICIAL = {"v1.0-mini": ("mini_train", "mini_val")}  # other versions: ("train", "val")


def find_data(source: Source) -> Path:
    """Return the folder of the data set; a generated data set that is missing is generated.

    Raises:
        FileNotFoundError: the real data set is not in $NEURO_DATA.
        RuntimeError: the packages that generate data are not installed.
    """
    if source.data == "nuscenes":
        return find_real_data()
    with require_devkit():
        from drivers.nuscenes.world.make import find_cached_nuscenes
    return find_cached_nuscenes(make_generator_settings(source), workers=cpu_count())


def require_images(source: Source, size: ImageSize) -> None:
    """Raise a NuScenesError if images of the generated world cannot be scaled to ``size``."""
    if source.data == "generated":
        with require_devkit():
            from drivers.nuscenes.images import scaled_size
            from drivers.nuscenes.world.rig import HEIGHT, WIDTH
        scaled_size(size, WIDTH, HEIGHT, Path("an image of the generated world"))


def find_real_data() -> Path:
    """Return the folder of the real data set.

    Raises:
        FileNotFoundError: it is not in $NEURO_DATA.
    """
    folder = in_neuro_data(("nuscenes",))
    if folder is None:
        raise FileNotFoundError(
            "nuScenes must be in $NEURO_DATA/nuscenes, with its maps (expansion 1.3) and "
            "can_bus; set NEURO_DATA to the folder of nuscenes (it is "
            f"{os.environ.get('NEURO_DATA') or 'not set'}), or use driving:small, which "
            "generates its data"
        )
    return folder


def make_generator_settings(source: Source) -> "GeneratorSettings":
    """Return the settings of the generated data set of a source.

    Raises:
        RuntimeError: the packages that generate data are not installed.
    """
    with require_devkit():
        from drivers.nuscenes.world.make import GeneratorSettings
    return GeneratorSettings(
        scenes=source.scenes, seed=source.seed, share=source.share, sweeps=source.sweeps
    )


def list_scenes(tables: "Tables", source: Source, split: Split) -> tuple[str, ...]:
    """Return the names of a split's scenes.

    Raises:
        ValueError: validation would take all scenes of the training split.
    """
    with require_devkit():
        from drivers.nuscenes.tables import list_split
    train, val = OFFICIAL.get(source.version, ("train", "val"))
    if split == "test":
        return list_split(tables, val)
    names = list_split(tables, train)
    if len(names) <= source.held:
        raise ValueError(
            f"{tables.root}: the training split has {len(names)} scenes, and validation takes "
            f"held={source.held} of them; reduce held, or add scenes"
        )
    cut = len(names) - source.held
    return names[:cut] if split == "train" else names[cut:]


def open_split(config: DrivingConfig, split: Split) -> "Windows":
    """Return the windows of a split, which are read on demand."""
    # Pass only what determines windows, so that configurations with equal windows share them.
    return find_split(config.source, make_settings(config), split)


def open_truth(config: DrivingConfig, split: Split) -> "Windows":
    """Return the windows of a split without cameras, which read fast."""
    return find_split(config.source, replace(make_settings(config), looks=False), split)


def make_settings(config: DrivingConfig) -> "WindowSettings":
    """Return the settings of the windows of a configuration."""
    with require_devkit():
        from drivers.nuscenes.windows import WindowSettings
    return WindowSettings(
        grid=config.grid,
        road=config.road,
        image=config.image,
        past=config.past,
        future=config.future,
        stride=STRIDE,
        looks=config.sees == "cameras",
        sweeps=config.source.sweeps,
    )


def find_split(source: Source, settings: "WindowSettings", split: Split) -> "Windows":
    """Return the windows of a split with these settings."""
    return _find_split(replace(source, train=0, test=0, readers=0), settings, split)


@lru_cache(maxsize=8)
def _find_split(source: Source, settings: "WindowSettings", split: Split) -> "Windows":
    with require_devkit():
        from drivers.nuscenes.windows import find_windows
    if settings.looks:
        require_images(source, settings.image)
    root = find_data(source)
    tables = _open_tables(root, source.version)
    names = list_scenes(tables, source, split)
    cache = root.with_name(f"{root.name}-cache") if source.cached else None
    return find_windows(tables, settings, split=names, skip_bad=source.skip_bad, cache=cache)


@lru_cache(maxsize=2)
def _open_tables(root: Path, version: str) -> "Tables":
    """Return a data set's tables, which all splits share because they may take gigabytes."""
    with require_devkit():
        from drivers.nuscenes.tables import open_tables
    return open_tables(root, version)


def skip_bad(config: DrivingConfig) -> DrivingConfig:
    """Return the configuration that drops and counts bad windows."""
    return replace(config, source=replace(config.source, skip_bad=True))


def list_dropped(config: DrivingConfig) -> list[tuple[Split, "Skipped"]]:
    """Return the damaged windows dropped from each split."""
    splits: tuple[Split, ...] = ("train", "val", "test")
    return [(split, one) for split in splits for one in open_split(config, split).skipped]


def count_windows(config: DrivingConfig, split: Split) -> int:
    """Return the number of windows of a split that are used."""
    return limit_windows(config.source, split, len(open_split(config, split)))


def limit_windows(source: Source, split: Split, available: int) -> int:
    """Return how many of the ``available`` windows of a split are used."""
    most = {"train": source.train, "val": 0, "test": source.test}[split]
    return min(available, most) if most else available


def read_batches(config: DrivingConfig, split: Split, epoch: int) -> Iterator[DrivingBatch]:
    """Yield the batches of a split.

    In training the epoch determines the order of the windows, and which of them are mirrored,
    displaced, or replaced by windows of disturbed drives. In distributed training each process
    reads only its own windows.
    """
    return read_batches_from(config, split, epoch, 0)


def read_spread(
    config: DrivingConfig, split: Split, number: int, device: torch.device
) -> Iterator[DrivingBatch]:
    """Yield ``number`` windows, spread over a split, in batches, observations on ``device``."""
    order = pick_spread(count_windows(config, split), number)
    for seen, truth in _read_windows(config, split, order, 0, 1):
        yield DrivingBatch(tree_map_only(Tensor, methodcaller("to", device), seen), truth)


def read_batches_from(
    config: DrivingConfig, split: Split, epoch: int, step: int
) -> Iterator[DrivingBatch]:
    """Yield the batches of :func:`read_batches` from batch number ``step`` on."""
    open_split(config, split)  # here, so that the readers do not each open it
    if split == "train":
        own = tuple(list_own_samples(config.batch))
        read = partial(_read_training, config, own, epoch)
    else:
        order = np.arange(count_windows(config, split))
        read = partial(_read_windows, config, split, order)
    share = partial(_read_from, read, step)
    return read_ahead(share, config.source.readers)


def read_blind(config: DrivingConfig, epoch: int) -> Iterator[DrivingBatch]:
    """Yield the batches of a training epoch, displaced and disturbed alike, without images."""
    yield from _read_training(config, range(config.batch), epoch, 0, 1, looks=False)


def _read_from(
    read: Callable[[int, int], Iterator[DrivingBatch]], step: int, first: int, every: int
) -> Iterator[DrivingBatch]:
    return read(step + first, every)


def _read_windows(
    config: DrivingConfig, split: Split, order: np.ndarray, first: int, every: int
) -> Iterator[DrivingBatch]:
    """Yield every ``every``-th batch of windows in an order, from ``first`` on."""
    windows = open_split(config, split)
    orders = np.array_split(order, range(config.batch, len(order), config.batch))
    for order in orders[first::every]:
        yield make_batch([windows[int(k)] for k in order], config.sees == "maps")


def _read_training(
    config: DrivingConfig,
    own: Sequence[int],
    epoch: int,
    first: int,
    every: int,
    looks: bool = True,
) -> Iterator[DrivingBatch]:
    """Yield the rows ``own`` of every ``every``-th training batch, from ``first`` on."""
    windows = (open_split if looks else open_truth)(config, "train")
    phase, _ = find_phase(config, epoch / config.epochs)
    shuffled = np.random.default_rng([1, epoch])
    orders = list(shuffle_batches(count_windows(config, "train"), config.batch, shuffled))
    shape = (len(orders), config.batch)
    sides, starts, others = (
        torch.from_numpy(np.random.default_rng([k, epoch]).random(size)).float()[:, own]
        for k, size in ((2, shape), (3, (*shape, 5)), (4, shape))
    )
    mirrored, driven = sides < phase.mirrored, others < phase.driven
    drives: list[Iterator[DisturbedWindow]] = []
    if phase.driven:
        from tasks.driving.drives import replace_windows, stream_windows

        counts = driven.sum(0).tolist()
        drives = [
            stream_windows(config, epoch, row, count, looks)
            for row, count in zip(own, counts, strict=True)
        ]
    passed = 0  # number of batches whose disturbed windows the streams have yielded or skipped
    for k in range(first, len(orders), every):
        batch = make_batch([windows[int(orders[k][i])] for i in own], config.sees == "maps")
        if phase.mirrored:
            batch = mirror_windows(batch, mirrored[k])
        if phase.displaced:
            draws = starts[k]
            poses = draw_starts(draws[:, :3], phase.displaced)
            speed = draw_speeds(draws[:, 3:], phase.displaced, batch.seen.ego.speed)
            batch = displace_starts(batch, poses, speed)
        if phase.driven:
            for stream, count in zip(drives, driven[passed:k].sum(0).tolist(), strict=True):
                next(islice(stream, count, count), None)
            passed = k + 1
            batch = replace_windows(batch, driven[k], drives)
        yield batch
