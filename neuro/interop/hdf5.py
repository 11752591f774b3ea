"""HDF5 files of others as trees of arrays and words, read without running anything in them.

Before it reads values, the reader refuses: links and external storage, which lead outside the
file; objects with several names, as in a loop; data with a filter that HDF5 would load as a
library; and more values than a file of its size should hold. It lists all problems at once.
"""

import math
import mmap
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuro.base.extras import require_extra

Tree = dict[str, Any]  # a value is a Tree, an array, a number, a word, or None

DEFLATE = 1
FILTERS = {DEFLATE, 2, 3}  # deflate, shuffle, fletcher32 (adds a checksum)
CHECKSUM = 4  # bytes
HEAP = b"GCOL\1\0\0\0"  # the start of a global heap
DEEPEST = 32  # groups inside one another
MOST_BYTES = 1 << 28  # of the values of a file, or INFLATION times its size
INFLATION = 16
WORD_BYTES = 64  # memory of a word besides its letters


def read_members(path: Path, *names: str, what: str) -> tuple[Tree, list[str]]:
    """Return those members of an HDF5 file that it has, by name, and all problems.

    what: the files that need h5py, for the message if it is missing.

    Raises:
        FileNotFoundError: the file does not exist.
        RuntimeError: h5py is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with require_extra("interop", f"{what} need h5py"):
        import h5py
    size = path.stat().st_size
    if size and _find_endless_heap(path):
        return {}, ["HDF5: a heap of words is damaged; copy the file again"]
    reader = TreeReader(h5py=h5py, size=size, left=max(MOST_BYTES, INFLATION * size))
    try:
        with h5py.File(path, "r") as file:
            tree = {name: reader.read(file, name) for name in names if name in file}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, zlib.error) as error:
        return {}, [f"HDF5: {error}; it is cut short or no HDF5 file; copy it again"]
    return tree, reader.problems


def _find_endless_heap(path: Path) -> bool:
    """Return whether an entry of a global heap of words has no length or overruns the heap.

    HDF5 2.0 walks such heaps for ever, and no signal stops it. Only heaps with lengths of 8
    bytes, the default of HDF5, are checked.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        heap = data.find(HEAP)
        while 0 <= heap <= len(data) - 16:
            at, stop = heap + 16, heap + struct.unpack_from("<Q", data, heap + 8)[0]
            while at + 16 <= min(stop, len(data)):
                index, size = struct.unpack_from("<H6xQ", data, at)
                step = 16 + -(-size // 8) * 8 if index else size
                if not 0 < step <= stop - at:
                    return True
                at += step
            heap = data.find(HEAP, heap + 1)
    return False


@dataclass(kw_only=True, eq=False)
class TreeReader:
    """Reader that reads each object of a file once and lists the problems.

    size: size of the file [bytes].
    left: bytes that may still be read.
    paths: paths of the objects read so far, by their addresses in the file.
    """

    h5py: Any
    size: int
    left: int
    problems: list[str] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)

    def read(self, parent: Any, name: str, depth: int = 0) -> Any:
        """Return a member of a group as a tree, an array or a word; list its problems."""
        h5py, where = self.h5py, f"{parent.name.rstrip('/')}/{name}"
        link = parent.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            target = getattr(link, "path", "?")
            self.problems.append(f"{where}: is a link to {target}; store the data")
            return None
        member, problem = parent[name], ""
        first = self.paths.setdefault(h5py.h5o.get_info(member.id).addr, where)
        if first != where:
            problem = f"is the same object as {first}; store a copy"
        elif isinstance(member, h5py.Dataset):
            problem = self._find_problem(member)
        elif not isinstance(member, h5py.Group):
            problem = f"is a {type(member).__name__}, no group or array; remove it"
        elif depth == DEEPEST:
            problem = f"more than {DEEPEST} groups inside one another; flatten it"
        if problem:
            self.problems.append(f"{where}: {problem}")
            return None
        if isinstance(member, h5py.Group):
            return {key: self.read(member, key, depth + 1) for key in member}
        if member.shape is None:
            return None
        if h5py.check_string_dtype(member.dtype):
            return self._read_words(member, where)
        return member[()]

    def _find_problem(self, member: Any) -> str:
        """Return why a dataset is refused; if it is accepted, count its bytes and return ""."""
        plan = member.id.get_create_plist()
        filters = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
        strange = sorted({*filters} - FILTERS)
        if strange:
            return f"HDF5 filter {strange[0]} is a plug-in; write it with gzip"
        if plan.get_external_count() or member.is_virtual:
            return "its values lie in another file; store them in this one"
        try:
            dtype, words = member.dtype, self.h5py.check_string_dtype(member.dtype)
        except TypeError as error:  # NumPy lacks the type
            return f"holds no numbers or words ({error}); store numbers"
        if not words and dtype.kind not in "biuf":
            return f"holds {dtype}, no numbers or words; store numbers"
        shape = member.shape or ()
        if words and math.prod(shape[1:]) > 2:
            return f"holds words of shape {shape}; store one, or a list of words or pairs"
        chunk = member.chunks or (1,) * len(shape)
        each = dtype.itemsize + (WORD_BYTES if words else 0)
        needed = each * math.prod(-(-n // k) * k for n, k in zip(shape, chunk, strict=True))
        if needed > self.left:
            return (
                f"shape {shape} needs {needed:,} bytes, {member.id.get_storage_size():,} are "
                f"stored, {self.left:,} are left for a file of {self.size:,} bytes; write all "
                "values, without compression"
            )
        self.left -= needed
        if self._overflows(member, filters, each * math.prod(chunk) + CHECKSUM):
            return "compressed values exceed its shape; write it again"
        return ""

    def _overflows(self, member: Any, filters: list[int], most: int) -> bool:
        """Return whether a chunk unpacks to more than its size: HDF5 would unpack it all."""
        chunks: list[Any] = []
        if DEFLATE in filters:
            member.id.chunk_iter(chunks.append)
        for chunk in chunks:
            skipped, data = member.id.read_direct_chunk(chunk.chunk_offset)
            for k, number in enumerate(filters):
                if number == DEFLATE and not skipped >> k & 1:
                    data = zlib.decompressobj().decompress(data, most + 1)
            if len(data) > most:
                return True
        return False

    def _read_words(self, member: Any, where: str) -> Any:
        """Return a word or an array of words, read in parts: a word may fill the file."""
        decode = np.frompyfunc(lambda word: word.decode("utf8", "replace"), 1, 1)
        words, rows = np.empty(member.shape, object), max(1, self.left // (2 * self.size))
        parts = [slice(k, k + rows) for k in range(0, len(words), rows)] if words.ndim else [()]
        for part in parts:
            values = np.asarray(member[part], object)
            self.left = max(0, self.left - sum(map(len, values.flat)))
            if not self.left:
                told = (
                    f"its words have more letters than a file of {self.size:,} bytes may hold"
                )
                self.problems.append(f"{where}: {told}; write each word once")
                return None
            words[part] = decode(values)
        return words if words.ndim else words[()]
