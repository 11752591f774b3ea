"""Windows of nuScenes drives: S past and present and F future keyframes, read on demand.

As in SAD, all runs of S+F consecutive keyframes of a scene are windows. Images are scaled and
cropped (:class:`ImageSize`). Labels come from the boxes in the present ego frame, depth from
the lidar, speed and yaw rate from the CAN bus. The route follows the rest of the scene on the
lanes of the map. The command is "left" or "right" if the target on the route lies at least 2 m
to that side, else "forward"; SAD and ST-P3 take it from the place of the car in 3 s.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from drivers.nuscenes.box import Box
from drivers.nuscenes.cache import WindowCache, open_cache
from drivers.nuscenes.can_bus import read_can_bus
from drivers.nuscenes.check.can import find_other_motion
from drivers.nuscenes.check.maps import find_unlinked_lanes
from drivers.nuscenes.check.sensors import (
    FASTEST,
    MICROSECONDS,
    Pose,
    find_calibration_problems,
    find_other_lens,
    find_outside,
    is_paced,
    measure_motion,
)
from drivers.nuscenes.fields import collect, find_field_problems
from drivers.nuscenes.geometry import (
    LEAN,
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
    read_small_image,
    scaled_size,
    shrink_intrinsic,
)
from drivers.nuscenes.labels import draw_labels
from drivers.nuscenes.lane_graph import LaneGraph, make_lane_graph
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.route import find_route
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.sweeps import read_sweeps
from drivers.nuscenes.tables import Keyframe, Shot, Tables, list_split
from drivers.nuscenes.window import ImageSize, Window, find_target, name_command

CHANNELS = (*CAMERAS, LIDAR)
SKIP = "mend it, or leave it out (neuro train --skip-bad)"


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSpan:
    """A window: T = S+F keyframes of one scene, named by the tokens of their samples.

    time: [us]. poses: flat ego pose at each keyframe, in the global frame.
    speed: [m/s]. yaw_rate: [rad/s].
    drive: ego poses of these and of all later keyframes of the scene.
    """

    scene: str
    location: str
    tokens: tuple[str, ...]
    time: Int64[np.ndarray, " T"]
    poses: Float64[np.ndarray, "T 3"]
    speed: Float64[np.ndarray, " T"]
    yaw_rate: Float64[np.ndarray, " T"]
    drive: Float64[np.ndarray, "K 3"]


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """The settings that determine the contents of windows.

    grid: grid of the bird's-eye masks. road: grid of the drivable area; None means ``grid``.
    image: scale and crop of images. past: S, past and present frames. future: F.
    stride: edge of a depth patch [pixels], equal to the stride of features.
    looks: whether to read images and lidar; if not, a window has no cameras (N is 0).
    sweeps: L, images of each camera before that of a frame
    (:func:`drivers.nuscenes.sweeps.read_sweeps`).

    Raises:
        ValueError: a number is < 1 (sweeps: < 0), or an image is no whole number of strides.
    """

    grid: GroundGrid
    image: ImageSize
    road: GroundGrid | None = None
    past: int = 3
    future: int = 6
    stride: int = 8
    looks: bool = True
    sweeps: int = 0

    def __post_init__(self) -> None:
        for name in ("past", "future", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"WindowSettings: {name} must be >= 1, got {getattr(self, name)}"
                )
        if self.sweeps < 0:
            raise ValueError(f"WindowSettings: sweeps must be >= 0, got {self.sweeps}")
        if self.image.height % self.stride or self.image.width % self.stride:
            raise ValueError(
                f"WindowSettings: an image of {self.image.height} x {self.image.width} is no "
                f"whole number of strides of {self.stride} pixels; change image or stride"
            )


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """The number of windows skipped in a scene, and the problems that caused this."""

    scene: str
    windows: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """A sequence of windows, read on demand.

    spans: keyframes of each window.
    maps, graphs: road maps and graphs of their lanes, by location.
    skipped: windows left out because of damaged data.
    cache: cache of images, depths and labels; without it, every read decodes and draws them.
    """

    tables: Tables
    settings: WindowSettings
    maps: Mapping[str, RoadMap]
    graphs: Mapping[str, LaneGraph]
    spans: tuple[WindowSpan, ...]
    skipped: tuple[Skipped, ...]
    cache: WindowCache | None = None

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, number: int) -> Window:
        """Read a window.

        Raises:
            IndexError: there is no such window.
            NuScenesError: a file or a box is damaged.
        """
        return _read_window(self, self.spans[number])

    def __iter__(self) -> Iterator[Window]:
        return (self[number] for number in range(len(self)))

    def read_boxes(self, number: int) -> tuple[Box, ...]:
        """Return the present boxes, in the flat ego frame, with z over the ground.

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


