"""One scene as files and records: images, lidar and its labels, boxes, CAN bus."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt16

from drivers.nuscenes.rig import Camera
from drivers.nuscenes.schema import EgoPose, Record, Sample, SampleData, Scene, make_record
from drivers.nuscenes.world.difficulty import SceneForecasts, forecast_scene
from drivers.nuscenes.world.instant import KEYFRAME_STEPS, Ego, WorldInstant, WorldScene
from drivers.nuscenes.world.render import (
    Scan,
    Scenery,
    draw_instant,
    make_scenery,
    measure_visibility,
    render_cameras,
    render_depth,
    render_image,
    scan_around,
)
from drivers.nuscenes.world.rig import LIDAR
from drivers.nuscenes.world.signals import Light
from drivers.nuscenes.world.write import files
from drivers.nuscenes.world.write.annotations import RANGE, SeenBox, annotate
from drivers.nuscenes.world.write.can_bus import describe_drive
from drivers.nuscenes.world.write.files import round_metres, to_quaternion
from drivers.nuscenes.world.write.names import Version, make_token

PERIOD = 500_000  # [us] from one keyframe to the next
EPOCH = 1_532_402_927_000_000  # [us], of the first scene
BETWEEN = 600_000_000  # [us] from scene to scene
INSTANCES = 999  # of a scene: the limit of panoptic labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Take:
    """The name, place and number of a scene in the data set.

    version: of the data set. log: name of its log. offset: from the frame of the scene to that
    of the map [m]. number: also the seed of the light and the scenery.
    """

    name: str
    version: Version
    log: str
    offset: Float64[np.ndarray, "2"]
    number: int

    @property
    def start(self) -> int:
        """Time of the first instant [us]."""
        return EPOCH + self.number * BETWEEN


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneRecords:
    """What a scene adds to the files of the whole data set; JSON can hold all of it.

    tables: records by table, those of lidarseg and panoptic too. questions: of prediction.
    lights: at the first instant. forecasts: trivial ones.
    """

    tables: dict[str, list[Any]]
    questions: list[str]
    lights: list[Light]
    forecasts: SceneForecasts


def record_scene(
    take: Take, scene: WorldScene, rig: Sequence[Camera], root: Path, sweeps: int = 0
) -> SceneRecords:
    """Write the files of a scene into a data set; return its records.

    sweeps: images of each camera before each keyframe but the first, of the instants before it.

    Raises:
        ValueError: fewer than two keyframes, too many road users, a box that cannot be drawn.
    """
    keyframes = scene.instants[::KEYFRAME_STEPS]
    if len(keyframes) < 2:
        raise ValueError(
            f"{take.name}: {len(scene.instants)} instants hold one keyframe; "
            f"give {KEYFRAME_STEPS + 1} or more"
        )
    names = list(dict.fromkeys(box.instance for i in keyframes for box in i.boxes))
    if len(names) > INSTANCES:
        raise ValueError(
            f"{take.name}: {len(names)} road users, of which only {INSTANCES} can have labels; "
            "make a shorter scene or fewer of them"
        )
    scenery = make_scenery(scene.road_map, take.number)
    samples = [make_token("sample", take.name, k) for k in range(len(keyframes))]
    last = KEYFRAME_STEPS * (len(keyframes) - 1)
    steps = [step for step in range(last + 1) if -step % KEYFRAME_STEPS <= sweeps]
    seen = []
    data, poses = _write_sweeps(take, scene, scenery, rig, root, steps)
    labels: dict[str, list[dict[str, str]]] = {"lidarseg": [], "panoptic": []}
    for k, instant in enumerate(keyframes):
        faces = draw_instant(scenery, instant)
        number = np.array([*(names.index(box.instance) + 1 for box in instant.boxes), 0])
        depths = [render_depth(scenery, faces, camera, instant.ego) for camera in rig]
        scan = scan_around(scenery, faces, instant.ego)
        step = KEYFRAME_STEPS * k
        rows = [_describe_data(take, step, steps, camera) for camera in rig]
        rows.append(_describe_data(take, step, range(0, last + 1, KEYFRAME_STEPS), None))
        for camera, row in zip(rig, rows, strict=False):
            image = render_image(scenery, faces, camera, instant.ego)
            files.write_image(root / row.filename, image)
        files.write_array(root / rows[-1].filename, scan.points)
        for kind, record in _write_labels(root, rows[-1], take, scan, number).items():
            labels[kind].append(record)
        visible = measure_visibility(instant.boxes, rig, instant.ego, depths)
        seen.append(_list_seen_boxes(instant, scan, visible))
        data += rows
        poses += [_describe_pose(take, row, instant.ego) for row in rows]
    egos = [instant.ego for instant in scene.instants]
    for name, content in describe_drive(egos, take.start, take.offset).items():
        files.write_json(root / "can_bus" / f"{take.name}_{name}.json", content)
    boxes = annotate(take.name, samples, seen, take.offset)
    records: dict[str, Sequence[Record]] = {
        "scene": [_describe_scene(take, scene, samples)],
        "sample": _describe_samples(take, samples),
        "sample_data": data,
        "ego_pose": poses,
        "instance": boxes.instances,
        "sample_annotation": boxes.annotations,
    }
    tables = {table: [make_record(row) for row in rows] for table, rows in records.items()}
    return SceneRecords(
        tables=tables | labels,
        questions=list(boxes.questions),
        lights=list(scene.instants[0].lights),
        forecasts=forecast_scene(scene),
    )


def _write_sweeps(
    take: Take,
    scene: WorldScene,
    scenery: Scenery,
    rig: Sequence[Camera],
    root: Path,
    steps: Sequence[int],
) -> tuple[list[SampleData], list[EgoPose]]:
    """Write the images between keyframes; return their records and poses.

    steps: instants at which cameras take images, those of keyframes too.
    """
    data: list[SampleData] = []
    poses: list[EgoPose] = []
    for step in steps:
        if step % KEYFRAME_STEPS == 0:
            continue
        instant = scene.instants[step]
        images = render_cameras(scenery, rig, instant)
        for camera, image in zip(rig, images, strict=True):
            row = _describe_data(take, step, steps, camera)
            files.write_image(root / row.filename, image)
            data.append(row)
            poses.append(_describe_pose(take, row, instant.ego))
    return data, poses


def _describe_scene(take: Take, scene: WorldScene, samples: Sequence[str]) -> Scene:
    return Scene(
        token=make_token("scene", take.name),
        name=take.name,
        description=scene.description,
        log_token=make_token("log", take.log),
        nbr_samples=len(samples),
        first_sample_token=samples[0],
        last_sample_token=samples[-1],
    )


def _describe_samples(take: Take, samples: Sequence[str]) -> list[Sample]:
    return [
        Sample(
            token=sample,
            timestamp=take.start + k * PERIOD,
            scene_token=make_token("scene", take.name),
            prev=samples[k - 1] if k else "",
            next=samples[k + 1] if k + 1 < len(samples) else "",
        )
        for k, sample in enumerate(samples)
    ]


def _list_seen_boxes(
    instant: WorldInstant, scan: Scan, visible: Float64[np.ndarray, " K"]
) -> list[SeenBox]:
    """Return the boxes within RANGE of the ego with their points and visible fractions."""
    ego = instant.ego
    points = np.bincount(scan.owner[scan.owner >= 0], minlength=len(instant.boxes))
    return [
        SeenBox(box=box, points=int(points[k]), visible=float(visible[k]))
        for k, box in enumerate(instant.boxes)
        if hypot(box.x - ego.x, box.y - ego.y) < RANGE
    ]


def _write_labels(
    root: Path, row: SampleData, take: Take, scan: Scan, number: Int64[np.ndarray, " L"]
) -> dict[str, dict[str, str]]:
    """Write the labels of a scan; return the record of each kind.

    number: of the instance of each box, then 0 for points without a box (owner -1).
    """
    token, version = row.token, take.version
    panoptic: UInt16[np.ndarray, " P"] = (
        scan.labels.astype(np.int64) * 1000 + number[scan.owner]
    ).astype(np.uint16)
    names_of_files = {
        "lidarseg": f"lidarseg/{version}/{token}_lidarseg.bin",
        "panoptic": f"panoptic/{version}/{token}_panoptic.npz",
    }
    files.write_array(root / names_of_files["lidarseg"], scan.labels)
    files.write_panoptic(root / names_of_files["panoptic"], panoptic)
    return {
        kind: {"token": token, "sample_data_token": token, "filename": name}
        for kind, name in names_of_files.items()
    }


def _describe_data(
    take: Take, step: int, steps: Sequence[int], camera: Camera | None
) -> SampleData:
    """Return the sample_data record of a camera, or the lidar (None), at an instant.

    steps: all instants at which it measures. A record between keyframes belongs to the sample
    that follows, as in nuScenes.
    """
    channel = camera.channel if camera else LIDAR
    time = take.start + step * PERIOD // KEYFRAME_STEPS
    place, is_key_frame = steps.index(step), step % KEYFRAME_STEPS == 0
    before, after = steps[:place][-1:], steps[place + 1 :][:1]
    token = _name_data(take, channel, step)
    form = "jpg" if camera else "pcd.bin"
    folder = "samples" if is_key_frame else "sweeps"
    return SampleData(
        token=token,
        sample_token=make_token("sample", take.name, -(-step // KEYFRAME_STEPS)),
        ego_pose_token=token,
        calibrated_sensor_token=make_token("calibrated_sensor", channel),
        filename=f"{folder}/{channel}/{take.log}__{channel}__{time}.{form}",
        fileformat="jpg" if camera else "pcd",
        width=camera.width if camera else 0,
        height=camera.height if camera else 0,
        timestamp=time,
        is_key_frame=is_key_frame,
        prev=_name_data(take, channel, before[0]) if before else "",
        next=_name_data(take, channel, after[0]) if after else "",
    )


def _name_data(take: Take, channel: str, step: int) -> str:
    """Return the token of the record of a sensor at an instant."""
    keyframe, between = divmod(step, KEYFRAME_STEPS)
    numbers = (keyframe, between) if between else (keyframe,)
    return make_token("data", take.name, channel, *numbers)


def _describe_pose(take: Take, row: SampleData, ego: Ego) -> EgoPose:
    return EgoPose(
        token=row.ego_pose_token,
        translation=round_metres(ego.x + take.offset[0], ego.y + take.offset[1], 0.0),
        rotation=to_quaternion(ego.yaw),
        timestamp=row.timestamp,
    )
