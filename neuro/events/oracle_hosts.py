"""What host nodes and gated integrators put out, for the oracle: loops over definitions."""

import math

import numpy as np

from neuro.graph import Exceeds, Host, Multiply, Outer, Pointwise, Softmax
from neuro.neurons import GatedLI
from neuro.neurons.base import as_array

Shape = tuple[int, ...]
Values = list[float]


def hosted(node: Host, x: Values, given: Shape) -> Values:
    """Return what a host node puts out for values ``x`` of shape ``given``; C order."""
    half = len(x) // 2
    match node:
        case Softmax():
            return _softmax(x, given, node.axis % len(given))
        case Outer():
            row = math.prod(given[1:])
            split = node.first * row
            weights, features = x[:split], x[split:]
            return [
                weights[d * row + r] * features[c * row + r]
                for d in range(node.first)
                for c in range(given[0] - node.first)
                for r in range(row)
            ]
        case Multiply():
            return [a * b for a, b in zip(x[:half], x[half:], strict=True)]
        case Exceeds():
            return [float(a > b) for a, b in zip(x[:half], x[half:], strict=True)]
        case Pointwise():
            return [_pointwise(node.function, a) for a in x]


def _softmax(x: Values, given: Shape, axis: int) -> Values:
    out = [0.0] * len(x)
    for place in np.ndindex(*given[:axis], *given[axis + 1 :]):
        column = [
            int(np.ravel_multi_index((*place[:axis], k, *place[axis:]), given))
            for k in range(given[axis])
        ]
        most = max(x[k] for k in column)
        e = {k: math.exp(x[k] - most) for k in column}
        for k in column:
            out[k] = e[k] / sum(e.values())
    return out


def _pointwise(function: str, x: float) -> float:
    if function == "relu":
        return max(x, 0.0)
    if function == "tanh":
        return math.tanh(x)
    return _sigmoid(x) * (x if function == "silu" else 1.0)


def _sigmoid(x: float) -> float:
    e = math.exp(-abs(x))  # never too large
    return (1 if x >= 0 else e) / (1 + e)


class GatedCells:
    """The neurons of a GatedLI."""

    def __init__(self, node: GatedLI, shape: Shape) -> None:
        floor = np.broadcast_to(as_array(node.floor), shape).ravel()
        self.floor: Values = floor.tolist()
        self.v = [0.0] * len(self.floor)

    def step(self, x: Values) -> Values:
        """Advance by one tick; return the membranes."""
        half = len(self.v)
        for n, (opens, candidate) in enumerate(zip(x[:half], x[half:], strict=True)):
            f = self.floor[n] + (1 - self.floor[n]) * _sigmoid(opens)
            self.v[n] = f * self.v[n] + (1 - f) * candidate
        return list(self.v)
