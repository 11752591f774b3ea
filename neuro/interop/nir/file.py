"""A NIR file as a tree of arrays and words, read from HDF5 without running anything in it.

nir.read stops at its first assertion and follows links and filters. This reader lists every
problem of a file at once. It refuses what leads outside the file (links, external storage),
what needs a filter that HDF5 would load as a library, and arrays far larger than their storage.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuro.extras import require_extra
from neuro.text import escape

Tree = dict[str, Any]  # a value is a Tree, an array, a number, a word, or None

FILTERS = {1, 2, 3, 32000}  # deflate, shuffle, fletcher32, lzf: part of h5py
DEEPEST = 32  # groups inside one another
INFLATION = 2_000  # bytes of an array per byte of its storage; deflate reaches about 1,000
SMALL = 1 << 16  # bytes that every array may have
MAJOR_VERSIONS = (0, 1)


class NirError(ValueError):
    """A NIR file or Graph that cannot be converted; ``problems`` lists each with its cure."""

    def __init__(self, problems: list[str], what: str) -> None:
        self.problems = [escape(problem) for problem in problems]  # names may hold anything
        super().__init__("\n".join([f"{what}:", *self.problems]))


def read_tree(path: Path) -> tuple[str, Tree]:
    """Return the version of a NIR file and the tree of its node.

    Raises:
        NirError: the file is no NIR file, or holds what is refused; lists every problem.
        FileNotFoundError: there is no file.
        RuntimeError: h5py is not installed.
    """
    what = f"{path} cannot be read as NIR"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with require_extra("interop", "NIR files need h5py"):
        import h5py
    try:
        with h5py.File(path, "r") as file:
            problems: list[str] = []
            version = _read_version(file, problems)
            tree: Any = None
            if "node" in file:
                tree = _read_group(file, "node", problems, h5py)
            else:
                problems.append("no group 'node'; NIR files are written by nir.write")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        cure = "it is cut short or no HDF5 file; copy it again"
        raise NirError([f"HDF5: {error}; {cure}"], what) from error
    if not isinstance(tree, dict) and not problems:
        problems.append("'node' is an array; a NIR file has a group there")
    if problems:
        raise NirError(problems, what)
    return version, tree


def _read_version(file: Any, problems: list[str]) -> str:
    """Return the version that a file states; add a problem unless it is a known one."""
    cure = "write it again with a current nir: nir.write(path, nir.read(path))"
    if "version" not in file:
        problems.append(f"no version; {cure}")
        return ""
    stated = file["version"]
    value = stated[()] if getattr(stated, "shape", None) == () else None
    if not isinstance(value, bytes):
        problems.append(f"version is {value!r}, not a word such as '1.0'; {cure}")
        return ""
    version = value.decode("utf8", "replace")
    major = version.partition(".")[0]
    if not major.isdecimal() or int(major) not in MAJOR_VERSIONS:
        known = " and ".join(f"{k}.x" for k in MAJOR_VERSIONS)
        problems.append(f"version {version!r} is unknown, known are {known}; {cure}")
    return version


def _read_group(parent: Any, name: str, problems: list[str], h5py: Any, depth: int = 0) -> Any:
    """Return a member of a group as a tree, an array or a word; add its problems."""
    where = f"{parent.name.rstrip('/')}/{name}"
    link = parent.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        problems.append(f"{where}: is a link to {getattr(link, 'path', '?')}; store the data")
        return None
    member = parent[name]
    if isinstance(member, h5py.Dataset):
        return _read_array(member, where, problems, h5py)
    if not isinstance(member, h5py.Group):
        problems.append(f"{where}: is a {type(member).__name__}, no group or array; remove it")
        return None
    if depth == DEEPEST:
        problems.append(f"{where}: more than {DEEPEST} groups inside one another; flatten it")
        return None
    return {key: _read_group(member, key, problems, h5py, depth + 1) for key in member}


def _read_array(member: Any, where: str, problems: list[str], h5py: Any) -> Any:
    """Return the values of a dataset; add its problems."""
    plan = member.id.get_create_plist()
    filters = {plan.get_filter(k)[0] for k in range(plan.get_nfilters())} - FILTERS
    if filters:
        number = min(filters)
        problems.append(f"{where}: HDF5 filter {number} is a plug-in; write it with gzip")
        return None
    if plan.get_external_count() or member.is_virtual:
        problems.append(f"{where}: its values lie in another file; store them in this one")
        return None
    words = h5py.check_string_dtype(member.dtype) is not None
    if not words and member.dtype.kind not in "biuf":
        problems.append(f"{where}: holds {member.dtype}, no numbers or words; store numbers")
        return None
    if member.nbytes > max(SMALL, INFLATION * member.id.get_storage_size()):
        stored = member.id.get_storage_size()
        problems.append(
            f"{where}: shape {member.shape} needs {member.nbytes:,} bytes, {stored:,} are "
            "stored; write all values"
        )
        return None
    value = member[()]
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode("utf8", "replace")
    if words:
        decode = np.vectorize(
            lambda w: w.decode("utf8", "replace") if isinstance(w, bytes) else w,
            otypes=[object],
        )
        return decode(value) if value.size else value
    return value


def as_tree(source: Any) -> Mapping[str, Any]:
    """Return the tree of a nir.NIRGraph; raise a TypeError for anything else."""
    if type(source).__name__ != "NIRGraph" or not hasattr(source, "to_dict"):
        raise TypeError(
            f"a NIR network is a path or a nir.NIRGraph, got {type(source).__name__}; "
            'for example read("network.nir")'
        )
    return dict(source.to_dict())
