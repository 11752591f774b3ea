"""Checks of sensors (times, mounting places, directions) and of the motion of the car."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from drivers.nuscenes.check.chains import name_channels
from drivers.nuscenes.fields import Content, Row, make_problem
from drivers.nuscenes.geometry import LEAN, UNIT, heading, make_transform, wrap_angle
from drivers.nuscenes.problem import Problem
from drivers.nuscenes.schema import LIDAR

MICROSECONDS = (10**15, 10**16)  # times of 2001 to 2286
APART = 500_000  # [us] longest time between a sensor's keyframe and its sample
PACE = (250_000, 1_000_000)  # [us] bounds from one keyframe to the next; usual is 500,000
LOOKS = {
    "CAM_FRONT": 0.0, "CAM_FRONT_LEFT": 55.0, "CAM_FRONT_RIGHT": -55.0, "CAM_BACK": 180.0,
    "CAM_BACK_LEFT": 110.0, "CAM_BACK_RIGHT": -110.0,
}  # fmt: skip
SKEW = 30.0  # [deg] largest deviation of a sensor's direction
LIDAR_YAW = -90.0  # [deg]: x of LIDAR_TOP points to the right, y ahead
# Smallest distance from an image's edge to the optical axis, as shares of width and height
# (0.49 and 0.43 in nuScenes). The second is smaller because images may be cut above or below.
EDGE = (0.35, 0.2)
# Focal length of nuScenes' cars as a share of the image's width; the cars differ by 2 %.
# FOCAL_RATIO: largest factor from it, and between the two focal lengths of a camera.
FOCAL = {"CAM_BACK": 809 / 1600}
FOCAL_OF_OTHERS, FOCAL_RATIO = 1266 / 1600, 1.25
REACH = 10.0  # [m] largest distance from the ego frame to a sensor
FASTEST = 70.0  # [m/s] largest speed of the car and of other road users
STEP = 1.0  # [m] step beyond which a car or vehicle must move along its heading

Pose = tuple[int, Float64[np.ndarray, "3"]]  # time [us], flat pose
QUATERNION = "write the quaternion as (w, x, y, z) of a rotation, of length 1"


def find_sensor_problems(content: Content) -> Iterator[Problem]:
    """Yield the mistakes in times, calibrations and poses of the car."""
    yield from _find_wrong_times(content)
    yield from find_calibration_problems(content)
    yield from _find_other_images(content)
    yield from _find_bad_rotations(content, "ego_pose")
    yield from _find_bad_rotations(content, "sample_annotation")
    yield from _find_wrong_motion(content)


def unit_rows(content: Content, table: str, *needed: str) -> list[Row]:
    """Return the records of a table with a quaternion of length 1."""
    rows = content.rows(table, "rotation", *needed)
    return [row for row in rows if abs(np.linalg.norm(row["rotation"]) - 1) <= UNIT]


def _find_wrong_times(content: Content) -> Iterator[Problem]:
    low, high = MICROSECONDS
    cure = "write whole microseconds since 1970, such as 1532402927647951"
    for table in ("sample", "sample_data", "ego_pose"):
        for row in content.rows(table, "timestamp"):
            if not low <= row["timestamp"] < high:
                what = f"{row['timestamp']} us is no time of 2001 to 2286"
                yield make_problem(table, row, "timestamp", what, cure)
    samples = content.by_token("sample", "timestamp")
    poses = content.by_token("ego_pose", "timestamp")
    needed = ("timestamp", "sample_token", "ego_pose_token", "is_key_frame")
    for row in content.rows("sample_data", *needed):
        pose, sample = poses.get(row["ego_pose_token"]), samples.get(row["sample_token"])
        keyframe = sample if row["is_key_frame"] else None
        for name, linked in (("its sample", keyframe), ("its pose", pose)):
            if linked and abs(linked["timestamp"] - row["timestamp"]) > APART:
                said = f"is {row['timestamp']} us, {name} is at {linked['timestamp']} us"
                yield make_problem(
                    "sample_data", row, "timestamp", said, "write when it was measured"
                )
    for row in content.rows("sample", "timestamp", "next"):
        after = samples.get(row["next"])
        if after and not is_paced(after["timestamp"] - row["timestamp"]):
            what = f"the next sample is {(after['timestamp'] - row['timestamp']) / 1e6} s later"
            yield make_problem("sample", row, "timestamp", what, "keyframes are 0.5 s apart")


def is_paced(step: int) -> bool:
    """Return whether consecutive keyframes may be ``step`` [us] apart."""
    return PACE[0] <= step <= PACE[1]


def _find_bad_rotations(content: Content, table: str) -> Iterator[Problem]:
    rows = content.rows(table, "rotation")
    if not rows:
        return
    quaternions = np.array([row["rotation"] for row in rows], np.float64)
    lengths = np.linalg.norm(quaternions, axis=1)
    # The z component of each body's z axis, which is about 1 for an upright body.
    up = 1 - 2 * (quaternions[:, 1] ** 2 + quaternions[:, 2] ** 2)
    for k in np.flatnonzero(np.abs(lengths - 1) > UNIT):
        what = f"{rows[k]['rotation']} is of length {lengths[k]:.4g}"
        yield make_problem(table, rows[k], "rotation", what, QUATERNION)
    if table == "calibrated_sensor":
        return
    for k in np.flatnonzero((np.abs(lengths - 1) <= UNIT) & (up < np.cos(LEAN))):
        what = f"leans by {np.degrees(np.arccos(np.clip(up[k], -1, 1))):.0f} deg"
        yield make_problem(table, rows[k], "rotation", what, QUATERNION)


def find_calibration_problems(content: Content) -> Iterator[Problem]:
    """Yield the sensors whose place or direction contradicts their name."""
    yield from _find_bad_rotations(content, "calibrated_sensor")
    channels = name_channels(content)
    modalities = {"CAM": "camera", "LID": "lidar", "RAD": "radar"}
    for row in content.rows("sensor", "channel", "modality"):
        expected = modalities[row["channel"][:3]]
        if row["modality"] != expected:
            what = f"{row['channel']} is no {row['modality']}"
            yield make_problem("sensor", row, "modality", what, f"write {expected}")
    for row in unit_rows(content, "calibrated_sensor", "translation", "camera_intrinsic"):
        channel = channels.get(row["token"], "")
        if np.linalg.norm(row["translation"]) > REACH:
            what = f"sits {np.linalg.norm(row['translation']):.0f} m from the ego frame"
            cure = "write where the sensor is in the ego frame, not in the global one"
            yield make_problem("calibrated_sensor", row, "translation", what, cure)
        rotation = make_transform(row["translation"], row["rotation"])[:3, :3]
        if channel in LOOKS:
            yield from _find_wrong_camera(row, channel, rotation)
        elif channel == LIDAR:
            yield from _find_wrong_lidar(row, rotation)


def _find_wrong_camera(
    row: Row, channel: str, rotation: Float64[np.ndarray, "3 3"]
) -> Iterator[Problem]:
    ahead, down = rotation[:, 2], rotation[:, 1]
    yaw = float(np.degrees(np.arctan2(ahead[1], ahead[0])))
    tilted = abs(ahead[2]) > np.sin(np.radians(SKEW)) or down[2] > -np.cos(np.radians(SKEW))
    if tilted or _apart(yaw, LOOKS[channel]) > SKEW:
        what = f"{channel} looks to {yaw:.0f} deg" + (", tilted" if tilted else "")
        cure = (
            "turn it from x right, y down, z forward to the ego frame, "
            f"{LOOKS[channel]:.0f} deg to the left, as (w, x, y, z)"
        )
        yield make_problem("calibrated_sensor", row, "rotation", what, cure)
    matrix = np.array(row["camera_intrinsic"], np.float64)
    if matrix.shape != (3, 3):
        what, cure = f"{channel} has none", "write the matrix 3 x 3"
        yield make_problem("calibrated_sensor", row, "camera_intrinsic", what, cure)
    elif not (matrix[0, 0] > 0 < matrix[1, 1] and (matrix[2] == [0, 0, 1]).all()):
        what = f"{matrix.tolist()} is no pinhole camera"
        cure = "write [[f, 0, cx], [0, f, cy], [0, 0, 1]] in pixels"
        yield make_problem("calibrated_sensor", row, "camera_intrinsic", what, cure)


def _find_other_images(content: Content) -> Iterator[Problem]:
    """Yield the cameras whose optical axis or focal length does not fit their images."""
    channels = name_channels(content)
    cameras = content.by_token("calibrated_sensor", "camera_intrinsic")
    sizes = {
        (row["calibrated_sensor_token"], row["width"], row["height"])
        for row in content.rows("sample_data", "calibrated_sensor_token", "width", "height")
    }
    for token, width, height in sorted(sizes):
        row = cameras.get(token)
        matrix = np.array(row["camera_intrinsic"] if row else [], np.float64)
        channel = channels.get(token, "")
        if matrix.shape != (3, 3) or row is None:
            continue
        what = find_outside(matrix, width, height) or find_other_lens(channel, matrix, width)
        if what:
            cure = "write the matrix in pixels of the images in the files"
            yield make_problem("calibrated_sensor", row, "camera_intrinsic", what, cure)


def find_outside(intrinsic: Float64[np.ndarray, "3 3"] | None, width: int, height: int) -> str:
    """Describe how a camera's matrix contradicts the size of its images; "" if it may fit."""
    if intrinsic is None:
        return ""
    x, y = intrinsic[0, 2], intrinsic[1, 2]
    left, above = EDGE
    if left * width < x < (1 - left) * width and above * height < y < (1 - above) * height:
        return ""
    return (
        f"the optical axis is at pixel ({x:.0f}, {y:.0f}) of {width} x {height}, "
        "far from the middle"
    )


