"""Instances of vehicles over time, read off maps of centres, offsets and flow.

Centres are the local maxima of the heat; a cell of a vehicle belongs to the centre that is
nearest to where its offset points; a centre is followed to the frame after by its mean flow, to
the centres there that together are nearest (Hungarian method) and no further than a gate.
Axes: T frames, I instances, X and Y cells.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int

CONFIDENCE = 0.1  # least heat of a centre
MOST = 100  # centres in a frame
GATE = 3.0  # [cells] that a centre may be from where flow leads


class InstanceMaps(NamedTuple):
    """What instances are read off: mask, heat of centres (0 to 1), displacements [cells]."""

    vehicle: Bool[np.ndarray, "T X Y"]
    centre: Float[np.ndarray, "T X Y"]
    offset: Float[np.ndarray, "T 2 X Y"]
    flow: Float[np.ndarray, "T 2 X Y"]


def find_centres(heat: Float[np.ndarray, "X Y"]) -> Int[np.ndarray, "I 2"]:
    """Return the cells of centres, the most certain first.

    Of neighbours that are as warm as each other, as around a middle between two cells, the
    first is one.
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
    """Return the number of each vehicle cell's centre, from 1; 0 elsewhere."""
    found = np.zeros(vehicle.shape, np.int64)
    cells = np.argwhere(vehicle)
    if len(centres) and len(cells):
        aim = cells + offset[:, vehicle].T
        away = np.linalg.norm(aim[:, None] - centres[None], axis=-1)
        found[vehicle] = 1 + away.argmin(1)
    return found


def follow_instances(
    before: Float[np.ndarray, "I 2"], after: Float[np.ndarray, "J 2"]
) -> dict[int, int]:
    """Return which of ``before`` each of ``after`` is, by number; new ones are left out.

    Args:
        before: where instances should be by now [cells].
        after: where instances are.
    """
    from scipy.optimize import linear_sum_assignment  # of the extra "driving"

    away = np.linalg.norm(before[:, None] - after[None], axis=-1)
    rows, columns = linear_sum_assignment(away)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {j: i for i, j in pairs if away[i, j] <= GATE}


def decode_instances(maps: InstanceMaps) -> Int[np.ndarray, "T X Y"]:
    """Return masks of instances; one has the same number in all frames, from 1; 0 is none."""
    out = np.zeros(maps.vehicle.shape, np.int64)
    numbers: list[int] = []  # of the instances of the frame before
    aims = np.zeros((0, 2))  # where these should be
    new = 1
    for t, (vehicle, heat) in enumerate(zip(maps.vehicle, maps.centre, strict=True)):
        centres = find_centres(heat)
        found = assign_cells(vehicle, centres, maps.offset[t])
        same = follow_instances(aims, centres.astype(float))
        known = [numbers[same[j]] if j in same else 0 for j in range(len(centres))]
        numbers = []
        for number in known:
            numbers.append(number or new)
            new += not number
        out[t] = np.array([0, *numbers])[found]
        steps = [_mean_flow(maps.flow[t], found == k + 1) for k in range(len(centres))]
        aims = centres + np.array(steps).reshape(-1, 2)
    return out


def _mean_flow(
    flow: Float[np.ndarray, "2 X Y"], cells: Bool[np.ndarray, "X Y"]
) -> Float[np.ndarray, " 2"]:
    """Return the mean flow of some cells; none: zeros."""
    return flow[:, cells].mean(1) if cells.any() else np.zeros(2)
