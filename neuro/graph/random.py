"""Random sparse connections, drawn row by row: no more memory than the synapses themselves.

A weight is one number, or a function that draws so many; a delay the same, in ticks. A neuron
may reach itself.
"""

from collections.abc import Callable

import numpy as np

from neuro.graph.connections import Sparse

Weight = float | np.floating | Callable[[int], np.ndarray]
Delay = Callable[[int], np.ndarray]


def fixed_probability(
    inputs: int,
    outputs: int,
    p: float,
    weight: Weight,
    rng: np.random.Generator,
    delay: Delay | None = None,
) -> Sparse:
    """Return synapses of which each possible one exists with probability ``p``.

    Raises:
        ValueError: p is no probability.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be from 0 to 1, got {p}; it is the chance of a synapse")
    sizes = rng.binomial(outputs, p, inputs)
    at = np.concatenate([[0], np.cumsum(sizes)])
    target = np.empty(at[-1], np.int32)
    for j, size in enumerate(sizes):
        target[at[j] : at[j + 1]] = _some(outputs, int(size), rng)
    return _drawn(at, target, outputs, (weight, delay))


def fixed_indegree(
    inputs: int,
    outputs: int,
    indegree: int,
    weight: Weight,
    rng: np.random.Generator,
    delay: Delay | None = None,
) -> Sparse:
    """Return synapses such that every output hears ``indegree`` different inputs.

    Raises:
        ValueError: there are fewer inputs than that.
    """
    if not 0 <= indegree <= inputs:
        raise ValueError(f"indegree must be from 0 to the {inputs} inputs, got {indegree}")
    source = np.empty((outputs, indegree), np.int32)
    for row in source:
        row[:] = _some(inputs, indegree, rng)
    # A stable sort keeps the targets of a source in their order.
    target = (np.argsort(source, axis=None, kind="stable") // max(indegree, 1)).astype(np.int32)
    sizes = np.bincount(source.ravel(), minlength=inputs)
    return _drawn(np.concatenate([[0], np.cumsum(sizes)]), target, outputs, (weight, delay))


def beside(*parts: Sparse) -> Sparse:
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
    starts = np.cumsum([0, *(p.target.size for p in parts)])
    ends = [p.at[1:] + start for p, start in zip(parts, starts, strict=False)]
    delays = [p.delay for p in parts if p.delay is not None]
    return Sparse(
        at=np.concatenate([[0], *ends]),
        target=np.concatenate([p.target for p in parts]),
        weight=np.concatenate([p.weight for p in parts]),
        delay=np.concatenate(delays) if delays else None,
        shape=first.shape,
    )


def _some(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``size`` different numbers below ``n``, sorted."""
    return np.sort(rng.choice(n, size, replace=False, shuffle=False))


def _drawn(
    at: np.ndarray, target: np.ndarray, outputs: int, how: tuple[Weight, Delay | None]
) -> Sparse:
    """Return rows of sorted targets with their weights and delays drawn."""
    weight, delay = how
    size = target.size
    drawn = weight(size) if callable(weight) else np.full(size, weight)
    if delay is None:
        return Sparse(at=at, target=target, weight=drawn, shape=(outputs,))
    source = np.repeat(np.arange(at.size - 1), np.diff(at))
    shape = (outputs, at.size - 1)
    return Sparse.from_coo(source, target, drawn, shape=shape, delay=delay(size))
