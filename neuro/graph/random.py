"""Random sparse connections, drawn row by row: no more memory than the synapses themselves.

A weight is one number, or a function that draws so many; a delay the same, in ticks. A neuron
may reach itself.
"""

from collections.abc import Callable

import numpy as np

from neuro.arguments import require_whole
from neuro.graph.connections import Sparse

Weight = float | np.floating | Callable[[int], np.ndarray]
Delay = int | Callable[[int], np.ndarray]


def fixed_probability(
    inputs: int,
    outputs: int,
    p: float,
    weight: Weight,
    rng: np.random.Generator,
    delay: Delay | None = None,
) -> Sparse:
    """Return synapses of which each possible one exists with probability ``p``."""
    _require_sizes(inputs, outputs)
    if not 0 <= p <= 1:
        raise ValueError(f"p must be from 0 to 1, got {p}; it is the chance of a synapse")
    sizes = rng.binomial(outputs, p, inputs)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    indices = np.empty(indptr[-1], np.int32)
    for j, size in enumerate(sizes):
        indices[indptr[j] : indptr[j + 1]] = _draw_distinct(outputs, int(size), rng)
    return _draw_parameters(indptr, indices, outputs, weight=weight, delay=delay)


def fixed_indegree(
    inputs: int,
    outputs: int,
    indegree: int,
    weight: Weight,
    rng: np.random.Generator,
    delay: Delay | None = None,
) -> Sparse:
    """Return synapses such that every output has ``indegree`` different inputs."""
    _require_sizes(inputs, outputs)
    require_whole("indegree", indegree, "it is the number of inputs of an output")
    if not 0 <= indegree <= inputs:
        raise ValueError(f"indegree must be from 0 to the {inputs} inputs, got {indegree}")
    source = np.empty((outputs, indegree), np.int32)
    for row in source:
        row[:] = _draw_distinct(inputs, indegree, rng)
    # A stable sort keeps the targets of a source in their order.
    by_source = np.argsort(source, axis=None, kind="stable")
    indices = (by_source // max(indegree, 1)).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source.ravel(), minlength=inputs))])
    return _draw_parameters(indptr, indices, outputs, weight=weight, delay=delay)


def join_inputs(*parts: Sparse) -> Sparse:
    """Return connections into the same outputs as one, their inputs one after the other.

    Raises:
        ValueError: the parts differ in outputs, or in whether they have biases or delays.
    """
    first = parts[0]
    kinds = {(p.shape, p.bias is None, p.delay is None) for p in parts}
    if len(kinds) > 1 or first.bias is not None:
        raise ValueError(
            "parts need the same outputs, delays in all or in none, and no bias; got "
            f"{sorted(kinds)} (outputs, no bias, no delay)"
        )
    starts = np.cumsum([0, *(p.indices.size for p in parts)])
    ends = [p.indptr[1:] + start for p, start in zip(parts, starts, strict=False)]
    delays = [p.delay for p in parts if p.delay is not None]
    return Sparse(
        indptr=np.concatenate([[0], *ends]),
        indices=np.concatenate([p.indices for p in parts]),
        weight=np.concatenate([p.weight for p in parts]),
        delay=np.concatenate(delays) if delays else None,
        shape=first.shape,
    )


def _require_sizes(inputs: int, outputs: int) -> None:
    require_whole("inputs", inputs, "they are so many neurons")
    require_whole("outputs", outputs, "they are so many neurons")


def _draw_distinct(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``size`` different numbers below ``n``, sorted."""
    return np.sort(rng.choice(n, size, replace=False, shuffle=False))


def _draw_parameters(
    indptr: np.ndarray,
    indices: np.ndarray,
    outputs: int,
    *,
    weight: Weight,
    delay: Delay | None,
) -> Sparse:
    """Return rows of sorted targets with their weights and delays drawn."""
    size, inputs = indices.size, indptr.size - 1
    weights = weight(size) if callable(weight) else np.full(size, weight)
    if delay is None:
        return Sparse(indptr=indptr, indices=indices, weight=weights, shape=(outputs,))
    source = np.repeat(np.arange(inputs), np.diff(indptr))
    shape = (outputs, inputs)
    delays = delay(size) if callable(delay) else np.full(size, delay)
    return Sparse.from_coo(source, indices, weights, shape=shape, delay=delays)
