import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_files import (
    DRIVES,
    FOCAL,
    LAG,
    LOCATION,
    MIDDLE,
    RADIUS,
    ROAD,
    START,
    USERS,
    colour_of,
    make_points,
    open_windows,
    place,
)
from PIL import Image

from drivers.nuscenes.check.sensors import find_outside
from drivers.nuscenes.geometry import enter_frame, leave_frame
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.problem import NuScenesError
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import ImageSize, Window
from drivers.nuscenes.windows import Windows, WindowSettings

SETTINGS = WindowSettings(
    grid=GroundGrid(x=(-24.0, 24.0), y=(-24.0, 24.0), step=0.5),
    image=ImageSize(height=64, width=160, scale=1.0, crop=26),
)
FOUR = replace(SETTINGS, past=2, future=2)  # two windows of a scene of five keyframes
TURNING = "scene-0553"
DRIVE = DRIVES[TURNING]


@pytest.fixture(scope="module")
def windows(data_set: Path) -> Windows:
    return open_windows(data_set, SETTINGS, split="mini_train")


@pytest.fixture(scope="module")
def window(windows: Windows) -> Window:
    """Return the second window of the scene that turns; its present frame is the fourth."""
    return windows[3]


@contextmanager
def edit(root: Path, name: str) -> Iterator[Any]:
    """Yield the content of a file of JSON, or of a table; write it back as it is then."""
    path = root / (name if "/" in name else f"v1.0-mini/{name}.json")
    rows = json.loads(path.read_text())
    yield rows
    path.write_text(json.dumps(rows))


def change(root: Path, table: str, **fields: Any) -> None:
    """Change fields of the first record of a table."""
    with edit(root, table) as rows:
        rows[0] |= fields


def test_every_nine_keyframes_in_a_row_inside_a_scene_are_a_window(windows: Windows) -> None:
    assert len(windows) == 2 * (10 - 9 + 1)
    assert [span.scene for span in windows.spans] == ["scene-0061"] * 2 + [TURNING] * 2
    assert windows.spans[1].tokens == tuple(f"scene-0061-s{k}" for k in range(1, 10))
    assert windows.skipped == ()
    assert set(windows.maps) == {LOCATION}
    with pytest.raises(IndexError):
        windows[4]
    assert sum(1 for _ in windows) == 4


def test_the_path_is_that_of_the_car_in_the_present_frame(window: Window) -> None:
    assert (window.token, window.scene) == (f"{TURNING}-s3", TURNING)
    poses = np.array([DRIVE.pose(0.5 * k) for k in range(1, 10)])
    inside = enter_frame(poses, poses[2])
    np.testing.assert_allclose(window.past, inside[:3], atol=1e-4)
    np.testing.assert_allclose(window.path, inside[3:], atol=1e-4)
    assert window.path[-1, 2] == pytest.approx(3 * DRIVE.turn, abs=1e-5)
    assert window.path[0, 0] == pytest.approx(2.5, abs=0.01)  # half a second at 5 m/s
    assert window.speed.tolist() == [DRIVE.speed] * 3
    assert window.yaw_rate.tolist() == [DRIVE.turn] * 3


def test_points_of_a_past_frame_move_into_the_present_one(window: Window) -> None:
    np.testing.assert_array_equal(window.to_present[2], np.eye(4, dtype=np.float32))
    ahead = window.to_present[0] @ [1, 0, 0.5, 1]
    x, y, yaw = window.past[0]
    np.testing.assert_allclose(ahead, [x + np.cos(yaw), y + np.sin(yaw), 0.5, 1], atol=1e-5)


def test_the_route_is_the_middle_of_the_lane_ahead(windows: Windows) -> None:
    """The straight drive starts 19 m before MIDDLE, 1.6 m to the right of its lane's middle."""
    straight = windows[0]
    assert straight.route.shape == (61, 2)
    np.testing.assert_allclose(straight.route, [[k, 1.576] for k in range(61)], atol=1e-3)
    np.testing.assert_allclose(straight.target, [24, 1.576], atol=1e-3)  # 3 s at 8 m/s
    assert straight.command == "forward"