def find_windows(
    tables: Tables,
    settings: WindowSettings,
    *,
    split: str | Sequence[str] = "",
    skip_bad: bool = False,
    cache: Path | None = None,
) -> Windows:
    """Find the windows of a ``split`` of an open data set, ordered by scene, then by time.

    split: as in :func:`drivers.nuscenes.tables.list_split`.
    skip_bad: skip and count scenes without a CAN bus, a map or enough keyframes, and windows
    with missing or damaged files. This decodes every file once at the start; otherwise files
    are only decoded when a window is read.
    cache: folder of a :mod:`~drivers.nuscenes.cache`, so that files are decoded only once.

    Raises:
        ValueError: there is no such split.
        NuScenesError: calibrations are damaged; other data are damaged and ``skip_bad`` is not
            set; or no window is left. Lists all problems.
    """
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
        valid, problems = find_spans(tables, scene, settings, decode=skip_bad)
        if isinstance(road_map, NuScenesError):
            valid, problems = [], [*road_map.problems, *problems]
        if problems:
            lost = max(count - length + 1, 0) - len(valid)
            skipped.append(Skipped(scene=scene, windows=lost, problems=tuple(problems)))
        spans += valid
    if skipped and not (skip_bad and spans):
        # Report a missing map once, not once per scene.
        raise NuScenesError(tuple(dict.fromkeys(p for s in skipped for p in s.problems)))
    sound = {name: m for name, m in maps.items() if isinstance(m, RoadMap)}
    return Windows(
        tables=tables,
        settings=settings,
        maps=sound,
        graphs={name: make_lane_graph(m.lanes) for name, m in sound.items()},
        spans=tuple(spans),
        skipped=tuple(skipped),
        cache=open_cache(cache, tables, replace(settings, looks=True)) if cache else None,
    )


def _load_map(root: Path, location: str) -> RoadMap | NuScenesError:
    try:
        road_map = load_road_map(root, location)
    except NuScenesError as error:
        return error
    problems = list(find_unlinked_lanes(road_map))  # routes need the links between lanes
    return NuScenesError(problems) if problems else road_map


def _read_window(windows: Windows, span: WindowSpan) -> Window:
    tables, settings, cache = windows.tables, windows.settings, windows.cache
    past = settings.past
    token = span.tokens[past - 1]
    poses = enter_frame(span.poses, span.poses[past - 1]).astype(np.float32)
    draw = partial(_draw_masks, windows, span)
    masks = cache.read("labels", span.scene, token, (), draw) if cache else draw()
    frames = [tables.read_keyframe(token, CHANNELS) for token in span.tokens[:past]]
    views = [_read_cameras(frame, settings, cache) for frame in frames]
    sweeps = np.stack([_read_sweeps(tables, frame, settings, cache) for frame in frames])
    images, intrinsic, to_ego, depth = (np.stack(part) for part in zip(*views, strict=True))
    to_present = [lift(pose) for pose in poses[:past]]
    route = find_route(windows.graphs[span.location], span.drive[past - 1 :])
    target = find_target(route, float(span.speed[past - 1]))
    return Window(
        token=token,
        scene=span.scene,
        images=images,
        sweeps=sweeps,
        intrinsic=intrinsic.astype(np.float32),
        to_ego=to_ego.astype(np.float32),
        to_present=np.array(to_present, np.float32),
        speed=span.speed[:past].astype(np.float32),
        yaw_rate=span.yaw_rate[:past].astype(np.float32),
        route=route,
        target=np.array(target, np.float32),
        command=name_command(target),
        depth=depth,
        path=poses[past:],
        past=poses[:past],
        **masks,
    )


