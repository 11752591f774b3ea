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


@lru_cache(maxsize=4)  # as compiled networks are
def digest_graph(graph: Graph) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of nodes, edges and dt.

    Surrogates are left out: only training uses them. A graph keeps its digest in a file.
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
    """Return a problem if the digest ``other`` belongs to another graph."""
    own = digest_graph(graph)
    if other == own:
        return []
    return [
        f"it belongs to another network: its digest is {other}, that of this graph {own}; "
        "take one that this graph made, or, if weights were changed on purpose, give "
        f"replace({what}, digest=digest_graph(graph)), see neuro.io.graph_digest"
    ]


def list_foreign_record(graph: Graph, record: Record) -> list[str]:
    """Return a problem if a record names another graph; one without a digest names none."""
    return list_foreign(graph, record.digest, "record") if record.digest else []


def require_program_of(graph: Graph, other: str) -> None:
    """Raise a ValueError if a program names another graph; one without a digest names none."""
    if other and (foreign := list_foreign(graph, other, "program")):
        raise ValueError(f"the program is not of this graph: {foreign[0]}")


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
