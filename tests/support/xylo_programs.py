"""Random programs for Xylo, for tests; and stimuli of their channels."""

from typing import Any

import numpy as np

from lava_export.program import as_int32
from lava_export.xylo.program import (
    LARGEST_STATE,
    LARGEST_XYLO_WEIGHT,
    XyloConnection,
    XyloPopulation,
    XyloProgram,
)

SIZES = {"x": 5, "y": 3, "a": 7, "b": 6, "out": 3, "shown": 2}
KIND_OF: dict[str, Any] = {"x": "input", "y": "input", "out": "output", "shown": "readout"}
ENDS = ("x>a", "y>a", "y>b", "a>b", "b>a", "b>b", "b>out", "a>out", "a>shown")
# Of weights, thresholds and biases: all sizes, small, and at the bounds of their registers.
KINDS = ("any", "small", "edge")


def draw_program(rng: np.random.Generator, kind: str) -> XyloProgram:
    """Return a random program with several populations of each kind."""

    def pick(low: int, high: int, size: Any, edges: tuple[int, ...]) -> np.ndarray:
        if kind == "edge":
            return as_int32(rng.choice(edges, size))
        if kind == "small" and high > 15:
            low, high = max(low, -9), 9
        return as_int32(rng.integers(low, high, size, endpoint=True))

    most, w = LARGEST_STATE, LARGEST_XYLO_WEIGHT
    populations = []
    for name, size in SIZES.items():
        registers = {
            "dash_syn": pick(1, 15, size, (1, 2, 15)),
            "dash_mem": pick(0, 15, size, (0, 1, 15)),
            "threshold": pick(1, most, size, (1, 2, 127, most)),
            "bias": pick(-most, most, size, (-most, -1, 0, 1, most)),
        }
        own = {} if KIND_OF.get(name) == "input" else registers
        part = XyloPopulation(name=name, kind=KIND_OF.get(name, "hidden"), shape=(size,), **own)
        populations.append(part)
    connections = []
    for ends in ENDS:
        source, target = ends.split(">")
        weight = pick(-w, w, (SIZES[target], SIZES[source]), (-w, -1, 0, 1, w))
        kept = as_int32(weight * (rng.random(weight.shape) < 0.8))
        connections.append(XyloConnection(name=ends, source=source, target=target, weight=kept))
    shift, shift_out = (int(rng.choice([0, 0, 1, 3, 7])) for _ in range(2))
    return XyloProgram(
        populations=tuple(populations),
        connections=tuple(connections),
        shift=shift,
        shift_out=shift_out,
    )


def draw_channels(rng: np.random.Generator, ticks: int, samples: int) -> np.ndarray:
    """Return spikes of all channels, T B K; up to 19, of which a channel sends 15."""
    shape = (ticks, samples, SIZES["x"] + SIZES["y"])
    return np.asarray(rng.integers(0, 20, shape) * (rng.random(shape) < 0.3))