def _draw_masks(windows: Windows, span: WindowSpan) -> dict[str, np.ndarray]:
    """Return the masks of a window, named by the fields of Window."""
    tables, road_map, settings = windows.tables, windows.maps[span.location], windows.settings
    present, grid = span.poses[settings.past - 1], settings.grid
    boxes = [tables.read_boxes(token) for token in span.tokens]
    labels = draw_labels(boxes, settings.past, present, grid)
    return {
        "vehicle": labels.vehicle,
        "pedestrian": labels.pedestrian,
        "instance": labels.instance,
        "drivable": cover_areas(road_map.drivable, settings.road or grid, present),
        "lane": rasterise(road_map, grid, present, ["lane_dividers"])["lane_dividers"],
    }


def _read_cameras(
    frame: Keyframe, settings: WindowSettings, cache: WindowCache | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images (N 3 H W), intrinsics, to_ego and depth (N h w) of a keyframe."""
    if not settings.looks:
        height, width = settings.image.height, settings.image.width
        patches = height // settings.stride, width // settings.stride
        matrices = np.zeros((0, 3, 3)), np.zeros((0, 4, 4))
        blank = np.zeros((0, 3, height, width), np.uint8)
        return blank, *matrices, np.zeros((0, *patches), np.float32)
    lidar = frame.shots[LIDAR]
    # Transform from the global frame to the flat ego frame at the lidar's time.
    enter = invert_transform(lift(flatten(lidar.ego), float(lidar.ego[2, 3])))
    shots = [frame.shots[channel] for channel in CAMERAS]
    intrinsics = np.stack([shrink_intrinsic(shot, settings.image) for shot in shots])
    to_ego = np.stack([enter @ shot.ego @ shot.to_ego for shot in shots])

    def look() -> dict[str, np.ndarray]:
        points = move_points(enter @ lidar.ego @ lidar.to_ego, read_lidar(lidar.path)[:, :3])
        images = [read_small_image(shot.path, settings.image) for shot in shots]
        depths = [
            measure_depth(points, *camera, settings.image, settings.stride)
            for camera in zip(to_ego, intrinsics, strict=True)
        ]
        return {"images": np.stack(images), "depth": np.stack(depths)}

    files = [lidar.path, *(shot.path for shot in shots)]
    seen = cache.read("images", frame.scene, frame.token, files, look) if cache else look()
    return seen["images"], intrinsics, to_ego, seen["depth"]


def _read_sweeps(
    tables: Tables, frame: Keyframe, settings: WindowSettings, cache: WindowCache | None
) -> UInt8[np.ndarray, "N L 3 H W"]:
    """Return the images of each camera before that of a keyframe, oldest first."""
    size, number = settings.image, settings.sweeps
    if not settings.looks or not number:
        cameras = len(CAMERAS) if settings.looks else 0
        return np.zeros((cameras, number, 3, size.height, size.width), np.uint8)
    shots = [read_sweeps(tables, frame.token, channel, number) for channel in CAMERAS]

    def look() -> dict[str, np.ndarray]:
        images = [[read_small_image(shot.path, size) for shot in some] for some in shots]
        return {"sweeps": np.array(images)}

    files = [shot.path for some in shots for shot in some]
    seen = cache.read("sweeps", frame.scene, frame.token, files, look) if cache else look()
    return seen["sweeps"]


def require_calibrations(tables: Tables) -> None:
    """Check that each sensor has a valid calibration and the direction that its name says.

    Raises:
        NuScenesError: a calibration is wrong; lists all problems.
    """
    sensors = {n: getattr(tables.nuscenes, n) for n in ("sensor", "calibrated_sensor")}
    problems = find_field_problems(sensors)
    problems += find_calibration_problems(collect(sensors, problems))
    if problems:
        raise NuScenesError(problems)


def find_spans(
    tables: Tables, scene: str, settings: WindowSettings, *, decode: bool
) -> tuple[list[WindowSpan], list[Problem]]:
    """Return the windows of a scene whose keyframes are valid, and the problems of the rest.

    decode: whether to read every file; if not, only its existence is checked.
    """
    length = settings.past + settings.future
    try:
        tokens = tables.list_keyframes(scene)
        if len(tokens) < length:
            what = f"{scene} has {len(tokens)} keyframes, past and future need {length}"
            raise NuScenesError([_problem("scene", tables.scenes[scene], "nbr_samples", what)])
        frames, problems = _read_frames(tables, tokens, settings, decode)
        known = sorted(frames)
        time = np.array([frames[k].shots[LIDAR].timestamp for k in known], np.int64)
        poses = np.array([flatten(frames[k].shots[LIDAR].ego) for k in known]).reshape(-1, 3)
        track = list(zip(time.tolist(), poses, strict=True))
        _require_speed(tables.scenes[scene], track)
        bus = read_can_bus(tables.root, scene)
        speed, yaw_rate = bus.motion_at(time)
        if other := list(find_other_motion(bus, speed, track)) if track else []:
            raise NuScenesError(other)
    except NuScenesError as error:
        return [], list(error.problems)
    location = tables.location(scene)
    follows = []  # whether the next valid keyframe follows after half a second
    for first, after, step in zip(known, known[1:], np.diff(time).tolist(), strict=False):
        follows.append(after == first + 1 and is_paced(step))
        if after == first + 1 and not is_paced(step):
            what = f"the next keyframe is {step / 1e6} s later"
            problems.append(_problem("sample", tokens[first], "timestamp", what))
    spans = []
    for k in range(len(known) - length + 1):
        if all(follows[k : k + length - 1]):
            part = slice(k, k + length)
            names = tuple(tokens[i] for i in known[part])
            spans.append(
                WindowSpan(
                    scene=scene, location=location, tokens=names, time=time[part],
                    poses=poses[part], speed=speed[part], yaw_rate=yaw_rate[part],
                    drive=poses[k:],
                )
            )  # fmt: skip
    return spans, problems


def _read_frames(
    tables: Tables, tokens: Sequence[str], settings: WindowSettings, decode: bool
) -> tuple[dict[int, Keyframe], list[Problem]]:
    """Return the valid keyframes by index in the scene, and the problems of the others."""
    frames: dict[int, Keyframe] = {}
    problems: list[Problem] = []
    for k, token in enumerate(tokens):
        try:
            frame = tables.read_keyframe(token, CHANNELS)
            shots = list(frame.shots.values())
            for channel in CAMERAS:
                shots += read_sweeps(tables, token, channel, settings.sweeps)
            for shot in shots:
                _require_sound(shot, token, settings.image, decode)
            frames[k] = frame
        except NuScenesError as error:
            problems += error.problems
    return frames, problems


def _require_sound(shot: Shot, token: str, image: ImageSize, decode: bool) -> None:
    low, high = MICROSECONDS
    if not low <= shot.timestamp < high:
        what = f"{shot.channel} is at {shot.timestamp}, no time in microseconds"
        raise NuScenesError([_problem("sample", token, "timestamp", what)])
    if shot.ego[2, 2] < np.cos(LEAN):
        what = f"the car leans by {np.degrees(np.arccos(shot.ego[2, 2])):.0f} deg"
        raise NuScenesError([_problem("sample", token, "rotation", what)])
    if not shot.path.is_file():
        raise NuScenesError([_problem("sample", token, str(shot.path), "is missing")])
    if shot.channel != LIDAR:
        scaled_size(image, shot.width, shot.height, shot.path)
        what = find_outside(shot.intrinsic, shot.width, shot.height)
        what = what or find_other_lens(shot.channel, shot.intrinsic, shot.width)
        if what:
            raise NuScenesError([_problem("sample", token, "camera_intrinsic", what)])
    if decode:
        _ = read_lidar(shot.path) if shot.channel == LIDAR else read_image(shot.path)


def _require_speed(token: str, track: Sequence[Pose]) -> None:
    _, speed = measure_motion(track)
    if speed.size and speed.max() > FASTEST:
        what = f"the car drives at {speed.max():.0f} m/s"
        raise NuScenesError([_problem("scene", token, "ego_pose", what)])


def _problem(table: str, token: str, field: str, what: str) -> Problem:
    return Problem(table=table, token=token, field=field, what=what, cure=SKIP)
