"""Losses of all tasks, trained weights of the losses, and targets of the instance heads.

    total = sum over tasks of loss exp(-s) / 2 + s / 2          s: trained, one per task

(Kendall et al. 2018).

Segmentation: cross-entropy of the hardest cells per frame; for road, of all cells.
Centre: squared error. Offset and flow: absolute error inside instances.
The weight of these losses falls by a factor of 0.95 per future frame.
Motion: absolute error inside vehicles plus that outside.
Depth: cross-entropy at measured points.
Choice: largest violation of a margin by a candidate, or cross-entropy of all candidates.
Path: error of the refined path, in windows whose images show the view from the path's start.

    centre(cell) = max over instances of exp(-|cell - middle|^2 / sigma^2)      sigma = 3 cells
    offset(cell) = middle - cell, in the cells of the instance
    flow(cell) = middle in the next frame - middle, in the cells of the instance

middle: the mean of an instance's cells. Offset and flow are NaN outside instances; flow is also
NaN if the next frame lacks the instance. All masks are in the present ego frame, so flow does
not contain the ego motion.
Axes: B windows, T present and future frames, F future frames, M candidates, I instances, X and
Y cells.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.driving.batch import Truth
from tasks.driving.config import Depth, DrivingConfig
from tasks.driving.cost import Costs
from tasks.driving.model import DrivingOutputs

SIGMA = 3.0  # [cells], as in SAD


class FrameTargets(NamedTuple):
    """Target maps per frame; the two channels of offset and flow are along X and Y [cells]."""

    centre: Float[Tensor, "B T X Y"]
    offset: Float[Tensor, "B T 2 X Y"]
    flow: Float[Tensor, "B T 2 X Y"]


def make_instance_targets(instance: Int[Tensor, "B T X Y"]) -> FrameTargets:
    """Return the targets that follow from masks of instances, in which 0 is background."""
    if instance.is_meta:  # there are no values, and the shapes do not depend on them
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
    """Return the numbers of a batch's instances, and masks with indices into them, from 1."""
    numbers = torch.unique(instance)
    numbers = numbers[numbers > 0]
    place = torch.searchsorted(numbers, instance.contiguous(), right=True)
    return numbers, torch.where(instance > 0, place, 0)


