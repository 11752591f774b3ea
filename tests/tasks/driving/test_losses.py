import math
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from driving_windows import make_window, small_config

from tasks.driving.batch import make_batch
from tasks.driving.config import ClassWeights, Depth
from tasks.driving.cost import Costs
from tasks.driving.losses import (
    centre_loss,
    choice_loss,
    compute_losses,
    depth_loss,
    discount_frames,
    displacement_loss,
    margin_loss,
    motion_loss,
    path_loss,
    segmentation_loss,
    weigh_losses,
)
from tasks.driving.model import DrivingOutputs


def test_later_frames_count_less() -> None:
    losses = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    whole = 1 + 0.95 + 0.95**2
    assert discount_frames(losses).item() == pytest.approx((1 + 0.95**2) / whole / 2)


def test_segmentation_is_the_cross_entropy_of_the_hardest_cells() -> None:
    logits = torch.full((1, 1, 4, 4), -20.0)
    truth = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    assert segmentation_loss(logits, truth, 2.0, 0.25).item() == pytest.approx(0, abs=1e-6)
    truth[0, 0, 0, 0] = True  # costs 20 by the weight of 2, one of four cells that count
    assert segmentation_loss(logits, truth, 2.0, 0.25).item() == pytest.approx(2 * 20 / 4)
    assert segmentation_loss(logits, truth, 10.0, 0.25).item() == pytest.approx(10 * 20 / 4)
    assert segmentation_loss(logits, truth, 1.0, 1.0).item() == pytest.approx(20 / 16)


def test_one_logit_is_the_soft_max_of_two() -> None:
    rng = torch.Generator().manual_seed(0)
    pair = torch.randn(2, 1, 2, 4, 4, generator=rng)
    truth = torch.rand(1, 2, 4, 4, generator=rng) < 0.5
    ours = segmentation_loss(pair[1] - pair[0], truth, 1.0, 1.0)
    theirs = F.cross_entropy(pair.movedim(0, 1), truth.long(), reduction="none").mean((2, 3))
    torch.testing.assert_close(ours, discount_frames(theirs))


def test_centres_are_compared_as_heat() -> None:
    truth = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert centre_loss(torch.zeros(1, 1, 1, 2), truth).item() == pytest.approx(0.25)


def test_displacements_count_in_instances_alone() -> None:
    truth = torch.full((1, 1, 2, 2, 2), torch.nan)
    truth[0, 0, :, 0, 0] = torch.tensor([1.0, -2.0])
    made = torch.full_like(truth, 3.0).requires_grad_()
    loss = displacement_loss(made, truth)
    assert loss.item() == pytest.approx((2 + 5) / 2)
    loss.backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()
    assert made.grad[0, 0, 0].tolist() == [[0.5, 0], [0, 0]]
    none = torch.full_like(truth, torch.nan)
    assert displacement_loss(made, none).item() == 0


def test_motion_is_that_of_vehicles_and_none_outside() -> None:
    inside = torch.tensor([[[True, True], [False, True]]])
    flow = torch.tensor([[1.0, torch.nan], [torch.nan, -2.0]]).expand(1, 2, 2, 2)
    made = torch.tensor([[0.5, 7.0], [0.25, 0.0]]).expand(1, 2, 2, 2)
    expected = (2 * 0.5 + 2 * 2.0) / 2 + 2 * 0.25 / 1
    assert motion_loss(made, flow, inside).item() == pytest.approx(expected)
    none, nobody = torch.full_like(flow, torch.nan), torch.zeros_like(inside)
    assert motion_loss(made, none, nobody).item() == pytest.approx(2 * (0.5 + 7 + 0.25) / 4)


def test_depth_counts_where_it_was_measured_within_the_bins() -> None:
    depth = Depth(first=2.0, last=10.0, step=2.0)
    logits = torch.zeros(1, 4, 1, 5)
    logits[0, :, 0, 1] = torch.tensor([0.0, math.log(3), 0.0, 0.0])
    measured = torch.tensor([[[math.nan, 5.9, 1.9, 10.0, 40.0]]])
    assert depth_loss(logits, measured, depth).item() == pytest.approx(-math.log(3 / 6))
    assert depth_loss(logits, torch.full_like(measured, math.nan), depth).item() == 0
    edge = torch.tensor([[[2.0, 9.99, math.nan, math.nan, math.nan]]])
    expected = (math.log(4) + math.log(6)) / 2
    assert depth_loss(logits, edge, depth).item() == pytest.approx(expected)


