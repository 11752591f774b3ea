"""The folder of a run: its configuration, its machine, and every result as a file.

config.json environment.json   task, configuration and seed; versions and machine
last.safetensors               weights and state of training at the last checkpoint
best.safetensors               weights of the best validation
packed.safetensors             a ternary language model, two bits a weight: neuro pack
metrics.jsonl silent.json      one line a validation; populations that never fire, if any
graph.safetensors              the network in floats
program.safetensors            the network in the integers of Loihi
NAME.py                        the task, where it is a user's own file
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
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

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
CONFIGURED = ("task", "name", "seed", "config", "gradient", "digest")  # of config.json
_PACKAGES = ("neuro", "torch", "numpy", "numba", "lightning-fabric", "lava-nc")


class RunError(ValueError):
    """A run folder that cannot be used as asked; the message says why, and the cure."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder, and the configuration it was made for.

    task, name: as in ``neuro train task:name``. config: that configuration.
    gradient: how it is trained, "surrogate" or "eventprop".
    digest: SHA-256 of the file that defines the task; "" for a task of this package.
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
            RunError: it cannot be written; the message holds the result, which took long.
        """
        try:
            write_json(self.folder / file, value)
        except StoreError as error:
            told = json.dumps(value, allow_nan=False)
            raise RunError(f"{error}; what it should hold: {told}") from error

    def read(self, file: str) -> Any:
        """Read a JSON result; None if it has not been written yet."""
        path = self.folder / file
        return read_json(path) if path.exists() else None

    def write_lines(self, file: str, rows: list[dict[str, float | int]]) -> None:
        """Write one JSON object a line, atomically."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_bytes(self.folder / file, text.encode())


class RunHeader(TypedDict):
    """What ``config.json`` holds; what each is says :class:`Run`.

    neuro: its version. trained: :func:`digest_configuration` of the rest when training began.
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
    """Return whether a folder holds what a training made: weights, or its curve."""
    made = ("*.safetensors", "*.npz", "metrics.jsonl")
    return any(next(folder.glob(pattern), None) is not None for pattern in made)


def begin_run(run: Run, *, write: bool = True) -> str:
    """Create the folder of a run, or check that it belongs to the same run.

    Of several processes that begin at once, one creates it; the others check. What a killed one
    left out is written by the next.

    Args:
        run: what is begun.
        write: False: only check, as all but one of several processes that train together do.

    Returns:
        :func:`digest_configuration` of the run.

    Raises:
        RunError: the folder belongs to another task, configuration, seed or gradient.
        StoreError: it is a file, cannot be written, or its name is not UTF-8.
    """
    path = run.folder / "config.json"
    asked: dict[str, Any] = {
        "neuro": importlib.metadata.version("neuro"),
        "task": run.task,
        "name": run.name,
        "seed": run.seed,
        "config": _to_json(run.config),
        "gradient": run.gradient,
        "digest": run.digest,
    }
    asked["trained"] = digest_configuration(asked)
    if write:
        require_utf_8(run.folder)
        require_writable(run.folder)
        write_new_bytes(path, to_json_bytes(asked))
    found = read_header(run.folder) if path.exists() else asked
    _require_as_trained(path, found, asked["config"])
    differ = [k for k in CONFIGURED if found[k] != asked[k]]
    if differ:
        told = "; ".join(x for k in differ for x in _list_changes(k, found[k], asked[k]))
        raise RunError(
            f"{run.folder} holds another run: {told}; choose another --out, or delete that "
            "folder"
        )
    if write:
        write_new_bytes(run.folder / "environment.json", to_json_bytes(describe_environment()))
    return digest_configuration(found)


def open_run(folder: Path, configs: Callable[[str], Any]) -> Run:
    """Return the run in a folder.

    Args:
        folder: the run folder.
        configs: task name -> its configuration functions by name.

    Raises:
        RunError: no run there, one of another version of its configuration, or one whose
            ``config.json`` was edited after its training began.
    """
    path = folder / "config.json"
    if not path.exists():
        raise RunError(f"{folder} is no run: it has no config.json; make one with neuro train")
    found = read_header(folder)
    make = configs(found["task"]).get(found["name"])
    if make is None:
        raise RunError(
            f"{path}: task {found['task']} has no configuration {found['name']!r} now"
        )
    made = make()
    _require_as_trained(path, found, _to_json(made))
    config = _rebuild(path, type(made), found)
    asked: Any = {k: found[k] for k in ("task", "name", "seed", "gradient", "digest")}
    return Run(folder=folder, config=config, **asked)


def find_file(folder: Path, name: str, named_in: str) -> Path:
    """Return a file of a run folder that another of its files, ``named_in``, names.

    Raises:
        RunError: it lies outside the folder, or is a link to there.
    """
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or no name of a file
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
        SchemaError: lists every field that does not, such as a word of a Literal that is none;
            or those that are infinite or no number.
    """
    held = _to_json(config)
    convert(held, type(config))
    if wrong := list(_find_infinite(held, "")):
        raise SchemaError(f"{', '.join(wrong)}; give finite numbers")


