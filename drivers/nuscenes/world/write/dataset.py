"""A whole data set for the official devkit: tables, maps and the files of its scenes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from joblib import Parallel, delayed
from pyquaternion import Quaternion

from drivers.nuscenes import schema
from drivers.nuscenes.rig import Camera
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.world.instant import WorldScene
from drivers.nuscenes.world.rig import LIDAR, lidar_to_ego, make_rig
from drivers.nuscenes.world.write.expansion import Place, describe_maps, lay_out
from drivers.nuscenes.world.write.files import write_json, write_mask
from drivers.nuscenes.world.write.names import MAP_FILES, Version, make_token, name_scenes
from drivers.nuscenes.world.write.recording import SceneRecords, Take, record_scene
from neuro.io.schema import convert
from neuro.io.store import read_json, rename_when_whole

TEXEL = 0.1  # [m], of the images of maps: the devkit's assumption
VEHICLE = "n015"
LOCATIONS = tuple(MAP_FILES)
RECORDS = "records.json"  # of a scene, beside its files


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedScene:
    """A scene that is still to be simulated, on a road map that is known before."""

    road_map: RoadMap
    simulate: Callable[[], WorldScene]


@dataclass(frozen=True, kw_only=True, eq=False)
class LocationPlan:
    """A location. size: of its map [m]. places: road map and offset [m] by first scene."""

    size: tuple[float, float]
    places: Mapping[str, tuple[RoadMap, Float64[np.ndarray, "2"]]]


def write_nuscenes(
    root: Path,
    scenes: Sequence[PlannedScene],
    *,
    version: Version = "v1.0-trainval",
    rig: Sequence[Camera] | None = None,
    sweeps: int = 0,
    workers: int = 1,
) -> list[SceneRecords]:
    """Write scenes as a data set of nuScenes into ``root / "data"``; return their records.

    Scenes get names of the official splits; every fifth is of validation. Scenes that share a
    road map (the same object) lie in one place. Road map k, in the order of use, lies in
    location k modulo 4, apart from all others. The same scenes give the same bytes.

    Each scene is written into ``root / "scenes"`` first, whole or not at all. A scene that an
    earlier call for the same scenes left there is kept: an interrupted call may be repeated.

    sweeps: images of each camera before each keyframe but the first, 0.1 s apart.

    Raises:
        ValueError: no scenes, or more scenes than names; a scene that cannot be written.
    """
    rig = rig or make_rig()
    takes, plans = _place_scenes(scenes, version)
    kept, data = root / "scenes", root / "data"
    Parallel(n_jobs=workers)(
        delayed(_write_scene)(take, scene, rig, kept / take.name, sweeps)
        for take, scene in zip(takes, scenes, strict=True)
        if not (kept / take.name).exists()
    )
    recordings = {take.name: _read_records(kept / take.name / RECORDS) for take in takes}
    for take in takes:
        folder = kept / take.name
        for path in sorted(folder.rglob("*")):
            target = data / path.relative_to(folder)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif path.name != RECORDS:
                path.replace(target)
    for location, plan in plans.items():
        _write_map(data, location, plan, recordings)
    tables = _collect(list(recordings.values()), rig, list(plans))
    for table, rows in tables.items():
        write_json(data / version / f"{table}.json", rows)
    questions = {name: records.questions for name, records in recordings.items()}
    write_json(data / "maps" / "prediction" / "prediction_scenes.json", questions)
    return list(recordings.values())


def _write_scene(
    take: Take, scene: PlannedScene, rig: Sequence[Camera], folder: Path, sweeps: int
) -> None:
    """Simulate a scene, and write its files and records into a new folder."""
    with rename_when_whole(folder) as part:
        records = record_scene(take, scene.simulate(), rig, part, sweeps)
        lights = [asdict(light) for light in records.lights]
        content = vars(records) | {"lights": lights, "forecasts": asdict(records.forecasts)}
        write_json(part / RECORDS, content)


def _read_records(path: Path) -> SceneRecords:
    records: SceneRecords = convert(read_json(path), SceneRecords, str(path))
    return records


def _place_scenes(
    scenes: Sequence[PlannedScene], version: Version
) -> tuple[list[Take], Mapping[str, LocationPlan]]:
    """Return the scenes with names and places, and the locations in use."""
    names = name_scenes(len(scenes), version)
    road_maps = list({id(scene.road_map): scene.road_map for scene in scenes}.values())
    plans, takes = {}, []
    for number, location in enumerate(LOCATIONS[: len(road_maps)]):
        own = road_maps[number :: len(LOCATIONS)]
        offsets, size = lay_out(own)
        places = {}
        for road_map, offset in zip(own, offsets, strict=True):
            here = [k for k, scene in enumerate(scenes) if scene.road_map is road_map]
            places[names[here[0]]] = road_map, offset
            log = f"{VEHICLE}-{location}"
            takes += [
                Take(name=names[k], version=version, log=log, offset=offset, number=k)
                for k in here
            ]
        plans[location] = LocationPlan(size=size, places=places)
    return sorted(takes, key=lambda take: take.number), plans


def _write_map(
    root: Path, location: str, plan: LocationPlan, recordings: Mapping[str, SceneRecords]
) -> None:
    """Write the image of roads and walkways of a location, north up, and its expansion."""
    places = [
        Place(key=name, road_map=road_map, lights=recordings[name].lights, offset=offset)
        for name, (road_map, offset) in plan.places.items()
    ]
    width, height = (round(length / TEXEL) for length in plan.size)
    mask: UInt8[np.ndarray, "H W"] = np.zeros((height, width), np.uint8)
    for place in places:
        for shape in (*place.road_map.walkways, *place.road_map.drivable):
            moved = place.shift(shape)
            rings = [
                np.round(np.array(ring.coords)[:, :2] / TEXEL).astype(np.int32)
                for ring in (moved.exterior, *moved.interiors)
            ]
            cv2.fillPoly(mask, rings, (255.0,))
    write_mask(root / "maps" / f"{MAP_FILES[location]}.png", mask[::-1])
    write_json(
        root / "maps" / "expansion" / f"{location}.json", describe_maps(places, plan.size)
    )


def _collect(
    recordings: Sequence[SceneRecords], rig: Sequence[Camera], locations: Sequence[str]
) -> Mapping[str, list[dict[str, Any]]]:
    """Return the records of the thirteen tables, of lidarseg and of panoptic."""
    common: Mapping[str, Iterable[schema.Record]] = {
        "attribute": [
            schema.Attribute(token=make_token("attribute", n), name=n, description=n)
            for n in schema.ATTRIBUTES
        ],
        "category": [
            schema.Category(token=make_token("category", n), name=n, description=n, index=k)
            for k, n in enumerate(schema.CATEGORIES)
        ],
        "visibility": [
            schema.Visibility(token=token, level=level, description=f"{level[1:]} % are seen")
            for token, level in schema.LEVELS.items()
        ],
        "sensor": [
            *(_describe_sensor(camera.channel, "camera") for camera in rig),
            _describe_sensor(LIDAR, "lidar"),
        ],
        "calibrated_sensor": [
            *(_describe_mount(c.channel, c.to_ego, c.intrinsic.tolist()) for c in rig),
            _describe_mount(LIDAR, lidar_to_ego(), []),
        ],
        "log": [
            schema.Log(
                token=make_token("log", f"{VEHICLE}-{location}"),
                logfile=f"{VEHICLE}-{location}",
                vehicle=VEHICLE,
                date_captured="2018-07-24",
                location=location,
            )
            for location in locations
        ],
        "map": [
            schema.Map(
                token=make_token("map", location),
                log_tokens=[make_token("log", f"{VEHICLE}-{location}")],
                category="semantic_prior",
                filename=f"maps/{MAP_FILES[location]}.png",
            )
            for location in locations
        ],
    }
    tables = {table: [schema.make_record(r) for r in rows] for table, rows in common.items()}
    for table in recordings[0].tables:
        tables[table] = [row for records in recordings for row in records.tables[table]]
    return tables


def _describe_sensor(channel: str, modality: str) -> schema.Sensor:
    return schema.Sensor(
        token=make_token("sensor", channel), channel=channel, modality=modality
    )


def _describe_mount(
    channel: str, to_ego: np.ndarray, intrinsic: list[list[float]]
) -> schema.CalibratedSensor:
    rotation = Quaternion(matrix=to_ego, atol=1e-6)
    return schema.CalibratedSensor(
        token=make_token("calibrated_sensor", channel),
        sensor_token=make_token("sensor", channel),
        translation=[round(float(v), 6) for v in to_ego[:3, 3]],
        rotation=[round(float(v), 12) for v in rotation.elements],
        camera_intrinsic=intrinsic,
    )
