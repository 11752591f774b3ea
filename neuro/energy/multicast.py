"""Which cores of a layer a spike is sent to: those that hold a target of its neuron.

A matrix leads everywhere. Behind a convolution a neuron reaches the windows that contain its
pixel, the same for all channels of a group of the source; an identity leads to one neuron.
Axes: N neurons of a source, M of a target, K cores, C channels, H height, W width.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int

from neuro.graph.paths import Route

CHUNK = 256  # cores at a time, so that memory stays small however fine the split is


def iterate_reached_cores(
    routes: Sequence[Route], sources: int, where: Int[np.ndarray, " M"]
) -> Iterator[tuple[int, Bool[np.ndarray, "N K"]]]:
    """Yield (first core, which of it and the next K - 1 each source neuron reaches).

    routes: the connections from one source, of ``sources`` neurons, to one target. where: the
    core of each neuron of the target, in C order; cores are counted from 0, and none is empty.
    """
    cores = int(where.max()) + 1
    for first in range(0, cores, CHUNK):
        chunk = range(first, min(first + CHUNK, cores))
        reached = np.zeros((sources, len(chunk)), bool)
        for route in routes:
            reached |= _mark_reached(route, where, chunk)
        yield first, reached


def count_reached_cores(
    routes: Sequence[Route], sources: int, where: Int[np.ndarray, " M"]
) -> Int[np.ndarray, " N"]:
    """Return the number of cores that each source neuron reaches, of those of ``where``."""
    number = np.zeros(sources, np.int64)
    for _, reached in iterate_reached_cores(routes, sources, where):
        number += reached.sum(1)
    return number


def _mark_reached(route: Route, where: np.ndarray, cores: range) -> np.ndarray:
    """Return which of the cores each source neuron reaches; it broadcasts against (N, K)."""
    if route.kind == "dense":
        return np.ones((1, 1), bool)
    if route.kind == "sparse":
        target, source = route.places
        core = where[target] - cores.start
        here = (core >= 0) & (core < len(cores))
        reached = np.zeros((route.sizes[1], len(cores)), bool)
        reached[source[here], core[here]] = True
        return reached
    if route.kind == "identity":
        return np.asarray(where[:, None] == np.array(cores))
    rows, columns = (route.conv.windows_of(axis, n) for axis, n in enumerate(route.shape[1:]))
    windows, groups = rows.shape[1:] + columns.shape[1:], route.groups
    neurons = np.flatnonzero((where >= cores.start) & (where < cores.stop))
    held = np.zeros((groups, len(cores), math.prod(windows)), np.float32)
    group, place = neurons // (len(where) // groups), neurons % held.shape[2]
    held[group, where[neurons] - cores.start, place] = 1
    seen = rows @ held.reshape(groups, -1, *windows) @ columns.T > 0
    pixels = seen.reshape(groups, len(cores), -1).swapaxes(1, 2)
    return np.repeat(pixels, route.shape[0] // groups, 0).reshape(-1, len(cores))
