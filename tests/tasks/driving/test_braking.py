"""Braking on the path that was chosen."""

import math
from dataclasses import replace

import torch
from driving_windows import make_window, small_config

from neuro.base.seeds import seeded
from tasks.driving.batch import make_batch
from tasks.driving.cost import FACTORS, Surroundings
from tasks.driving.model import RATES, UNSURE, Planner, brake_along, doubt
from tasks.driving.sampler import EgoState

SMALL = small_config()


def go_straight(speed: float, frames: int = 6) -> torch.Tensor:
    x = speed * 0.5 * torch.arange(1.0, frames + 1)
    return torch.stack([x, 0 * x, 0 * x], -1)[None]


def test_the_first_is_as_planned_and_the_others_brake_evenly() -> None:
    driven = brake_along(go_straight(6.0), torch.tensor([6.0]))
    assert driven.shape == (1, 1 + len(RATES), 6, 3)
    torch.testing.assert_close(driven[:, 0], go_straight(6.0))
    # By 2 m/s^2 from 6 m/s: 6 t - t^2, until it stands after 3 s.
    slow = driven[0, 1 + RATES.index(2.0), :, 0]
    torch.testing.assert_close(slow, torch.tensor([2.75, 5.0, 6.75, 8.0, 8.75, 9.0]))
    # By 8 m/s^2 it stands after 0.75 s and 2.25 m.
    hard = driven[0, -1, :, 0]
    torch.testing.assert_close(hard, torch.tensor([2.0, *[2.25] * 5]))


def test_it_brakes_along_the_path_and_never_goes_farther() -> None:
    angle = torch.arange(1.0, 7.0) * 0.2  # a circle of 10 m, at 4 m/s
    path = torch.stack([10 * angle.sin(), 10 - 10 * angle.cos(), angle], -1)[None]
    driven = brake_along(path, torch.tensor([5.0]))[0]
    away = (driven[..., :2] - torch.tensor([0.0, 10.0])).norm(dim=-1)
    torch.testing.assert_close(away, torch.full_like(away, 10.0), atol=0.06, rtol=0)
    assert (driven[..., 0] <= path[0, :, 0] + 1e-5).all()
    # From 5 m/s by 0.5 m/s^2 it is farther than planned, up to the end: as planned.
    torch.testing.assert_close(driven[1], path[0])
    yaw = torch.atan2(driven[..., 0], 10 - driven[..., 1])
    torch.testing.assert_close(driven[..., 2], yaw, atol=0.02, rtol=0)


def test_who_stands_stays_or_goes_as_planned() -> None:
    driven = brake_along(go_straight(2.0), torch.tensor([0.0]))[0]
    torch.testing.assert_close(driven[0], go_straight(2.0)[0])
    assert not driven[1:].any()


def test_small_probabilities_are_none() -> None:
    given = torch.tensor([0.0, UNSURE, (1 + UNSURE) / 2, 1.0]).view(1, 1, 2, 2)
    torch.testing.assert_close(doubt(given).flatten(), torch.tensor([0.0, 0.0, 0.5, 1.0]))


def plan(braking: float, probability: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the paths before and with braking, in training and when it drives; in the second
    of two windows, others may be everywhere from 8 m ahead, but hardly count."""
    config = replace(SMALL, planner=replace(SMALL.planner, braking=braking, takes="mean"))
    with seeded(0):
        planner = Planner(config)
    planner.cost.log_weight.data[list(FACTORS).index("safety")] = math.log(1e-3)
    ego = make_batch([make_window(config, k) for k in range(2)]).seen.ego
    ego = EgoState(torch.full_like(ego.speed, 4.0), 0 * ego.yaw_rate, 0 * ego.target)
    none = torch.zeros(2, config.future, *config.grid.shape)
    occupied = none.clone()
    first, _ = config.grid.cells(torch.tensor([8.0, 0.0]).double().numpy())
    occupied[1, :, int(first) :] = probability
    road = torch.ones(2, *config.road.shape)
    around = Surroundings(occupied, road, none[:, 0], none)
    front = torch.zeros(2, config.channels, *config.feature_size)
    with torch.no_grad():
        trained, driven = (planner.train(m)(ego, around, front).path for m in (True, False))
    return trained, driven


def test_it_brakes_for_others_when_it_drives() -> None:
    trained, driven = plan(1e4, 0.9)
    assert torch.equal(trained[0], driven[0])  # nobody is there
    assert (driven[1, -1, 0] < trained[1, -1, 0] - 1).item()
    assert torch.equal(*plan(0.0, 0.9))
    assert torch.equal(*plan(1e4, UNSURE))  # too little to brake for


def test_how_much_others_count_decides_how_hard() -> None:
    (_, little), (_, much) = plan(1.0, 0.9), plan(1e4, 0.9)
    assert (much[1, -1, 0] < little[1, -1, 0]).item()
