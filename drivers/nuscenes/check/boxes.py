"""Checks of boxes: size, motion, turns, place, and counts of points, which evaluations use."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import numpy as np

from drivers.nuscenes.box import is_size
from drivers.nuscenes.check.sensors import (
    FASTEST,
    find_aside,
    list_ego_poses,
    list_ego_transforms,
    measure_motion,
    unit_rows,
)
from drivers.nuscenes.fields import Content, make_problem
from drivers.nuscenes.geometry import heading, rotation_matrix, wrap_angle
from drivers.nuscenes.problem import Problem

LONG = (
    "vehicle.car", "vehicle.truck", "vehicle.bus.bendy", "vehicle.bus.rigid",
    "vehicle.motorcycle", "vehicle.bicycle", "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
)  # fmt: skip
NEAR = 20.0  # [m] from the car, within which the ground is about level with the car
ENOUGH = 10  # boxes needed to estimate the height of the ground
# Largest median distance of boxes' bottoms from the ground, as a share of the box height.
# Anchors fitted to nuScenes' boxes begin 0.03 m (cars, people) to 0.2 m (motorcycles) above the
# ground, at most 0.15 of their height.
SUNK = 0.3
RAISED = 1.0  # [m] largest such distance in one scene
FAR = 300.0  # [m] largest distance of a box from the car
TURN = np.radians(120)  # largest turn of a vehicle from one box to the next
SOON = 1_000_000  # [us] longest time between two boxes whose headings are compared
TURNABLE = ("vehicle.bicycle", "vehicle.motorcycle")  # riders may lift and turn them
_problem = partial(make_problem, "sample_annotation")
SIZE = "write width, length, height [m]: length along the heading"


def find_box_problems(content: Content) -> Iterator[Problem]:
    """Yield the boxes whose size, motion, place or count of points is impossible."""
    categories = content.by_token("category", "name")
    names = {
        row["token"]: categories[row["category_token"]]["name"]
        for row in content.rows("instance", "category_token")
        if row["category_token"] in categories
    }
    yield from _find_wrong_sizes(content, names)
    yield from _find_wrong_motion(content, names)
    yield from _find_far_boxes(content)
    yield from _find_boxes_off_ground(content)
    counted = content.rows("sample_annotation", "num_lidar_pts", "num_radar_pts")
    for row in counted:
        for field in ("num_lidar_pts", "num_radar_pts"):
            if row[field] < 0:
                yield _problem(row, field, f"is {row[field]}", "count the points in the box")
    if counted and not any(row["num_lidar_pts"] or row["num_radar_pts"] for row in counted):
        what = "is 0, as num_radar_pts, in all boxes: evaluations leave out all of them"
        cure = "count the points in each box"
        yield Problem(table="sample_annotation", field="num_lidar_pts", what=what, cure=cure)


def _find_wrong_sizes(content: Content, names: dict[str, str]) -> Iterator[Problem]:
    for row in content.rows("sample_annotation", "size", "instance_token"):
        width, length, _ = row["size"]
        name = names.get(row["instance_token"], "")
        if not is_size(row["size"]):
            yield _problem(row, "size", f"{row['size']} m is the size of nothing", SIZE)
        elif name in LONG and width > length:
            what = f"a {name} is {width} m wide and {length} m long"
            yield _problem(row, "size", what, SIZE)


def _find_wrong_motion(content: Content, names: dict[str, str]) -> Iterator[Problem]:
    samples = content.by_token("sample", "timestamp")
    tracks = defaultdict(list)
    for row in unit_rows(
        content, "sample_annotation", "translation", "sample_token", "instance_token"
    ):
        sample = samples.get(row["sample_token"])
        if sample and names.get(row["instance_token"], "").startswith("vehicle."):
            yaw = heading(rotation_matrix(row["rotation"]))
            pose = np.array([*row["translation"][:2], yaw])
            tracks[row["instance_token"]].append((sample["timestamp"], pose, row))
    aside = []
    for instance, track in tracks.items():
        track.sort(key=lambda point: point[0])
        steps, speed = measure_motion([(time, pose) for time, pose, _ in track])
        for k in np.flatnonzero(speed > FASTEST):
            what = f"the box moves at {speed[k]:.0f} m/s to the next one"
            cure = "write x, y, z [m] in the global frame"
            yield _problem(track[k][2], "translation", what, cure)
        turns = np.abs(wrap_angle(np.diff([pose[2] for _, pose, _ in track])))
        soon = np.diff([time for time, _, _ in track]) <= SOON
        for k in np.flatnonzero((turns > TURN) & soon & (names[instance] not in TURNABLE)):
            what = f"a vehicle turns by {np.degrees(turns[k]):.0f} deg from the box before"
            cure = "write (w, x, y, z) of its heading"
            yield _problem(track[k + 1][2], "rotation", what, cure)
        aside.append(find_aside(steps))
    every = np.concatenate(aside) if aside else np.zeros(0)
    if every.size and every.mean() > 0.5:
        what = f"vehicles move sideways or backwards in {every.mean():.0%} of their steps"
        cure = "write the quaternion as (w, x, y, z); x of a box points ahead"
        yield Problem(table="sample_annotation", field="rotation", what=what, cure=cure)


def _find_far_boxes(content: Content) -> Iterator[Problem]:
    places = {
        (scene, time): pose[:2]
        for scene, poses in list_ego_poses(content).items()
        for time, pose in poses
    }
    samples = content.by_token("sample", "timestamp", "scene_token")
    for row in content.rows("sample_annotation", "translation", "sample_token"):
        sample = samples.get(row["sample_token"])
        ego = places.get((sample["scene_token"], sample["timestamp"])) if sample else None
        if ego is not None:
            away = float(np.linalg.norm(np.array(row["translation"][:2]) - ego))
            if away > FAR:
                what = f"the box is {away:.0f} m from the car"
                cure = "write x, y, z in the global frame, not in that of the car"
                yield _problem(row, "translation", what, cure)


def _find_boxes_off_ground(content: Content) -> Iterator[Problem]:
    """Yield a problem if boxes near the car begin far above or below the ground under it."""
    egos = {sample["token"]: (sample, pose) for sample, pose in list_ego_transforms(content)}
    heights = defaultdict(list)  # bottom over the ground and height of boxes [m], by scene
    for row in content.rows("sample_annotation", "translation", "size", "sample_token"):
        sample, pose = egos.get(row["sample_token"], ({}, np.eye(4)))
        height = row["size"][2]
        away = np.array(row["translation"]) - pose[:3, 3]
        if sample and height > 0 and np.hypot(*away[:2]) < NEAR:
            heights[sample["scene_token"]].append((pose[:3, 2] @ away - height / 2, height))
    every = np.array([pair for pairs in heights.values() for pair in pairs]).reshape(-1, 2)
    share = float(np.median(every[:, 0] / every[:, 1])) if len(every) >= ENOUGH else 0.0
    cure = "write z of the middle of a box: that of the ground and half the height [m]"
    if abs(share) > SUNK:
        what = f"boxes near the car begin {share:+.2f} of their heights above the ground"
        yield Problem(table="sample_annotation", field="translation", what=what, cure=cure)
        return
    names = content.by_token("scene", "name")
    for scene, pairs in heights.items():
        bottom = float(np.median(np.array(pairs)[:, 0]))
        if len(pairs) >= ENOUGH and abs(bottom) > RAISED:
            name = names[scene]["name"] if scene in names else scene
            what = f"boxes near the car of {name} begin {bottom:+.1f} m above the ground"
            yield Problem(table="sample_annotation", field="translation", what=what, cure=cure)
