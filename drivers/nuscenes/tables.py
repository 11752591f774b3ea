"""An open nuScenes data set: its scenes, keyframes and boxes, read on demand.

The devkit's NuScenes loads the tables; this module adds checks, types, units and frames.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from drivers.folders import found_in
from drivers.nuscenes.box import Box, is_size
from drivers.nuscenes.devkit import require_devkit
from drivers.nuscenes.fields import (
    collect,
    describe_rows,
    find_bad_fields,
    find_field_problems,
    find_link_problems,
    read_tables,
)
from drivers.nuscenes.geometry import LEAN, heading, make_transform
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import (
    LARGEST_TABLE,
    are_strings,
    describe_escape,
    read_json,
    require_file,
)
from drivers.nuscenes.schema import TABLES

CHECK = "neuro data check nuscenes lists all mistakes"
CURE = "fetch the metadata again"
KEPT = 4096  # number of keyframes whose boxes stay in memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """A measurement of a sensor.

    path: file of the measurement. timestamp: [us].
    to_ego: transform from the sensor's frame to the ego frame.
    ego: transform from the ego frame to the global frame, at the time of the measurement.
    intrinsic: projects points of a camera's frame to pixels; None for a lidar.
    width, height: size of the image [pixels], 0 for a lidar.
    """

    channel: str
    path: Path
    timestamp: int
    to_ego: Float64[np.ndarray, "4 4"]
    ego: Float64[np.ndarray, "4 4"]
    intrinsic: Float64[np.ndarray, "3 3"] | None
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Keyframe:
    """The shots of several sensors at one time [us], by channel."""

    token: str
    scene: str
    timestamp: int
    shots: Mapping[str, Shot]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """An open data set in ``root``; ``nuscenes`` is the devkit's object, for its metrics."""

    root: Path
    version: str
    nuscenes: Any

    @cached_property
    def scenes(self) -> Mapping[str, str]:
        """The tokens of all scenes by name, in the order of the table."""
        rows = self.nuscenes.scene
        # Other problems of a scene are reported when it is read.
        nameless = [p for r in rows for p in find_bad_fields("scene", r) if p.field == "name"]
        if nameless:
            raise NuScenesError(nameless)
        return {row["name"]: row["token"] for row in rows}

    def get(self, table: str, token: str) -> dict[str, Any]:
        """Return a record of a table.

        Raises:
            NuScenesError: there is no such record, or a field is missing or has a wrong type.
        """
        try:
            row: dict[str, Any] = self.nuscenes.get(table, token)
        except KeyError:
            raise NuScenesError([_problem(table, token, "token", "no such record")]) from None
        problems = list(find_bad_fields(table, row))
        if problems:
            raise NuScenesError(problems)
        return row

    def location(self, scene: str) -> str:
        """Return the location of a scene, one of nuScenes' four names.

        Raises:
            NuScenesError: the scene's log is missing or has another location.
        """
        row = self.get("scene", self.scenes[scene])
        return str(self.get("log", row["log_token"])["location"])

    def count_keyframes(self, scene: str) -> int:
        """Return the number of a scene's samples, according to the record of the scene."""
        return int(self.get("scene", self.scenes[scene])["nbr_samples"])

    def list_keyframes(self, scene: str) -> tuple[str, ...]:
        """Return the tokens of the samples of a scene, in order of time.

        Raises:
            NuScenesError: the chain of samples is broken, or time does not increase along it.
        """
        row = self.get("scene", self.scenes[scene])
        tokens: list[str] = []
        token, last = row["first_sample_token"], -1
        while token:
            sample = self.get("sample", token)
            if sample["scene_token"] != row["token"] or sample["timestamp"] <= last:
                what = f"leads out of {scene} or back in time"
                raise NuScenesError([_problem("sample", token, "next", what)])
            tokens.append(token)
            token, last = sample["next"], sample["timestamp"]
        if len(tokens) != row["nbr_samples"] or tokens[-1] != row["last_sample_token"]:
            what = (
                f"the chain of samples of {scene} has {len(tokens)}, not {row['nbr_samples']}"
            )
            raise NuScenesError([_problem("scene", row["token"], "nbr_samples", what)])
        return tuple(tokens)

    def read_keyframe(self, token: str, channels: Sequence[str]) -> Keyframe:
        """Return a keyframe with the sensors ``channels``.

        Raises:
            NuScenesError: a sensor is missing, or has no valid pose.
        """
        row = self.get("sample", token)
        missing = [channel for channel in channels if channel not in row["data"]]
        if missing:
            what = f"no sample_data with is_key_frame of {', '.join(missing)}"
            raise NuScenesError([_problem("sample", token, "", what)])
        return Keyframe(
            token=token,
            scene=self.get("scene", row["scene_token"])["name"],
            timestamp=row["timestamp"],
            shots={channel: self.read_shot(row["data"][channel]) for channel in channels},
        )

    def read_shot(self, token: str) -> Shot:
        """Return a measurement by the token of its sample_data.

        Raises:
            NuScenesError: a record is missing or damaged, or the file is outside ``root``.
        """
        row = self.get("sample_data", token)
        sensor = self.get("calibrated_sensor", row["calibrated_sensor_token"])
        ego = self.get("ego_pose", row["ego_pose_token"])
        intrinsic = sensor["camera_intrinsic"]
        if escapes := describe_escape(row["filename"]):
            raise NuScenesError([_problem("sample_data", token, "filename", escapes)])
        return Shot(
            channel=row["channel"],
            path=self.root / row["filename"],
            timestamp=row["timestamp"],
            to_ego=_transform("calibrated_sensor", sensor),
            ego=_transform("ego_pose", ego),
            intrinsic=np.array(intrinsic, np.float64) if len(intrinsic) else None,
            width=row["width"],
            height=row["height"],
        )

    def read_boxes(self, token: str) -> tuple[Box, ...]:
        """Return the boxes of a keyframe, in the global frame.

        Velocities are computed as in the devkit, from the previous and the next box of the
        instance. The boxes of 4,096 keyframes stay in memory, because windows overlap.

        Raises:
            NuScenesError: a box has no valid numbers, size or rotation.
        """
        return self._kept_boxes(token)

    @cached_property
    def _kept_boxes(self) -> Callable[[str], tuple[Box, ...]]:
        return lru_cache(KEPT)(
            lambda token: tuple(map(self._box, self.get("sample", token)["anns"]))
        )

    @cached_property
    def _name_category(self) -> Callable[[str], str]:
        """The function that returns the category name of an instance's token."""

        def name_category(instance: str) -> str:
            category = self.get("instance", instance)["category_token"]
            return str(self.get("category", category)["name"])

        return lru_cache(KEPT)(name_category)

    def _box(self, token: str) -> Box:
        row = self.get("sample_annotation", token)
        for neighbour in (row["prev"], row["next"]):
            if neighbour:
                self.get("sample_annotation", neighbour)  # check it: the velocity depends on it
        (x, y, z), (width, length, height) = row["translation"], row["size"]
        if not is_size(row["size"]):
            what = f"{row['size']} is the size of nothing"
            raise NuScenesError([_problem("sample_annotation", token, "size", what)])
        rotation = _transform("sample_annotation", row)[:3, :3]
        if rotation[2, 2] < np.cos(LEAN):
            what = f"the box leans by {np.degrees(np.arccos(rotation[2, 2])):.0f} deg"
            raise NuScenesError([_problem("sample_annotation", token, "rotation", what)])
        vx, vy, _ = self.nuscenes.box_velocity(token)
        attributes = [self.get("attribute", k)["name"] for k in row["attribute_tokens"]]
        return Box(
            instance=row["instance_token"],
            category=self._name_category(row["instance_token"]),
            x=float(x),
            y=float(y),
            z=float(z),
            yaw=heading(rotation),
            width=float(width),
            length=float(length),
            height=float(height),
            vx=float(vx),
            vy=float(vy),
            visibility=int(row["visibility_token"]),
            attribute=attributes[0] if attributes else "",
            lidar_points=row["num_lidar_pts"],
        )


