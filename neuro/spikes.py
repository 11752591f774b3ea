"""Two faces of a spike train and the exact way between them.

Axes: T ticks, B samples, N neurons of a node in C order of its shape, E events.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped


class Events(NamedTuple):
    """Sparse face: E events sorted by (sample, tick, neuron).

    shape: (T, B, N) of the raster it stands for. A binary spike has value 1.
    """

    sample: Int[np.ndarray, " E"]
    tick: Int[np.ndarray, " E"]
    neuron: Int[np.ndarray, " E"]
    value: Float[np.ndarray, " E"]
    shape: tuple[int, int, int]


def to_events(raster: Shaped[np.ndarray, "T B N"]) -> Events:
    """Return the non-zero entries of ``raster``; booleans become float32, integers float64."""
    sample, tick, neuron = np.nonzero(raster.transpose(1, 0, 2))
    value = raster[tick, sample, neuron]
    if not np.issubdtype(value.dtype, np.floating):
        value = value.astype(np.float32 if value.dtype == np.bool_ else np.float64)
    t, b, n = raster.shape
    index = (sample.astype(np.int32), tick.astype(np.int32), neuron.astype(np.int32))
    return Events(*index, value, (t, b, n))


def to_raster(events: Events) -> Float[np.ndarray, "T B N"]:
    """Return the dense face; the inverse of :func:`to_events`."""
    raster = np.zeros(events.shape, events.value.dtype)
    raster[events.tick, events.sample, events.neuron] = events.value
    return raster


def of_sample(events: Events, sample: int) -> Events:
    """Return the events of one sample, as a train with B = 1."""
    # A list would be cast, and with it the whole array, at every call.
    lo, hi = np.searchsorted(events.sample, np.array([sample, sample + 1], np.int32))
    t, _, n = events.shape
    return Events(
        np.zeros(hi - lo, np.int32),
        events.tick[lo:hi],
        events.neuron[lo:hi],
        events.value[lo:hi],
        (t, 1, n),
    )


def join(trains: list[Events]) -> Events:
    """Return trains of the same T and N, one after the other along the sample axis.

    Raises:
        ValueError: the trains differ in T or N.
    """
    if len({(e.shape[0], e.shape[2]) for e in trains}) != 1:
        shapes = ", ".join(str(e.shape) for e in trains)
        raise ValueError(
            f"only trains of one T and one N can be joined, got (T, B, N) {shapes}"
        )
    offsets = np.cumsum([0] + [e.shape[1] for e in trains])
    t, _, n = trains[0].shape
    return Events(
        np.concatenate([e.sample + int(o) for e, o in zip(trains, offsets, strict=False)]),
        np.concatenate([e.tick for e in trains]),
        np.concatenate([e.neuron for e in trains]),
        np.concatenate([e.value for e in trains]),
        (t, int(offsets[-1]), n),
    )
