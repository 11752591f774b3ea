"""Decode vehicle instances over time from maps of centres, offsets and flow.

Centres are the local maxima of the heat. A vehicle cell belongs to the centre nearest to the
place at which its offset points. The mean flow of an instance predicts its next centre; the
Hungarian method matches predictions with centres, up to a maximum distance.
Axes: T frames, I instances, X and Y cells.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

OF_INSTANCES = ("vehicle", "centre", "offset", "flow")  # the maps that define instances
CONFIDENCE = 0.1  # least heat of a centre
MOST = 100  # largest number of centres per frame
GATE = 3.0  # [cells] largest distance of a centre from its prediction


class InstanceMaps(NamedTuple):
    """Maps that define instances: mask, heat of centres (0 to 1), displacements [cells]."""

    vehicle: Bool[np.ndarray, "T X Y"]
    centre: Float[np.ndarray, "T X Y"]
    offset: Float[np.ndarray, "T 2 X Y"]
    flow: Float[np.ndarray, "T 2 X Y"]


def find_centres(heat: Float[np.ndarray, "X Y"]) -> Int[np.ndarray, "I 2"]:
    """Return the cells of centres, those of highest heat first.

    If neighbouring cells have equal heat, as around a middle between two cells, only the first
    is a centre.
    """
    around = F.unfold(F.pad(torch.from_numpy(heat)[None, None], [1] * 4, value=-np.inf), 3)
    near = around[0].view(9, *heat.shape).numpy()
    peak = (heat > near[:4]).all(0) & (heat >= near[5:]).all(0) & (heat > CONFIDENCE)
    cells = np.argwhere(peak)
    order = np.argsort(-heat[peak], kind="stable")[:MOST]
    return np.asarray(cells[order])


def assign_cells(
    vehicle: Bool[np.ndarray, "X Y"],
    centres: Int[np.ndarray, "I 2"],
    offset: Float[np.ndarray, "2 X Y"],
) -> Int[np.ndarray, "X Y"]:
    """Return the number (>= 1) of the centre that each vehicle cell belongs to, 0 elsewhere."""
    numbers = np.zeros(vehicle.shape, np.int64)
    cells = np.argwhere(vehicle)
    if len(centres) and len(cells):
        target = cells + offset[:, vehicle].T
        distance = np.linalg.norm(target[:, None] - centres[None], axis=-1)
        numbers[vehicle] = 1 + distance.argmin(1)
    return numbers


def follow_instances(
    before: Float[np.ndarray, "I 2"], after: Float[np.ndarray, "J 2"]
) -> dict[int, int]:
    """Match instances; return the index in ``before`` of each matched index in ``after``.

    Args:
        before: predicted positions of instances [cells].
        after: their actual positions.
    """
    from scipy.optimize import linear_sum_assignment  # in the extra "driving"

    distance = np.linalg.norm(before[:, None] - after[None], axis=-1)
    rows, columns = linear_sum_assignment(distance)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {j: i for i, j in pairs if distance[i, j] <= GATE}


def decode_instances(maps: InstanceMaps) -> Int[np.ndarray, "T X Y"]:
    """Return masks of instances: 0 is background, n >= 1 the same vehicle in all frames."""
    out = np.zeros(maps.vehicle.shape, np.int64)
    numbers: list[int] = []  # numbers of the instances in the previous frame
    predicted = np.zeros((0, 2))  # predicted present positions of those instances
    new = 1
    for t, (vehicle, heat) in enumerate(zip(maps.vehicle, maps.centre, strict=True)):
        centres = find_centres(heat)
        cells = assign_cells(vehicle, centres, maps.offset[t])
        same = follow_instances(predicted, centres.astype(float))
        known = [numbers[same[j]] if j in same else 0 for j in range(len(centres))]
        numbers = []
        for number in known:
            numbers.append(number or new)
            new += not number
        out[t] = np.array([0, *numbers])[cells]
        masks = [cells == k + 1 for k in range(len(centres))]
        steps = [maps.flow[t][:, m].mean(1) if m.any() else np.zeros(2) for m in masks]
        predicted = centres + np.array(steps).reshape(-1, 2)
    return out


def decode_window(maps: Mapping[str, Tensor], b: int) -> Int[np.ndarray, "T X Y"]:
    """Decode the instances of window ``b`` of a batch from the maps :data:`OF_INSTANCES`."""
    vehicle, centre, offset, flow = (maps[name][b] for name in OF_INSTANCES)
    parts = (vehicle > 0, centre.sigmoid(), offset, flow)
    return decode_instances(InstanceMaps(*(part.cpu().numpy() for part in parts)))
