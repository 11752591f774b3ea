"""NumPy's .npz: what is read, and what is refused before it takes memory."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from drivers.npz import read_npz

VALUES = np.arange(6.0).reshape(2, 3)


def save(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write(path: Path, data: bytes, packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("x.npy", data)
    return path


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    arrays = {
        "rows": VALUES,
        "columns": np.asfortranarray(VALUES),
        "big": VALUES.astype(">i2"),
        "none": np.zeros((0, 3), np.float32),
        "one": np.array(True),
    }
    for save_all in (np.savez, np.savez_compressed):
        save_all(tmp_path / "a.npz", **arrays)
        found = read_npz(tmp_path / "a.npz", (*arrays, "absent"), 200)
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert np.array_equal(found[name], array)
            assert found[name].flags.writeable


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_codecs_that_numpy_does_not_write_are_refused(tmp_path: Path, packing: int) -> None:
    path = write(tmp_path / "a.npz", save(VALUES), packing)
    what = rf"a.npz: x: no sound .npz of NumPy's: packed by method {packing}, which"
    with pytest.raises(ValueError, match=what):
        read_npz(path, ("x",), 1000)


def test_a_large_array_in_a_small_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", save(np.zeros(2**21)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"x: .*: {2**24 + 128:,} bytes, and at most 176 are"):
        read_npz(path, ("x",), 176)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    data = save(VALUES)
    assert len(data) == 176  # which fits
    assert np.array_equal(read_npz(write(path, data), ("x",), 176)["x"], VALUES)


def test_headers_do_not_decide_how_much_is_read(tmp_path: Path) -> None:
    data = save(VALUES)
    for shape in (b"(2, 4), }", b"(9**9,), }", b"(-2, -3), }"):
        told = data.replace(b"(2, 3), }" + b" " * (len(shape) - 9), shape)
        assert len(told) == len(data)
        with pytest.raises(ValueError, match=r"a.npz: x: no sound .npz"):
            read_npz(write(tmp_path / "a.npz", told), ("x",), 200)
    path = write(tmp_path / "a.npz", data)
    whole = path.read_bytes()
    at = whole.rindex(b"PK\1\2") + 24  # where the directory says how long the array is
    path.write_bytes(whole[:at] + (160).to_bytes(4, "little") + whole[at + 4 :])
    with pytest.raises(ValueError, match=r"a.npz: x: no sound .npz"):
        read_npz(path, ("x",), 200)


def test_damage_and_objects_are_refused_with_the_file_and_the_array(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(ValueError, match=r"a.npz: no sound .npz of NumPy's: .*No such file"):
        read_npz(path, ("x",), 200)
    np.savez(path, x=np.array([{}, 1], object))
    with pytest.raises(ValueError, match=r"a.npz: x: no sound .*OBJECT"):
        read_npz(path, ("x",), 2000)
    data = write(path, save(VALUES)).read_bytes()
    path.write_bytes(data[:60] + b"\xff" + data[61:])  # raises a zlib.error
    with pytest.raises(ValueError, match=r"a.npz: x: no sound .*(invalid|incorrect)"):
        read_npz(path, ("x",), 200)