def find_other_lens(
    channel: str, intrinsic: Float64[np.ndarray, "3 3"] | None, width: int
) -> str:
    """Describe how a camera's matrix contradicts its lens; "" if it may fit."""
    if intrinsic is None or not width > 0 < min(intrinsic[0, 0], intrinsic[1, 1]):
        return ""  # another check reports this matrix
    x, y = intrinsic[0, 0], intrinsic[1, 1]
    usual = FOCAL.get(channel, FOCAL_OF_OTHERS) * width
    if not 1 / FOCAL_RATIO < x / usual < FOCAL_RATIO:
        return (
            f"the focal length is {x:.0f} pixels, that of {channel} {usual:.0f} in images "
            f"{width} pixels wide"
        )
    if not 1 / FOCAL_RATIO < y / x < FOCAL_RATIO:
        return f"the focal lengths are {x:.0f} and {y:.0f} pixels, of a camera they are alike"
    return ""


def _find_wrong_lidar(row: Row, rotation: Float64[np.ndarray, "3 3"]) -> Iterator[Problem]:
    yaw = float(np.degrees(heading(rotation)))
    if _apart(yaw, LIDAR_YAW) > SKEW or rotation[2, 2] < np.cos(np.radians(SKEW)):
        what = f"the x axis of {LIDAR} points to {yaw:.0f} deg, expected {LIDAR_YAW:.0f}"
        cure = "its x axis points to the right: about (0.707, 0, 0, -0.707)"
        yield make_problem("calibrated_sensor", row, "rotation", what, cure)
    if row["camera_intrinsic"] != []:
        what, cure = f"{LIDAR} is no camera", "write []"
        yield make_problem("calibrated_sensor", row, "camera_intrinsic", what, cure)


