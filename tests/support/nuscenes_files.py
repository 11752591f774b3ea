"""A small nuScenes data set in files: two scenes on one road, of which everything is known.

Two drives of constant speed and turn; a car ahead that drives, a parked one, a hidden one, a
pedestrian who walks. Camera c measures 5 c ms after the lidar. The lidar's points lie on a
cylinder of 12 m around the ego, in its frame.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.schema import (
    ATTRIBUTES,
    CATEGORIES,
    LEVELS,
    LIDAR,
    TABLES,
    Attribute,
    CalibratedSensor,
    Category,
    EgoPose,
    Instance,
    Log,
    Map,
    Record,
    Sample,
    SampleAnnotation,
    SampleData,
    Scene,
    Sensor,
    Visibility,
    make_record,
)

LOCATION = "boston-seaport"
START = 1_532_402_927_647_951  # [us]
FRAME = 500_000  # [us]
LAG = 5_000  # [us] from one camera to the next
WIDTH, HEIGHT, FOCAL, FOCAL_BACK = 160, 90, 126.6, 80.9
RADIUS = 12.0  # [m] of the lidar's cylinder
YAWS = dict(zip(CAMERAS, (55, 0, -55, 110, 180, -110), strict=True))  # [deg]
ROAD = 0.5  # [rad], heading of the road through MIDDLE
MIDDLE = np.array([200.0, 200.0])


@dataclass(frozen=True)
class Drive:
    """A drive of constant speed [m/s] and turn [rad/s] from a place (x, y, yaw)."""

    start: tuple[float, float, float]
    speed: float
    turn: float

    def pose(self, seconds: float) -> tuple[float, float, float]:
        x, y, yaw = self.start
        after = yaw + self.turn * seconds
        if self.turn:
            radius = self.speed / self.turn
            x += radius * (np.sin(after) - np.sin(yaw))
            y -= radius * (np.cos(after) - np.cos(yaw))
        else:
            x += self.speed * seconds * np.cos(yaw)
            y += self.speed * seconds * np.sin(yaw)
        return float(x), float(y), float(after)


DRIVES = {
    "scene-0061": Drive((180.0, 185.0, ROAD), 8.0, 0.0),
    "scene-0553": Drive((200.0, 200.0, -1.0), 5.0, 0.25),
}
# Of every scene: category, drive relative to the ego's start, size, visibility, attribute.
USERS = {
    "ahead": ("vehicle.car", Drive((12.0, 0.0, 0.0), 9.0, 0.0), (1.9, 4.6, 1.6), "4", 0),
    "parked": ("vehicle.truck", Drive((20.0, 6.0, 0.1), 0.0, 0.0), (2.5, 8.0, 3.0), "3", 2),
    "hidden": ("vehicle.car", Drive((10.0, -8.0, 0.0), 0.0, 0.0), (1.9, 4.6, 1.6), "1", 2),
    "walker": (
        "human.pedestrian.adult", Drive((15.0, 4.0, -1.6), 1.2, 0.0), (0.7, 0.7, 1.8), "4", 7,
    ),
}  # fmt: skip


def write_data_set(
    root: Path, keyframes: int = 10, scenes: Sequence[str] = tuple(DRIVES)
) -> Path:
    """Write a data set v1.0-mini and return its root."""
    tables = make_tables(keyframes, scenes)
    write_tables(root / "v1.0-mini", tables)
    write_measurements(root, tables)
    write_map(root, make_map())
    for scene in scenes:
        write_can_bus(root, scene, keyframes)
    return root


def make_tables(
    keyframes: int = 10, scenes: Sequence[str] = tuple(DRIVES)
) -> dict[str, list[dict[str, Any]]]:
    rows = _Rows()
    rows.add(
        *(Attribute(token=f"a{k}", name=n, description="") for k, n in enumerate(ATTRIBUTES))
    )
    rows.add(*(Category(token=n, name=n, description="") for n in CATEGORIES[1:24]))
    rows.add(*(Visibility(token=k, level=level, description="") for k, level in LEVELS.items()))
    rows.add(
        Log(
            token="log",
            logfile="n0",
            vehicle="n",
            date_captured="2018-07-24",
            location=LOCATION,
        )
    )
    rows.add(
        Map(token="map", log_tokens=["log"], category="semantic_prior", filename="maps/map.png")
    )
    for channel in (*CAMERAS, LIDAR):
        kind = "lidar" if channel == LIDAR else "camera"
        rows.add(Sensor(token=channel, channel=channel, modality=kind), _calibrate(channel))
    for k, name in enumerate(scenes):
        _add_scene(rows, name, START + k * 60_000_000, keyframes)
    return rows.tables


def _calibrate(channel: str) -> CalibratedSensor:
    if channel == LIDAR:
        half = np.sqrt(0.5)
        return CalibratedSensor(
            token=f"c{channel}", sensor_token=channel, translation=[0.9, 0.0, 1.8],
            rotation=[half, 0.0, 0.0, -half], camera_intrinsic=[],
        )  # fmt: skip
    yaw = np.radians(YAWS[channel])
    focal = FOCAL_BACK if channel == "CAM_BACK" else FOCAL
    return CalibratedSensor(
        token=f"c{channel}",
        sensor_token=channel,
        translation=[0.5 + np.cos(yaw), np.sin(yaw), 1.5],
        # R_z(yaw) after the turn from (right, down, forward) to (forward, left, up)
        rotation=_times(_about_z(yaw), [0.5, -0.5, 0.5, -0.5]),
        camera_intrinsic=[[focal, 0.0, 80.0], [0.0, focal, 45.0], [0.0, 0.0, 1.0]],
    )


class _Rows:
    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    def add(self, *rows: Record) -> None:
        for row in rows:
            name = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(row).__name__)
            self.tables[name[1:]].append(json.loads(json.dumps(make_record(row))))


def _add_scene(rows: _Rows, name: str, start: int, keyframes: int) -> None:
    def chain(prefix: str, k: int) -> dict[str, str]:
        after = f"{prefix}{k + 1}" if k + 1 < keyframes else ""
        return {"token": f"{prefix}{k}", "prev": f"{prefix}{k - 1}" if k else "", "next": after}

    ego = DRIVES[name]
    rows.add(
        Scene(
            token=name, name=name, description="", log_token="log", nbr_samples=keyframes,
            first_sample_token=f"{name}-s0", last_sample_token=f"{name}-s{keyframes - 1}",
        )
    )  # fmt: skip
    for user, (category, _, _, _, _) in USERS.items():
        rows.add(
            Instance(
                token=f"{name}-{user}", category_token=category, nbr_annotations=keyframes,
                first_annotation_token=f"{name}-{user}0",
                last_annotation_token=f"{name}-{user}{keyframes - 1}",
            )
        )  # fmt: skip
    for k in range(keyframes):
        at = start + k * FRAME
        rows.add(Sample(**chain(f"{name}-s", k), timestamp=at, scene_token=name))
        for c, channel in enumerate((LIDAR, *CAMERAS)):
            time, token = at + c * LAG, f"{name}-{channel}{k}"
            x, y, yaw = ego.pose((time - start) / 1e6)
            rows.add(
                EgoPose(
                    token=token, translation=[x, y, 0.0], rotation=_about_z(yaw), timestamp=time
                )
            )
            ending = "pcd.bin" if channel == LIDAR else "jpg"
            rows.add(
                SampleData(
                    **chain(f"{name}-{channel}", k),
                    sample_token=f"{name}-s{k}",
                    ego_pose_token=token,
                    calibrated_sensor_token=f"c{channel}",
                    filename=f"samples/{channel}/{name}__{channel}__{time}.{ending}",
                    fileformat=ending.split(".")[0],
                    width=0 if channel == LIDAR else WIDTH,
                    height=0 if channel == LIDAR else HEIGHT,
                    timestamp=time,
                    is_key_frame=True,
                )
            )
        for user, (_, drive, size, visibility, attribute) in USERS.items():
            x, y, yaw = place(ego, drive.pose(k * FRAME / 1e6))
            rows.add(
                SampleAnnotation(
                    **chain(f"{name}-{user}", k),
                    sample_token=f"{name}-s{k}",
                    instance_token=f"{name}-{user}",
                    visibility_token=visibility,
                    attribute_tokens=[f"a{attribute}"],
                    translation=[x, y, size[2] / 2],
                    size=list(size),
                    rotation=_about_z(yaw),
                    num_lidar_pts=5,
                    num_radar_pts=0,
                )
            )


def place(ego: Drive, pose: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return a pose relative to the ego's start as it is in the global frame."""
    (x0, y0, yaw0), (x, y, yaw) = ego.start, pose
    c, s = np.cos(yaw0), np.sin(yaw0)
    return float(x0 + c * x - s * y), float(y0 + s * x + c * y), float(yaw0 + yaw)


