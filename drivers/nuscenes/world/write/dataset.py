"""A whole data set for the official devkit: tables, maps and the files of its scenes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from joblib import Parallel, delayed
from pyquaternion import Quaternion

from drivers.nuscenes import schema
from drivers.nuscenes.rig import Camera
from drivers.nuscenes.world.instant import WorldScene
from drivers.nuscenes.world.rig import LIDAR, lidar_to_ego, make_rig
from drivers.nuscenes.world.write.expansion import Place, describe_maps, lay_out
from drivers.nuscenes.world.write.files import write_json, write_mask
from drivers.nuscenes.world.write.names import MAP_FILES, Version, make_token, name_scenes
from drivers.nuscenes.world.write.recording import SceneRecords, Take, record_scene

TEXEL = 0.1  # [m], of the images of maps: the devkit's assumption
VEHICLE = "n015"
LOCATIONS = tuple(MAP_FILES)


def write_nuscenes(
    root: Path,
    scenes: Sequence[WorldScene],
    *,
    version: Version = "v1.0-trainval",
    rig: Sequence[Camera] | None = None,
    workers: int = 1,
) -> None:
    """Write scenes as a data set of nuScenes into a new folder.

    Scenes get names of the official splits; every fifth is of validation. Scenes that share a
    road map (the same object) lie in one place. Road map k, in the order of use, lies in
    location k modulo 4, apart from all others. The same scenes give the same bytes.

    Raises:
        ValueError: no scenes, or more scenes than names; a scene that cannot be written.
    """
    rig = rig or make_rig()
    takes, maps = _place_scenes(scenes, version)
    for location, (places, size) in maps.items():
        _write_map(root, location, places, size)
    recordings: list[SceneRecords] = Parallel(n_jobs=workers)(
        delayed(record_scene)(take, rig, root) for take in takes
    )
    tables = _collect(recordings, rig, list(maps))
    for table, rows in tables.items():
        write_json(root / version / f"{table}.json", [schema.make_record(row) for row in rows])
    for kind in ("lidarseg", "panoptic"):
        labels = [row for recording in recordings for row in recording.labels[kind]]
        write_json(root / version / f"{kind}.json", labels)
    questions = {r.scene.name: list(r.boxes.questions) for r in recordings}
    write_json(root / "maps" / "prediction" / "prediction_scenes.json", questions)


def _place_scenes(
    scenes: Sequence[WorldScene], version: Version
) -> tuple[list[Take], Mapping[str, tuple[list[Place], tuple[float, float]]]]:
    """Return the scenes with names and places, and the maps of the locations in use."""
    names = name_scenes(len(scenes), version)
    road_maps = list({id(scene.road_map): scene.road_map for scene in scenes}.values())
    maps, takes = {}, []
    for number, location in enumerate(LOCATIONS[: len(road_maps)]):
        own = road_maps[number :: len(LOCATIONS)]
        offsets, size = lay_out(own)
        places = []
        for road_map, offset in zip(own, offsets, strict=True):
            here = [k for k, scene in enumerate(scenes) if scene.road_map is road_map]
            lights = scenes[here[0]].instants[0].lights
            key = names[here[0]]
            places.append(Place(key=key, road_map=road_map, lights=lights, offset=offset))
            takes += [
                Take(
                    scene=scenes[k],
                    name=names[k],
                    version=version,
                    log=f"{VEHICLE}-{location}",
                    offset=offset,
                    number=k,
                )
                for k in here
            ]
        maps[location] = places, size
    return sorted(takes, key=lambda take: take.number), maps


def _write_map(
    root: Path, location: str, places: Sequence[Place], size: tuple[float, float]
) -> None:
    """Write the image of roads and walkways of a location, north up, and its expansion."""
    width, height = (round(length / TEXEL) for length in size)
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
    write_json(root / "maps" / "expansion" / f"{location}.json", describe_maps(places, size))


def _collect(
    recordings: Sequence[SceneRecords], rig: Sequence[Camera], locations: Sequence[str]
) -> Mapping[str, Iterable[schema.Record]]:
    """Return the records of all thirteen tables."""
    return {
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
        "scene": [r.scene for r in recordings],
        "sample": [row for r in recordings for row in r.samples],
        "sample_data": [row for r in recordings for row in r.data],
        "ego_pose": [row for r in recordings for row in r.poses],
        "instance": [row for r in recordings for row in r.boxes.instances],
        "sample_annotation": [row for r in recordings for row in r.boxes.annotations],
    }


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
