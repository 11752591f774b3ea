"""Real-valued inputs as graded spikes: whole numbers, whose unit is folded into weights."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from neuro.graph.connections import Connection, Weighted
from neuro.graph.graph import Graph
from neuro.graph.nodes import GradedInput, Input
from neuro.graph.validate import GraphError

BITS = 8  # of a message, the sign included


def find_unit(values: Shaped[np.ndarray, "..."], bits: int = BITS) -> float:
    """Return the value that one stands for, so that ``bits`` bits hold the largest value.

    Whole numbers that fit keep a unit of 1.

    >>> find_unit(np.array([0.0, 0.5, 1.0])) == 1 / 127
    True
    >>> find_unit(np.array([-3, 100]))
    1.0
    """
    most = (1 << (bits - 1)) - 1
    values = np.asarray(values, np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    if largest <= most and not (values % 1).any():
        return 1.0
    return largest / most


def grade_inputs(graph: Graph, units: Mapping[str, float], bits: int = BITS) -> Graph:
    """Return a graph whose inputs take whole numbers of ``bits`` bits.

    The first weights behind an input are multiplied by its unit, so that the new graph computes
    from ``rint(x / unit)`` what the old one computes from x, up to this rounding.

    units: the value that one stands for, by Input; other inputs stay as they are.

    Raises:
        GraphError: an input reaches a population, or meets another source, before any weight;
            lists all.
    """
    nodes, problems = dict(graph.nodes), list[str]()
    for name, unit in units.items():
        node = graph.nodes[name]
        if type(node) is not Input:
            problems.append(f"{name}: a {type(node).__name__} cannot be graded; an Input can")
            continue
        nodes[name] = GradedInput(shape=node.shape, message_bits=bits)
        for target in _find_first_weights(graph, name, problems):
            own: Weighted = graph.nodes[target]  # type: ignore[assignment]
            nodes[target] = own.with_weight(own.weight * unit, own.bias)
    if problems:
        raise GraphError(problems)
    return replace(graph, nodes=nodes)


def _find_first_weights(graph: Graph, name: str, problems: list[str]) -> list[str]:
    """Return the first nodes with weights behind an input; adds to ``problems``."""
    found, ahead = list[str](), [name]
    while ahead:
        source = ahead.pop()
        for target in dict.fromkeys(e.target for e in graph.edges if e.source == source):
            node = graph.nodes[target]
            if not isinstance(node, Connection):
                problems.append(
                    f"{name}: its values reach {target} without a weight that could take up "
                    "their unit; put a Dense or a convolution between"
                )
            elif {e.source for e in graph.edges if e.target == target} != {source}:
                problems.append(
                    f"{name}: its values meet those of another source in {target}, before any "
                    "weight could take up their unit; weigh them first"
                )
            elif isinstance(node, Weighted):
                found.append(target)
            else:
                ahead.append(target)
    return found
