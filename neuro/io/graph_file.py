"""A Graph in a file: parameters as arrays, the rest of its nodes and edges as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuro.base.units import Seconds
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
    GradedInput,
    Graph,
    Input,
    MaxPool2d,
    Multiply,
    Node,
    Outer,
    Pointwise,
    Poisson,
    RMSNorm,
    Softmax,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.graph.requirements import require_graph
from neuro.graph.validate import UNSORTED, list_problems_of_synapses
from neuro.io.schema import SchemaError, convert
from neuro.io.store import Arrays, StoreError, load_value, save_arrays
from neuro.neurons import (
    ALIF,
    LI,
    LIF,
    Delta,
    DiscreteLIF,
    GatedLI,
    LIFReset,
    LoihiLI,
    LoihiLIF,
    SigmaDelta,
    TernaryLIF,
)
from neuro.neurons.surrogate import arctan, triangle

_WEIGHTED = (Dense, Sparse, Conv1d, Conv2d, ConvTranspose2d)
_LINEAR = (*_WEIGHTED, AvgPool2d, Upsample, Flatten, Unflatten, Concat)
_HOSTS = (Softmax, Outer, Multiply, Pointwise, Exceeds, RMSNorm, CountSpikes, MaxPool2d)
_STEPPED = (LIFReset, TernaryLIF, Delta, SigmaDelta, LoihiLI, LoihiLIF)
_NEURONS = (LIF, ALIF, DiscreteLIF, LI, GatedLI, *_STEPPED)
_NODES = {c.__name__: c for c in (Input, GradedInput, Poisson, *_LINEAR, *_HOSTS, *_NEURONS)}
_SURROGATES = {f.__name__: f for f in (arctan, triangle)}


@dataclass(frozen=True)
class GraphMeta:
    """The JSON part of a Graph's file: nodes without their arrays, edges, dt [s]."""

    nodes: dict[str, dict[str, Any]]
    edges: tuple[Edge, ...]
    dt: float


def save_graph(path: str | Path, graph: Graph) -> None:
    """Write a Graph to a file; :func:`load_graph` returns it bit for bit.

    Raises:
        TypeError: the value is not a Graph.
        StoreError: the graph has a node, a surrogate or a parameter that no file can hold, or
            the file cannot be written.
    """
    require_graph(graph)
    save_arrays(path, "graph", *_encode(graph))


def load_graph(path: str | Path) -> Graph:
    """Read a Graph from a file.

    Raises:
        StoreError: the file is damaged, has another kind or version, has a missing or unknown
            field, or its nodes and edges contradict each other.
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


def _decode(arrays: Arrays, plain: Any) -> Graph:
    meta: GraphMeta = convert(plain, GraphMeta)
    nodes = {name: _decode_node(name, node, arrays) for name, node in meta.nodes.items()}
    return Graph(nodes=nodes, edges=meta.edges, dt=Seconds(meta.dt))


def _decode_node(name: str, plain: Mapping[str, Any], arrays: Arrays) -> Node:
    """Return a node; each of its fields is either JSON or an array."""
    one_of: Any = Literal
    kind = convert(plain.get("type"), one_of[tuple(_NODES)], f"{name}.type")
    values = {key: value for key, value in plain.items() if key != "type"}
    if "surrogate" in values:
        key = convert(values["surrogate"], one_of[tuple(_SURROGATES)], f"{name}.surrogate")
        values["surrogate"] = _SURROGATES[key]
    for field in fields(_NODES[kind]):
        array = arrays.get(f"{name}/{field.name}")
        if array is not None and field.name in values:
            raise SchemaError(f"{name}.{field.name}: is there twice")
        if array is not None:
            values[field.name] = array if array.ndim else array.item()
    node: Node = convert(values, _NODES[kind], name)
    return _sort_rows(name, node, arrays) if isinstance(node, Sparse) else node


def _sort_rows(name: str, node: Sparse, arrays: Arrays) -> Sparse:
    """Return a Sparse with sorted rows; older files sort them by (delay, target)."""
    if list_problems_of_synapses(node) != [UNSORTED]:
        return node
    shape = (node.shape[0], node.input_length)
    columns = (node.source, node.indices, node.weight)
    node = Sparse.from_coo(*columns, shape=shape, delay=node.delay, bias=node.bias)
    for field in ("indices", "weight", "delay"):
        arrays[f"{name}/{field}"] = getattr(node, field)
    return node
