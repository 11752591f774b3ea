"""Generated data sets of nuScenes, cached under a digest of their settings and the code."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from filelock import FileLock
from joblib import Parallel, delayed

from drivers.nuscenes.world.difficulty import HORIZON, Difficulty, measure_difficulty
from drivers.nuscenes.world.instant import KEYFRAME_STEPS, WorldScene
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.simulate import simulate_scene
from drivers.nuscenes.world.write import Version, write_nuscenes
from drivers.nuscenes.world.write.names import name_scenes
from neuro.io.store import is_free, rename_when_whole, require_writable

NOTE = "generated.json"  # in the data set: its settings


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """Settings that, with the code, determine the bytes of a generated data set.

    Every fifth scene is of the split "val", or "mini_val" of "v1.0-mini", on roads that the
    other scenes do not use.

    scenes: their number. keyframes: per scene, 0.5 s apart; two or more. seed: of roads,
    traffic and light. version: source of the scenes' names; "v1.0-mini" has ten. share: scenes
    of one split in one place; 1 gives each scene its own roads, 3 keeps the maps small.

    Raises:
        ValueError: more scenes than the version has names for, or no scene in a place.
    """

    scenes: int = 60
    keyframes: int = 20
    seed: int = 0
    version: Version = "v1.0-trainval"
    share: int = 3

    def __post_init__(self) -> None:
        name_scenes(self.scenes, self.version)  # raises before the simulation
        if self.share < 1:
            raise ValueError(
                f"share must be >= 1, got {self.share}; 1 gives each scene its own place"
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
    if not is_free(path):
        _require_same_data(path, settings)
        return path
    with rename_when_whole(path) as part:
        scenes = _simulate_all(settings, workers)
        write_nuscenes(part, scenes, version=settings.version, workers=workers)
        note: dict[str, object] = {**asdict(settings), "digest": settings.digest}
        if any(len(scene.instants) > HORIZON * KEYFRAME_STEPS for scene in scenes):
            note["difficulty"] = asdict(measure_difficulty(scenes))
        (part / NOTE).write_text(json.dumps(note, indent=1))
    _require_same_data(path, settings)  # another process may have written it first
    return path


def _simulate_all(settings: GeneratorSettings, workers: int) -> list[WorldScene]:
    """Return the scenes; several scenes of one split share a place."""
    of_val = [k % 5 == 4 for k in range(settings.scenes)]
    places: dict[tuple[int, bool, int], list[int]] = {}
    for k, val in enumerate(of_val):
        group = of_val[:k].count(val) // settings.share
        places.setdefault((settings.seed, val, group), []).append(k)
    by_place = Parallel(n_jobs=workers)(
        delayed(_simulate_place)(place, settings, numbers) for place, numbers in places.items()
    )
    by_number = {k: s for scenes in by_place for k, s in scenes.items()}
    return [by_number[k] for k in range(settings.scenes)]


def _simulate_place(
    place: Sequence[int], settings: GeneratorSettings, numbers: Sequence[int]
) -> dict[int, WorldScene]:
    roads = make_roads(place)
    return {k: simulate_scene([settings.seed, k], settings.keyframes, roads) for k in numbers}


def find_cached_nuscenes(settings: GeneratorSettings = DEFAULT, workers: int = 1) -> Path:
    """Return the folder of a generated data set in the user's cache; generate it if missing.

    It lies in ~/.cache/neuro, under a name that changes with the settings and with the code.
    If several processes need it, one process generates it and the others wait.

    Raises:
        ValueError: a folder that cannot be written.
    """
    folder = Path.home() / ".cache" / "neuro" / f"nuscenes-{settings.digest}"
    if not is_free(folder):
        return make_nuscenes(folder, settings)
    require_writable(folder.parent)
    with FileLock(folder.with_suffix(".lock")):
        return make_nuscenes(folder, settings, workers)


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
