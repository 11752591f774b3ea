"""Generated data sets of nuScenes: made once, found again by what they were made from."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from filelock import FileLock
from joblib import Parallel, delayed

from drivers.nuscenes.world.difficulty import HORIZON, Difficulty, measure_difficulty
from drivers.nuscenes.world.instant import WorldScene
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.simulate import A_FRAME, simulate_scene
from drivers.nuscenes.world.write import Version, write_nuscenes
from drivers.nuscenes.world.write.names import name_scenes
from neuro.io.store import require_writable
from neuro.io.temporary import name_own, remove_stale

NOTE = "generated.json"  # in the data set: from what it was made


@dataclass(frozen=True, kw_only=True)
class Made:
    """What decides the bytes of a generated data set, beside the code.

    Every fifth scene is of the split "val", or "mini_val" of "v1.0-mini", on roads of which
    the others see nothing.

    scenes: how many. keyframes: of each, 0.5 s apart; two or more. seed: of roads, traffic,
    light. version: whose names the scenes get; "v1.0-mini" has ten. share: scenes of one split
    in one place; 1 gives each roads of its own, and three keep the maps small.

    Raises:
        ValueError: more scenes than the version has names for, or no scene in a place.
    """

    scenes: int = 60
    keyframes: int = 20
    seed: int = 0
    version: Version = "v1.0-trainval"
    share: int = 3

    def __post_init__(self) -> None:
        name_scenes(self.scenes, self.version)  # or it is refused when all are simulated
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


DEFAULT = Made()


def make_nuscenes(path: Path, made: Made = DEFAULT, workers: int = 1) -> Path:
    """Return the folder of a generated data set, which is made unless it is there.

    Args:
        path: a folder that is empty, or not there, or holds the same data set.
        made: which data set.
        workers: processes that share the work; the bytes do not depend on them.

    Raises:
        FileExistsError: there is something else at ``path``.
        ValueError: no worker, fewer than two keyframes, or a folder that cannot be written.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}; 1 makes one after the other")
    if not _is_empty(path):
        _require_made(path, made)
        return path
    with _rename_when_whole(path) as part:
        found = _simulate_all(made, workers)
        write_nuscenes(part, found, version=made.version, workers=workers)
        note: dict[str, object] = {**asdict(made), "digest": made.digest}
        if any(len(scene.instants) > HORIZON * A_FRAME for scene in found):
            note["difficulty"] = asdict(measure_difficulty(found))
        (part / NOTE).write_text(json.dumps(note, indent=1))
    _require_made(path, made)  # another process may have been faster, with other settings
    return path


def _simulate_all(made: Made, workers: int) -> list[WorldScene]:
    """Return the scenes; some of one split share a place."""
    of_val = [k % 5 == 4 for k in range(made.scenes)]
    places: dict[tuple[int, bool, int], list[int]] = {}
    for k, val in enumerate(of_val):
        places.setdefault((made.seed, val, of_val[:k].count(val) // made.share), []).append(k)
    found = Parallel(n_jobs=workers)(
        delayed(_simulate_place)(place, made, numbers) for place, numbers in places.items()
    )
    by_number = {k: s for some in found for k, s in some.items()}
    return [by_number[k] for k in range(made.scenes)]


def _simulate_place(
    place: Sequence[int], made: Made, numbers: Sequence[int]
) -> dict[int, WorldScene]:
    roads = make_roads(place)
    return {k: simulate_scene([made.seed, k], made.keyframes, roads) for k in numbers}


def find_cached_nuscenes(made: Made = DEFAULT, workers: int = 1) -> Path:
    """Return the folder of a generated data set in the cache of the user, made if need be.

    It lies in ~/.cache/neuro, under a name that changes with the settings and with the code.
    Where several processes ask for it, one of them makes it and the others wait.

    Raises:
        ValueError: a folder that cannot be written.
    """
    folder = Path.home() / ".cache" / "neuro" / f"nuscenes-{made.digest}"
    if not _is_empty(folder):
        return make_nuscenes(folder, made)
    require_writable(folder.parent)
    with FileLock(folder.with_suffix(".lock")):
        return make_nuscenes(folder, made, workers)


def read_difficulty(path: Path) -> Difficulty | None:
    """Return how badly trivial forecasts do on a data set of :func:`make_nuscenes`.

    None: its scenes are too short to tell.
    """
    found = json.loads((path / NOTE).read_bytes()).get("difficulty")
    return None if found is None else Difficulty(**found)


def _is_empty(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _require_made(path: Path, made: Made) -> None:
    """Refuse a folder that does not hold what the settings make."""
    note = path / NOTE
    if not note.is_file():
        raise FileExistsError(f"{path} holds something else; name a folder that is not there")
    try:
        found = json.loads(note.read_bytes())
    except ValueError:
        found = {}
    if not isinstance(found, dict):
        found = {}
    found.pop("difficulty", None)
    if found != asdict(made) | {"digest": made.digest}:
        told = ", ".join(f"{k} {v}" for k, v in found.items())
        raise FileExistsError(
            f"{path} holds a data set of other settings or of another version of neuro "
            f"({told or 'its generated.json is damaged'}); remove it, or name another folder"
        )


@contextmanager
def _rename_when_whole(path: Path) -> Iterator[Path]:
    """Give a folder beside a path that gets its name at the end, if the path is still free."""
    require_writable(path.parent)
    remove_stale(path.parent, path.name)
    part = path.with_name(name_own(path.name))
    try:
        yield part
        if _is_empty(path):
            shutil.rmtree(path, ignore_errors=True)
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