def _about_z(yaw: float) -> list[float]:
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def _times(a: Sequence[float], b: Sequence[float]) -> list[float]:
    (w, x, y, z), (p, q, r, s) = a, b
    return [
        float(v)
        for v in (
            w * p - x * q - y * r - z * s, w * q + x * p + y * s - z * r,
            w * r - x * s + y * p + z * q, w * s + x * r - y * q + z * p,
        )
    ]  # fmt: skip


def write_tables(folder: Path, tables: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))


def write_measurements(root: Path, tables: Mapping[str, Any]) -> None:
    """Write images, each of one colour, and lidar points."""
    points = make_points().tobytes()
    for row in tables["sample_data"]:
        path = root / row["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".bin":
            path.write_bytes(points)
        else:
            colour = colour_of(row["token"])
            Image.new("RGB", (WIDTH, HEIGHT), colour).save(path, quality=90)


def colour_of(token: str) -> tuple[int, int, int]:
    rng = np.random.default_rng(sum(token.encode()))
    return tuple(int(v) for v in rng.integers(30, 220, 3))  # type: ignore[return-value]


def make_points() -> np.ndarray:
    """Return points of the cylinder in the frame of LIDAR_TOP, N x 5."""
    angle, z = np.meshgrid(np.radians(np.arange(0, 360, 3)), np.array([0.5, 1.5, 2.5]))
    ego = np.stack([RADIUS * np.cos(angle), RADIUS * np.sin(angle), z], -1).reshape(-1, 3)
    x, y, z = (ego - [0.9, 0.0, 1.8]).T  # x of the sensor points to the right, y ahead
    ring = np.repeat(np.arange(3), 120)
    return np.stack([-y, x, z, np.full(len(x), 10.0), ring], -1).astype("<f4")


def write_can_bus(root: Path, scene: str, keyframes: int) -> None:
    drive, start = DRIVES[scene], START + list(DRIVES).index(scene) * 60_000_000
    times = [start - 100_000 + k * 100_000 for k in range(5 * keyframes + 2)]
    pose = []
    for t in times:
        x, y, yaw = drive.pose((t - start) / 1e6)
        pose.append(
            {
                "utime": t, "pos": [x, y, 0.0], "vel": [drive.speed, 0.0, 0.0],
                "accel": [0.1, 0.0, 9.8], "rotation_rate": [0.0, 0.0, drive.turn],
                "orientation": _about_z(yaw),
            }
        )  # fmt: skip
    folder = root / "can_bus"
    folder.mkdir(exist_ok=True)
    (folder / f"{scene}_pose.json").write_text(json.dumps(pose))
    route = [message["pos"][:2] for message in pose]
    (folder / f"{scene}_route.json").write_text(json.dumps(route))
    wheel = [{"utime": t, "value": 0.5 * drive.turn} for t in times]
    (folder / f"{scene}_steeranglefeedback.json").write_text(json.dumps(wheel))


class MapRows:
    """A map expansion, filled layer by layer."""

    def __init__(self) -> None:
        layers = (
            "node", "line", "polygon", "drivable_area", "road_segment", "road_block", "lane",
            "ped_crossing", "walkway", "stop_line", "carpark_area", "lane_connector",
            "road_divider", "lane_divider", "traffic_light",
        )  # fmt: skip
        self.rows: dict[str, Any] = {layer: [] for layer in layers}
        self.rows |= {
            "version": "1.3", "canvas_edge": [400.0, 400.0],
            "arcline_path_3": {}, "connectivity": {},
        }  # fmt: skip

    def nodes(self, places: Any) -> list[str]:
        start = len(self.rows["node"])
        tokens = [f"n{start + k}" for k in range(len(places))]
        self.rows["node"] += [
            {"token": t, "x": float(x), "y": float(y)}
            for t, (x, y) in zip(tokens, places, strict=True)
        ]
        return tokens

    def polygon(self, outline: Any, holes: Sequence[Any] = ()) -> str:
        token = f"p{len(self.rows['polygon'])}"
        rings = [{"node_tokens": self.nodes(hole)} for hole in holes]
        row = {"token": token, "exterior_node_tokens": self.nodes(outline), "holes": rings}
        self.rows["polygon"].append(row)
        return token

    def area(self, layer: str, outline: Any, holes: Sequence[Any] = (), **more: Any) -> str:
        token = f"{layer}{len(self.rows[layer])}"
        polygon = self.polygon(outline, holes)
        key = (
            {"polygon_tokens": [polygon]}
            if layer == "drivable_area"
            else {"polygon_token": polygon}
        )
        self.rows[layer].append({"token": token, **key, **more})
        return token

    def line(self, layer: str, places: Any, **more: Any) -> str:
        token, line = f"{layer}{len(self.rows[layer])}", f"l{len(self.rows['line'])}"
        self.rows["line"].append({"token": line, "node_tokens": self.nodes(places)})
        self.rows[layer].append({"token": token, "line_token": line, **more})
        return token


def along(points: Any) -> np.ndarray:
    """Return points (along the road, to its left) of the global frame."""
    c, s = np.cos(ROAD), np.sin(ROAD)
    return np.asarray(points, float) @ np.array([[c, s], [-s, c]]) + MIDDLE


def rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return along([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def make_map() -> dict[str, Any]:
    """Return a road of two lanes each way, with a place that has an island, as an expansion."""
    rows = MapRows()
    rows.area("drivable_area", rectangle(-150, 150, -8, 8))
    rows.area("drivable_area", rectangle(-40, 40, -60, -9), [rectangle(-5, 5, -50, -40)])
    rows.area(
        "road_segment", rectangle(50, 70, -8, 8), is_intersection=True, drivable_area_token=""
    )
    rows.area(
        "road_segment",
        rectangle(-150, 50, -8, 8),
        is_intersection=False,
        drivable_area_token="",
    )
    rows.area("walkway", rectangle(-150, 150, 8, 10))
    crossing = rows.area("ped_crossing", rectangle(44, 48, -8, 8), road_segment_token="")
    rows.area(
        "stop_line", rectangle(41, 42, -8, 0), stop_line_type="PED_CROSSING",
        ped_crossing_tokens=[crossing], traffic_light_tokens=[], road_block_token="",
    )  # fmt: skip
    rows.line("lane_divider", along([[-150, -4], [150, -4]]), lane_divider_segments=[])
    rows.line("lane_divider", along([[-150, 4], [150, 4]]), lane_divider_segments=[])
    rows.line("road_divider", along([[-150, 0], [150, 0]]), road_segment_token="")
    edge = rows.nodes(along([[-150, 0], [50, 0]]))
    lane = rows.area(
        "lane", rectangle(-150, 50, -4, 0), lane_type="CAR",
        left_lane_divider_segments=[
            {"node_token": t, "segment_type": "SINGLE_SOLID_WHITE"} for t in edge
        ],
        right_lane_divider_segments=[{"node_token": t, "segment_type": "NIL"} for t in edge],
        from_edge_line_token="", to_edge_line_token="",
    )  # fmt: skip
    through = rows.area("lane_connector", rectangle(50, 70, -4, 0))
    for token, start, length in ((lane, -150.0, 200.0), (through, 50.0, 20.0)):
        x, y = along([[start, -2.0]])[0]
        rows.rows["arcline_path_3"][token] = [
            {
                "start_pose": [float(x), float(y), ROAD], "end_pose": [0.0, 0.0, ROAD],
                "shape": "LSR", "radius": 50.0, "segment_length": [0.0, length, 0.0],
            }
        ]  # fmt: skip
    rows.rows["connectivity"] = {
        lane: {"incoming": [], "outgoing": [through]},
        through: {"incoming": [lane], "outgoing": []},
    }
    return rows.rows


def write_map(root: Path, expansion: Mapping[str, Any], location: str = LOCATION) -> None:
    folder = root / "maps" / "expansion"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{location}.json").write_text(json.dumps(expansion))
    Image.new("L", (40, 40), 255).save(root / "maps" / "map.png")


def open_windows(root: Path, settings: Any, **options: Any) -> Any:
    from drivers.nuscenes.tables import open_tables
    from drivers.nuscenes.windows import find_windows

    return find_windows(open_tables(root), settings, **options)
