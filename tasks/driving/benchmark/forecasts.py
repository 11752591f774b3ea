"""Forecasts of vehicles without learning, and counts of all forecasts.

Copy: everything stays. Warp: each instance continues the motion of its middle in the last half
second, by whole cells. Prior: the cells of the ego frame that vehicles often cover in training;
for each frame the set with the best intersection over union there.
Axes: T present and future frames, X and Y cells, M kinds of maps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int64, Shaped

from tasks.driving.evaluate import Forecast, MetricCounts, make_counts
from tasks.driving.metrics import Overlap, Panoptic, add_counts
from tasks.runs.results import Number

Counted = dict[str, dict[str, list[Number]]]  # sums of counts


def copy_present(present: Shaped[np.ndarray, "X Y"], frames: int) -> np.ndarray:
    """Return the present in every frame."""
    return np.repeat(present[None], frames, 0)


def warp_instances(
    before: Int[np.ndarray, "X Y"], now: Int[np.ndarray, "X Y"], frames: int
) -> Int[np.ndarray, "T X Y"]:
    """Move present instances on as since the previous frame, for ``frames`` frames.

    New instances stay. Where two overlap, the larger number wins.
    """
    out = np.zeros((frames, *now.shape), np.int64)
    for number in np.unique(now[now > 0]).tolist():
        cells = np.argwhere(now == number)
        past = np.argwhere(before == number)
        step = cells.mean(0) - past.mean(0) if len(past) else np.zeros(2)
        for t in range(frames):
            moved = cells + np.round(t * step).astype(np.int64)
            inside = ((moved >= 0) & (moved < now.shape)).all(1)
            out[t][tuple(moved[inside].T)] = number
    return out


def warp(
    before: Int[np.ndarray, "X Y"],
    now: Int[np.ndarray, "X Y"],
    vehicle: Bool[np.ndarray, "X Y"],
    frames: int,
) -> Forecast:
    """Move instances on; return them with the cells that they cover.

    vehicle: the present mask; its cells outside instances stay.
    """
    moved = warp_instances(before, now, frames)
    return Forecast((moved > 0) | (vehicle & (now == 0)), moved)


def find_prior(counts: Int64[np.ndarray, "*S"], total: int) -> Bool[np.ndarray, "*S"]:
    """Return the mask with the best IoU with ``total`` masks that sum up to ``counts``.

    It holds the most frequently covered cells, in the best number.
    """
    flat = counts.ravel()
    order = np.argsort(-flat, kind="stable")
    hits = np.cumsum(flat[order])
    size = np.arange(1, len(flat) + 1)
    iou = hits / np.maximum(flat.sum() + size * total - hits, 1)
    mask = np.zeros(len(flat), bool)
    if hits[-1]:
        mask[order[: int(iou.argmax()) + 1]] = True
    return mask.reshape(counts.shape)


def as_json(counts: MetricCounts) -> Counted:
    """Return the sums of counts."""
    return {
        kind: {name: list(add_counts(parts)) for name, parts in by_name.items()}
        for kind, by_name in counts._asdict().items()
    }


def from_json(value: Mapping[str, Mapping[str, Sequence[Any]]]) -> MetricCounts:
    """Return counts from their sums."""
    counts = make_counts()
    for name, parts in value["overlaps"].items():
        counts.overlaps[name].append(Overlap(*parts))
    for name, parts in value["segments"].items():
        counts.segments[name].append(Panoptic(*parts))
    return counts
