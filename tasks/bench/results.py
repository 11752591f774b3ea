"""Stores results as they are measured, so that a stopped benchmark can continue.

A line of the file is one result: its key, its description, its value. The key is a digest of
everything that the value depends on, including the code. Results of other weights or other code
have other keys, and are never read again.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from joblib import Parallel, delayed

from neuro.io.pytree import digest
from neuro.io.schema import SchemaError, convert
from neuro.io.store import StoreError, parse_json, read_text, require_writable, write_bytes
from tasks.runs.provenance import digest_code
from tasks.runs.share import track

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def complete_results(
    path: Path,
    about: Mapping[K, Mapping[str, Any]],
    kind: Any,
    measure: Callable[[list[K]], Iterable[tuple[K, Any]]],
) -> dict[K, Any]:
    """Return results by name; results missing from the file are measured and added to it.

    Args:
        path: of the file.
        about: what each result depends on, by its name; the file also holds this.
        kind: the type of the results.
        measure: names of results -> pairs of name and JSON value, in any order.

    Raises:
        StoreError: the file is damaged.
    """
    known = read_results(path)
    keys = {name: make_key(own) for name, own in about.items()}
    missing = [name for name, key in keys.items() if key not in known]
    for name, value in track("measurements", measure(missing), len(missing)):
        known[keys[name]] = append_result(path, keys[name], about[name], value)
    return {name: read_value(path, known[key], kind) for name, key in keys.items()}


def share_work(
    measure: Callable[..., V], workers: int, *common: Any
) -> Callable[[Iterable[K]], Iterator[tuple[K, V]]]:
    """Return a function that measures names in ``workers`` processes, and yields (name, value).

    measure: (name, *common) -> value.
    """

    def measure_all(names: Iterable[K]) -> Iterator[tuple[K, V]]:
        run = delayed(_measure_one)
        parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        yield from parallel(run(measure, name, *common) for name in names)

    return measure_all


def _measure_one(measure: Callable[..., V], name: K, *common: Any) -> tuple[K, V]:
    return name, measure(name, *common)


def make_key(about: Mapping[str, Any]) -> str:
    """Return the key of a result; about: everything its value depends on, except the code."""
    return digest({"code": digest_code(), **about})


def read_results(path: Path) -> dict[str, Any]:
    """Return the values in a file by key; none if there is no file.

    An incomplete last line, which a killed process leaves, is cut off.

    Raises:
        StoreError: another line is not a result.
    """
    if not path.exists():
        return {}
    text = read_text(path)
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_bytes(path, whole.encode())
    values: dict[str, Any] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        value = parse_json(path, line, number)
        try:
            entry: dict[str, Any] = convert(value, dict[str, Any])
            values[convert(entry.get("key"), str, "key")] = entry["value"]
        except (SchemaError, KeyError) as error:
            raise StoreError(
                f"{path}: line {number} is no result ({error}); remove the line, or the file"
            ) from error
    return values


def append_result(path: Path, key: str, about: Mapping[str, Any], value: object) -> Any:
    """Append a result to a file, and return its value as it will be read.

    about: description of the result for readers of the file.
    """
    require_writable(path.parent)
    line = json.dumps({"key": key, **about, "value": value}, allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    return json.loads(line)["value"]


def read_value(path: Path, value: Any, kind: Any) -> Any:
    """Convert the value of a result to a type.

    Raises:
        StoreError: the value has another layout.
    """
    try:
        return convert(value, kind)
    except SchemaError as error:
        raise StoreError(
            f"{path}: a result is as no version writes it ({error}); remove the file"
        ) from error
