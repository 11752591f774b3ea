"""Random sparse connections, drawn row by row to need no more memory than the synapses.

A weight is one number, or a function that takes a number n and draws n weights. A delay is the
same in ticks; delays are rounded and stored as uint16. A neuron may connect to itself.

Each function raises a ValueError if a delay is not between 0 and 65,535 ticks, or if a function
draws a wrong number of values.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from neuro.base.arguments import make_type_error, require_whole
from neuro.graph.connections import Sparse

Weight = float | np.floating | Callable[[int], np.ndarray]
Delay = int | Callable[[int], np.ndarray]
BLOCK = 2**16  # synapses drawn together; each needs about 50 bytes of scratch memory
LONGEST = 2**16 - 1  # ticks: delays are uint16


def fixed_probability(
    inputs: int,
    outputs: int,
    p: float,
    weight: Weight,
    rng: np.random.Generator,
    delay: Delay | None = None,
) -> Sparse:
    """Return synapses where each possible one exists with probability ``p``."""
    _require_arguments(inputs, outputs, rng)
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
    _require_arguments(inputs, outputs, rng)
    require_whole("indegree", indegree, "it is the number of inputs of an output")
    if not 0 <= indegree <= inputs:
        raise ValueError(f"indegree must be from 0 to the {inputs} inputs, got {indegree}")
    source = np.empty((outputs, indegree), np.int32)
    for row in source:
        row[:] = _draw_distinct(inputs, indegree, rng)
    # The sort is stable: it keeps the targets of a source in their order.
    by_source = np.argsort(source, axis=None, kind="stable")
    indices = (by_source // max(indegree, 1)).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source.ravel(), minlength=inputs))])
    return _draw_parameters(indptr, indices, outputs, weight=weight, delay=delay)


def fixed_total(
    inputs: int,
    outputs: int,
    synapses: int,
    weight: Weight,
    rng: np.random.Generator,
    delay: Delay | None = None,
) -> Sparse:
    """Return ``synapses`` synapses; each connects any input to any output with equal chance.

    This is NEST's rule "fixed_total_number": a pair may be drawn several times. Synapses are
    drawn in blocks of rows, directly into the connection's arrays; no array with all of them is
    sorted.

    Raises:
        ValueError: synapses is < 0, or there is no neuron to draw.
    """
    _require_arguments(inputs, outputs, rng)
    require_whole("synapses", synapses, "it is the number of all synapses")
    if synapses < 0 or (synapses and not (inputs and outputs)):
        raise ValueError(
            f"synapses must be >= 0, and 0 without neurons, got {synapses} from {inputs} "
            f"inputs to {outputs} outputs"
        )
    sizes = rng.multinomial(synapses, np.full(inputs, 1 / max(inputs, 1)))
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    indices = np.empty(synapses, np.int32)
    weights = np.empty(synapses, _draw(weight, 0).dtype)
    delays = None if delay is None else np.empty(synapses, np.uint16)
    for first, last in _iterate_blocks(indptr):
        here = slice(indptr[first], indptr[last])
        size = int(indptr[last] - indptr[first])
        row = np.repeat(np.arange(last - first), sizes[first:last])
        # One number per synapse sorts by row, then target, then delay.
        key = row << 48 | rng.integers(0, outputs, size) << 16
        if delay is not None:
            key |= _draw_delays(delay, size)
        key.sort()
        indices[here] = key >> 16 & 0xFFFFFFFF
        weights[here] = _draw(weight, size)
        if delays is not None:
            delays[here] = key & LONGEST
    for array in (indptr, indices, weights, delays):
        if array is not None:
            array.setflags(write=False)  # a Sparse takes such arrays without a copy
    return Sparse(
        indptr=indptr, indices=indices, weight=weights, delay=delays, shape=(outputs,)
    )


def join_inputs(*parts: Sparse) -> Sparse:
    """Join connections into the same outputs: the inputs of one follow those of the other.

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


def _require_arguments(inputs: int, outputs: int, rng: np.random.Generator) -> None:
    require_whole("inputs", inputs, "they are so many neurons")
    require_whole("outputs", outputs, "they are so many neurons")
    if not isinstance(rng, np.random.Generator):
        cure = "np.random.default_rng(0) makes one"
        raise make_type_error("rng", "a NumPy Generator", rng, cure)


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
    """Draw weights and delays for rows of distinct, sorted targets; return the connection."""
    return Sparse(
        indptr=indptr,
        indices=indices,
        weight=_draw(weight, indices.size),
        delay=None if delay is None else _draw_delays(delay, indices.size).astype(np.uint16),
        shape=(outputs,),
    )


def _draw(value: Any, size: int) -> np.ndarray:
    """Return ``size`` weights or delays."""
    drawn = np.asarray(value(size)) if callable(value) else np.full(size, value)
    if drawn.shape != (size,):
        raise ValueError(
            f"a function of weights or delays must draw an array of ({size},) for {size} "
            f"synapses, got {drawn.shape}"
        )
    return drawn


def _draw_delays(delay: Delay, size: int) -> np.ndarray:
    """Return delays, rounded, as int64; raise a ValueError unless all fit uint16."""
    delays: np.ndarray = np.rint(_draw(delay, size)).astype(np.int64)
    low, high = delays.min(initial=0), delays.max(initial=0)
    if low < 0 or high > LONGEST:
        raise ValueError(f"delays must be from 0 to {LONGEST} ticks, got {low} to {high}")
    return delays


def _iterate_blocks(indptr: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield (first row, end) of blocks with at most BLOCK synapses, or with a single row.

    A block has fewer than 2**15 rows, so that a row number fits the upper bits of a sort key.
    """
    first, rows = 0, indptr.size - 1
    while first < rows:
        last = int(np.searchsorted(indptr, indptr[first] + BLOCK, "right")) - 1
        last = min(max(last, first + 1), first + 2**15 - 1)
        yield first, last
        first = last
