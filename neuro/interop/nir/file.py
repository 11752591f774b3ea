"""A NIR file as a tree of arrays and words, read from HDF5 without running anything in it.

nir.read stops at its first assertion and follows links and filters. This reader lists every
problem of a file at once (:mod:`neuro.interop.hdf5`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuro.base.text import escape, shorten_list
from neuro.interop.hdf5 import Tree, read_members

MOST_TOLD = 100  # problems in a message
MAJOR_VERSIONS = ("0", "1")


class NirError(ValueError):
    """A NIR file or Graph that cannot be converted; ``problems`` lists each with its cure."""

    def __init__(self, problems: list[str], what: str) -> None:
        self.problems = [escape(problem) for problem in problems]  # names may hold anything
        super().__init__("\n".join([f"{what}:", *shorten_list(self.problems, MOST_TOLD)]))


def read_tree(path: Path) -> tuple[str, Tree]:
    """Return the version of a NIR file and the tree of its node.

    Raises:
        NirError: the file is no NIR file, or holds something refused; lists every problem.
        FileNotFoundError: the file does not exist.
        RuntimeError: h5py is not installed.
    """
    members, problems = read_members(path, "version", "node", what="NIR files")
    if not any(problem.startswith("HDF5: ") for problem in problems):
        problems = [*_check_version(members, problems), *problems]
        if "node" not in members:
            problems.append("no group 'node'; NIR files are written by nir.write")
        elif not isinstance(members["node"], dict) and not problems:
            problems.append("'node' is an array; a NIR file has a group there")
    if problems:
        raise NirError(problems, f"{path} cannot be read as NIR")
    return members["version"], members["node"]


def _check_version(members: Tree, problems: list[str]) -> list[str]:
    """Return what is wrong with the stated version, unless it could not be read."""
    cure = "write it again with a current nir: nir.write(path, nir.read(path))"
    version = members.get("version")
    if any(problem.startswith("/version: ") for problem in problems):
        return []
    if not isinstance(version, str):
        told = f"version is {quote(version)}, not a word such as '1.0'"
        return [f"{'no version' if version is None else told}; {cure}"]
    if version.partition(".")[0] in MAJOR_VERSIONS:
        return []
    known = " and ".join(f"{k}.x" for k in MAJOR_VERSIONS)
    return [f"version {quote(version)} is unknown, known are {known}; {cure}"]


def quote(value: Any) -> str:
    """Return a value of a file as text for messages."""
    return f"{value!r:.80}"


def as_tree(source: Any) -> Mapping[str, Any]:
    """Return the tree of a nir.NIRGraph; raise a TypeError for anything else."""
    if type(source).__name__ != "NIRGraph" or not hasattr(source, "to_dict"):
        raise TypeError(
            f"a NIR network is a path or a nir.NIRGraph, got {type(source).__name__}; "
            'for example read("network.nir")'
        )
    return dict(source.to_dict())