def test_the_route_is_the_driven_way_where_no_lane_is(window: Window) -> None:
    """A circle of 20 m, of 15 m to the end of the scene; then straight on."""
    angle = np.arange(16) / 20
    circle = np.stack([20 * np.sin(angle), 20 * (1 - np.cos(angle))], 1)
    np.testing.assert_allclose(window.route[:16], circle, atol=0.06)
    ahead = np.diff(window.route[15:], axis=0)
    np.testing.assert_allclose(ahead, np.broadcast_to(ahead[-1], ahead.shape), atol=0.02)
    np.testing.assert_allclose(window.target, circle[15], atol=0.06)  # 3 s at 5 m/s
    assert window.command == "left"


def test_the_route_does_not_depend_on_the_future_of_a_window(data_set: Path) -> None:
    """All windows whose present frame is the third of a scene."""
    found = [
        open_windows(data_set, replace(SETTINGS, past=past, future=future))
        for past, future in ((3, 6), (3, 1), (1, 1))
    ]
    for scene in DRIVES:
        one, *others = (
            next(
                windows[k]
                for k, span in enumerate(windows.spans)
                if span.tokens[windows.settings.past - 1] == f"{scene}-s2"
            )
            for windows in found
        )
        for other in others:
            np.testing.assert_array_equal(one.route, other.route)
            np.testing.assert_array_equal(one.target, other.target)
            assert one.command == other.command


def test_without_lanes_on_the_map_the_driven_way_serves(copied: Path) -> None:
    with edit(copied, f"maps/expansion/{LOCATION}.json") as expansion:
        expansion["arcline_path_3"] = {}
    window = open_windows(copied, FOUR)[0]
    np.testing.assert_allclose(window.route, [[k, 0] for k in range(61)], atol=1e-4)
    assert window.command == "forward"


def test_images_are_cut_at_the_top_and_keep_their_colour(window: Window) -> None:
    assert window.images.shape == (3, 6, 3, 64, 160)
    for s in range(3):
        for n, channel in enumerate(CAMERAS):
            colour = colour_of(f"{TURNING}-{channel}{s + 1}")
            middle = window.images[s, n, :, 32, 80].astype(int)
            assert np.abs(middle - colour).max() <= 3


def test_scaled_images_have_scaled_intrinsics(data_set: Path) -> None:
    half = replace(SETTINGS, image=ImageSize(height=32, width=80, scale=0.5, crop=13))
    small = open_windows(data_set, half)[0]
    assert small.images.shape == (3, 6, 3, 32, 80)
    np.testing.assert_allclose(
        small.intrinsic[1, 1], [[FOCAL / 2, 0, 40], [0, FOCAL / 2, 22.5 - 13], [0, 0, 1]]
    )
    with pytest.raises(NuScenesError, match=r"160 x 90 pixels, scaled by 0.5 .* 80 x 45, ask"):
        open_windows(data_set, replace(half, image=replace(half.image, crop=0)))


def test_a_camera_stands_where_it_was_when_it_measured(window: Window) -> None:
    np.testing.assert_allclose(
        window.intrinsic[0, 0], [[FOCAL, 0, 80], [0, FOCAL, 45 - 26], [0, 0, 1]], rtol=1e-6
    )
    n = CAMERAS.index("CAM_BACK")  # the fifth to measure
    late = 5 * LAG / 1e6
    x, y, yaw = enter_frame(np.array(DRIVE.pose(1.5 + late)), np.array(DRIVE.pose(1.5)))
    back = window.to_ego[2, n]
    np.testing.assert_allclose(
        back[:3, 3], [x - 0.5 * np.cos(yaw), y - 0.5 * np.sin(yaw), 1.5], atol=1e-4
    )
    np.testing.assert_allclose(back[:3, 2], [-np.cos(yaw), -np.sin(yaw), 0], atol=1e-5)


def test_depth_is_that_of_the_lidar_along_the_axis_of_the_camera(window: Window) -> None:
    """Against a slow twin: point by point, straight from the cylinder."""
    points = make_points()
    ego = np.stack([points[:, 1] + 0.9, -points[:, 0], points[:, 2] + 1.8], -1).astype(float)
    np.testing.assert_allclose(np.hypot(ego[:, 0], ego[:, 1]), RADIUS, atol=1e-5)
    n = CAMERAS.index("CAM_FRONT_LEFT")
    camera, intrinsic = window.to_ego[2, n].astype(float), window.intrinsic[2, n].astype(float)
    slow = np.full((8, 20), np.nan)
    for point in ego:
        x, y, z = camera[:3, :3].T @ (point - camera[:3, 3])
        if z <= 1:
            continue
        u, v = (intrinsic @ [x / z, y / z, 1])[:2]
        row, column = int(np.floor(v / 8)), int(np.floor(u / 8))
        if 0 <= row < 8 and 0 <= column < 20:
            slow[row, column] = np.nanmin([slow[row, column], z])
    assert 20 < np.isfinite(slow).sum() < 100
    np.testing.assert_allclose(window.depth[2, n], slow, atol=1e-3)


