import numpy as np
import pytest

from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.world.rig import flat_to_global, lidar_to_ego, make_rig


def test_the_cameras_stand_in_the_order_of_the_rig_and_look_where_their_names_say() -> None:
    rig = make_rig()
    assert tuple(camera.channel for camera in rig) == CAMERAS
    yaws = [np.degrees(np.arctan2(*camera.to_ego[1::-1, 2])) for camera in rig]
    assert yaws == pytest.approx([55, 0, -55, 110, 180, -110])
    for camera in rig:
        turn = camera.to_ego[:3, :3]
        assert turn @ turn.T == pytest.approx(np.eye(3))
        assert np.linalg.det(turn) == pytest.approx(1)
        assert turn[:, 1] == pytest.approx([0, 0, -1])  # the image's down is down
        assert camera.to_ego[2, 3] == 1.5


def test_the_focal_length_of_nuscenes_is_scaled_with_the_image() -> None:
    front, back = make_rig(160, 90)[1], make_rig(160, 90)[4]
    assert front.intrinsic.tolist() == [[126.6, 0, 80], [0, 126.6, 45], [0, 0, 1]]
    assert back.intrinsic[0, 0] == 80.9
    assert (front.width, front.height) == (160, 90)


def test_the_x_axis_of_the_lidar_points_to_the_right_of_the_car() -> None:
    to_ego = lidar_to_ego()
    assert to_ego[:3, :3] @ [1, 0, 0] == pytest.approx([0, -1, 0])
    assert to_ego[:3, :3] @ [0, 1, 0] == pytest.approx([1, 0, 0])
    assert to_ego[:3, 3].tolist() == [0.94, 0, 1.84]


def test_a_point_ahead_of_the_ego_lies_along_its_heading() -> None:
    to_global = flat_to_global(10.0, 20.0, np.pi / 2)
    assert to_global @ [5, 1, 0.5, 1] == pytest.approx([9, 25, 0.5, 1])


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="0 x 90 pixels; give at least 1 x 1"):
        make_rig(0, 90)
