"""Losses: what each task is trained by, and how they are weighed against each other.

    total = sum over tasks of loss exp(-s) / 2 + s / 2          s: trained, one a task

(Kendall et al. 2018). Segmentation: cross-entropy of the hardest cells in a frame, of the
road that of all; centre: squared error; offset and flow: absolute error where there is
an instance; all of future frames discounted by 0.95 a frame. Motion: absolute error, in
vehicles and outside. Depth: cross-entropy where it was
measured. Path: the greatest violation of a margin by a candidate, or the cross-entropy of all
candidates; and the error of the refined path, where images show what the car sees.
Axes: B windows, T present and future frames, F future frames, M candidates, X and Y cells.
"""

from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from tasks.driving.batch import Truth
from tasks.driving.config import Depth, DrivingConfig
from tasks.driving.cost import Costs
from tasks.driving.model import DrivingOutputs
from tasks.driving.targets import make_instance_targets

DISCOUNT = 0.95  # of each frame further in the future
LATERAL = 10.0  # weight of errors to the side, SAD's
NEAR = 0.5  # [m] from the true path at which a candidate is by a factor e less probable


def discount_frames(
    losses: Float[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Return the mean over windows and frames, weighed by how near in time they are."""
    weights = DISCOUNT ** torch.arange(losses.shape[1], device=losses.device)
    return (losses * weights / weights.sum()).sum(1).mean()


def segmentation_loss(
    logits: Float[Tensor, "B T X Y"],
    truth: Bool[Tensor, "B T X Y"],
    weight: float,
    hardest: float,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of a class, of its hardest cells in each frame.

    weight: of a cell that is of the class. hardest: share of cells that count.
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
    made: Float[Tensor, "B T 2 X Y"], truth: Float[Tensor, "B T 2 X Y"]
) -> Float[Tensor, ""]:
    """Return the absolute error of offset or flow, where the truth is not NaN; else 0."""
    known = ~truth.isnan()
    error = (made - truth.nan_to_num()).abs() * known
    return discount_frames(error.sum((2, 3, 4)) / known.sum((2, 3, 4)).clamp(min=1))


def motion_loss(
    made: Float[Tensor, "B 2 X Y"],
    flow: Float[Tensor, "B 2 X Y"],
    inside: Bool[Tensor, "B X Y"],
) -> Float[Tensor, ""]:
    """Return the absolute error [cells] in vehicles, plus that outside, which stays.

    Vehicles that leave have no flow (NaN), and do not count.
    """
    known = inside & ~flow.isnan().any(1)
    moving = (made - flow.nan_to_num()).abs().sum(1) * known
    still = made.abs().sum(1) * ~inside
    return moving.sum() / known.sum().clamp(min=1) + still.sum() / (~inside).sum().clamp(min=1)


def depth_loss(
    logits: Float[Tensor, "*K D h w"], measured: Float[Tensor, "*K h w"], depth: Depth
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the bins of measured depths [m]; 0 if there is none."""
    bins = ((measured - depth.first) / depth.step).floor()
    known = (bins >= 0) & (bins < depth.bins)  # NaN is neither
    target = torch.where(known, bins.nan_to_num(), 0).long()
    log_p = logits.log_softmax(-3).gather(-3, target.unsqueeze(-3)).squeeze(-3)
    return -(log_p * known).sum() / known.sum().clamp(min=1)


def margin_loss(
    truth: Costs, candidates: Costs, distance: Float[Tensor, "B M"]
) -> Float[Tensor, ""]:
    """Return by how much a candidate is not dearer than the true path by its distance [m].

    truth: of one path, M = 1. The greatest of all candidates counts; frame by frame, a
    candidate that is dearer gains nothing.
    """
    frames = F.relu(truth.frames - candidates.frames).sum(-1)
    whole = truth.whole - candidates.whole
    return F.relu(frames + whole + distance).amax(1).mean()


def choice_loss(candidates: Costs, distance: Float[Tensor, "B M"]) -> Float[Tensor, ""]:
    """Return the cross-entropy of candidates: the cheaper, the more probable, by soft-max.

    distance: from the true path [m]; by soft-max, too, it says how probable each should be.
    """
    aim = (-distance / NEAR).softmax(1)
    return -(aim * (-candidates.total).log_softmax(1)).sum(1).mean()


def path_loss(
    path: Float[Tensor, "B F 3"], truth: Float[Tensor, "B F 3"], shown: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Return the smooth absolute error along x and, ten times, along y; 0 of no window.

    shown: windows that count: what refines a path sees their images.
    """
    error = F.smooth_l1_loss(path[..., :2], truth[..., :2], reduction="none")
    error = (error * torch.tensor((1.0, LATERAL), device=error.device)).mean((1, 2))
    return (error * shown).sum() / shown.sum().clamp(min=1)


def weigh_losses(
    losses: Mapping[str, Float[Tensor, ""]], balance: Mapping[str, Float[Tensor, ""]]
) -> Float[Tensor, ""]:
    """Return the sum of the losses of tasks, weighed by their s."""
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
    found = {
        k: segmentation_loss(
            *(maps[k], masks[k], getattr(config.weights, k)),
            1.0 if k == "drivable" else config.hardest,
        )
        for k in masks
        if k in tasks
    }
    moved = outputs.motion if "motion" in tasks else None
    if "centre" in tasks or moved is not None:
        aims = make_instance_targets(truth.instance)
    if "centre" in tasks:
        found["centre"] = centre_loss(maps["centre"], aims.centre[:, :frames])
        for name, aim in (("offset", aims.offset), ("flow", aims.flow)):
            found[name] = displacement_loss(maps[name], aim[:, :frames])
    if moved is not None:
        found["motion"] = motion_loss(moved, aims.flow[:, 0], truth.instance[:, 0] > 0)
    if "depth" in tasks and outputs.depth is not None:
        found["depth"] = depth_loss(outputs.depth, truth.depth, config.depth)
    if plan is not None and plan.truth is not None:
        away = (plan.candidates - truth.path[:, None])[..., :2].norm(dim=-1).mean(-1)
        if config.planner.loss == "margin":
            found["choice"] = margin_loss(plan.truth, plan.costs, away)
        else:
            found["choice"] = choice_loss(plan.costs, away)
        found["path"] = path_loss(plan.path, truth.path, truth.shown)
    return found
