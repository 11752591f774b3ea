"""The digest of a Graph: what a state, a stream or a result belongs to."""

from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from neuro.graph import Graph
from neuro.io.pytree import digest
from neuro.neurons import is_neuron
from neuro.record import Record


@lru_cache(maxsize=4)  # as compiled networks are
def digest_graph(graph: Graph) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of nodes, edges and dt.

    Surrogates are left out, which only training uses. A graph that was written to a file and
    read again has the same digest.
    """
    nodes = {
        name: (
            type(node).__name__,
            {f.name: _to_plain(getattr(node, f.name), is_neuron(node)) for f in fields(node)},
        )
        for name, node in graph.nodes.items()
    }
    return digest((nodes, graph.edges, graph.dt))


def list_foreign(graph: Graph, found: str, what: str = "state") -> list[str]:
    """Return that what has the digest ``found`` belongs to another graph; none if not."""
    mine = digest_graph(graph)
    if found == mine:
        return []
    return [
        f"it belongs to another network: its digest is {found}, that of this graph {mine}; "
        "take one that this graph made, or, if weights were changed on purpose, give "
        f"replace({what}, digest=digest_graph(graph)), see neuro.io.graph_digest"
    ]


def list_foreign_record(graph: Graph, record: Record) -> list[str]:
    """Return that a record is of another graph; none if not, or if it does not say of which."""
    return list_foreign(graph, record.digest, "record") if record.digest else []


def _to_plain(value: Any, broadcasts: bool) -> Any:
    """Return a tensor as an array, a single number as such, a function as None.

    broadcasts: an array of one value everywhere means what that value means.
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.size:
        first = value.flat[0]
        if value.ndim == 0 or (broadcasts and (value == first).all()):
            return first.item()
    return None if callable(value) else value
