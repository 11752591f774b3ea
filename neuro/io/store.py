"""Files without pickle: arrays in npz, tensors in safetensors, all else as JSON inside them.

A file is written under a temporary name and renamed, so that a killed process leaves the old
file or the new one, and never a part of one.
"""

import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Exceeds,
    Flatten,
    Graph,
    Input,
    Multiply,
    Node,
    Outer,
    Pointwise,
    Softmax,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.neurons import ALIF, LI, LIF, GatedLI
from neuro.neurons.surrogate import arctan, triangle
from neuro.record import Counts, Record
from neuro.spikes import Events, Times
from neuro.units import Seconds

VERSION = 1
_WEIGHTED = (Dense, Sparse, Conv1d, Conv2d, ConvTranspose2d)
_LINEAR = (*_WEIGHTED, AvgPool2d, Upsample, Flatten, Unflatten, Concat)
_HOSTS = (Softmax, Outer, Multiply, Pointwise, Exceeds)
_NODES = {c.__name__: c for c in (Input, *_LINEAR, *_HOSTS, LIF, ALIF, LI, GatedLI)}
_FORMER = {"indptr": "at", "indices": "target"}  # names of fields in files until 2026-11
_SURROGATES = {f.__name__: f for f in (arctan, triangle)}


class StoreError(ValueError):
    """A file that cannot be read as what it should be; the message says the cure."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically: temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(path: Path) -> None:
    """Remove the temporary files that killed processes left of ``path``."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity raise a ValueError."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file, or raise a StoreError that names it."""
    try:
        return json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(f"{path}: cannot be read as JSON ({error})") from error


def save_arrays(path: Path, kind: str, arrays: Mapping[str, np.ndarray], meta: Any) -> None:
    """Write named arrays and ``meta``, which JSON can hold, as an npz file of this ``kind``."""
    header = json.dumps({"kind": kind, "version": VERSION, "meta": meta}).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{"": np.frombuffer(header, np.uint8)}, **dict(arrays))
    write_bytes(path, buffer.getvalue())


def load_arrays(path: Path, kind: str) -> tuple[dict[str, np.ndarray], Any]:
    """Read what :func:`save_arrays` wrote: (arrays, meta).

    Raises:
        StoreError: missing, cut short, damaged, of another kind or another version.
    """
    with _reading(path):
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("").tobytes())
        found, version, meta = header["kind"], header["version"], header["meta"]
    _check_kind(path, kind, found, version)
    return arrays, meta


def save_tensors(path: Path, kind: str, tensors: Mapping[str, Tensor], meta: Any) -> None:
    """Write named tensors and ``meta``, which JSON can hold, as a safetensors file.

    Any reader of safetensors can open it; ``meta`` and a checksum stand in its metadata.
    """
    whole: dict[str, Tensor] = {}
    storages = set()
    for name, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()  # tied weights: the format wants copies
        whole[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    header = {"kind": kind, "version": VERSION, "meta": meta}
    header["checksum"] = _checksum(whole, header)
    # One key, as their order is random: equal tensors make equal files.
    write_bytes(path, save(whole, {"neuro": json.dumps(header)}))


def load_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`save_tensors` wrote: (tensors on the CPU, meta).

    Raises:
        StoreError: missing, cut short, damaged, of another kind or another version.
    """
    with _reading(path):
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = json.loads(file.metadata()["neuro"])
        found, version, meta = header["kind"], header["version"], header["meta"]
        checksum = header.pop("checksum")
        if checksum != _checksum(tensors, header):
            raise ValueError("its checksum is another")
    _check_kind(path, kind, found, version)
    return tensors, meta


def _checksum(tensors: Mapping[str, Tensor], header: Any) -> int:
    """Return the CRC-32 of a file's tensors and header: safetensors itself keeps none."""
    total = zlib.crc32(json.dumps(header).encode())
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise a StoreError for a missing file, and for any error in reading it."""
    if not path.is_file():
        raise StoreError(f"{path}: no such file; this run has not got that far")
    try:
        yield
    except Exception as error:
        raise StoreError(
            f"{path}: damaged or cut short ({path.stat().st_size} bytes: {error}); "
            "restore it from a copy, or delete it and run the verb that made it again"
        ) from error


def _check_kind(path: Path, kind: str, found: str, version: int) -> None:
    if found != kind:
        raise StoreError(f"{path}: holds a {found}, expected a {kind}")
    if version != VERSION:
        raise StoreError(
            f"{path}: written in format {version}, this is format {VERSION}; "
            "run the verb that made it again"
        )


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Raise a StoreError for a part that is missing or of a wrong type."""
    try:
        yield
    except (KeyError, TypeError, IndexError) as error:
        raise StoreError(f"{path}: does not hold a whole {kind} ({error!r})") from error


