"""Read untrusted .npz files of NumPy in bounded memory; nothing in a file is executed."""

import zipfile
from pathlib import Path

import numpy as np

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the methods NumPy uses


def read_npz(path: Path, names: tuple[str, ...], most: int) -> dict[str, np.ndarray]:
    """Return those of the arrays ``names`` that a file has.

    most: largest unpacked size of an array with its header [bytes].

    Raises:
        ValueError: the file cannot be read or is damaged, or an array is too large or holds
            objects. The message names the file and the array.
    """
    found, where = dict[str, np.ndarray](), ""
    try:
        with zipfile.ZipFile(path) as file:
            members = {info.filename: info for info in file.infolist()}
            for name in names:
                if info := members.get(f"{name}.npy"):
                    where = f"{name}: "
                    found[name] = _read_array(file, info, most)
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
        told = str(error) or type(error).__name__
        raise ValueError(f"{path}: {where}no sound .npz of NumPy's: {told}") from error
    return found


def _read_array(file: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> np.ndarray:
    if info.compress_type not in PACKINGS:
        raise ValueError(f"packed by method {info.compress_type}, which NumPy does not write")
    if info.file_size > most:  # zipfile unpacks at most file_size bytes
        raise ValueError(f"{info.file_size:,} bytes, and at most {most:,} are read")
    with file.open(info) as member:
        version = np.lib.format.read_magic(member)  # type: ignore[no-untyped-call]
        shape, by_columns, dtype = HEADERS[version](member)  # type: ignore[no-untyped-call]
        values = np.frombuffer(member.read(), dtype)
    return values.reshape(shape, order="F" if by_columns else "C").copy()
