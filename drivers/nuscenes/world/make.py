"""Generated data sets of nuScenes, cached under a digest of their settings and the code."""

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock
from joblib import Parallel, delayed

from drivers.nuscenes.world.difficulty import Difficulty, measure_difficulty
from drivers.nuscenes.world.instant import KEYFRAME_STEPS
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.simulate import simulate_scene
from drivers.nuscenes.world.write import PlannedScene, Version, write_nuscenes
from drivers.nuscenes.world.write.names import name_scenes
from neuro.io.store import is_free, require_writable, write_bytes

NOTE = "generated.json"  # in the data set: its settings
SETTINGS = "settings.json"  # the same beside its scenes, while it is generated


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """Settings that, with the code, determine the bytes of a generated data set.

    Every fifth scene is of the split "val", or "mini_val" of "v1.0-mini", on roads that the
    other scenes do not use.

    scenes: their number. keyframes: per scene, 0.5 s apart; two or more. seed: of roads,
    traffic and light. version: source of the scenes' names; "v1.0-mini" has ten. share: scenes
    of one split in one place; 1 gives each scene its own roads, 3 keeps the maps small.
    sweeps: images of each camera before each keyframe but the first, 0.1 s apart, 4 at most.

    Raises:
        ValueError: more scenes than the version has names for, no scene in a place, or more
            sweeps than there are instants between keyframes.
    """

    scenes: int = 60
    keyframes: int = 20
    seed: int = 0
    version: Version = "v1.0-trainval"
    share: int = 3
    sweeps: int = 0

    def __post_init__(self) -> None:
        name_scenes(self.scenes, self.version)  # raises before the simulation
        if self.share < 1:
            raise ValueError(
                f"share must be >= 1, got {self.share}; 1 gives each scene its own place"
            )
        if not 0 <= self.sweeps < KEYFRAME_STEPS:
            raise ValueError(
                f"sweeps must be 0 to {KEYFRAME_STEPS - 1}, the instants between keyframes, "
                f"got {self.sweeps}; 0 writes keyframes alone"
            )

    @property
    def digest(self) -> str:
        """16 hex digits that change with these settings and with the code of the world."""
        sha = sha256(json.dumps(asdict(self), sort_keys=True).encode())
        world = Path(__file__).parent
        for path in sorted(world.rglob("*.py")):
            sha.update(path.relative_to(world).as_posix().encode() + path.read_bytes())
        return sha.hexdigest()[:16]


DEFAULT = GeneratorSettings()


def make_nuscenes(path: Path, settings: GeneratorSettings = DEFAULT, workers: int = 1) -> Path:
    """Return the folder of a generated data set; generate the data set unless it exists.

    Generation works in a folder beside it, ``.NAME.part``. If it is interrupted, whole scenes
    stay there, and the next call with the same settings goes on from them. If several processes
    need the data set, one generates it and the others wait.

    Args:
        path: a folder that is empty or missing, or holds the same data set.
        settings: of the data set.
        workers: processes that share the work; the bytes do not depend on them.

    Raises:
        FileExistsError: ``path`` holds something else.
        ValueError: no worker, fewer than two keyframes, or a folder that cannot be written.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}; 1 makes one after the other")
    part, lock = (path.with_name(f".{path.name}.{ending}") for ending in ("part", "lock"))
    if is_free(path):
        require_writable(path.parent)
        with FileLock(lock):
            if is_free(path):  # no other process has generated it meanwhile
                _generate(part, settings, workers)
                shutil.rmtree(path, ignore_errors=True)
                (part / "data").rename(path)
    _require_same_data(path, settings)
    # Also those of a process that was killed at the end.
    shutil.rmtree(part, ignore_errors=True)
    with suppress(OSError):
        lock.unlink()
    return path


def _generate(part: Path, settings: GeneratorSettings, workers: int) -> None:
    """Write a data set into ``part / "data"``; ``part`` may hold some of its scenes."""
    note: dict[str, object] = {**asdict(settings), "digest": settings.digest}
    data, known, plain = part / "data", part / SETTINGS, json.dumps(note)
    if not known.is_file() or known.read_text() != plain:
        for folder in (data, part / "scenes"):  # of other settings
            shutil.rmtree(folder, ignore_errors=True)
        write_bytes(known, plain.encode())
    if not (data / NOTE).is_file():  # it is written last
        records = write_nuscenes(
            part,
            _plan_scenes(settings, workers),
            version=settings.version,
            sweeps=settings.sweeps,
            workers=workers,
        )
        forecasts = [record.forecasts for record in records]
        if any(forecast.distances for forecast in forecasts):
            note["difficulty"] = asdict(measure_difficulty(forecasts))
        write_bytes(data / NOTE, json.dumps(note, indent=1).encode())
    shutil.rmtree(part / "scenes", ignore_errors=True)


def _plan_scenes(settings: GeneratorSettings, workers: int) -> list[PlannedScene]:
    """Return the scenes; several scenes of one split share a place."""
    of_val = [k % 5 == 4 for k in range(settings.scenes)]
    places = [
        (settings.seed, val, of_val[:k].count(val) // settings.share)
        for k, val in enumerate(of_val)
    ]
    different = list(dict.fromkeys(places))
    made = Parallel(n_jobs=workers)(delayed(_make_roads)(p) for p in different)
    roads = dict(zip(different, made, strict=True))
    return [
        PlannedScene(
            road_map=roads[place].map,
            simulate=partial(
                simulate_scene, [settings.seed, k], settings.keyframes, roads[place]
            ),
        )
        for k, place in enumerate(places)
    ]


def _make_roads(place: tuple[int, bool, int]) -> Any:
    """Return the roads of a place.

    In a worker, the first call imports all that scenes need. Joblib would take imports in a
    later call for a leak of memory, and start the worker anew.
    """
    return make_roads(place)


def find_cache(settings: GeneratorSettings = DEFAULT) -> Path:
    """Return the folder of a generated data set in the user's cache, which may be missing.

    It lies in ~/.cache/neuro, under a name that changes with the settings and with the code.
    """
    return Path.home() / ".cache" / "neuro" / f"nuscenes-{settings.digest}"


def find_cached_nuscenes(settings: GeneratorSettings = DEFAULT, workers: int = 1) -> Path:
    """Return the folder of a generated data set in the user's cache; generate it if missing.

    Raises:
        ValueError: a folder that cannot be written.
    """
    return make_nuscenes(find_cache(settings), settings, workers)


def read_difficulty(path: Path) -> Difficulty | None:
    """Return the errors of trivial forecasts on a data set of :func:`make_nuscenes`.

    None: its scenes are too short to measure.
    """
    difficulty = json.loads((path / NOTE).read_bytes()).get("difficulty")
    return None if difficulty is None else Difficulty(**difficulty)


def _require_same_data(path: Path, settings: GeneratorSettings) -> None:
    """Raise unless a folder holds the data set of these settings."""
    note = path / NOTE
    if not note.is_file():
        raise FileExistsError(f"{path} holds something else; name a folder that is not there")
    try:
        note_content = json.loads(note.read_bytes())
    except ValueError:
        note_content = {}
    if not isinstance(note_content, dict):
        note_content = {}
    note_content.pop("difficulty", None)
    if note_content != asdict(settings) | {"digest": settings.digest}:
        description = ", ".join(f"{k} {v}" for k, v in note_content.items())
        raise FileExistsError(
            f"{path} holds a data set of other settings or of another version of neuro "
            f"({description or 'its generated.json is damaged'}); remove it, or name another "
            "folder"
        )
