"""The folder of a run: its configuration, its machine, and every result as a file.

config.json environment.json   task, configuration and seed; versions and machine
last.safetensors               weights and training state at the last checkpoint
best.safetensors               weights of the best validation
packed.safetensors             a ternary language model with two bits per weight: neuro pack
metrics.jsonl silent.json      one line per validation; populations that never fire, if any
graph.safetensors              the network in floats
program.safetensors            the network in Loihi's integers
import.json stimulus.npz       of a network imported from elsewhere: how its parts were
                               converted, and its stimulus
NAME.py                        the task, if it is a user's own file
eval.json simulate.json verify.json export.json energy.json   what each verb measured
records/events.safetensors     activity of some samples
report.html                    all results on one page
"""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from neuro.base.bounds import ADDED
from neuro.base.version import __version__
from neuro.io.pytree import digest
from neuro.io.schema import SchemaError, convert
from neuro.io.store import (
    StoreError,
    read_json,
    require_utf_8,
    require_writable,
    to_json_bytes,
    write_bytes,
    write_json,
    write_new_bytes,
)

RECORD = "records/events.safetensors"
NETWORK = "graph.safetensors"
CONFIGURED = ("task", "name", "seed", "config", "gradient", "digest")  # keys of config.json
MOST_TOLD = 5  # differing fields in a message
_PACKAGES = ("torch", "numpy", "numba", "lightning-fabric")


class RunError(ValueError):
    """A run folder does not fit the call; the message says why, with the cure."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder and its configuration.

    task, name: as in ``neuro train task:name``.
    config: the configuration of that name.
    gradient: how it is trained, "surrogate" or "eventprop".
    digest: SHA-256 of the file that defines the task; "" if the task belongs to this package.
    """

    folder: Path
    task: str
    name: str
    seed: int
    config: Any
    gradient: str = "surrogate"
    digest: str = ""

    def write(self, file: str, value: Any) -> None:
        """Write a result as JSON, atomically.

        Raises:
            RunError: the file cannot be written; the message contains the result, which took
                long.
        """
        try:
            write_json(self.folder / file, value)
        except StoreError as error:
            text = json.dumps(value, allow_nan=False)
            raise RunError(f"{error}; it should hold: {text}") from error

    def read(self, file: str) -> Any:
        """Read a JSON result; return None if it has not been written yet."""
        path = self.folder / file
        return read_json(path) if path.exists() else None

    def write_lines(self, file: str, rows: list[dict[str, float | int]]) -> None:
        """Write one JSON object per line, atomically."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self.folder / file, text.encode())


class RunHeader(TypedDict):
    """The contents of ``config.json``; see :class:`Run`.

    neuro: version of neuro.
    trained: :func:`digest_configuration` of the other keys when training began.
    """

    neuro: str
    trained: NotRequired[str]
    task: str
    name: str
    seed: int
    config: dict[str, Any]
    gradient: Literal["surrogate", "eventprop"]
    digest: str


def has_begun(folder: Path) -> bool:
    """Return whether a folder holds weights, or the curve of a training."""
    patterns = ("*.safetensors", "*.npz", "metrics.jsonl")
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def begin_run(run: Run, *, write: bool = True) -> str:
    """Create the folder of a run, or check that an existing folder belongs to the same run.

    If several processes begin at once, one creates the folder and the others check it. The
    next process writes the files that a killed process did not write.

    Args:
        run: the run.
        write: whether to write; False only checks. One of the processes that train together
            writes.

    Returns:
        :func:`digest_configuration` of the run.

    Raises:
        RunError: the folder belongs to another task, configuration, seed or gradient.
        StoreError: the folder is a file, cannot be written, or its name is not UTF-8.
    """
    path = run.folder / "config.json"
    header: dict[str, Any] = {
        "neuro": __version__,
        **{key: getattr(run, key) for key in CONFIGURED},
        "config": _to_json(run.config),
    }
    header["trained"] = digest_configuration(header)
    if write:
        require_utf_8(run.folder)
        require_writable(run.folder)
        write_new_bytes(path, to_json_bytes(header))
    old = read_header(run.folder) if path.exists() else header
    _require_as_trained(path, old, header["config"])
    added = {f.name: f.default for f in fields(run.config) if f.metadata == ADDED}
    then = {**old, "config": {**added, **old["config"]}}  # earlier versions lack some
    if changes := [x for key in CONFIGURED for x in _list_changes(key, then[key], header[key])]:
        more = [f"and {len(changes) - MOST_TOLD} more"] if len(changes) > MOST_TOLD else []
        raise RunError(
            f"{run.folder} holds another run: {'; '.join([*changes[:MOST_TOLD], *more])}; "
            "choose another --out, or delete that folder"
        )
    if write:
        write_new_bytes(run.folder / "environment.json", to_json_bytes(describe_environment()))
    return digest_configuration(old)


def open_run(folder: Path, configs: Callable[[str], Any]) -> Run:
    """Return the run in a folder.

    Args:
        folder: the run folder.
        configs: task name -> its configuration functions by name.

    Raises:
        RunError: the folder holds no run, a run with an older version of its configuration, or
            a ``config.json`` that was edited after training began.
    """
    path = folder / "config.json"
    if not path.exists():
        raise RunError(f"{folder} is no run: it has no config.json; make one with neuro train")
    header = read_header(folder)
    make = configs(header["task"]).get(header["name"])
    if make is None:
        raise RunError(
            f"{path}: task {header['task']} has no configuration {header['name']!r} now"
        )
    default = make()
    _require_as_trained(path, header, _to_json(default))
    cls = type(default)
    if not is_dataclass(default):
        raise TypeError(f"a configuration must be a dataclass, got {cls.__name__}")
    try:
        config = convert(header["config"], cls)
    except SchemaError as error:
        raise RunError(
            f"{path}: written by neuro {header['neuro']} for another version of "
            f"{cls.__name__}: {error}; go back to that version or train again"
        ) from error
    others: Any = {key: header[key] for key in CONFIGURED if key != "config"}
    return Run(folder=folder, config=config, **others)


def find_file(folder: Path, name: str, named_in: str) -> Path:
    """Return the path of a file in a run folder that another file there, ``named_in``, names.

    Raises:
        RunError: the file is outside the folder, or is a link to a file outside.
    """
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # circular links, or not a file name
        inside = False
    if not inside:
        raise RunError(
            f"{folder / named_in}: {name!r} is no file of the run folder, and no other is "
            f"read; copy it there, or restore {named_in}"
        )
    return path


def check_values(config: Any) -> None:
    """Check that each field of a configuration holds a value of its type.

    Raises:
        SchemaError: lists all fields with a wrong type and all numbers that are not finite.
    """
    plain = _to_json(config)
    convert(plain, type(config))
    if wrong := list(_find_infinite(plain, "")):
        raise SchemaError(f"{', '.join(wrong)}; give finite numbers")


def _find_infinite(value: Any, path: str) -> Iterator[str]:
    """Yield the fields of a configuration that hold infinity or NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}"
    parts = dict(enumerate(value)) if isinstance(value, list) else value
    for key, part in parts.items() if isinstance(parts, dict) else ():
        yield from _find_infinite(part, f"{path}.{key}" if path else str(key))