def test_vehicles_and_pedestrians_lie_where_they_are(window: Window) -> None:
    for t in range(9):
        seconds = 0.5 * (t + 1)
        for user, mask in (("ahead", window.vehicle), ("walker", window.pedestrian)):
            there = np.array(place(DRIVE, USERS[user][1].pose(seconds)))
            x, y, _ = enter_frame(there, np.array(DRIVE.pose(1.5)))
            if max(abs(x), abs(y)) < 23:
                cell = SETTINGS.grid.cells(np.array([x, y]))
                assert mask[t][tuple(cell)], (user, t)
    hidden = enter_frame(
        np.array(place(DRIVE, USERS["hidden"][1].pose(0))), np.array(DRIVE.pose(1.5))
    )
    assert not window.vehicle[:, *SETTINGS.grid.cells(hidden)].any()
    assert set(np.unique(window.instance)) == {0, 1, 2}
    assert ((window.instance > 0) == window.vehicle).all()


def test_the_map_lies_around_the_present_frame(windows: Windows) -> None:
    straight = windows[0]
    start = np.array(DRIVES["scene-0061"].start[:2])
    aside = float((start - MIDDLE) @ [-np.sin(ROAD), np.cos(ROAD)])  # left of the road's middle
    assert aside == pytest.approx(-3.576, abs=1e-3)
    # The road runs along x: 8 m to both sides of its middle, dividers 4 m from it.
    beyond = SETTINGS.grid.cells(np.array([[0.0, 8 - aside + 1], [0.0, 8 - aside - 1]]))
    assert straight.drivable[tuple(beyond.T)].tolist() == [False, True]
    _, y = np.nonzero(straight.lane)
    lines = 48 + np.array([-4 - aside, 4 - aside]) / 0.5
    assert np.abs(y[:, None] - lines).min(axis=1).max() <= 2
    assert (np.abs(y - lines[0]) <= 2).sum() > 90


def test_the_map_turns_with_the_car(window: Window) -> None:
    centres = SETTINGS.grid.centres().reshape(-1, 2)
    present = np.array(DRIVE.pose(1.5))
    places = leave_frame(np.column_stack([centres, np.zeros(len(centres))]), present)[:, :2]
    c, s = np.cos(ROAD), np.sin(ROAD)
    across = ((places - MIDDLE) @ [-s, c]).reshape(SETTINGS.grid.shape)  # to the left
    left = across > -7.9  # behind which is another road
    assert (window.drivable[left] == (across[left] < 8)).all()
    assert 100 < (across > 8).sum() < 7000
    assert window.lane[np.abs(across - 4) < 0.2].all()


def test_a_window_does_not_depend_on_those_read_before(data_set: Path, window: Window) -> None:
    again = open_windows(data_set, SETTINGS, split=[TURNING])[1]
    for name, value in vars(window).items():
        np.testing.assert_array_equal(getattr(again, name), value, name)


def test_settings_that_fit_nothing_are_refused() -> None:
    for wrong, told in (
        ({"past": 0}, "past must be >= 1, got 0"),
        ({"future": 0}, "future must be >= 1, got 0"),
        ({"stride": 7}, "an image of 64 x 160 is no whole number of strides of 7 pixels"),
    ):
        with pytest.raises(ValueError, match=told):
            replace(SETTINGS, **wrong)


def first_file(root: Path, channel: str) -> Path:
    """Return the file of a sensor at the first keyframe of the scene that drives straight."""
    return sorted((root / "samples" / channel).glob("scene-0061*"))[0]


def hasten_last(root: Path) -> None:
    """Let the lidar measure the last keyframe of the first scene 0.3 s too early."""
    with edit(root, "sample_data") as rows:
        (last,) = (row for row in rows if row["token"] == "scene-0061-LIDAR_TOP4")
        last["timestamp"] -= 300_000


def remove_middle_image(root: Path) -> None:
    sorted((root / "samples" / "CAM_BACK").glob("scene-0061*"))[2].unlink()


def remove_scene_bus(root: Path) -> None:
    (root / "can_bus" / "scene-0061_pose.json").unlink()


