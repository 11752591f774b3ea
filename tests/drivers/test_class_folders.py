"""Class folders of images and of cached latents: what is read, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from class_files import CLASSES, write_class_images, write_latent_cache
from large_images import write_large_png
from PIL import Image

from drivers import class_folders
from drivers.class_folders import (
    SCALE,
    draw_latents,
    list_class_files,
    read_moments,
    read_square_image,
)


@pytest.mark.parametrize("suffix", [".png", ".JPEG", ".jpg"])
def test_files_come_by_class_then_by_name(tmp_path: Path, suffix: str) -> None:
    write_class_images(tmp_path, each=2, suffix=suffix)
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "n01" / "notes.txt").touch()
    found = list_class_files(tmp_path, "train", "images")
    assert found.classes == CLASSES
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [p.name for p in found.files[:3]] == [
        f"n01_0{suffix}",
        f"n01_1{suffix}",
        f"n02_0{suffix}",
    ]
    assert "6 images of 3 classes" in found.source


def test_the_classes_of_one_part_are_those_of_the_other(tmp_path: Path) -> None:
    write_class_images(tmp_path, each=1)
    (tmp_path / "val" / "n03").rename(tmp_path / "val" / "n04")
    (tmp_path / "val" / "n01" / "n01_0.png").unlink()
    with pytest.raises(ValueError, match="classes without a file: n01") as error:
        list_class_files(tmp_path, "val", "images", CLASSES)
    assert "folders of no class: n04; missing classes: n03;" in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"test is no folder; found train, val beside"):
        list_class_files(tmp_path, "test", "images")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no class; expected"):
        list_class_files(tmp_path, "empty", "images")


def test_the_middle_square_is_read_and_scaled(tmp_path: Path) -> None:
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = (10, 20, 30)
    wide[:, :2] = wide[:, 6:] = 255
    path = tmp_path / "a.png"
    Image.fromarray(wide).save(path)
    assert (read_square_image(path, 4) == np.array([10, 20, 30])[:, None, None]).all()
    small = read_square_image(path, 2)
    assert small.shape == (3, 2, 2)
    assert (small == np.array([10, 20, 30])[:, None, None]).all()
    large = read_square_image(path, 8)
    assert large.shape == (3, 8, 8)
    assert (large == np.array([10, 20, 30])[:, None, None]).all()
    Image.fromarray(wide[..., 0]).save(path)  # grey
    assert (read_square_image(path, 4) == 10).all()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"a.png: no image"):
        read_square_image(path, 4)


def test_moments_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_latent_cache(tmp_path, each=1)
    found = list_class_files(tmp_path, "train", "latents")
    moments = read_moments(found.files[0], 4, 4)
    assert moments["moments"].shape == (8, 4, 4)
    assert np.array_equal(moments["moments_flip"], moments["moments"][..., ::-1])


def test_all_that_is_wrong_with_a_cache_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = np.zeros((8, 4, 4), np.float32)
    bad = good.copy()
    bad[3, 1, 2] = np.nan
    np.savez(path, moments=bad)
    what = r"moments at \[3, 1, 2\] is nan; it must be finite in float32"
    with pytest.raises(ValueError, match=what) as error:
        read_moments(path, 4, 4)
    assert "no array moments_flip; write the cache again" in str(error.value)
    np.savez(path, moments=good, moments_flip=good[:4])
    with pytest.raises(ValueError, match=r"of shape \(4, 4, 4\), expected floats of shape"):
        read_moments(path, 4, 4)
    with pytest.raises(ValueError, match=r"shape \(8, 4, 4\), expected .* \(8, 8, 8\)"):
        read_moments(path, 4, 8)
    np.savez(path, moments=good.astype(np.int64), moments_flip=good)
    with pytest.raises(ValueError, match="moments is int64"):
        read_moments(path, 4, 4)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"a.npz: no sound .npz .*; write the cache again, or"):
        read_moments(path, 4, 4)


def test_a_value_that_float32_cannot_hold_is_refused_with_its_place(tmp_path: Path) -> None:
    path, values = tmp_path / "a.npz", np.zeros((8, 4, 4))
    values[1, 2, 3] = -np.finfo(np.float32).max  # the largest fits
    np.savez(path, moments=values, moments_flip=values)
    assert read_moments(path, 4, 4)["moments"].min() == np.finfo(np.float32).min
    values[5, 0, 1], values[6, 3, 0] = 1e39, 2e39
    np.savez(path, moments=values * 0, moments_flip=values)
    what = r"a.npz: moments_flip at \[5, 0, 1\] is 1e\+39; it must be finite in float32; write"
    with pytest.raises(ValueError, match=what):
        read_moments(path, 4, 4)


def test_large_latents_are_refused_unless_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros((2, 8, 8))
    np.savez(
        tmp_path / "a.npz", moments=values, moments_flip=values
    )  # 1,024 bytes and a header
    monkeypatch.setattr(class_folders, "LARGEST", 0)
    assert read_moments(tmp_path / "a.npz", 1, 8)["moments"].shape == (2, 8, 8)
    with pytest.raises(
        ValueError, match=r"moments: no sound .* 1,152 bytes, and at most 512 are"
    ):
        read_moments(tmp_path / "a.npz", 1, 4)
    monkeypatch.setattr(class_folders, "LARGEST", 1152)
    with pytest.raises(ValueError, match=r"moments is float64 of shape \(2, 8, 8\), expected"):
        read_moments(tmp_path / "a.npz", 1, 4)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = write_large_png(tmp_path / "a.png", 13350, 13350)
    assert path.stat().st_size < 30_000
    with pytest.raises(ValueError, match=r"a.png: no image: .*pixels.*; fetch it again, or"):
        read_square_image(path, 4)
    Image.new("L", (4, 4)).save(path, "BMP")
    with pytest.raises(ValueError, match=r"a.png: no image: cannot identify"):
        read_square_image(path, 4)


def test_latents_have_the_mean_and_deviation_of_their_moments() -> None:
    moments = np.zeros((4, 100, 100), np.float32)
    moments[0], moments[1] = 3, -1
    moments[2], moments[3] = 2 * np.log(0.5), -100  # a deviation of 0.5; next to none
    drawn = draw_latents(moments, np.random.default_rng(0)) / SCALE
    assert drawn.dtype == np.float32
    assert drawn[0].mean() == pytest.approx(3, abs=0.02)
    assert drawn[0].std() == pytest.approx(0.5, abs=0.02)
    assert drawn[1] == pytest.approx(-1, abs=1e-5)