def find_version(root: Path, version: str = "") -> str:
    """Return ``version`` if the data set in ``root`` has it; for "", its only version.

    Raises:
        FileNotFoundError: there is no such version, or several versions if ``version`` is "".
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder; give that of a data set, which holds v1.0-mini or alike"
        )
    there = sorted(p.name for p in root.glob("v*.*-*") if p.is_dir())
    if version in there:
        return version
    if len(there) == 1 and not version:
        return there[0]
    found = f"found {', '.join(there) or found_in(root)}"
    wanted = version or "one folder of tables such as v1.0-mini"
    cure = "give one of these as the version" if there else "give the folder that holds it"
    raise FileNotFoundError(f"{root}: expected {wanted}, {found}; {cure}")


def open_tables(root: Path, version: str = "") -> Tables:
    """Open the data set in ``root``, in a version such as "v1.0-mini" or its only version.

    Raises:
        FileNotFoundError: there is no such folder or version.
        NuScenesError: a table is missing or damaged.
        RuntimeError: the devkit is not installed.
    """
    version = find_version(root, version)
    with require_devkit():
        from nuscenes.nuscenes import NuScenes
    try:
        for table in TABLES:  # check first, because the devkit reads files of any size
            require_file(root / version / f"{table}.json", LARGEST_TABLE)
        opened = NuScenes(version, str(root), verbose=False)
        for table in TABLES:
            if fault := describe_rows(table, getattr(opened, table)):
                raise ValueError(f"{table}.json {fault}")
    except Exception as error:  # the devkit may raise AssertionError, KeyError and others
        raise NuScenesError(_explain(root / version, error)) from error
    return Tables(root=root, version=version, nuscenes=opened)


def _explain(folder: Path, error: Exception) -> list[Problem]:
    """Explain, as problems, why the devkit cannot load the tables in a folder."""
    tables, problems = read_tables(folder)
    if not problems:  # unreadable tables would make all links to them look wrong
        faults = find_field_problems(tables)
        problems = [*faults, *find_link_problems(collect(tables, faults))]
    what = f"the devkit cannot load it: {type(error).__name__}: {error}"
    return problems or [Problem(table=folder.name, what=what, cure=CHECK)]


def list_split(tables: Tables, split: str | Sequence[str] = "") -> tuple[str, ...]:
    """Return the names of a split's scenes, in the order of the split.

    split: names of scenes; or an official split ("train", "val", "mini_train", ...), which the
    data set may contain in part; or a split in ``<version>/splits.json``; or "" for all scenes.

    Raises:
        ValueError: there is no such split or scene, or the split is empty.
    """
    from nuscenes.utils.splits import create_splits_scenes

    if not split:
        return tuple(tables.scenes)
    official = create_splits_scenes()
    if isinstance(split, str) and split in official:
        names = [name for name in official[split] if name in tables.scenes]
        if not names:
            raise ValueError(
                f"{tables.root}: holds no scene of split {split!r}; {_there(tables)}"
            )
        return tuple(names)
    names = (
        _read_split(tables, split, sorted(official)) if isinstance(split, str) else list(split)
    )
    lost = [name for name in names if name not in tables.scenes]
    if lost or not names:
        what = f"no scene {lost[0]!r} ({len(lost)} such)" if lost else "the split is empty"
        raise ValueError(f"{tables.root}: {what}; {_there(tables)}")
    return tuple(names)


def _read_split(tables: Tables, split: str, official: Sequence[str]) -> list[str]:
    path = tables.root / tables.version / "splits.json"
    own: Any = {}
    if path.is_file():
        try:
            own = read_json(path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}; write it again") from None
    names = own.get(split) if isinstance(own, dict) else None
    if not are_strings(names):
        listed = ", ".join([*official, *(own if isinstance(own, dict) else ())])
        raise ValueError(
            f"{path}: no split {split!r} with a list of scenes; there are {listed}; add it"
        )
    return names


def _there(tables: Tables) -> str:
    names = list(tables.scenes)
    return f"there are {len(names)} scenes: {', '.join(names[:8])}"


def is_scene_name(name: str) -> bool:
    """Return whether a name has the form scene-0000, which CAN bus and splits need."""
    return re.fullmatch(r"scene-[0-9]{4}", name) is not None


def _transform(table: str, row: Mapping[str, Any]) -> Float64[np.ndarray, "4 4"]:
    try:
        return make_transform(row["translation"], row["rotation"])
    except ValueError as error:
        raise NuScenesError([_problem(table, row["token"], "rotation", str(error))]) from None


def _problem(table: str, token: str, field: str, what: str) -> Problem:
    return Problem(table=table, token=token, field=field, what=what, cure=CHECK)