def list_ego_poses(content: Content) -> dict[str, list[Pose]]:
    """Return (time [us], flat pose) of the car at the lidar's keyframes, by scene token."""
    by_scene = defaultdict(list)
    for sample, transform in list_ego_transforms(content):
        flat = np.array([*transform[:2, 3], heading(transform[:3, :3])])
        by_scene[sample["scene_token"]].append((sample["timestamp"], flat))
    return {scene: sorted(p, key=lambda pair: pair[0]) for scene, p in by_scene.items()}


def list_ego_transforms(content: Content) -> Iterator[tuple[Row, Float64[np.ndarray, "4 4"]]]:
    """Yield each sample with the car's pose at the lidar's keyframe."""
    channels = name_channels(content)
    samples = content.by_token("sample", "timestamp", "scene_token")
    poses = {row["token"]: row for row in unit_rows(content, "ego_pose", "translation")}
    needed = ("sample_token", "ego_pose_token", "calibrated_sensor_token", "is_key_frame")
    for row in content.rows("sample_data", *needed):
        sample, pose = samples.get(row["sample_token"]), poses.get(row["ego_pose_token"])
        is_lidar = channels.get(row["calibrated_sensor_token"]) == LIDAR
        if row["is_key_frame"] and is_lidar and sample and pose:
            yield sample, make_transform(pose["translation"], pose["rotation"])


def _find_wrong_motion(content: Content) -> Iterator[Problem]:
    scenes = content.by_token("scene")
    for scene, poses in list_ego_poses(content).items():
        if scene not in scenes:
            continue
        steps, speed = measure_motion(poses)
        if speed.size and speed.max() > FASTEST:
            what, cure = f"the car drives at {speed.max():.0f} m/s", "write x, y, z [m]"
            yield make_problem("ego_pose", scenes[scene], "translation", what, cure)
        aside = find_aside(steps)
        if aside.size and aside.mean() > 0.5:
            what = f"the car moves sideways or backwards in {aside.mean():.0%} of its steps"
            yield make_problem("ego_pose", scenes[scene], "rotation", what, QUATERNION)


def measure_motion(
    poses: Sequence[Pose],
) -> tuple[Float64[np.ndarray, "P 3"], Float64[np.ndarray, " P"]]:
    """Return the steps between poses as (x, y, heading), and the speeds of the steps [m/s]."""
    steps = [
        (b[0] - a[0], b[1] - a[1], a[2], max(t1 - t0, 1) / 1e6)
        for (t0, a), (t1, b) in pairwise(poses)
    ]
    columns: Float64[np.ndarray, "P 4"] = np.array(steps, np.float64).reshape(-1, 4)
    speed: Float64[np.ndarray, " P"] = np.linalg.norm(columns[:, :2], axis=1) / columns[:, 3]
    return columns[:, :3], speed


def find_aside(steps: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, " K"]:
    """Return for each step over a metre 1 if it leads away from the heading, else 0."""
    long = steps[np.linalg.norm(steps[:, :2], axis=1) > STEP]
    away = np.abs(wrap_angle(np.arctan2(long[:, 1], long[:, 0]) - long[:, 2]))
    aside: Float64[np.ndarray, " K"] = (away > np.pi / 4).astype(np.float64)
    return aside


def _apart(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)
