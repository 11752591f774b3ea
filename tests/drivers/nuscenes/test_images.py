from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from large_images import write_large_png
from PIL import Image

from drivers.nuscenes.images import (
    measure_depth,
    read_image,
    read_lidar,
    read_small_image,
    shrink_image,
    shrink_intrinsic,
)
from drivers.nuscenes.problem import NuScenesError
from drivers.nuscenes.tables import Shot
from drivers.nuscenes.window import ImageSize


def test_an_image_is_scaled_and_its_upper_rows_are_cut(tmp_path: Path) -> None:
    rows = np.repeat(np.arange(0, 180, 2, dtype=np.uint8)[:, None, None], 160, axis=1)
    image = Image.fromarray(np.repeat(rows, 3, axis=2))
    whole = shrink_image(image, ImageSize(height=64, width=160, scale=1.0, crop=26), tmp_path)
    assert whole[1, :, 5].tolist() == list(range(52, 180, 2))
    half = shrink_image(image, ImageSize(height=40, width=80, scale=0.5, crop=5), tmp_path)
    # A row of the half image is the mean of two, and its neighbours weigh alike.
    assert half[0, 1:-1, 40].tolist() == [4 * row + 1 for row in range(6, 44)]


def test_a_reduced_jpeg_is_nearly_the_whole_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    path = tmp_path / "image.jpg"
    Image.fromarray(noise).resize((1600, 900), Image.Resampling.BICUBIC).save(path)
    size = ImageSize(height=224, width=480, scale=0.3, crop=46)
    whole = read_small_image(path, size)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(whole, shrink_image(opened.convert("RGB"), size, path))
    reduced = read_small_image(path, replace(size, decode="reduced"))
    difference = np.abs(whole.astype(int) - reduced)
    assert 0 < difference.mean() < 0.5
    assert difference.max() <= 9
    # A scale over a half needs the whole image.
    size = ImageSize(height=450, width=960, scale=0.6, crop=90)
    np.testing.assert_array_equal(
        read_small_image(path, size), read_small_image(path, replace(size, decode="reduced"))
    )
    with pytest.raises(NuScenesError, match=r"1600 x 900 pixels, scaled by 0.6 and cut by 80"):
        read_small_image(path, replace(size, crop=80, decode="reduced"))


def test_images_are_read_in_three_colours(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("L", (4, 2), 7).save(path)
    assert np.asarray(read_image(path)).tolist() == [[[7] * 3] * 4] * 2
    path.write_bytes(b"no image")
    with pytest.raises(NuScenesError, match=r"image.png: is no image: .*leave its sample out"):
        read_image(path)
    path.unlink()
    with pytest.raises(NuScenesError, match=r"image.png: is missing"):
        read_image(path)


def test_an_image_of_too_many_pixels_is_refused_by_name(tmp_path: Path) -> None:
    path = write_large_png(tmp_path / "image.png", 8193, 8192)
    with pytest.raises(
        NuScenesError, match=r"image.png: is no image: 8193 x 8192 pixels; at mo"
    ):
        read_image(path)


def test_intrinsics_scale_with_both_sides_and_move_with_the_cut(tmp_path: Path) -> None:
    shot = Shot(
        channel="CAM_FRONT", path=tmp_path, timestamp=1, to_ego=np.eye(4), ego=np.eye(4),
        intrinsic=np.array([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]]),
        width=1600, height=900,
    )  # fmt: skip
    size = ImageSize(height=224, width=480, scale=0.3, crop=46)  # of SAD
    np.testing.assert_allclose(
        shrink_intrinsic(shot, size), [[379.92, 0, 244.89], [0, 379.92, 101.45], [0, 0, 1]]
    )


def test_the_nearest_point_of_a_patch_counts_and_none_behind_the_camera() -> None:
    size = ImageSize(height=16, width=16, scale=1.0, crop=0)
    intrinsic = np.array([[8.0, 0, 8], [0, 8, 8], [0, 0, 1]])
    points = np.array([[0.1, 0.1, z] for z in (5.0, 3.0, 4.0, -2.0, 0.9)])
    depth = measure_depth(points, np.eye(4), intrinsic, size, 8)
    np.testing.assert_array_equal(depth, np.float32([[np.nan, np.nan], [np.nan, 3]]))


def test_points_of_a_lidar_are_five_numbers_each(tmp_path: Path) -> None:
    path = tmp_path / "scan.pcd.bin"
    points = np.array([[1, 2, 3, 255, 31], [4, 5, 6, 0, 0]], "<f4")
    points.tofile(path)
    np.testing.assert_array_equal(read_lidar(path), points)
    for column, value in ((4, 32), (4, 0.5), (4, -1), (0, np.nan), (3, np.inf)):
        bad = points.copy()
        bad[1, column] = value
        bad.tofile(path)
        with pytest.raises(NuScenesError, match="holds points that are none"):
            read_lidar(path)
    for size in (36, 0):
        path.write_bytes(points.tobytes()[:size])
        with pytest.raises(NuScenesError, match=f"{size} bytes are no points of 5 float32"):
            read_lidar(path)
