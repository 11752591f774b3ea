"""Metrics of present maps, future maps and paths.

Counts are summed over all cells, frames and windows before a metric divides them. Paths have
metrics in both usual conventions: the "mean" over all frames up to a time (ST-P3, SAD), and the
value "at" that time (UniAD). Axes: B windows, T or F frames, X and Y cells.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import FRAME
from tasks.driving.cost import AHEAD, LENGTH, WIDTH

MATCH = 0.5  # two segments match if their intersection over union is above this
SECONDS = (1, 2, 3)
MOVING = 1.0  # [m] least distance that a moving instance covers from first to last frame


C = TypeVar("C", "Overlap", "Panoptic")


class Overlap(NamedTuple):
    """Numbers of cells that are correctly predicted, falsely predicted, or missed."""

    hits: int
    false: int
    missed: int

    @property
    def iou(self) -> float:
        """Intersection over union; NaN without true or predicted cells."""
        union = sum(self)
        return self.hits / union if union else float("nan")


def count_overlap(
    predicted: Bool[np.ndarray, "*S"],
    truth: Bool[np.ndarray, "*S"],
    ignored: Bool[np.ndarray, "*S"] | None = None,
) -> Overlap:
    """Count hits, false and missed cells of two masks, except ``ignored`` cells."""
    counted = np.ones_like(truth) if ignored is None else ~ignored
    parts = predicted & truth, predicted & ~truth, ~predicted & truth
    return Overlap(*(int((part & counted).sum()) for part in parts))


class Panoptic(NamedTuple):
    """Sums over frames: IoU and number of matched segments, numbers of unmatched segments."""

    iou: float
    hits: int
    false: int
    missed: int

    @property
    def quality(self) -> tuple[float, float, float]:
        """PQ, SQ and RQ: panoptic, segmentation and recognition quality."""
        total = self.hits + self.false / 2 + self.missed / 2
        if not total:
            return (float("nan"),) * 3
        segment = self.iou / self.hits if self.hits else 0.0
        return self.iou / total, segment, self.hits / total


def count_segments(
    predicted: Int[np.ndarray, "T X Y"],
    truth: Int[np.ndarray, "T X Y"],
    ignored: frozenset[int] = frozenset(),
) -> Panoptic:
    """Match predicted and true instances in each frame of a window; return the counts.

    Two segments match if their IoU exceeds 1/2. If a true instance matched another predicted
    number in an earlier frame, the match counts as one false and one missed segment. The number
    0 is background. A predicted segment does not count if it matches an ``ignored`` true
    instance, or if more than half of it lies on ``ignored`` instances.
    """
    iou, hits, false, missed = 0.0, 0, 0, 0
    known: dict[int, int] = {}  # true instance -> predicted number of its last match
    for now, true in zip(predicted, truth, strict=True):
        pairs = _match_segments(now, true)
        dropped = {p for p in _list(now) if _lies_on(now == p, true, ignored)}
        for t, (p, overlap) in pairs.items():
            if t in ignored:
                dropped.add(p)
            elif known.setdefault(t, p) == p:
                iou, hits = iou + overlap, hits + 1
            else:
                false, missed = false + 1, missed + 1
                known[t] = p
        matched = {p for p, _ in pairs.values()}
        false += len(set(_list(now)) - matched - dropped)
        missed += len(set(_list(true)) - set(pairs) - ignored)
    return Panoptic(iou, hits, false, missed)


def _list(segments: np.ndarray) -> list[int]:
    return [int(n) for n in np.unique(segments) if n]


def _lies_on(segment: np.ndarray, truth: np.ndarray, numbers: frozenset[int]) -> bool:
    """Return whether more than half of a segment lies on the instances ``numbers``."""
    below = truth[segment]
    return bool(numbers) and 2 * int(np.isin(below, list(numbers)).sum()) > len(below)


def _match_segments(predicted: np.ndarray, truth: np.ndarray) -> dict[int, tuple[int, float]]:
    """Return the predicted number and the IoU of each matched true instance."""
    matches = {}
    for t in _list(truth):
        mask = truth == t
        for p in _list(predicted[mask]):
            segment = predicted == p
            overlap = float((mask & segment).sum() / (mask | segment).sum())
            if overlap > MATCH:
                matches[t] = p, overlap
    return matches


def find_still(truth: Int[np.ndarray, "T X Y"], grid: GroundGrid) -> frozenset[int]:
    """Return the instances whose middle moves by less than 1 m from first to last frame.

    An instance that appears in only one frame counts as still.
    """
    still = set()
    for number in _list(truth):
        middles = [np.argwhere(m).mean(0) for m in truth == number if m.any()]
        if np.linalg.norm(middles[-1] - middles[0]) * grid.step < MOVING:
            still.add(number)
    return frozenset(still)


def add_counts(counts: Sequence[C]) -> C:
    """Return the field-by-field sum of counts."""
    kind: Any = type(counts[0])
    summed: C = kind(*map(sum, zip(*counts, strict=True)))
    return summed


class PathErrors(NamedTuple):
    """Errors of paths per frame.

    distance: distance from the true path [m].
    hits: whether the car's box on the path touches a vehicle or pedestrian and that on the true
    path does not. vehicle_hits: the same for vehicles only.
    """

    distance: Float[Tensor, "B F"]
    hits: Bool[Tensor, "B F"]
    vehicle_hits: Bool[Tensor, "B F"]


def measure_paths(
    path: Float[Tensor, "B F 3"],
    truth: Float[Tensor, "B F 3"],
    vehicle: Bool[Tensor, "B F X Y"],
    pedestrian: Bool[Tensor, "B F X Y"],
    grid: GroundGrid,
) -> PathErrors:
    """Return the distances of paths from the truth [m], and their collisions."""

    def find_counted(occupied: Bool[Tensor, "B F X Y"]) -> Bool[Tensor, "B F"]:
        return find_hits(path, occupied, grid) & ~find_hits(truth, occupied, grid)

    distance = (path - truth)[..., :2].norm(dim=-1)
    return PathErrors(distance, find_counted(vehicle | pedestrian), find_counted(vehicle))


def find_hits(
    path: Float[Tensor, "B F 3"], occupied: Bool[Tensor, "B F X Y"], grid: GroundGrid
) -> Bool[Tensor, "B F"]:
    """Return in which frames the box of the car shares a point with an occupied cell.

    Two rectangles are disjoint if one of their four directions separates them. The test is
    exact up to the rounding of float64.
    """
    b, f, i, j = occupied.nonzero(as_tuple=True)
    x, y, yaw = path.double()[b, f].unbind(-1)
    cos, sin = yaw.cos(), yaw.sin()
    # Vector from the middle of the box to the middle of the cell.
    dx = grid.x[0] + grid.step * (i.double() + 0.5) - (x + AHEAD * cos)
    dy = grid.y[0] + grid.step * (j.double() + 0.5) - (y + AHEAD * sin)
    half, along, across = grid.step / 2, LENGTH / 2, WIDTH / 2
    turned = half * (cos.abs() + sin.abs())
    touches = (
        (dx.abs() <= half + along * cos.abs() + across * sin.abs())
        & (dy.abs() <= half + along * sin.abs() + across * cos.abs())
        & ((dx * cos + dy * sin).abs() <= along + turned)
        & ((dy * cos - dx * sin).abs() <= across + turned)
    )
    hits = torch.zeros(path.shape[:2], dtype=torch.bool, device=path.device)
    hits[b[touches], f[touches]] = True
    return hits


def summarise_paths(errors: PathErrors) -> dict[str, float]:
    """Return mean distance [m] and share of collisions by time, in both conventions.

    Collisions "mean": share of frames up to a time that have any hit. Collisions "at": share of
    windows that hit a vehicle in the frame at that time.
    """
    summary = {}
    hits, vehicle_hits = errors.hits.double(), errors.vehicle_hits.double()
    for second in SECONDS:
        last = round(second / FRAME)
        if last > errors.distance.shape[1]:
            break
        distance = errors.distance[:, :last].double()
        summary[f"l2_mean_{second}s"] = float(distance.mean())
        summary[f"l2_at_{second}s"] = float(distance[:, -1].mean())
        summary[f"collision_mean_{second}s"] = float(hits[:, :last].mean())
        summary[f"collision_at_{second}s"] = float(vehicle_hits[:, last - 1].mean())
    return summary


def join_errors(parts: Iterable[PathErrors]) -> PathErrors:
    """Concatenate the errors of several batches of windows."""
    return PathErrors(*(torch.cat(field) for field in zip(*parts, strict=True)))
