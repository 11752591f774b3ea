import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_data_sets import write_idx
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from drivers import idx

PLAIN = bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4])


def file(folder: Path, content: bytes) -> Path:
    path = folder / "labels"
    path.write_bytes(content)
    return path


@given(
    array=arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)),
    suffix=st.sampled_from(["", ".gz"]),
)
def test_what_is_written_is_read_back(
    array: np.ndarray, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("idx") / f"array{suffix}"
    write_idx(path, array)
    back = idx.read(path, axes=array.ndim)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_is_told_by_the_content_not_by_the_name(pack: Any, tmp_path: Path) -> None:
    labels = idx.read(file(tmp_path, pack(PLAIN)), axes=1)
    assert labels.tolist() == [5, 0, 4]
    assert labels.flags.writeable  # as torch wants


@pytest.mark.parametrize(
    ("content", "axes", "said"),
    [
        (
            PLAIN,
            3,
            "wrong magic at offset 0: found 0x00000801, expected 0x00000803 (IDX, unsigned "
            "bytes, 3 axes); fetch the file again, or check that images and labels are not "
            "exchanged",
        ),
        (b"", 1, "wrong magic at offset 0: found 0x, expected 0x00000801"),
        (b"<!DOCTYPE html>", 1, "wrong magic at offset 0: found 0x3c21444f"),
        (PLAIN[:6], 1, "truncated header: found 6 bytes, expected 8; fetch the file again"),
        (PLAIN[:-1], 1, "truncated: found 2 bytes after the header, expected 3 for shape (3,)"),
        (
            PLAIN + b"xy",
            1,
            "trailing bytes: found more than 3 bytes after the header, expected 3 for shape (3",
        ),
        (gzip.compress(PLAIN)[:-9], 1, "unreadable gzip of 22 bytes"),
        (gzip.compress(PLAIN)[:-8] + bytes(8), 1, "unreadable gzip of 31 bytes (CRC check"),
        (gzip.compress(PLAIN)[:10] + b"\xff" * 20, 1, "unreadable gzip of 30 bytes (Error -3"),
    ],
    ids=["magic", "empty", "html", "header", "short", "long", "gz-cut", "gz-crc", "gz-junk"],
)
def test_a_damaged_file_says_what_was_found_and_what_was_expected(
    content: bytes, axes: int, said: str, tmp_path: Path
) -> None:
    path = file(tmp_path, content)
    with pytest.raises(ValueError, match="labels") as error:
        idx.read(path, axes)
    assert f"{path}: {said}" in str(error.value)
    assert "fetch the file again" in str(error.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_promises_terabytes_allocates_nothing(pack: Any, tmp_path: Path) -> None:
    path = file(tmp_path, pack(bytes([0, 0, 8, 3]) + b"\xff" * 12))
    with pytest.raises(ValueError, match="found 0 bytes after the header, expected 7922816"):
        idx.read(path, axes=3)


def test_what_follows_an_array_is_not_unpacked(tmp_path: Path) -> None:
    """300 MB of zeros in 300 kB: no more is unpacked than the header declares."""
    packed = gzip.compress(PLAIN + bytes(300 * 2**20), 1)
    path = file(tmp_path, packed)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="trailing bytes: found more than 3 bytes"):
            idx.read(path, axes=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20
