"""A cache of prepared images and labels, filled as windows are read.

    <folder>/<digest>/contents.json               what the digest covers
    <folder>/<digest>/<scene>/<token>.images      images and depths of a keyframe
    <folder>/<digest>/<scene>/<token>.sweeps      images before a keyframe
    <folder>/<digest>/<scene>/<token>.labels      labels of the window whose present this is

The digest covers settings, tables, maps, the code of this package, and the libraries that
decode and draw; a change of any of them starts a new folder. An entry has a checksum, and the
size and time of the files from which it was made. It is made again if these files have changed,
or, with a warning, if it is damaged. Entries are written whole or not at all, so several
processes may share a cache, and a process that is killed damages no entry.
"""

import json
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import PIL
import shapely
from PIL import features

from drivers.nuscenes.tables import Tables
from neuro.io.store import StoreError, load_arrays, require_writable, save_arrays, write_json

KIND = "cached_window"
LIBRARIES = {
    **{module.__name__: module.__version__ for module in (np, cv2, PIL, shapely)},
    "jpeg": str(features.version("jpg")),
}
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class WindowCache:
    """The entries of one digest, in ``folder``."""

    folder: Path

    def read(
        self,
        kind: Literal["images", "sweeps", "labels"],
        scene: str,
        token: str,
        sources: Sequence[Path],
        make: Callable[[], Arrays],
    ) -> Arrays:
        """Return arrays by name, from the entry if it is valid; else make and write them.

        sources: files from which the arrays are made, besides those that the digest covers.

        Raises:
            StoreError: the entry cannot be written.
        """
        path = self.folder / scene / f"{token}.{kind}"
        stamps = [stamp_file(source) for source in sources]
        try:
            if path.is_file():
                packed, meta = load_arrays(path, KIND)
                if meta["sources"] == stamps:
                    return unpack_arrays(packed, meta["packed"])
        except StoreError as error:
            warnings.warn(f"{error}; it is made again now", stacklevel=2)
        arrays = make()
        packed, shapes = pack_arrays(arrays)
        save_arrays(path, KIND, packed, {"sources": stamps, "packed": shapes})
        return arrays


def open_cache(folder: Path, tables: Tables, settings: Any) -> WindowCache:
    """Return the cache for the windows of a data set with these settings (a dataclass).

    Raises:
        StoreError: the folder cannot be written.
    """
    code = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.name.encode() + path.read_bytes())
    sources = [
        *sorted((tables.root / tables.version).glob("*.json")),
        *sorted((tables.root / "maps" / "expansion").glob("*.json")),
    ]
    contents = {
        "settings": repr(settings),
        "sources": {str(p.relative_to(tables.root)): stamp_file(p) for p in sources},
        "code": code.hexdigest()[:16],
        "libraries": LIBRARIES,
    }
    digest = sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:16]
    own = folder / digest
    require_writable(own)
    write_json(own / "contents.json", contents)
    return WindowCache(folder=own)


def stamp_file(path: Path) -> list[int]:
    """Return the size [bytes] and last change [ns] of a file, or [] if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return []  # the reader of the file raises the error
    return [status.st_size, status.st_mtime_ns]


def pack_arrays(arrays: Arrays) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return packed arrays, and the shape and dtype of each array that was packed.

    Masks become bits. Masks and integers other than pixels are compressed.
    """
    packed, shapes = {}, {}
    for name, array in arrays.items():
        packed[name] = array
        if array.dtype == np.bool_ or (array.dtype.kind == "i"):
            bits = np.packbits(array) if array.dtype == np.bool_ else array
            packed[name] = np.frombuffer(zlib.compress(bits.tobytes(), 1), np.uint8)
            shapes[name] = [list(array.shape), array.dtype.str]
    return packed, shapes


def unpack_arrays(packed: Arrays, shapes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays that :func:`pack_arrays` packed."""
    arrays = dict(packed)
    for name, (shape, dtype) in shapes.items():
        data = zlib.decompress(packed[name].tobytes())
        if np.dtype(dtype) == np.bool_:
            flat = np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(shape)))
            arrays[name] = flat.astype(np.bool_).reshape(shape)
        else:
            arrays[name] = np.frombuffer(data, dtype).reshape(shape).copy()
    return arrays
