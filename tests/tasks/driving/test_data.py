import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from driving_windows import make_window, small_config
from torch.utils._pytree import tree_leaves

from neuro.training import distributed
from neuro.training.course import TrainError
from tasks.driving import data
from tasks.driving.config import DrivingConfig, Source
from tasks.driving.data import find_data, list_scenes, read_batches, read_batches_from
from tasks.driving.presets import small
from tasks.runs.task import Split


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("drivers.nuscenes.world.make", find_data),
        ("drivers.nuscenes.tables", lambda source: list_scenes(None, source, "train")),
    ],
)
def test_without_the_devkit_the_extra_is_named(
    module: str, call: Callable[[Source], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeError, match="nuScenes needs its devkit") as e:
        call(small().source)
    assert "; pip install -e '.[driving]' && pip install" in str(e.value)


def test_each_process_reads_its_own_windows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Listed(list):
        def __getitem__(self, k: int) -> object:  # type: ignore[override]
            read.append(k)
            return super().__getitem__(k)

    def open_split(config: DrivingConfig, split: Split) -> Listed:
        return Listed(make_window(config, 10 * len(split) + k) for k in range(8))

    monkeypatch.setattr(data, "open_split", open_split)
    small = small_config()
    phases = tuple(replace(p, mirrored=0.5) for p in small.phases)
    config = replace(small, phases=phases, batch=4)

    def read_as(rank: int, n: int, split: Split, step: int = 0) -> list:
        read.clear()
        monkeypatch.setattr(distributed, "get_rank_and_world_size", lambda: (rank, n))
        return list(read_batches_from(config, split, 0, step))

    whole, order = read_as(0, 1, "train"), read.copy()
    assert len(order) == 8
    for rank in (0, 1):
        for step in (0, 1):
            own = read_as(rank, 2, "train", step)
            assert read == order[4 * step + rank :: 2]
            pairs = zip(tree_leaves(own), tree_leaves(whole[step:]), strict=True)
            assert all(a.equal(b[rank::2]) for a, b in pairs)
        assert len(read_as(rank, 2, "val")[0].truth.path) == 4
    with pytest.raises(TrainError, match="a batch of 4 does not divide into 3 processes"):
        read_as(0, 3, "train")
    with pytest.raises(TrainError, match="choose a batch size that is a multiple of --devices"):
        next(read_batches(config, "train", 0))


@pytest.mark.slow
@pytest.mark.parametrize("readers", [1, 2])
def test_processes_that_read_ahead_change_no_number(
    readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [make_window(small_config(), k) for k in range(7)]
    monkeypatch.setattr(data, "open_split", lambda *_: windows)
    small = small_config()
    phases = tuple(replace(p, mirrored=0.5) for p in small.phases)
    config = replace(small, phases=phases)
    ahead = replace(config, source=replace(config.source, readers=readers))
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        for step in (0, 1):
            want = list(read_batches_from(config, split, 0, step))
            got = list(read_batches_from(ahead, split, 0, step))
            assert len(got) == (3 if split == "train" else 4) - step
            pairs = zip(tree_leaves(got), tree_leaves(want), strict=True)
            assert all(a.equal(b) for a, b in pairs)


def test_the_generated_data_are_those_that_the_source_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make = pytest.importorskip("drivers.nuscenes.world.make")
    asked: list[object] = []

    def find(made: object, workers: int) -> Path:  # noqa: ARG001
        asked.append(made)
        return tmp_path

    monkeypatch.setattr(make, "find_cached_nuscenes", find)
    assert find_data(Source(scenes=7, seed=3, share=2, sweeps=1)) == tmp_path
    assert asked == [make.GeneratorSettings(scenes=7, seed=3, share=2, sweeps=1)]
