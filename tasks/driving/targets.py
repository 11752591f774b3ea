"""Targets of instance heads: centres, offsets and flow, from masks of instances.

    centre(cell) = max over instances of exp(-|cell - middle|^2 / sigma^2)      sigma = 3 cells
    offset(cell) = middle - cell, in the cells of the instance
    flow(cell) = middle in the next frame - middle, in the cells of the instance

middle: the mean of an instance's cells. Offset and flow are NaN outside instances; flow is also
NaN if the instance is not in the next frame. The masks are in the present ego frame, so ego
motion does not appear.
Axes: B windows, T frames, I instances, X and Y cells.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

SIGMA = 3.0  # [cells], SAD's


class FrameTargets(NamedTuple):
    """Maps by frame; the two axes of offset and flow are along X and Y [cells]."""

    centre: Float[Tensor, "B T X Y"]
    offset: Float[Tensor, "B T 2 X Y"]
    flow: Float[Tensor, "B T 2 X Y"]


def make_instance_targets(instance: Int[Tensor, "B T X Y"]) -> FrameTargets:
    """Return the targets of masks of instances: 0 is background, a number is a vehicle."""
    if instance.is_meta:  # without values; the shapes do not depend on them
        centre = torch.empty_like(instance, dtype=torch.float32)
        pairs = [torch.stack([centre, centre], 2) for _ in range(2)]
        return FrameTargets(centre, *pairs)
    numbers, place = _number_densely(instance)
    middle, there = _find_middles(place, len(numbers) + 1)
    cells = _list_cells(instance)
    distance2 = (cells - middle[:, :, :, None, None]).square().sum(-1)  # B T I X Y
    heat = torch.where(there[..., None, None], (-distance2 / SIGMA**2).exp(), 0)
    centre = heat.amax(2) if heat.shape[2] else torch.zeros_like(instance, dtype=cells.dtype)
    step = middle[:, 1:] - middle[:, :-1]
    last = step.new_full((len(instance), 1, *step.shape[2:]), torch.nan)
    moved = torch.cat([step, last], 1)
    here = cells.movedim(-1, 0).expand(*place.shape[:2], -1, -1, -1)
    return FrameTargets(centre, _paint(place, middle) - here, _paint(place, moved))


def _number_densely(instance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of instances in a batch, and masks with their places, from 1."""
    numbers = torch.unique(instance)
    numbers = numbers[numbers > 0]
    place = torch.searchsorted(numbers, instance.contiguous(), right=True)
    return numbers, torch.where(instance > 0, place, 0)


def _list_cells(instance: Tensor) -> Float[Tensor, "X Y 2"]:
    nx, ny = instance.shape[-2:]
    axes = [torch.arange(n, dtype=torch.float32, device=instance.device) for n in (nx, ny)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def _find_middles(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return (middles B T I 2; presence): NaN and False if an instance is not in a frame."""
    b, t = place.shape[:2]
    frame = torch.arange(b * t, device=place.device).view(b, t, 1, 1) * size
    index = (frame + place).flatten()
    cells = _list_cells(place)
    ones = torch.cat([cells, torch.ones_like(cells[..., :1])], -1).expand(b, t, -1, -1, -1)
    sums = ones.new_zeros(b * t * size, 3).index_add(0, index, ones.reshape(-1, 3))
    sums = sums.view(b, t, size, 3)[:, :, 1:]
    return sums[..., :2] / sums[..., 2:], sums[..., 2] > 0


def _paint(place: Tensor, values: Float[Tensor, "B T I 2"]) -> Float[Tensor, "B T 2 X Y"]:
    """Return for each cell the values of its instance, NaN outside instances."""
    background = values.new_full((*values.shape[:2], 1, 2), torch.nan)
    table = torch.cat([background, values], 2)
    index = place.flatten(2)[..., None].expand(-1, -1, -1, 2)
    return table.gather(2, index).view(*place.shape, 2).movedim(-1, 2)