def _list_cells(instance: Tensor) -> Float[Tensor, "X Y 2"]:
    nx, ny = instance.shape[-2:]
    axes = [torch.arange(n, dtype=torch.float32, device=instance.device) for n in (nx, ny)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def _find_middles(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return (middles B T I 2, presence); NaN and False in frames without the instance."""
    b, t = place.shape[:2]
    frame = torch.arange(b * t, device=place.device).view(b, t, 1, 1) * size
    index = (frame + place).flatten()
    cells = _list_cells(place)
    ones = torch.cat([cells, torch.ones_like(cells[..., :1])], -1).expand(b, t, -1, -1, -1)
    sums = ones.new_zeros(b * t * size, 3).index_add(0, index, ones.reshape(-1, 3))
    sums = sums.view(b, t, size, 3)[:, :, 1:]
    return sums[..., :2] / sums[..., 2:], sums[..., 2] > 0


def _paint(place: Tensor, values: Float[Tensor, "B T I 2"]) -> Float[Tensor, "B T 2 X Y"]:
    """Return maps with the values of an instance in its cells, and NaN outside instances."""
    background = values.new_full((*values.shape[:2], 1, 2), torch.nan)
    table = torch.cat([background, values], 2)
    index = place.flatten(2)[..., None].expand(-1, -1, -1, 2)
    return table.gather(2, index).view(*place.shape, 2).movedim(-1, 2)


DISCOUNT = 0.95  # factor on the weight per future frame
LATERAL = 10.0  # weight of lateral errors, as in SAD
NEAR = 0.5  # [m] more distance from the true path makes a candidate e times less probable


def discount_frames(
    losses: Float[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Return the mean over windows and frames, in which later frames weigh less."""
    weights = DISCOUNT ** torch.arange(losses.shape[1], device=losses.device)
    return (losses * weights / weights.sum()).sum(1).mean()


def segmentation_loss(
    logits: Float[Tensor, "B T X Y"],
    truth: Bool[Tensor, "B T X Y"],
    weight: float,
    hardest: float,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of a class over its hardest cells in each frame.

    weight: weight of a cell of the class; other cells weigh 1.
    hardest: share of cells that count, those of highest loss.
    """
    positive = torch.tensor(weight, device=logits.device)
    losses = F.binary_cross_entropy_with_logits(
        logits, truth.to(logits), reduction="none", pos_weight=positive
    ).flatten(2)
    counted = losses.topk(max(1, int(hardest * losses.shape[2])), dim=2).values
    return discount_frames(counted.mean(2))


def centre_loss(
    logits: Float[Tensor, "B T X Y"], truth: Float[Tensor, "B T X Y"]
) -> Float[Tensor, ""]:
    """Return the squared error of the heat."""
    return discount_frames((logits.sigmoid() - truth).square().mean((2, 3)))


def displacement_loss(
    predicted: Float[Tensor, "B T 2 X Y"], truth: Float[Tensor, "B T 2 X Y"]
) -> Float[Tensor, ""]:
    """Return the absolute error of offset or flow; cells whose truth is NaN do not count."""
    known = ~truth.isnan()
    error = (predicted - truth.nan_to_num()).abs() * known
    return discount_frames(error.sum((2, 3, 4)) / known.sum((2, 3, 4)).clamp(min=1))


def motion_loss(
    predicted: Float[Tensor, "B 2 X Y"],
    flow: Float[Tensor, "B 2 X Y"],
    inside: Bool[Tensor, "B X Y"],
) -> Float[Tensor, ""]:
    """Return the absolute error [cells] inside vehicles plus that outside, where motion is 0.

    Vehicles that leave the grid have no flow (NaN) and do not count.
    """
    known = inside & ~flow.isnan().any(1)
    moving = (predicted - flow.nan_to_num()).abs().sum(1) * known
    still = predicted.abs().sum(1) * ~inside
    return moving.sum() / known.sum().clamp(min=1) + still.sum() / (~inside).sum().clamp(min=1)


def depth_loss(
    logits: Float[Tensor, "*K D h w"], measured: Float[Tensor, "*K h w"], depth: Depth
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the bins of measured depths [m]; 0 without measurements."""
    bins = ((measured - depth.first) / depth.step).floor()
    known = (bins >= 0) & (bins < depth.bins)  # False for NaN
    target = torch.where(known, bins.nan_to_num(), 0).long()
    log_p = logits.log_softmax(-3).gather(-3, target.unsqueeze(-3)).squeeze(-3)
    return -(log_p * known).sum() / known.sum().clamp(min=1)


def margin_loss(
    truth: Costs, candidates: Costs, distance: Float[Tensor, "B M"]
) -> Float[Tensor, ""]:
    """Return the largest violation of the margin by a candidate.

    A candidate should cost more than the true path, by at least the distance between the two
    [m]. Frames in which the candidate costs more count as 0. truth: costs of one path, M = 1.
    """
    frames = F.relu(truth.frames - candidates.frames).sum(-1)
    whole = truth.whole - candidates.whole
    return F.relu(frames + whole + distance).amax(1).mean()


def choice_loss(candidates: Costs, distance: Float[Tensor, "B M"]) -> Float[Tensor, ""]:
    """Return the cross-entropy of candidates, whose probabilities are a soft-max of costs.

    distance: distance from the true path [m]; the soft-max of -distance / NEAR gives the target
    probabilities.
    """
    target = (-distance / NEAR).softmax(1)
    return -(target * (-candidates.total).log_softmax(1)).sum(1).mean()


def path_loss(
    path: Float[Tensor, "B F 3"], truth: Float[Tensor, "B F 3"], shown: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Return the smooth absolute error along x plus ten times that along y.

    shown: windows that count; the refinement uses images, and those of other windows show the
    view from another start. The loss is 0 if no window counts.
    """
    error = F.smooth_l1_loss(path[..., :2], truth[..., :2], reduction="none")
    error = (error * torch.tensor((1.0, LATERAL), device=error.device)).mean((1, 2))
    return (error * shown).sum() / shown.sum().clamp(min=1)


def weigh_losses(
    losses: Mapping[str, Float[Tensor, ""]], balance: Mapping[str, Float[Tensor, ""]]
) -> Float[Tensor, ""]:
    """Return the total loss; ``balance`` has the trained s of each task."""
    parts = [x * (-balance[k]).exp() / 2 + balance[k] / 2 for k, x in losses.items()]
    return torch.stack(parts).sum()


def compute_losses(
    config: DrivingConfig, outputs: DrivingOutputs, truth: Truth, tasks: Collection[str]
) -> dict[str, Float[Tensor, ""]]:
    """Return the loss of each of the ``tasks``."""
    maps, plan = outputs.maps, outputs.plan
    frames = maps["vehicle"].shape[1]
    masks = {
        "vehicle": truth.vehicle[:, :frames],
        "pedestrian": truth.pedestrian[:, :frames],
        "lane": truth.lane[:, None],
        "drivable": truth.drivable[:, None],
    }
    losses = {
        k: segmentation_loss(
            *(maps[k], masks[k], getattr(config.weights, k)),
            1.0 if k == "drivable" else config.hardest,
        )
        for k in masks
        if k in tasks
    }
    motion = outputs.motion if "motion" in tasks else None
    if "centre" in tasks or motion is not None:
        targets = make_instance_targets(truth.instance)
    if "centre" in tasks:
        losses["centre"] = centre_loss(maps["centre"], targets.centre[:, :frames])
        for name, target in (("offset", targets.offset), ("flow", targets.flow)):
            losses[name] = displacement_loss(maps[name], target[:, :frames])
    if motion is not None:
        losses["motion"] = motion_loss(motion, targets.flow[:, 0], truth.instance[:, 0] > 0)
    if "depth" in tasks and outputs.depth is not None:
        losses["depth"] = depth_loss(outputs.depth, truth.depth, config.depth)
    if plan is not None and plan.truth is not None:
        distance = (plan.candidates - truth.path[:, None])[..., :2].norm(dim=-1).mean(-1)
        if config.planner.loss == "margin":
            losses["choice"] = margin_loss(plan.truth, plan.costs, distance)
        else:
            losses["choice"] = choice_loss(plan.costs, distance)
        losses["path"] = path_loss(plan.path, truth.path, truth.shown)
    return losses