def test_the_margin_grows_with_distance_and_the_worst_candidate_counts() -> None:
    truth = Costs(torch.tensor([[[1.0, 5.0]]]), torch.tensor([[2.0]]))
    candidates = Costs(
        torch.tensor([[[3.0, 3.0], [9.0, 9.0], [1.0, 5.0]]]), torch.tensor([[2.0, 20.0, 2.0]])
    )
    distance = torch.tensor([[1.0, 10.0, 0.0]])
    # Candidate 0: 2 in the second frame, nothing gained in the first, and 1 m.
    assert margin_loss(truth, candidates, distance).item() == pytest.approx(3.0)
    cheap = Costs(candidates.frames, torch.tensor([[2.0, -5.0, 2.0]]))
    assert margin_loss(truth, cheap, distance).item() == pytest.approx(7 + 10)
    dear = Costs(torch.full((1, 3, 2), 9.0), torch.full((1, 3), 90.0))
    assert margin_loss(truth, dear, distance).item() == 0


def test_the_choice_is_a_soft_max_of_costs_that_should_be_one_of_distances() -> None:
    costs = Costs(torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]), torch.tensor([[0.0, 1.0]]))
    p = math.exp(-2) / (math.exp(-2) + math.exp(-1))  # of the first: 2 beside 1
    q = 1 / (1 + math.exp(-2))  # it is 1 m nearer, two times 0.5 m
    expected = -q * math.log(p) - (1 - q) * math.log(1 - p)
    found = choice_loss(costs, torch.tensor([[3.0, 4.0]]))
    assert found.item() == pytest.approx(expected)
    best = Costs(torch.zeros(1, 2, 1), torch.tensor([[6.0, 8.0]]))  # costs are distances / 0.5
    least = -q * math.log(q) - (1 - q) * math.log(1 - q)
    assert choice_loss(best, torch.tensor([[3.0, 4.0]])).item() == pytest.approx(least)


def test_errors_to_the_side_count_tenfold_and_headings_do_not() -> None:
    truth = torch.zeros(1, 2, 3)
    along, aside, turned = truth.clone(), truth.clone(), truth.clone()
    along[..., 0], aside[..., 1], turned[..., 2] = 2.0, 2.0, 2.0
    shown = torch.tensor([True])
    assert path_loss(along, truth, shown).item() == pytest.approx(1.5 / 2)
    assert path_loss(aside, truth, shown).item() == pytest.approx(10 * 1.5 / 2)
    assert path_loss(turned, truth, shown).item() == 0
    # Of two windows, the one whose images show where it starts.
    both = torch.cat([along, aside]), torch.zeros(2, 2, 3)
    assert path_loss(*both, torch.tensor([True, False])).item() == pytest.approx(1.5 / 2)
    assert path_loss(*both, torch.tensor([False, False])).item() == 0


def test_tasks_are_weighed_by_their_uncertainty() -> None:
    losses = {"a": torch.tensor(4.0), "b": torch.tensor(1.0)}
    balance = {"a": torch.tensor(math.log(4)), "b": torch.tensor(0.0), "c": torch.tensor(9.0)}
    assert weigh_losses(losses, balance).item() == pytest.approx(0.5 + math.log(4) / 2 + 0.5)


def test_each_class_has_its_own_weight_mask_and_share_of_cells() -> None:
    weights = ClassWeights(vehicle=2.0, pedestrian=3.0, lane=5.0, drivable=7.0)
    config = replace(small_config(), weights=weights, hardest=0.25)
    truth = make_batch([make_window(config)]).truth
    rng = torch.Generator().manual_seed(0)
    maps = {
        k: torch.randn(1, 1, *config.find_grid(k).shape, generator=rng)
        for k in asdict(config.weights)
    }
    outputs = DrivingOutputs(torch.zeros(1, 1, 1, 1, 1, 1), maps, None, None, {})
    found = compute_losses(config, outputs, truth, tuple(maps))
    masks = {
        "vehicle": (truth.vehicle[:, :1], 2.0, 0.25),
        "pedestrian": (truth.pedestrian[:, :1], 3.0, 0.25),
        "lane": (truth.lane[:, None], 5.0, 0.25),
        "drivable": (truth.drivable[:, None], 7.0, 1.0),
    }
    for name, (mask, weight, share) in masks.items():
        assert found[name] == segmentation_loss(maps[name], mask, weight, share)
