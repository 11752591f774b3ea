"""Checks of names: scenes in splits, logs in maps, and the indices of categories."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from drivers.nuscenes.fields import Content, make_problem
from drivers.nuscenes.problem import Problem
from drivers.nuscenes.reading import are_strings, read_json
from drivers.nuscenes.schema import CATEGORIES, LEVELS
from drivers.nuscenes.tables import is_scene_name

# The official splits of a version, by the last part of its name.
SPLITS = {"mini": ("mini_train", "mini_val"), "trainval": ("train", "val"), "test": ("test",)}


def find_name_problems(content: Content, root: Path, version: str) -> Iterator[Problem]:
    """Yield scenes that no split lists, logs that no map lists, and wrong category indices."""
    yield from _find_scenes_outside(content, root, version)
    listed = Counter(k for row in content.rows("map", "log_tokens") for k in row["log_tokens"])
    for row in content.rows("log"):
        if listed[row["token"]] != 1:
            what = f"{listed[row['token']]} maps list it in log_tokens"
            yield make_problem("log", row, "token", what, "list each log in exactly one map")
    point_labels = [
        k for k in ("lidarseg", "panoptic") if (root / version / f"{k}.json").exists()
    ]
    for row in content.rows("category", "name"):
        index, wanted = row.get("index"), CATEGORIES.index(row["name"])
        if index is None and point_labels:
            what = f"is missing beside {point_labels[0]}.json"
            yield make_problem("category", row, "index", what, f"write {wanted}")
        elif index is not None and index != wanted:
            what = f"is {index} for {row['name']}"
            yield make_problem("category", row, "index", what, f"write {wanted}")
    for row in content.rows("visibility", "level"):
        if row["level"] != LEVELS[row["token"]]:
            what, cure = f"is {row['level']}", f"write {LEVELS[row['token']]}"
            yield make_problem("visibility", row, "level", what, cure)


def _find_scenes_outside(content: Content, root: Path, version: str) -> Iterator[Problem]:
    from nuscenes.utils.splits import create_splits_scenes

    official = create_splits_scenes()
    kind = version.rpartition("-")[2]
    known = {name for split in SPLITS.get(kind, official) for name in official[split]}
    path = root / version / "splits.json"
    if path.exists():
        try:
            own = read_json(path)
        except ValueError as error:
            own = None
            yield _of_splits(str(error))
        if isinstance(own, dict) and all(map(are_strings, own.values())):
            known |= {name for names in own.values() for name in names}
        elif own is not None:
            yield _of_splits("is no object with a list of scenes for each split")
    counts = Counter(row["name"] for row in content.rows("scene", "name"))
    for row in content.rows("scene", "name"):
        name = row["name"]
        if counts[name] > 1:
            what = f"{counts[name]} scenes are called {name}"
            yield make_problem("scene", row, "name", what, "give each scene a name of its own")
        if not is_scene_name(name):
            what = f"is {name!r}, for which there is no CAN bus"
            yield make_problem("scene", row, "name", what, "write scene- and four digits")
        elif name not in known:
            what = f"{name} is in no split of {version}: evaluations find no box of it"
            cure = f"take an official name, or list it in {version}/splits.json"
            yield make_problem("scene", row, "name", what, cure)


def _of_splits(what: str) -> Problem:
    return Problem(table="splits.json", what=what, cure="write {split: [scene, ...]}")
