"""Intervals between two spikes, enumerated: which of ten lies between two channels?

Channel 0 spikes at the start, channel 1 an interval of 0, 2, ..., 18 ticks later. Only the
interval tells the class, because every class has the same starts. Without delays, only what
remains of the first spike in membranes tells the interval.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64

Part = Literal["train", "val", "test"]

INTERVALS = tuple(range(0, 20, 2))  # of the classes [ticks]
STARTS = 64  # a sample starts at tick 0 to 63
# Share of the starts, modulo 4, that a part has: the parts share no start, and so no sample.
_PLACES = {"train": (0, 2), "val": (1,), "test": (3,)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervals:
    """Samples. times: ticks of the spikes of both channels. labels: index in INTERVALS."""

    times: Int64[np.ndarray, "N 2"]
    labels: Int64[np.ndarray, " N"]


def enumerate_intervals(part: Part) -> Intervals:
    """Return every interval at every start of a part, start by start."""
    starts = np.arange(STARTS)
    starts = starts[np.isin(starts % 4, _PLACES[part])]
    first, labels = (
        x.ravel() for x in np.meshgrid(starts, range(len(INTERVALS)), indexing="ij")
    )
    return Intervals(
        times=np.stack([first, first + np.array(INTERVALS)[labels]], 1), labels=labels
    )