def shorten(root: Path) -> None:
    """Make the first scene end after three keyframes."""
    change(root, "scene", nbr_samples=3, last_sample_token="scene-0061-s2")
    with edit(root, "sample") as rows:
        rows[2]["next"] = ""


def empty(root: Path) -> None:
    """Add a scene without a sample; it has no windows that could be lost."""
    nothing = {"nbr_samples": 0, "first_sample_token": "", "last_sample_token": ""}
    with edit(root, "scene") as rows:
        rows.append({**rows[0], "token": "empty", "name": "scene-0757", **nothing})


def move_to_paris(root: Path) -> None:
    change(root, "map", log_tokens=["log", "paris"])
    with edit(root, "log") as rows:
        rows.append({**rows[0], "token": "paris", "location": "paris"})
    change(root, "scene", log_token="paris")


def lean(root: Path) -> None:
    change(root, "ego_pose", rotation=[0.0, 0.0, 0.6, 0.8])


def drive_in_kilometres(root: Path) -> None:
    """Let the CAN bus of the first scene tell km/h."""
    with edit(root, "can_bus/scene-0061_pose.json") as rows:
        for row in rows:
            row["vel"] = [3.6 * v for v in row["vel"]]


@pytest.mark.parametrize(
    ("damage", "lost", "told"),
    [
        (drive_in_kilometres, 2, "vel[0] is 3.6 times the speed of the poses"),
        (remove_scene_bus, 2, "scene-0061_pose.json scene-0061: is missing"),
        (shorten, 0, "scene-0061 has 3 keyframes, past and future need 4"),
        (lean, 1, "the car leans by"),
        (hasten_last, 1, "sample scene-0061-s3 timestamp: the next keyframe is 0.2 s later"),
        (remove_middle_image, 2, ".jpg: is missing"),
        (lambda root: first_file(root, "CAM_BACK").unlink(), 1, ".jpg: is missing"),
        (lambda root: change(root, "ego_pose", translation=[0, 0, 0]), 2, "the car drives at"),
        (
            lambda root: change(root, "sample_data", timestamp=START + 300_000),
            1,
            "sample scene-0061-s0 timestamp: the next keyframe is 0.2 s later",
        ),
        (lambda root: change(root, "sample", scene_token="x"), 2, "leads out of scene-0061"),
        (
            lambda root: change(root, "sample_data", is_key_frame=False),
            1,
            "no sample_data with",
        ),
        (
            lambda root: change(root, "sample_data", timestamp=1_532_402_927),
            1,
            "is at 15324029",
        ),
    ],
)
def test_what_is_bad_is_named_and_skipped_only_when_asked(
    damage: Any, lost: int, told: str, copied: Path
) -> None:
    damage(copied)
    with pytest.raises(NuScenesError) as error:
        open_windows(copied, FOUR)
    assert told in str(error.value)
    kept = open_windows(copied, FOUR, skip_bad=True)
    assert len(kept) == (4 - lost if lost else 2)
    (skipped,) = kept.skipped
    assert (skipped.scene, skipped.windows) == ("scene-0061", lost)
    assert told in str(skipped.problems[0])
    assert kept[-1].scene == TURNING


def test_a_scene_of_which_few_keyframes_are_left_has_no_window(copied: Path) -> None:
    for path in sorted((copied / "samples" / "CAM_BACK").glob("scene-0061*"))[1:3]:
        path.unlink()
    kept = open_windows(copied, replace(FOUR, future=3), skip_bad=True)
    assert [span.tokens[0] for span in kept.spans] == ["scene-0553-s0"]
    assert [one.windows for one in kept.skipped] == [1]


def test_empty_scenes_and_unknown_places_are_named_and_skipped(copied: Path) -> None:
    empty(copied)
    move_to_paris(copied)
    with pytest.raises(NuScenesError) as error:
        open_windows(copied, FOUR)
    assert [f"{p.table} {p.field} {p.what}" for p in error.value.problems] == [
        "log location is 'paris', which nuScenes does not know",
        "scene first_sample_token is empty",
        "scene last_sample_token is empty",
    ]
    kept = open_windows(copied, FOUR, skip_bad=True)
    assert [(one.scene, one.windows) for one in kept.skipped] == [
        ("scene-0061", 0),
        ("scene-0757", 0),
    ]
    assert len(kept) == 2


