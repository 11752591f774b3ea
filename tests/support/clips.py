"""Small clips of an event camera, for tests."""

import numpy as np

from drivers.event_camera import Clip

Event = tuple[int, int, int, int]  # x, y, polarity, time [us]


def clip_of(
    *events: Event, side: int = 4, start: int | None = None, stop: int | None = None
) -> Clip:
    x, y, polarity, time = np.array(events, np.int64).reshape(-1, 4).T
    return Clip(
        x=x.astype(np.int16),
        y=y.astype(np.int16),
        polarity=polarity.astype(np.uint8),
        time=time,
        start=int(time.min()) if start is None else start,
        stop=int(time.max()) + 1 if stop is None else stop,
        width=side,
        height=side,
        label=3,
        source="a test",
    )


def random_clip(seed: int, events: int, side: int = 6, length: int = 5000) -> Clip:
    """Return a clip with events in no order, many of them alike."""
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, n, events) for n in (side, side, 2, length)]
    start = int(rng.integers(0, 2**40))
    columns[3] += start
    return clip_of(
        *map(tuple, np.stack(columns, 1)),  # type: ignore[arg-type]
        side=side,
        start=start,
        stop=start + length,
    )
