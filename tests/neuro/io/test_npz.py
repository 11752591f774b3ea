"""Arrays in an npz file: what goes in comes out, and nothing else does."""

import io
import json
import zipfile
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from neuro.io.npz import HEADER, compute_checksum, pack, read_header, unpack

NUMBERS = scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf" and dtype.itemsize <= 8)
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b/weight": np.array([1, 2], np.int32)}


def unpack_with(
    check: Callable[[dict[str, Any]], None], data: bytes
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with TemporaryFile() as file:
        file.write(data)
        return unpack(file, check)


def read(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return unpack_with(lambda _: None, data)


@given(
    given_arrays=st.dictionaries(
        st.text("abc/_.", min_size=1, max_size=5),
        arrays(NUMBERS, array_shapes(min_dims=0, min_side=0, max_side=3)),
        max_size=3,
    )
)
def test_arrays_come_back_bit_for_bit(given_arrays: dict[str, np.ndarray]) -> None:
    header, found = read(pack({"kind": "graph", "meta": [1, "x"]}, given_arrays))
    assert header["kind"] == "graph"
    assert header["meta"] == [1, "x"]
    assert list(found) == list(given_arrays)
    for name, array in given_arrays.items():
        assert (found[name].dtype.str, found[name].shape) == (array.dtype.str, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_an_array_in_another_order_of_memory_comes_back_as_it_is_read() -> None:
    column = np.arange(6.0).reshape(2, 3).T
    np.testing.assert_array_equal(read(pack({}, {"a": column}))[1]["a"], column)


def test_equal_arrays_make_equal_files_and_numpy_reads_them() -> None:
    data = pack({"kind": "graph"}, ARRAYS)
    assert data == pack({"kind": "graph"}, {k: a.copy() for k, a in ARRAYS.items()})
    with np.load(io.BytesIO(data)) as file:
        np.testing.assert_array_equal(file["a"], ARRAYS["a"])
        np.testing.assert_array_equal(file["b/weight"], ARRAYS["b/weight"])


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([1j]), r"^x \(complex128\): only numbers"),
        (np.array(["a"]), r"^x \(<U1\): only numbers"),
        (np.array([None]), r"^x \(object\): only numbers"),
        (np.array(["2026-01-01"], "M8[D]"), r"^x \(datetime64\[D\]\): only numbers"),
    ],
)
def test_what_is_no_number_is_not_written(array: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pack({}, {"fine": np.zeros(1), "x": array})


def test_the_header_is_checked_before_any_array_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, Any]] = []

    def check(header: dict[str, Any]) -> None:
        told.append(header)
        raise LookupError("another kind")

    monkeypatch.setattr("neuro.io.npz._read_array", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(LookupError, match="another kind"):
        unpack_with(check, pack({"kind": "graph"}, ARRAYS))
    assert told[0]["kind"] == "graph"
    assert told[0]["arrays"] == {"a": ["<f8", [2, 3]], "b/weight": ["<i4", [2]]}


def rewritten(
    change: Callable[[dict[str, bytes]], None], *, pack_header: bool = False
) -> bytes:
    """Return a file whose members were changed; its checksum is that of before."""
    with zipfile.ZipFile(io.BytesIO(pack({"kind": "graph"}, ARRAYS))) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in members.items():
            stored = name == HEADER and not pack_header
            file.writestr(name, data, None if stored else zipfile.ZIP_DEFLATED)
    return out.getvalue()


def with_header(**values: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members[HEADER] = json.dumps({**json.loads(members[HEADER]), **values}).encode()

    return change


def listing(dtype: str, shape: list[int]) -> Callable[[dict[str, bytes]], None]:
    return with_header(arrays={"a": [dtype, shape], "b/weight": ["<i4", [2]]})


def put(name: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({name: data})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop(HEADER), "it holds no header.json as this version writes it"),
        (put(HEADER, b"[]"), "its header.json lists no arrays"),
        (with_header(arrays=[]), "its header.json lists no arrays"),
        (put(HEADER, b'{"arrays": {}, "arrays": {}}'), "'arrays' stands there twice"),
        (lambda m: m.pop("a.npy"), "its header and its members differ in a.npy"),
        (put("c.npy", b""), "its header and its members differ in c.npy"),
        (with_header(arrays={"a": ["<f8", [2, 3]]}), "members differ in b/weight.npy"),
        (with_header(kind="record"), "its checksum is another"),
        (with_header(checksum=0), "its checksum is another"),
        (listing("<i8", [2, 3]), "its checksum is another"),
        (listing("<f8", [3, 3]), "a: does not hold the 72 bytes of <f8"),
        (listing("<f8", [1, 3]), "a: does not hold the 24 bytes of <f8"),
        (listing("<f8", [-1, 3]), "a: no array of dtype <f8 and shape .* is written"),
        (listing("O", [1]), "a: no array of dtype O and shape"),
        (listing("<f8", [10**12]), "a: .* bytes cannot hold 8000000000000"),
        (listing("<f8", [0, 3]), "a: does not hold the 0 bytes of <f8"),
        (put("a.npy", b"\x93NUMPY\x02" + bytes(99)), "a: does not hold the 48 bytes of <f8"),
    ],
)
def test_a_file_that_is_not_as_its_header_says_is_refused(
    change: Callable[[dict[str, bytes]], None], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read(rewritten(change))


def test_a_header_that_is_packed_is_refused() -> None:
    read(rewritten(lambda _: None))
    with pytest.raises(ValueError, match=r"holds no header\.json as this version writes it"):
        read(rewritten(lambda _: None, pack_header=True))


def test_a_member_that_stands_there_twice_is_refused() -> None:
    data = io.BytesIO(pack({}, ARRAYS))
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(data, "a") as file,
    ):
        file.writestr("a.npy", b"")
    with pytest.raises(ValueError, match="its header and its members differ in a name twice"):
        read(data.getvalue())


def test_any_byte_of_an_array_that_changed_is_noticed() -> None:
    data = pack({}, {"a": np.arange(3, dtype=np.uint8)})
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        header = read_header(file)
    told = header.pop("checksum")
    for k in range(3):
        other = np.arange(3, dtype=np.uint8)
        other[k] += 1
        assert compute_checksum(header, {"a": other}) != told
    assert compute_checksum(header, {"a": np.arange(3, dtype=np.uint8)}) == told
