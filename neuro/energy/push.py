"""What linear nodes emit.

Axes: T ticks, N values of a node in C order of its shape.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float

from neuro.graph import AvgPool2d, Conv2d, Dense, Graph, Node


def outputs(
    graph: Graph, names: Iterable[str], spikes: Mapping[str, Float[np.ndarray, "T _"]]
) -> dict[str, Float[np.ndarray, "T _"]]:
    """Return what each of the nodes ``names`` emits, delays and biases included.

    spikes: the raster of one sample of every Input and spiking population. Its dtype is the
        dtype of the arithmetic.
    """
    known = dict(spikes)

    def emit(name: str) -> np.ndarray:
        if name not in known:
            into = graph.into(name)
            x = sum(delayed(emit(e.source), e.delay) for e in into)
            y = _apply(graph.nodes[name], np.reshape(x, (-1, *graph.shapes[into[0].source])))
            known[name] = y.reshape(len(y), -1)
        return known[name]

    return {n: emit(n) for n in names}


def delayed(x: Float[np.ndarray, "T N"], delay: int) -> Float[np.ndarray, "T N"]:
    """Return ``x`` shifted by ``delay`` ticks; what would arrive at tick T or later is lost."""
    y = np.zeros_like(x)
    y[delay:] = x[: max(len(x) - delay, 0)]
    return y


def support(graph: Graph) -> Graph:
    """Return the same graph with 1 for every weight and bias that is not zero.

    Fed with 0 and 1, its linear nodes emit more than 0 exactly where something arrived.
    """
    return Graph(
        nodes={n: _support(node) for n, node in graph.nodes.items()},
        edges=graph.edges,
        dt=graph.dt,
    )


def _support(node: Node) -> Node:
    if isinstance(node, Dense):
        return Dense(weight=node.weight != 0, bias=_not_zero(node.bias))
    if isinstance(node, Conv2d):
        return Conv2d(
            weight=node.weight != 0,
            bias=_not_zero(node.bias),
            stride=node.stride,
            padding=node.padding,
        )
    return node


def _not_zero(bias: np.ndarray | None) -> np.ndarray | None:
    return None if bias is None else bias != 0


def _apply(node: Node, x: np.ndarray) -> np.ndarray:
    if isinstance(node, Dense):
        return _plus(x @ node.weight.T, node.bias)
    if isinstance(node, Conv2d):
        (ph, pw), kernel = node.padding, node.weight.shape[2:]
        windows = _windows(np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))), kernel, node.stride)
        y = np.tensordot(windows, node.weight, axes=((1, 4, 5), (1, 2, 3)))
        return np.moveaxis(_plus(y, node.bias), -1, 1)
    if isinstance(node, AvgPool2d):
        windows = _windows(x, node.kernel, node.stride)
        total = sum(windows[..., i, j] for i, j in np.ndindex(*node.kernel))
        return np.asarray(total / np.prod(node.kernel, dtype=x.dtype))
    return x  # Flatten


def _windows(x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, int]) -> np.ndarray:
    """Return (T, C, H_out, W_out, kH, kW)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))  # type: ignore[call-overload]
    return np.asarray(windows[:, :, :: stride[0], :: stride[1]])


def _plus(y: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    return y if bias is None else y + bias
