"""Windows of nuScenes drives: S past and present and F future keyframes, read on demand.

As in SAD, every S+F consecutive keyframes of a scene are a window. Images are scaled and
cropped (:class:`ImageSize`). Labels come from the boxes in the present ego frame, depth from
the lidar, speed and yaw rate from the CAN bus, the command from the true future. As in SAD and
ST-P3, the command is "left" or "right" if the car ends at least 2 m beside its present heading,
else "forward".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import (
    box_into_frame,
    enter_frame,
    flatten,
    invert_transform,
    lift,
    move_points,
)
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.hd_map import cover_areas, load_road_map, rasterise
from drivers.nuscenes.images import (
    measure_depth,
    read_image,
    read_lidar,
    shrink_image,
    shrink_intrinsic,
)
from drivers.nuscenes.labels import draw_labels
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.spans import CHANNELS, WindowSpan, find_spans, require_calibrations
from drivers.nuscenes.tables import Keyframe, Tables, list_split, open_tables
from drivers.nuscenes.window import ImageSize, Window, name_command


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """The contents of windows.

    grid: of the bird's-eye masks. image: scale and crop of images. past: S, past and present
    frames. future: F. stride: pixels of a patch of the depth, equal to that of features.
    looks: whether to read images and lidar; without, a window has no cameras (N is 0).

    Raises:
        ValueError: a number is < 1, or an image is not a whole number of strides.
    """

    grid: GroundGrid
    image: ImageSize
    past: int = 3
    future: int = 6
    stride: int = 8
    looks: bool = True

    def __post_init__(self) -> None:
        for name in ("past", "future", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"WindowSettings: {name} must be >= 1, got {getattr(self, name)}"
                )
        if self.image.height % self.stride or self.image.width % self.stride:
            raise ValueError(
                f"WindowSettings: an image of {self.image.height} x {self.image.width} is no "
                f"whole number of strides of {self.stride} pixels; change image or stride"
            )


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """The number of skipped windows of a scene, and the reasons."""

    scene: str
    windows: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """A sequence of windows, read on demand.

    spans: keyframes of each window. maps: road maps by location. skipped: windows of damaged
    data.
    """

    tables: Tables
    settings: WindowSettings
    maps: Mapping[str, RoadMap]
    spans: tuple[WindowSpan, ...]
    skipped: tuple[Skipped, ...]

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, number: int) -> Window:
        """Read a window.

        Raises:
            IndexError: there is no such window.
            NuScenesError: a file or a box is damaged.
        """
        span = self.spans[number]
        return _read_window(self.tables, self.maps[span.location], span, self.settings)

    def __iter__(self) -> Iterator[Window]:
        return (self[number] for number in range(len(self)))

    def read_boxes(self, number: int) -> tuple[Box, ...]:
        """Return the boxes of the present frame, in its flat ego frame; z over the ground.

        Raises:
            IndexError: there is no such window.
            NuScenesError: a box is damaged.
        """
        span, now = self.spans[number], self.settings.past - 1
        ground = self.tables.read_keyframe(span.tokens[now], (LIDAR,)).shots[LIDAR].ego[2, 3]
        boxes = self.tables.read_boxes(span.tokens[now])
        return tuple(
            replace(box_into_frame(box, span.poses[now]), z=box.z - float(ground))
            for box in boxes
        )


def open_windows(
    root: Path,
    settings: WindowSettings,
    *,
    split: str | Sequence[str] = "",
    version: str = "",
    skip_bad: bool = False,
) -> Windows:
    """Open the windows of a ``split`` of the data set in ``root``, by scene, then by time.

    split: as in :func:`drivers.nuscenes.tables.list_split`. version: such as "v1.0-mini"; ""
    for the only one there. skip_bad: skip and count scenes without a CAN bus, a map or enough
    keyframes, and windows with missing or damaged files; this reads every file once at the
    start. Otherwise reading a window decodes its files.

    Raises:
        FileNotFoundError: there is no such folder or version.
        ValueError: there is no such split.
        NuScenesError: the tables or calibrations are damaged; or, without ``skip_bad``,
            anything else is; or no window is left. Lists all problems.
    """
    return find_windows(open_tables(root, version), settings, split=split, skip_bad=skip_bad)


def find_windows(
    tables: Tables,
    settings: WindowSettings,
    *,
    split: str | Sequence[str] = "",
    skip_bad: bool = False,
) -> Windows:
    """Find the windows of a split of an open data set, see :func:`open_windows`."""
    require_calibrations(tables)
    maps: dict[str, RoadMap | NuScenesError] = {}
    spans: list[WindowSpan] = []
    skipped: list[Skipped] = []
    length = settings.past + settings.future
    for scene in list_split(tables, split):
        try:
            location, count = tables.location(scene), tables.count_keyframes(scene)
        except NuScenesError as error:
            skipped.append(Skipped(scene=scene, windows=0, problems=error.problems))
            continue
        if location not in maps:
            maps[location] = _load_map(tables.root, location)
        road_map = maps[location]
        valid, problems = find_spans(tables, scene, length, settings.image, decode=skip_bad)
        if isinstance(road_map, NuScenesError):
            valid, problems = [], [*road_map.problems, *problems]
        if problems:
            lost = max(count - length + 1, 0) - len(valid)
            skipped.append(Skipped(scene=scene, windows=lost, problems=tuple(problems)))
        spans += valid
    if skipped and not (skip_bad and spans):
        # Report a missing map once, not for each scene.
        raise NuScenesError(tuple(dict.fromkeys(p for s in skipped for p in s.problems)))
    return Windows(
        tables=tables,
        settings=settings,
        maps={name: m for name, m in maps.items() if isinstance(m, RoadMap)},
        spans=tuple(spans),
        skipped=tuple(skipped),
    )


def _load_map(root: Path, location: str) -> RoadMap | NuScenesError:
    try:
        return load_road_map(root, location)
    except NuScenesError as error:
        return error


def _read_window(
    tables: Tables, road_map: RoadMap, span: WindowSpan, settings: WindowSettings
) -> Window:
    past, grid = settings.past, settings.grid
    present = span.poses[past - 1]
    poses = enter_frame(span.poses, present).astype(np.float32)
    boxes = [tables.read_boxes(token) for token in span.tokens]
    labels = draw_labels(boxes, past, present, grid)
    lanes = rasterise(road_map, grid, present, ["lane_dividers"])
    frames = [tables.read_keyframe(token, CHANNELS) for token in span.tokens[:past]]
    views = [_read_cameras(frame, settings) for frame in frames]
    images, intrinsic, to_ego, depth = (np.stack(part) for part in zip(*views, strict=True))
    to_present = [lift(pose) for pose in poses[:past]]
    return Window(
        token=span.tokens[past - 1],
        scene=span.scene,
        images=images,
        intrinsic=intrinsic.astype(np.float32),
        to_ego=to_ego.astype(np.float32),
        to_present=np.array(to_present, np.float32),
        speed=span.speed[:past].astype(np.float32),
        yaw_rate=span.yaw_rate[:past].astype(np.float32),
        command=name_command(poses[past:]),
        vehicle=labels.vehicle,
        pedestrian=labels.pedestrian,
        instance=labels.instance,
        drivable=cover_areas(road_map.drivable, grid, present),
        lane=lanes["lane_dividers"],
        depth=depth,
        path=poses[past:],
        past=poses[:past],
    )


def _read_cameras(
    frame: Keyframe, settings: WindowSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images (N 3 H W), intrinsics, camera to ego, and depth (N h w) of a keyframe."""
    if not settings.looks:
        height, width = settings.image.height, settings.image.width
        patches = height // settings.stride, width // settings.stride
        matrices = np.zeros((0, 3, 3)), np.zeros((0, 4, 4))
        blank = np.zeros((0, 3, height, width), np.uint8)
        return blank, *matrices, np.zeros((0, *patches), np.float32)
    lidar = frame.shots[LIDAR]
    # From the global frame to the flat ego frame at the lidar's time.
    ego = flatten(lidar.ego)
    enter = invert_transform(lift(ego, float(lidar.ego[2, 3])))
    points = move_points(enter @ lidar.ego @ lidar.to_ego, read_lidar(lidar.path)[:, :3])
    images, intrinsics, to_ego, depths = [], [], [], []
    for channel in CAMERAS:
        shot = frame.shots[channel]
        camera = enter @ shot.ego @ shot.to_ego
        intrinsic = shrink_intrinsic(shot, settings.image)
        images.append(shrink_image(read_image(shot.path), settings.image, shot.path))
        intrinsics.append(intrinsic)
        to_ego.append(camera)
        depths.append(measure_depth(points, camera, intrinsic, settings.image, settings.stride))
    return np.stack(images), np.stack(intrinsics), np.stack(to_ego), np.stack(depths)
