"""Generations of a data set killed (SIGKILL) between any two file operations, as a script.

killed_generation.py FOLDER makes a whole data set, and then, for each point in turn, one whose
process dies there, and which is made again. FOLDER/found.json says for how many points both
have the same files, and how many simulations the most wasteful of them took. Scenes are small
and need no simulation; each data set is made by processes forked from this one.
"""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from forks import in_a_fork
from straight_road import pretend_to_make_roads, pretend_to_simulate

from drivers.nuscenes.rig import Camera
from drivers.nuscenes.world import make
from drivers.nuscenes.world.difficulty import forecast_scene
from drivers.nuscenes.world.instant import WorldScene
from drivers.nuscenes.world.make import GeneratorSettings, make_nuscenes
from drivers.nuscenes.world.write import dataset
from drivers.nuscenes.world.write.files import write_json
from drivers.nuscenes.world.write.recording import SceneRecords, Take

SETTINGS = GeneratorSettings(scenes=2, keyframes=2, share=1)


def pretend_to_record(
    take: Take, scene: WorldScene, rig: list[Camera], root: Path, _: int
) -> SceneRecords:
    """Write a file and a record in place of a scene."""
    write_json(root / "samples" / rig[0].channel / f"{take.name}.json", [take.number])
    return SceneRecords(
        tables={"scene": [{"name": take.name}], "lidarseg": [], "panoptic": []},
        questions=[],
        lights=list(scene.instants[0].lights),
        forecasts=forecast_scene(scene),
    )


def generate(path: Path) -> None:
    """Make a data set, and note each simulation in a file beside it."""

    def simulate(seed: list[int], keyframes: int, roads: Any) -> WorldScene:
        with path.with_suffix(".log").open("a") as file:
            file.write(f"{seed[-1]}\n")
        return pretend_to_simulate(seed, keyframes, roads)

    operations: Any = make
    operations.simulate_scene = simulate
    make_nuscenes(path, SETTINGS)


def generate_until(path: Path, point: int) -> None:
    """Generate in a process that dies at a file operation, or between two."""
    die_at(point)
    generate(path)


def die_at(point: int) -> None:
    left = [point]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    operations: Any = Path
    write, replace, rename = Path.write_bytes, Path.replace, Path.rename
    remove: Any = make.shutil.rmtree

    def torn(path: Path, data: bytes) -> None:
        write(path, data[: len(data) // 2])
        count()
        write(path, data)

    def replaced(path: Path, target: Path) -> None:
        replace(path, target)
        count()

    def renamed(path: Path, target: Path) -> None:
        rename(path, target)
        count()

    def removed(path: Path, ignore_errors: bool = False) -> None:
        for file in sorted(path.rglob(f"*/{dataset.RECORDS}"))[:1]:
            file.unlink()
            count()
        remove(path, ignore_errors)
        count()

    operations.write_bytes, operations.replace, operations.rename = torn, replaced, renamed
    operations = make
    operations.shutil.rmtree = removed


def list_files(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def main() -> None:
    folder = Path(sys.argv[1])
    whole, points, equal, most, left = folder / "whole", 0, 0, 0, set[str]()
    operations: Any = make
    operations.make_roads = pretend_to_make_roads
    operations = dataset
    operations.record_scene, operations.TEXEL = pretend_to_record, 1.0
    in_a_fork(partial(generate, whole))
    path = folder / "killed1"
    while in_a_fork(partial(generate_until, path, points + 1)) == -signal.SIGKILL:
        points += 1
        in_a_fork(partial(generate, path))
        equal += list_files(path) == list_files(whole)
        most = max(most, len(path.with_suffix(".log").read_text().split()))
        left |= {p.name for p in folder.glob(f".{path.name}*")}
        path = folder / f"killed{points + 1}"
    found = {"points": points, "equal": equal, "simulated": most, "left": sorted(left)}
    (folder / "found.json").write_text(json.dumps(found | {"files": len(list_files(whole))}))


if __name__ == "__main__":
    main()
