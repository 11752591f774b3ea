"""The rate of reading windows, as a data set grows: files of nuScenes' size, 10 to 150 scenes.

Tables, maps and CAN bus are those of generated data sets; images and scans repeat
(:mod:`tasks.driving.bench.full_size`), so they come from memory, and a disk that is slower
than decoding would be the limit. Windows are read in random order, in the time of one core.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from drivers.nuscenes.devkit import require_devkit
from tasks.bench.comparison import describe_machine
from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, find_ratio
from tasks.driving.data import make_settings
from tasks.driving.presets import paper

if TYPE_CHECKING:
    from drivers.nuscenes.windows import Windows

SCENES, FEW_SCENES = (10, 50, 150), (2, 4)
WINDOWS, FEW_WINDOWS = 40, 4  # to read of each data set
CACHED = "with a cache"


def measure_loader(options: BenchOptions) -> Iterator[Row]:
    """Loader: yield rows of windows a second, of large data sets beside the smallest."""
    with require_devkit():
        from drivers.nuscenes.world.make import GeneratorSettings, find_cached_nuscenes
        from tasks.driving.bench.full_size import write_full_size
    sizes, number = (FEW_SCENES, FEW_WINDOWS) if options.quick else (SCENES, WINDOWS)
    with TemporaryDirectory() as folder:
        opened: dict[str, Windows] = {}
        for scenes in sizes:
            settings = GeneratorSettings(scenes=scenes, share=1)
            source = find_cached_nuscenes(settings, workers=options.workers)
            root = write_full_size(source, Path(folder) / str(scenes))
            opened[f"{scenes} scenes"] = open_full_size(root)
        opened[CACHED] = open_full_size(root, Path(folder) / "cache")
        read_some(opened[CACHED], number)  # fills it
        rates = measure_rates(opened, number, 1 if options.quick else options.repeats)
    yield from list_rates(rates, number)


def open_full_size(root: Path, cache: Path | None = None) -> "Windows":
    """Return the windows of all scenes of a data set, as ``driving:paper`` reads them."""
    with require_devkit():
        from drivers.nuscenes.tables import open_tables
        from drivers.nuscenes.windows import find_windows
    return find_windows(open_tables(root), make_settings(paper()), cache=cache)


def read_some(windows: "Windows", number: int) -> float:
    """Read some windows in random order, always the same; return the seconds of a core."""
    order = np.random.default_rng(0).permutation(len(windows))[:number]
    begin = time.process_time()
    for k in order:
        _ = windows[int(k)]
    return time.process_time() - begin


def measure_rates(
    opened: Mapping[str, "Windows"], number: int, repeats: int
) -> dict[str, float]:
    """Return the windows a second of each data set in its fastest turn."""
    least = dict.fromkeys(opened, np.inf)
    for _ in range(repeats):
        for name, windows in opened.items():
            least[name] = min(least[name], read_some(windows, number))
    return {name: number / seconds for name, seconds in least.items()}


def list_rates(rates: Mapping[str, float], number: int) -> Iterator[Row]:
    """Yield a row of each rate beside the first one."""
    (peer, theirs), *others = rates.items()
    for name, ours in others:
        conditions: dict[str, Any] = {
            "better": "higher",
            "windows": number,
            "time": "of a core",
        }
        yield Row(
            case="windows read of files of nuScenes' size",
            subject=name,
            peer=peer,
            unit="1/s",
            ours=ours,
            theirs=theirs,
            ratio=find_ratio(ours, theirs, "higher"),
            conditions={**conditions, **describe_machine("torch")},
        )