@pytest.mark.parametrize("channel", ["CAM_FRONT", "LIDAR_TOP"])
def test_a_damaged_file_is_named_when_it_is_read(channel: str, copied: Path) -> None:
    path = first_file(copied, channel)
    path.write_bytes(path.read_bytes()[:-201])
    found = open_windows(copied, FOUR)
    with pytest.raises(NuScenesError, match=f"{path.name}: .* leave its sample out"):
        found[0]
    assert found[1].scene == "scene-0061"
    kept = open_windows(copied, FOUR, skip_bad=True)
    assert [one.windows for one in kept.skipped] == [1]
    assert len(kept) == 3


def test_images_of_another_size_than_the_table_says_are_refused(copied: Path) -> None:
    path = first_file(copied, "CAM_FRONT")
    Image.new("RGB", (100, 90)).save(path)
    with pytest.raises(NuScenesError, match=r"100 x 90 pixels, scaled by 1.0"):
        open_windows(copied, FOUR)[0]


def test_a_map_that_is_missing_is_told_once(copied: Path) -> None:
    shutil.rmtree(copied / "maps" / "expansion")
    with pytest.raises(NuScenesError) as error:
        open_windows(copied, FOUR)
    assert [p.what for p in error.value.problems] == ["is missing"]
    with pytest.raises(NuScenesError, match=r"boston-seaport.json: is missing"):
        open_windows(copied, FOUR, skip_bad=True)  # no window is left


def lens(by: float, x: float = 1) -> list[list[float]]:
    """Return the matrix of a camera of larger images, with another focal length along x."""
    return [[by * x * FOCAL, 0, by * 80], [0, by * FOCAL, by * 45], [0, 0, 1]]


@pytest.mark.parametrize(
    ("x", "y", "fits"),
    [
        (0.5, 0.5, True), (0.36, 0.79, True), (0.64, 0.21, True), (0.34, 0.5, False),
        (0.66, 0.5, False), (0.5, 0.19, False), (0.5, 0.81, False),
    ],
)  # fmt: skip
def test_the_optical_axis_is_near_the_middle(x: float, y: float, fits: bool) -> None:
    matrix = np.array([[100.0, 0, 1600 * x], [0, 100, 900 * y], [0, 0, 1]])
    assert (find_outside(matrix, 1600, 900) == "") == fits


@pytest.mark.parametrize(
    ("row", "values", "told"),
    [
        (0, {"rotation": [-0.5, 0.5, -0.5, 0.5]}, "CAM_FRONT_LEFT looks to 0 deg; turn it"),
        (1, {"camera_intrinsic": lens(10)}, "camera_intrinsic: the optical axis is at pixel"),
        (1, {"camera_intrinsic": lens(1, 0.5)}, "the focal length is 63 pixels, that of CAM_"),
    ],
)
def test_a_camera_that_looks_elsewhere_or_has_another_lens_is_refused(
    row: int, values: dict[str, Any], told: str, copied: Path
) -> None:
    with edit(copied, "calibrated_sensor") as rows:
        rows[row] |= values
    with pytest.raises(NuScenesError, match=told):
        open_windows(copied, FOUR)


def test_boxes_with_quaternions_of_another_order_are_refused(copied: Path) -> None:
    with edit(copied, "sample_annotation") as rows:
        for row in rows:
            row["rotation"] = [*row["rotation"][1:], row["rotation"][0]]
    with pytest.raises(NuScenesError, match="the box leans by"):
        _ = open_windows(copied, FOUR)[0]


def test_boxes_of_the_present_stand_in_the_ego_frame(windows: Windows) -> None:
    boxes = {box.instance: box for box in windows.read_boxes(0)}  # a second of scene-0061
    (ahead,) = (b for b in boxes.values() if b.category == "vehicle.car" and b.visibility == 4)
    assert [ahead.x, ahead.y, ahead.yaw] == pytest.approx([12 + 9 - 8, 0.0, 0.0], abs=1e-6)
    assert ahead.z == pytest.approx(1.6 / 2)
    assert [ahead.vx, ahead.vy] == pytest.approx([9.0, 0.0], abs=1e-6)


def test_heights_of_boxes_are_over_the_ground(copied: Path) -> None:
    """Of a place 40 m above the sea."""
    for table in ("ego_pose", "sample_annotation"):
        with edit(copied, table) as rows:
            for row in rows:
                row["translation"][2] += 40.0
    boxes = open_windows(copied, FOUR).read_boxes(0)
    assert [box.z for box in boxes] == pytest.approx([0.8, 1.5, 0.8, 0.9])
