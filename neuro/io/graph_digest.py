"""The digest of a Graph, by which a state, a stream or a result names its network."""

from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from neuro.graph import Graph
from neuro.io.pytree import digest
from neuro.neurons import is_neuron
from neuro.spikes.record import Record


@lru_cache(maxsize=4)  # the engine keeps the same number of compiled networks
def digest_graph(graph: Graph) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a graph's nodes, edges and dt.

    Surrogates are left out, because only training uses them. Saving and loading a graph keeps
    its digest.
    """
    nodes = {
        name: (
            type(node).__name__,
            {f.name: _to_plain(getattr(node, f.name), is_neuron(node)) for f in fields(node)},
        )
        for name, node in graph.nodes.items()
    }
    return digest((nodes, graph.edges, graph.dt))


def list_foreign(graph: Graph, other: str, what: str = "state") -> list[str]:
    """Return a list with a problem if the digest ``other`` is another graph's, else []."""
    own = digest_graph(graph)
    if other == own:
        return []
    return [
        f"it belongs to another network: its digest is {other}, that of this graph {own}; "
        "take one that this graph made, or, if weights were changed on purpose, give "
        f"replace({what}, digest=digest_graph(graph)), see neuro.io.graph_digest"
    ]


def list_foreign_record(graph: Graph, record: Record) -> list[str]:
    """Return a problem if a record's digest names another graph; no digest is no problem."""
    return list_foreign(graph, record.digest, "record") if record.digest else []


def require_program_of(graph: Graph, other: str) -> None:
    """Raise a ValueError if a program's digest names another graph; no digest is no problem."""
    if other and (foreign := list_foreign(graph, other, "program")):
        raise ValueError(f"the program is not of this graph: {foreign[0]}")


def _to_plain(value: Any, broadcasts: bool) -> Any:
    """Return a tensor as an array, a single value as a number, and a function as None.

    broadcasts: whether an array with equal values everywhere means the same as that one value.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.size:
        first = value.flat[0]
        if value.ndim == 0 or (broadcasts and (value == first).all()):
            return first.item()
    return None if callable(value) else value
