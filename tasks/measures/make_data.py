"""Generates a data set, and describes its size and difficulty."""

from pathlib import Path

from drivers.nuscenes.devkit import require_devkit
from tasks.measures.check_data import KINDS
from tasks.runs.names import require_one_of
from tasks.runs.settings import require_seed


def make_data_set(kind: str, path: Path, scenes: int, seed: int, workers: int = 1) -> str:
    """Generate a data set of a ``kind`` unless it exists; return its description.

    Raises:
        UnknownName: there is no such kind.
        FileExistsError: something else is at ``path``.
        ValueError: ``scenes`` exceeds the available names, or the seed is out of range.
        RuntimeError: a package that the generator needs is not installed.
    """
    require_seed(seed)
    require_one_of(kind, KINDS, "kind of data set")
    with require_devkit():
        from drivers.nuscenes.world.make import (
            GeneratorSettings,
            make_nuscenes,
            read_difficulty,
        )
    make_nuscenes(path, GeneratorSettings(scenes=scenes, seed=seed), workers)
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    size_line = f"{scenes} scenes, {len(files):,} files, {size:.1f} MB, in {path}"
    difficulty = read_difficulty(path)
    if difficulty is None:
        return size_line
    return "\n".join(
        [
            size_line,
            f"  constant velocity: {difficulty.distance:.2f} m off over 3 s, collides in "
            f"{difficulty.collisions:.1%} of places and {difficulty.met:.1%} of drives",
            f"  vehicles 2 s later: IoU {difficulty.static:.3f} with the present ones; "
            f"{difficulty.moving:.1%} of road users move",
        ]
    )
