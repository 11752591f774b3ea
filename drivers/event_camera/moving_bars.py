"""Generated clips of moving bars, one direction per class.

A bright bar crosses the sensor. Class c of C moves at an angle of 2 pi c / C, from the x axis
(to the right) to the y axis (down). Each pixel reports the front (ON) and the back (OFF), each
with a probability of one half and a delay of about 0.5 ms; a few events are noise. Clips differ
in speed, width and noise. Axes: N clips, E events.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np

from drivers.event_camera.clips import Clip, Clips

Part = Literal["train", "test"]

PER_CLASS: Mapping[Part, int] = {"train": 20, "test": 10}
SEEN = 0.5  # the probability that a pixel reports an edge
LATE = 500.0  # mean delay of an event [us]
NOISE = 0.02  # events per pixel
REST = 10_000  # time before the first edge reaches the sensor [us]


def generate(part: Part, side: int, classes: int, seed: int = 0) -> Clips:
    """Return 20 ("train") or 10 ("test") clips of each class, classes in turn.

    Generates clips on demand from (seed, part, number), so no two share their noise.
    """
    n = classes * PER_CLASS[part]
    return Clips(
        read=partial(_clip, (seed, list(PER_CLASS).index(part)), side, classes),
        labels=np.arange(n) % classes,
        classes=classes,
        source=f"moving bars, {part} part, generated from seed {seed}, {n} clips",
    )


def _clip(key: tuple[int, int], side: int, classes: int, number: int) -> Clip:
    rng = np.random.default_rng([*key, number])
    label = number % classes
    pixels = np.indices((side, side)).reshape(2, -1)
    angle, centre = 2 * np.pi * label / classes, (side - 1) / 2
    along = (pixels[1] - centre) * np.cos(angle) + (pixels[0] - centre) * np.sin(angle)
    crossing = rng.uniform(100_000, 200_000)  # time to travel one diagonal [us]
    front = (along / (side * 2**0.5) + 0.5) * crossing
    edges = np.stack([front + rng.uniform(0.1, 0.3) * crossing, front])  # OFF, ON
    seen = rng.random(edges.shape) < SEEN
    polarity, pixel = np.nonzero(seen)
    time: np.ndarray = edges[seen] + rng.exponential(LATE, polarity.size)
    noise = rng.poisson(NOISE * side * side)
    polarity = np.concatenate([polarity, rng.integers(0, 2, noise)])
    pixel = np.concatenate([pixel, rng.integers(0, side * side, noise)])
    time = REST + np.concatenate([time, rng.uniform(0, edges.max(), noise)]).astype(np.int64)
    order = np.argsort(time, kind="stable")
    return Clip(
        x=pixels[1, pixel[order]].astype(np.int16),
        y=pixels[0, pixel[order]].astype(np.int16),
        polarity=polarity[order].astype(np.uint8),
        time=time[order],
        start=int(time.min()),
        stop=int(time.max()) + 1,
        width=side,
        height=side,
        label=label,
        source=f"moving bar {number}",
    )
