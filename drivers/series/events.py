"""Events of a recording, such as seizures: when each event begins and ends."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True, kw_only=True, eq=False)
class EventTable:
    """Events in order of time. start: first sample of each. stop: the sample after its last.

    Raises:
        ValueError: an event is empty, or begins before sample 0 or the previous event's end.
    """

    start: Int64[np.ndarray, " E"]
    stop: Int64[np.ndarray, " E"]

    def __post_init__(self) -> None:
        wrong = [
            *(self.start >= self.stop).nonzero()[0],
            *(self.start[1:] < self.stop[:-1]).nonzero()[0] + 1,
        ]
        if wrong or (self.start < 0).any():
            k = min((int(k) for k in wrong), default=0)
            raise ValueError(
                f"event {k} of {len(self.start)}, samples {self.start[k]} to {self.stop[k]}: "
                "events must not be empty, overlap, or begin before the recording; give them "
                "in their order, and join those that overlap"
            )

    def mark(self, samples: int) -> Bool[np.ndarray, " N"]:
        """Return for each sample of a recording whether it lies in an event."""
        change = np.zeros(samples + 1, np.int64)
        np.add.at(change, np.minimum(self.start, samples), 1)
        np.add.at(change, np.minimum(self.stop, samples), -1)
        return np.asarray(np.cumsum(change)[:samples] > 0)


def find_events(x: Float64[np.ndarray, " N"], begin: float, end: float) -> EventTable:
    """Return the events that begin where x rises above begin, and end where x falls below end.

    An event under way at the first sample begins there; one under way at the last sample ends
    after it.

    Raises:
        ValueError: end is above begin.
    """
    if end > begin:
        raise ValueError(f"events begin above {begin} and end below {end}; give end <= begin")
    starts, stops, inside = [], [], False
    changes = np.flatnonzero((x > begin) | (x < end))
    for k in changes.tolist():
        if not inside and x[k] > begin:
            starts.append(k)
            inside = True
        elif inside and x[k] < end:
            stops.append(k)
            inside = False
    if inside:
        stops.append(len(x))
    return EventTable(start=np.array(starts, np.int64), stop=np.array(stops, np.int64))
