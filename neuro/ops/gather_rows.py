"""Sums of weight rows over non-zero inputs: the output of a dense layer.

Targets (outputs) are stored in blocks, so that the weights of one block stay in the cache while
all spikes are added.
Axes: S samples, L rows (ticks) per sample, blocks of ``width`` targets.
"""

from typing import NamedTuple

import numpy as np

from neuro.ops.jit import inlined, kernel

# Targets in a block: 1,000 sources need 1 MB in float32, which fits in a second-level cache.
WIDTH = 256


class Train(NamedTuple):
    """Spikes in the order of (sample, row, neuron).

    at: CSR row pointers, axes S L+1: row r of sample s is ``at[s, r]:at[s, r + 1]``.
    neuron, value: source neuron and value of each spike.
    """

    at: np.ndarray
    neuron: np.ndarray
    value: np.ndarray


class RowSpan(NamedTuple):
    """Rows ``start`` to ``stop`` of a buffer; row r receives row ``r + shift`` of a train."""

    start: int
    stop: int
    shift: int


class TargetBlock(NamedTuple):
    """Block number ``own``: the targets ``own * width`` to ``(own + 1) * width``."""

    own: int
    width: int


def choose_width(targets: int) -> int:
    """Return the block width: WIDTH if it divides ``targets``, otherwise ``targets``."""
    return targets if targets % WIDTH else WIDTH


@inlined
def add_block(
    values: np.ndarray, block: TargetBlock, span: RowSpan, train: Train, rows: np.ndarray
) -> None:
    """Add the weight rows of all spikes to one block of targets.

    Each pass adds four rows, so that each sum is loaded and stored once per four rows.
    """
    (at, neuron, value), (own, width) = train, block
    length = values.shape[0] // at.shape[0]
    for s in range(at.shape[0]):
        for t in range(span.start, span.stop):
            row, e, stop = s * length + t, at[s, t + span.shift], at[s, t + span.shift + 1]
            while e + 4 <= stop:
                a, b, c, d = neuron[e], neuron[e + 1], neuron[e + 2], neuron[e + 3]
                p, q, r, u = value[e], value[e + 1], value[e + 2], value[e + 3]
                for n in range(width):
                    left = p * rows[own, a, n] + q * rows[own, b, n]
                    right = r * rows[own, c, n] + u * rows[own, d, n]
                    values[row, own, n] += left + right
                e += 4
            while e < stop:
                a, p = neuron[e], value[e]
                for n in range(width):
                    values[row, own, n] += p * rows[own, a, n]
                e += 1


@kernel
def add_rows(values: np.ndarray, span: RowSpan, train: Train, rows: np.ndarray) -> None:
    """Add weight rows (blocks, sources, width) of all spikes to values (S L, blocks, width).

    Blocks are processed in turn, so that the weights of one block stay in the cache.
    """
    width = rows.shape[2]
    for own in range(rows.shape[0]):
        if width == WIDTH:  # a constant: the compiler unrolls the loop
            add_block(values, TargetBlock(own, WIDTH), span, train, rows)
        else:
            add_block(values, TargetBlock(own, width), span, train, rows)