def _find_infinite(value: Any, path: str) -> Iterator[str]:
    """Yield what fields of a configuration as JSON hold that is no finite number."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}"
    held = dict(enumerate(value)) if isinstance(value, list) else value
    for key, one in held.items() if isinstance(held, dict) else ():
        yield from _find_infinite(one, f"{path}.{key}" if path else str(key))


def digest_configuration(header: Mapping[str, Any]) -> str:
    """Return the digest of what ``config.json`` says of a training, however it is ordered."""
    return digest(json.dumps({k: header.get(k) for k in CONFIGURED}, sort_keys=True))


def _list_changes(path: str, found: Any, asked: Any) -> Iterator[str]:
    """Yield what differs between two values of ``config.json``, field by field."""
    if found == asked:
        return
    if not (isinstance(found, dict) and isinstance(asked, dict)):
        yield f"{path} is {found}, asked for {asked}"
        return
    for key in found | asked:
        yield from _list_changes(f"{path}.{key}", found.get(key), asked.get(key))


def _to_json(config: Any) -> Any:
    """Return a configuration as ``config.json`` holds it."""
    return json.loads(json.dumps(asdict(config)))


def _require_as_trained(path: Path, found: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Raise unless a header is as the training wrote it.

    made: the configuration of its name as the task makes it now. A header without "trained", of
    an earlier version, must hold that one.
    """
    as_made = digest_configuration({**found, "config": made})
    if digest_configuration(found) == found.get("trained", as_made):
        return
    config, name = found["config"], f"{found['task']}:{found['name']}"
    told = [
        f"{key} is {config.get(key, 'missing')}, {name} has {made.get(key, 'no such field')}"
        for key in {**made, **config}
        if key not in made or key not in config or config[key] != made[key]
    ]
    what = (
        "was edited after the training began, and the weights are not of what it says"
        if "trained" in found
        else f"is of an earlier version, and not {name} as it is now"
    )
    raise RunError(
        f"{path}: {what} ({'; '.join(told) or 'its task, name, seed, gradient or digest'}); "
        "put it back as it was, or make a configuration of your own and train that in another "
        "folder (--out)"
    )


def read_header(folder: Path) -> dict[str, Any]:
    """Return what ``config.json`` of a run folder says, its configuration as JSON.

    Raises:
        StoreError: it is damaged.
        RunError: it lacks a part, or one is of another type.
    """
    path = folder / "config.json"
    cure = "restore it from a copy, or train the run again in another folder (--out)"
    try:
        return dict(convert(read_json(path), RunHeader))
    except StoreError as error:
        raise StoreError(f"{error}; {cure}") from error
    except SchemaError as error:
        raise RunError(f"{path}: {error}; {cure}") from error


def _rebuild(path: Path, cls: type, found: dict[str, Any]) -> Any:
    if not is_dataclass(cls):
        raise TypeError(f"a configuration must be a dataclass, got {cls.__name__}")
    try:
        return convert(found["config"], cls)
    except SchemaError as error:
        raise RunError(
            f"{path}: written by neuro {found['neuro']} for another version of {cls.__name__}: "
            f"{error}; go back to that version of it or train again"
        ) from error


def describe_environment() -> dict[str, Any]:
    """Return the versions and the machine that a result depends on."""
    versions = {}
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
