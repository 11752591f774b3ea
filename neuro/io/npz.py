"""Arrays in an npz file, read against the sizes that the file itself declares.

The member ``header.json`` lists every array with its dtype and shape, and stands first and
uncompressed: it is no longer than the file, and nothing that it does not list is unpacked.
"""

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from neuro.io.schema import convert, make_object

HEADER = "header.json"
DTYPE = re.compile(r"[<>|][biuf]\d{1,2}")
NPY = b"\x93NUMPY\x01\x00"  # how a member begins; two bytes follow, the length of its header
PIECE = 2**20  # bytes unpacked at once
LARGEST_RATIO = 1032  # of bytes that a deflate stream stands for to its own
DATE = (1980, 1, 1, 0, 0, 0)  # of every member: equal arrays make equal files


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a file; NumPy reads its arrays, too.

    Raises:
        ValueError: an array of complex numbers, text or objects.
    """
    whole = {k: np.asarray(array, order="C") for k, array in arrays.items()}
    odd = [f"{k} ({a.dtype})" for k, a in whole.items() if not DTYPE.fullmatch(a.dtype.str)]
    if odd:
        raise ValueError(f"{', '.join(odd)}: only numbers and truth values are written")
    listed = {k: [array.dtype.str, list(array.shape)] for k, array in whole.items()}
    told = {**header, "arrays": listed}
    told["checksum"] = compute_checksum(told, whole)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo(HEADER, DATE), json.dumps(told))
        for name, array in whole.items():
            info = zipfile.ZipInfo(f"{name}.npy", DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            with file.open(info, "w", force_zip64=True) as member:
                write: Any = np.lib.format.write_array
                write(member, array, version=(1, 0))
    return buffer.getvalue()


def unpack(
    data: BinaryIO, check: Callable[[dict[str, Any]], None]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays of what :func:`pack` returned.

    check: told the header before any array is unpacked; raises what it likes.

    Raises:
        ValueError: the header is none, arrays are missing, of another dtype or shape than it
            says, or not listed, or the checksum is another.
        zipfile.BadZipFile, zlib.error: the archive is damaged.
    """
    with zipfile.ZipFile(data) as file:
        header = read_header(file)
        check(header)
        listed = convert(header["arrays"], dict[str, tuple[str, tuple[int, ...]]], "arrays")
        names = [info.filename for info in file.infolist()]
        expected = [HEADER, *(f"{name}.npy" for name in listed)]
        if sorted(names) != sorted(expected):
            odd = sorted(set(names) ^ set(expected)) or ["a name twice"]
            raise ValueError(f"its header and its members differ in {', '.join(odd)}")
        arrays = {k: _read_array(file, k, *declared) for k, declared in listed.items()}
    checksum = header.pop("checksum", None)
    if checksum != compute_checksum(header, arrays):
        raise ValueError("its checksum is another")
    return header, arrays


def read_header(file: zipfile.ZipFile) -> dict[str, Any]:
    """Return the header of an archive.

    Raises:
        ValueError: there is none, it is packed, or has a key twice.
    """
    infos = [info for info in file.infolist() if info.filename == HEADER]
    if not infos or infos[0].compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"it holds no {HEADER} as this version writes it")
    found: Any = json.loads(file.read(infos[0]), object_pairs_hook=make_object)
    if not isinstance(found, dict) or not isinstance(found.get("arrays"), dict):
        raise ValueError(f"its {HEADER} lists no arrays")
    return found


def _read_array(
    file: zipfile.ZipFile, name: str, dtype: str, shape: tuple[int, ...]
) -> np.ndarray:
    """Return an array; unpacks no more than its dtype and shape ask for, and one byte."""
    if not DTYPE.fullmatch(dtype) or min(shape, default=0) < 0:
        raise ValueError(f"{name}: no array of dtype {dtype} and shape {shape} is written")
    kind, info = np.dtype(dtype), file.getinfo(f"{name}.npy")
    size = kind.itemsize * math.prod(shape)
    if size > LARGEST_RATIO * info.compress_size:
        raise ValueError(f"{name}: {info.compress_size} bytes cannot hold {size}")
    found = np.empty(size, np.uint8)
    with file.open(info) as member:
        begin = member.read(len(NPY) + 2)
        member.read(int.from_bytes(begin[len(NPY) :], "little"))  # the same, for NumPy
        at = 0
        while at < size and (piece := member.read(min(PIECE, size - at))):
            found[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
        if not begin.startswith(NPY) or at < size or member.read(1):
            raise ValueError(f"{name}: does not hold the {size} bytes of {dtype} {shape}")
    return found.view(kind).reshape(shape)


def compute_checksum(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
    """Return the CRC-32 of a header, which lists dtypes and shapes, and of all arrays."""
    total = zlib.crc32(json.dumps(header).encode())
    for name in arrays:
        total = zlib.crc32(arrays[name].reshape(-1).view(np.uint8).data, total)
    return total