def save_graph(path: Path, graph: Graph) -> None:
    """Write a Graph; :func:`load_graph` returns it bit for bit.

    Raises:
        StoreError: a node or a surrogate that no file can hold.
    """
    arrays: dict[str, np.ndarray] = {}
    nodes = {}
    for name, node in graph.nodes.items():
        if _NODES.get(type(node).__name__) is not type(node):
            raise StoreError(
                f"{name}: a file cannot hold a {type(node).__name__}; add its class to the "
                "nodes of neuro.io.store, or replace it by one of them"
            )
        plain: dict[str, Any] = {}
        for f in fields(node):
            value = getattr(node, f.name)
            if f.name == "surrogate":
                plain[f.name] = _surrogate_name(name, value)
            elif isinstance(value, (float, np.ndarray, np.number, Tensor)):
                number = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
                arrays[f"{name}/{f.name}"] = np.asarray(number)
            else:
                plain[f.name] = value
        nodes[name] = {"type": type(node).__name__, **plain}
    save_arrays(path, "graph", arrays, {"nodes": nodes, "edges": graph.edges, "dt": graph.dt})


def _surrogate_name(name: str, surrogate: Any) -> str:
    key = str(getattr(surrogate, "__name__", surrogate))
    if _SURROGATES.get(key) is not surrogate:
        raise StoreError(
            f"{name}: surrogate {key} has no name that a file can keep; it only matters "
            f"in training: replace it by one of neuro.neurons.surrogate: "
            f"{', '.join(_SURROGATES)}"
        )
    return key


def load_graph(path: Path) -> Graph:
    """Read a Graph.

    Raises:
        StoreError: the file is damaged or lacks a part.
    """
    with _whole(path, "graph"):
        return _graph(*load_arrays(path, "graph"))


def _graph(arrays: dict[str, np.ndarray], meta: Any) -> Graph:
    nodes: dict[str, Node] = {}
    for name, plain in meta["nodes"].items():
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        cls: Any = _NODES[given.pop("type")]
        if "surrogate" in given:
            given["surrogate"] = _SURROGATES[given["surrogate"]]
        for f in fields(cls):
            array = arrays.get(f"{name}/{f.name}", arrays.get(f"{name}/{_FORMER.get(f.name)}"))
            if array is not None:
                given[f.name] = array if array.ndim else float(array)
        nodes[name] = cls(**given)
    edges = tuple(Edge(*e) for e in meta["edges"])
    return Graph(nodes=nodes, edges=edges, dt=Seconds(meta["dt"]))


def save_record(path: Path, record: Record) -> None:
    """Write a Record; :func:`load_record` returns it bit for bit."""
    arrays = {f"values/{k}": v for k, v in record.values.items()}
    for kind, trains in (("spikes", record.spikes), ("times", record.times)):
        for name, train in trains.items():
            columns = zip(train._fields[:4], train[:4], strict=True)
            arrays |= {f"{kind}/{name}/{part}": column for part, column in columns}
    for tick, states in record.states.items():
        arrays |= {f"states/{tick}/{name}": state for name, state in states.items()}
    meta = {
        "executor": record.executor,
        "ticks": record.ticks,
        "samples": record.samples,
        "shapes": {k: e.shape for k, e in record.spikes.items()},
        "times": {k: e.shape for k, e in record.times.items()},
        "values": list(record.values),
        "states": {str(tick): list(states) for tick, states in record.states.items()},
        "counts": {k: asdict(c) for k, c in record.counts.items()},
    }
    save_arrays(path, "record", arrays, meta)


def load_record(path: Path) -> Record:
    """Read a Record.

    Raises:
        StoreError: the file is damaged or lacks a part.
    """
    with _whole(path, "record"):
        return _record(*load_arrays(path, "record"))


def _record(arrays: dict[str, np.ndarray], meta: Any) -> Record:
    def train(cls: Any, kind: str, name: str, shape: list[int]) -> Any:
        columns = (arrays[f"{kind}/{name}/{part}"] for part in cls._fields[:4])
        return cls(*columns, tuple(shape))

    meta = {"times": {}, "states": {}} | meta  # files from before the exact clock have none
    return Record(
        executor=meta["executor"],
        ticks=meta["ticks"],
        samples=meta["samples"],
        spikes={k: train(Events, "spikes", k, shape) for k, shape in meta["shapes"].items()},
        # Files from before the exact clock hold no times and no states.
        times={
            k: train(Times, "times", k, shape) for k, shape in meta.get("times", {}).items()
        },
        values={k: arrays[f"values/{k}"] for k in meta["values"]},
        states={
            int(tick): {k: arrays[f"states/{tick}/{k}"] for k in names}
            for tick, names in meta["states"].items()
        },
        counts={k: Counts(**c) for k, c in meta["counts"].items()},
    )
