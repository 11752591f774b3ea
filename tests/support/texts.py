"""Small texts on disk, and all that stands in them."""

from pathlib import Path

from drivers.text import Text
from drivers.text.files import read_bytes


def write(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        (folder / f"{name}.txt").write_bytes(data)
    return folder


def everything(text: Text) -> bytes:
    """Return all bytes of a text, with a NUL at each end of a file."""
    out, address = b"", 0
    while address < text.length:
        data, ends = read_bytes(text, address, 7)
        out += data + b"\0" * ends
        address += len(data) + ends
    return out
