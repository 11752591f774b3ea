"""Make a generated data set, and tell how large and how difficult it is."""

from pathlib import Path

from tasks.runs.settings import require_seed
from tasks.verbs.data_kinds import require_kind


def make_data_set(kind: str, path: Path, scenes: int, seed: int, workers: int = 1) -> str:
    """Make a data set of a ``kind`` unless it is there; return in words what there is.

    Raises:
        UnknownName: there is no such kind.
        FileExistsError: there is something else at ``path``.
        ValueError: a number of scenes for which there are no names, or a seed that is none.
        RuntimeError: what makes it is not installed.
    """
    require_seed(seed)
    with require_kind(kind):
        from drivers.nuscenes.world.make import Made, make_nuscenes, read_difficulty
    make_nuscenes(path, Made(scenes=scenes, seed=seed), workers)
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    told = f"{scenes} scenes, {len(files):,} files, {size:.1f} MB, in {path}"
    hard = read_difficulty(path)
    if hard is None:
        return told
    return "\n".join(
        [
            told,
            f"  constant velocity: {hard.distance:.2f} m off over 3 s, touches somebody in "
            f"{hard.collisions:.1%} of places and {hard.met:.1%} of drives",
            f"  vehicles 2 s later: IoU {hard.static:.3f} with those of now; "
            f"{hard.moving:.1%} of road users move",
        ]
    )
