"""A Graph in a file: parameters as arrays, all else of its nodes and edges as JSON."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    CountSpikes,
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
    RMSNorm,
    Softmax,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.graph.requirements import require_graph
from neuro.io.schema import SchemaError, convert
from neuro.io.store import Arrays, StoreError, load_value, save_arrays
from neuro.neurons import ALIF, LI, LIF, GatedLI
from neuro.neurons.surrogate import arctan, triangle
from neuro.units import Seconds

_WEIGHTED = (Dense, Sparse, Conv1d, Conv2d, ConvTranspose2d)
_LINEAR = (*_WEIGHTED, AvgPool2d, Upsample, Flatten, Unflatten, Concat)
_HOSTS = (Softmax, Outer, Multiply, Pointwise, Exceeds, RMSNorm, CountSpikes)
_NODES = {c.__name__: c for c in (Input, *_LINEAR, *_HOSTS, LIF, ALIF, LI, GatedLI)}
_SURROGATES = {f.__name__: f for f in (arctan, triangle)}


def save_graph(path: str | Path, graph: Graph) -> None:
    """Write a Graph; :func:`load_graph` returns it bit for bit.

    Raises:
        TypeError: it is no Graph.
        StoreError: a node, a surrogate or a parameter that no file can hold; or the file
            cannot be written.
    """
    require_graph(graph)
    save_arrays(path, "graph", *_encode(graph))


def load_graph(path: str | Path) -> Graph:
    """Read a Graph.

    Raises:
        StoreError: the file is damaged, of another kind or version, lacks a field or has one
            too many, or holds no graph that holds together.
    """
    return load_value(path, "graph", _decode, _encode)


def _encode(graph: Graph) -> tuple[Arrays, Any]:
    arrays: Arrays = {}
    nodes = {}
    for name, node in graph.nodes.items():
        if _NODES.get(type(node).__name__) is not type(node):
            raise StoreError(
                f"{name}: a file cannot hold a {type(node).__name__}; add its class to the "
                "nodes of neuro.io.graph_file, or replace it by one of them"
            )
        plain: dict[str, Any] = {}
        for f in fields(node):
            value = getattr(node, f.name)
            if f.name == "surrogate":
                plain[f.name] = _name_surrogate(name, value)
            elif isinstance(value, float | np.ndarray):
                arrays[f"{name}/{f.name}"] = np.asarray(value)
            else:
                plain[f.name] = value
        nodes[name] = {"type": type(node).__name__, **plain}
    return arrays, {"nodes": nodes, "edges": graph.edges, "dt": graph.dt}


def _name_surrogate(name: str, surrogate: Any) -> str:
    key = str(getattr(surrogate, "__name__", surrogate))
    if _SURROGATES.get(key) is not surrogate:
        raise StoreError(
            f"{name}: surrogate {key} has no name that a file can keep; it only matters "
            f"in training: replace it by one of neuro.neurons.surrogate: "
            f"{', '.join(_SURROGATES)}"
        )
    return key


def _decode(arrays: Arrays, meta: Any) -> Graph:
    found = convert(meta, dict[str, Any])
    plain = convert(found.get("nodes"), dict[str, dict[str, Any]], "nodes")
    edges = convert(found.get("edges"), tuple[Edge, ...], "edges")
    dt = convert(found.get("dt"), float, "dt")
    nodes = {name: _decode_node(name, given, arrays) for name, given in plain.items()}
    return Graph(nodes=nodes, edges=edges, dt=Seconds(dt))


def _decode_node(name: str, plain: Mapping[str, Any], arrays: Arrays) -> Node:
    """Return a node, each of whose fields is either JSON or an array.

    Raises:
        SchemaError: lists the fields that are missing, twice there, unknown or of another type.
    """
    kind = plain.get("type")
    if not isinstance(kind, str) or kind not in _NODES:
        raise SchemaError(f"{name}: no type of node {kind!r}; there are {', '.join(_NODES)}")
    cls: Any = _NODES[kind]
    hints, given, problems = get_type_hints(cls), {}, []
    known = [f.name for f in fields(cls)]
    problems += [f"{name}/{k} has no meaning" for k in plain if k not in (*known, "type")]
    for field in known:
        array = arrays.get(f"{name}/{field}")
        if (array is not None) == (field in plain):
            problems.append(
                f"{name}/{field} is {'there twice' if field in plain else 'missing'}"
            )
        elif array is not None:
            given[field] = array if array.ndim else array.item()
        elif field == "surrogate":
            given[field] = _find_surrogate(name, plain[field])
        else:
            try:
                given[field] = convert(plain[field], hints[field], f"{name}/{field}")
            except SchemaError as error:
                problems.append(str(error))
    if problems:
        raise SchemaError("; ".join(problems))
    try:
        node: Node = cls(**given)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{name}: {error}") from error
    return node


def _find_surrogate(name: str, key: Any) -> Any:
    if not isinstance(key, str) or key not in _SURROGATES:
        known = ", ".join(_SURROGATES)
        raise SchemaError(f"{name}/surrogate: is {key!r}, expected one of {known}")
    return _SURROGATES[key]
