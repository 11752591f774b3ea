"""Records and chips by hand, for tests of energy."""

from dataclasses import replace

import numpy as np

from neuro.energy import Chip
from neuro.spikes import to_events
from neuro.spikes.record import Record


def record_of(**rasters: np.ndarray) -> Record:
    """Return a run of which nothing is known but its spikes, with axes T B and neurons."""
    ticks, samples = next(iter(rasters.values())).shape[:2]
    spikes = {name: to_events(raster) for name, raster in rasters.items()}
    return Record(executor="events", ticks=ticks, samples=samples, spikes=spikes, values={})


def with_limit(chip: Chip, limit: str, value: float) -> Chip:
    constant = replace(getattr(chip.limits, limit), value=value, low=value, high=value)
    return replace(chip, limits=replace(chip.limits, **{limit: constant}))