def digest_configuration(header: Mapping[str, Any]) -> str:
    """Return the digest of the keys of ``config.json`` that define a training, in any order."""
    return digest(json.dumps({k: header.get(k) for k in CONFIGURED}, sort_keys=True))


def _list_changes(path: str, old: Any, new: Any) -> Iterator[str]:
    """Yield the differences between two values of ``config.json``, field by field."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            yield from _list_changes(f"{path}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield f"{path.removeprefix('config.')} is {old!r} there and {new!r} here"


def _to_json(config: Any) -> Any:
    """Return a configuration in the form that ``config.json`` holds."""
    return json.loads(json.dumps(asdict(config)))


def _require_as_trained(
    path: Path, header: Mapping[str, Any], default: Mapping[str, Any]
) -> None:
    """Raise a RunError unless a header is as the training wrote it.

    default: the configuration that the task makes under that name now. A header of an earlier
        version has no "trained"; its configuration must equal this one.
    """
    as_default = digest_configuration({**header, "config": default})
    if digest_configuration(header) == header.get("trained", as_default):
        return
    config, name = header["config"], f"{header['task']}:{header['name']}"
    changes = [
        f"{key} is {config.get(key, 'missing')}, {name} has {default.get(key, 'no such field')}"
        for key in {**default, **config}
        if key not in default or key not in config or config[key] != default[key]
    ]
    what = (
        "was edited after the training began, and the weights belong to the old one"
        if "trained" in header
        else f"is of an earlier version, and not {name} as it is now"
    )
    raise RunError(
        f"{path}: {what} ({'; '.join(changes) or 'its task, name, seed, gradient or digest'}); "
        "put it back as it was, or make a configuration of your own and train that in another "
        "folder (--out)"
    )


def read_header(folder: Path) -> dict[str, Any]:
    """Return the contents of a run folder's ``config.json``, with its configuration as JSON.

    Raises:
        StoreError: the file is damaged.
        RunError: a key is missing or has a wrong type.
    """
    path = folder / "config.json"
    cure = "restore it from a copy, or train the run again in another folder (--out)"
    try:
        return dict(convert(read_json(path), RunHeader))
    except StoreError as error:
        raise StoreError(f"{error}; {cure}") from error
    except SchemaError as error:
        raise RunError(f"{path}: {error}; {cure}") from error


def describe_environment() -> dict[str, Any]:
    """Return the versions and the machine on which a result depends."""
    versions = {"neuro": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "packages": versions,
    }
