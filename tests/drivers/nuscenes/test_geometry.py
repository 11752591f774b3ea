import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import (
    box_corners,
    box_footprint,
    box_into_frame,
    enter_frame,
    flatten,
    heading,
    invert_transform,
    leave_frame,
    lift,
    make_transform,
    move_points,
    rotation_matrix,
    wrap_angle,
)

angles = st.floats(-3.1, 3.1)
poses = st.tuples(st.floats(-99, 99), st.floats(-99, 99), angles).map(np.array)
quaternions = st.tuples(*[st.floats(-1, 1)] * 4).map(np.array).filter(
    lambda q: np.linalg.norm(q) > 0.1
).map(lambda q: q / np.linalg.norm(q))  # fmt: skip


def make_box(**changes: float) -> Box:
    sizes = {
        "x": 3.0,
        "y": 1.0,
        "z": 0.5,
        "yaw": 0.3,
        "width": 2.0,
        "length": 4.0,
        "height": 1.5,
    }
    return Box(instance="i", category="vehicle.car", **(sizes | changes))


@given(quaternions)
def test_a_quaternion_turns_as_the_devkit_says(q: np.ndarray) -> None:
    quaternion = pytest.importorskip("pyquaternion")
    np.testing.assert_allclose(
        rotation_matrix(q), quaternion.Quaternion(q).rotation_matrix, atol=1e-12
    )


def test_a_quaternion_is_w_x_y_z_of_length_1() -> None:
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        rotation_matrix([half, 0, 0, half]), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12
    )
    for bad in ([0, 0, 0, 0], [1, 1, 0, 0], [float("nan"), 0, 0, 1]):
        with pytest.raises(ValueError, match=r"is of length .*, expected 1; write it as"):
            rotation_matrix(bad)


@given(quaternions, st.tuples(*[st.floats(-50, 50)] * 3).map(np.array))
def test_a_transform_and_its_inverse_undo_each_other(q: np.ndarray, at: np.ndarray) -> None:
    transform = make_transform(at, q)
    np.testing.assert_allclose(invert_transform(transform) @ transform, np.eye(4), atol=1e-12)
    points = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    moved = move_points(transform, points)
    np.testing.assert_allclose(moved[1], at, atol=1e-12)
    np.testing.assert_allclose(
        move_points(invert_transform(transform), moved), points, atol=1e-9
    )


@given(poses, poses)
def test_flat_poses_are_transforms_on_the_ground(pose: np.ndarray, frame: np.ndarray) -> None:
    inside = enter_frame(pose, frame)
    np.testing.assert_allclose(lift(frame) @ lift(inside), lift(pose), atol=1e-9)
    back = leave_frame(inside, frame)
    np.testing.assert_allclose(back[:2], pose[:2], atol=1e-9)
    np.testing.assert_allclose(wrap_angle(back[2:] - pose[2:]), 0, atol=1e-9)
    np.testing.assert_allclose(flatten(lift(pose, 7.0)), pose, atol=1e-9)


def test_a_pose_in_its_own_frame_is_the_origin_and_one_ahead_lies_on_x() -> None:
    frame = np.array([10.0, 5.0, np.pi / 2])
    np.testing.assert_allclose(enter_frame(frame, frame), 0, atol=1e-12)
    ahead = np.array([[10.0, 8.0, np.pi], [9.0, 5.0, 0.0]])
    np.testing.assert_allclose(
        enter_frame(ahead, frame), [[3, 0, np.pi / 2], [0, 1, -np.pi / 2]], atol=1e-12
    )


def test_the_heading_of_a_car_that_leans_is_that_of_its_front() -> None:
    from scipy.spatial.transform import Rotation

    leaning = Rotation.from_euler("ZYX", [0.4, 0.05, 0.1]).as_matrix()  # yaw, pitch, roll
    assert heading(leaning) == pytest.approx(0.4, abs=1e-12)
    assert lift(np.array([1.0, 2.0, 0.4]), 3.0)[2, 3] == 3.0


def test_angles_are_between_minus_pi_and_pi() -> None:
    np.testing.assert_allclose(
        wrap_angle(np.array([3.5, -3.5, np.pi, 0.0])),
        [3.5 - 2 * np.pi, 2 * np.pi - 3.5, -np.pi, 0],
    )


def test_corners_of_a_box_go_round_from_the_front_left() -> None:
    flat = box_footprint(make_box(yaw=0.0))
    np.testing.assert_allclose(flat, [[5, 2], [1, 2], [1, 0], [5, 0]])
    corners = box_corners(make_box(yaw=0.0))
    np.testing.assert_allclose(corners[:, 2], [-0.25] * 4 + [1.25] * 4)
    np.testing.assert_allclose(corners[4:, :2], flat)


@given(poses)
@settings(max_examples=20)
def test_a_box_has_the_corners_of_the_devkits(pose: np.ndarray) -> None:
    devkit = pytest.importorskip("nuscenes.utils.data_classes")
    quaternion = pytest.importorskip("pyquaternion")
    x, y, yaw = (float(v) for v in pose)
    box = make_box(x=x, y=y, yaw=yaw)
    turned = quaternion.Quaternion(axis=(0, 0, 1), radians=yaw)
    other = devkit.Box([x, y, box.z], [box.width, box.length, box.height], turned)
    ours, theirs = box_corners(box), other.corners().T
    gap = np.linalg.norm(ours[:, None] - theirs[None], axis=-1)
    np.testing.assert_allclose(gap.min(axis=0), 0, atol=1e-9)
    bottom = np.linalg.norm(
        box_footprint(box)[:, None] - other.bottom_corners().T[None, :, :2], axis=-1
    )
    np.testing.assert_allclose(bottom.min(axis=1), 0, atol=1e-9)


def test_a_box_keeps_its_way_in_another_frame() -> None:
    frame = np.array([3.0, 1.0, np.pi / 2])
    moved = box_into_frame(make_box(yaw=np.pi / 2, vx=0.0, vy=6.0), frame)
    assert (moved.x, moved.y, moved.z) == (0.0, 0.0, 0.5)
    assert moved.yaw == pytest.approx(0)
    assert (moved.vx, moved.vy) == pytest.approx((6.0, 0.0))
    assert np.isnan(box_into_frame(make_box(), frame).vx)
