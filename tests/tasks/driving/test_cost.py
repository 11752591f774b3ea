from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.world.instant import EGO_LENGTH, EGO_MIDDLE, EGO_WIDTH
from tasks.driving.cost import (
    AHEAD,
    FACTORS,
    LENGTH,
    WIDTH,
    Cost,
    Surroundings,
    compute_parts,
    derive_motion,
    interpolate,
    look_up,
    measure_distance,
    measure_miss,
    place_box,
    place_middle,
)
from tasks.driving.presets import small
from tasks.driving.sampler import EgoState

GRID = GroundGrid(x=(-16.0, 32.0), y=(-24.0, 24.0), step=1.0)
CONFIG = replace(small(), road_cells=1)


def straight(speed: float, y: float = 0.0, frames: int = 6) -> torch.Tensor:
    x = speed * 0.5 * torch.arange(1.0, frames + 1)
    return torch.stack([x, torch.full_like(x, y), torch.zeros_like(x)], -1)[None, None]


def empty(frames: int = 6) -> Surroundings:
    nx, ny = GRID.shape
    maps = torch.zeros(1, frames, nx, ny)
    return Surroundings(maps.clone(), torch.ones(1, nx, ny), torch.zeros(1, nx, ny), maps)


def cell(x: float, y: float) -> tuple[int, int]:
    i, j = GRID.cells(np.array([x, y]))
    return int(i), int(j)


def ahead(speed: float, target: tuple[float, float] = (20.0, 0.0)) -> EgoState:
    return EgoState(torch.tensor([speed]), torch.zeros(1), torch.tensor([target]))


def parts(path: torch.Tensor, around: Surroundings, speed: float) -> dict[str, torch.Tensor]:
    return compute_parts(path, around, ahead(speed), GRID, GRID)


def test_an_empty_road_costs_nothing_but_is_driven_along() -> None:
    found = parts(straight(8.0), empty(), 8.0)
    for name in ("safety", "headway", "lane", "rule", "learned", "comfort"):
        assert not found[name].any(), name
    assert found["progress"].item() == -24.0


def test_the_car_is_that_of_the_world() -> None:
    assert (LENGTH, WIDTH, AHEAD) == (EGO_LENGTH, EGO_WIDTH, EGO_MIDDLE)


def test_the_box_is_the_car_before_its_rear_axle() -> None:
    box = place_box(torch.tensor([2.0, 1.0, 0.0]), 1.0)
    low, high = box.amin(0), box.amax(0)
    torch.testing.assert_close(low, torch.tensor([2 + 1.44 - 2.042, 1 - 0.925]))
    torch.testing.assert_close(high, torch.tensor([2 + 1.44 + 2.042, 1 + 0.925]))
    turned = place_box(torch.tensor([2.0, 1.0, np.pi / 2]), 1.0)
    low, high = turned.amin(0), turned.amax(0)
    torch.testing.assert_close(low, torch.tensor([2 - 0.925, 1 + 1.44 - 2.042]))
    torch.testing.assert_close(high, torch.tensor([2 + 0.925, 1 + 1.44 + 2.042]))
    larger = place_box(torch.tensor([2.0, 1.0, 0.0]), 1.0, margin=1.0, ahead=10.0)
    torch.testing.assert_close(larger.amin(0), torch.tensor([12 + 1.44 - 3.042, 1 - 1.925]))
    middle = place_middle(torch.tensor([2.0, 1.0, np.pi / 2]))
    torch.testing.assert_close(middle, torch.tensor([2.0, 2.44]))


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_no_cell_under_the_box_is_missed(step: float) -> None:
    box = place_box(torch.tensor([0.3, 0.2, 0.4]), step)
    u = (box - torch.tensor([0.3, 0.2])) @ torch.tensor(
        [[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]], dtype=torch.float32
    )
    for axis in (0, 1):
        places = u[:, axis].sort().values
        assert places.diff().max() <= step


def test_what_stands_in_the_way_costs_in_its_frame_alone() -> None:
    around = empty()
    around.occupied[0, 2][cell(12.5 + 1.0, 0.5)] = 1
    safety = parts(straight(8.0), around, 8.0)["safety"][0, 0]
    # At 8 m/s the larger box counts 0.8 of the car's.
    torch.testing.assert_close(safety, torch.tensor([0.0, 0.0, 1.8, 0.0, 0.0, 0.0]))
    beside = empty()
    beside.occupied[0, 2][cell(13.5, 2.5)] = 1  # from 2 to 3 m aside: in the margin of 1.925 m
    assert not parts(straight(8.0), beside, 8.0)["safety"].any()
    beside.occupied[0, 2][cell(13.5, 1.5)] = 1
    safety = parts(straight(8.0), beside, 8.0)["safety"][0, 0]
    torch.testing.assert_close(safety, torch.tensor([0.0, 0.0, 0.8, 0.0, 0.0, 0.0]))


def test_headway_looks_10_m_ahead_and_at_the_road_alone() -> None:
    around = empty()
    around.occupied[0, 0][cell(4 + 10.5 + 1.44, 0.5)] = 1
    assert parts(straight(8.0), around, 8.0)["headway"][0, 0].tolist() == [1, 0, 0, 0, 0, 0]
    around.drivable[0][cell(4 + 10.5 + 1.44, 0.5)] = 0
    assert not parts(straight(8.0), around, 8.0)["headway"].any()


def test_missing_road_costs_and_beyond_the_grid_its_edge_goes_on() -> None:
    around = empty()
    around.drivable[:, :, : cell(0.0, -2.0)[1]] = 0  # all that is more than 2 m to the right
    # The box, 0.25 m larger, has four rows of points: 1.175 and 0.392 m to each side. Between
    # the middles of the last cells of the road and the next ones, -1.5 and -2.5 m, it fades.
    for y, share in ((-0.3, 0.0), (-0.825, 0.125), (-1.5, 1.39167 / 4), (-3.7, 1.0)):
        found = parts(straight(14.0, y=y), around, 14.0)["rule"]
        torch.testing.assert_close(found, torch.full((1, 1, 6), share), atol=1e-5, rtol=0)
    doubtful = around._replace(drivable=0.5 + around.drivable / 2)
    found = parts(straight(14.0, y=-3.7), doubtful, 14.0)["rule"]
    torch.testing.assert_close(found, torch.full((1, 1, 6), 0.5), atol=1e-5, rtol=0)


def test_a_divider_costs_by_how_near_it_is() -> None:
    around = empty()
    around.lane[:, :, cell(0, 0.5)[1]] = 1
    on, beside = (parts(straight(8.0, y), around, 8.0)["lane"] for y in (0.5, 1.5))
    assert on[0, 0, :5].tolist() == [1.0] * 5
    assert beside[0, 0, :5].tolist() == [0.0] * 5


def test_the_cost_volume_counts_at_the_middle_of_the_car() -> None:
    around = empty()
    learned = around.learned.clone()
    learned[0, 1][cell(8 + 1.44, 0.5)] = 3
    volume = around._replace(learned=learned)
    # Along x, 9.44 m are 0.06 from its middle; along y: at it, half way, a cell away.
    for y, share in ((0.5, 1.0), (0.0, 0.5), (-0.5, 0.0)):
        found = parts(straight(8.0, y), volume, 8.0)["learned"][0, 0]
        expected = torch.tensor([0, 3 * 0.94 * share, 0, 0, 0, 0])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_cost_volume_goes_on_beyond_the_grid() -> None:
    around = empty()
    learned = around.learned.clone()
    learned[:, :, -1] = 2
    found = parts(straight(16.0), around._replace(learned=learned), 16.0)["learned"]
    assert found[0, 0].tolist() == [0, 0, 0, 2, 2, 2]


def test_the_cost_volume_gets_a_gradient_where_a_path_goes() -> None:
    around = empty()
    learned = around.learned.clone().requires_grad_()
    parts(straight(8.0), around._replace(learned=learned), 8.0)["learned"].sum().backward()
    assert learned.grad is not None
    assert float(learned.grad.sum()) == pytest.approx(6, abs=1e-5)
    for y in (-0.5, 0.5):  # the path is between both
        assert float(learned.grad[0, 0][cell(5.44, y)]) == pytest.approx(0.47, abs=1e-5)


def test_comfort_is_what_exceeds_its_limits_squared() -> None:
    assert not parts(straight(8.0), empty(), 8.0)["comfort"].any()
    # From 10 to 8.5 m/s within a quarter of a second: -6 m/s^2, then 0: a jerk of 16 m/s^3.
    found = parts(straight(8.5), empty(), 10.0)["comfort"]
    torch.testing.assert_close(found, torch.tensor([[3.0**2 + 15.0**2]]))


@pytest.mark.parametrize("acceleration", [-4.0, -2.5, 2.0])
def test_an_even_acceleration_has_no_jerk(acceleration: float) -> None:
    path = straight(0.0)
    t = 0.5 * torch.arange(1.0, 7.0)
    path[..., 0] = 12.0 * t + acceleration * t.square() / 2
    motion = derive_motion(path, torch.tensor([12.0]))
    expected = torch.full((1, 1, 6), acceleration)
    torch.testing.assert_close(motion.longitudinal, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(motion.jerk, torch.zeros(1, 1, 5), atol=1e-3, rtol=0)


def test_lateral_acceleration_is_speed_by_yaw_rate() -> None:
    path = straight(8.0)
    path[..., 2] = 0.25 * torch.arange(1.0, 7.0)  # 0.5 rad/s
    motion = derive_motion(path, torch.tensor([8.0]))
    torch.testing.assert_close(motion.lateral, torch.full((1, 1, 6), 4.0))
    found = parts(path, empty(), 8.0)["comfort"]
    torch.testing.assert_close(found, torch.tensor([[1.0]]))


def test_motion_is_that_of_differences() -> None:
    path = straight(0.0)
    path[0, 0, :, 0] = torch.tensor([1.0, 3.0, 6.0, 10.0, 15.0, 21.0])
    motion = derive_motion(path, torch.tensor([1.75]))
    assert motion.speed[0, 0].tolist() == [2, 4, 6, 8, 10, 12]
    assert motion.longitudinal[0, 0].tolist() == [1, 4, 4, 4, 4, 4]
    assert motion.jerk[0, 0].tolist() == [8, 0, 0, 0, 0]
    assert motion.way.item() == 21


def test_distances_are_those_of_scipy_up_to_their_reach() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((2, 20, 17)) < 0.05
    for reach in (1.0, 2.0, 3.5):
        found = measure_distance(torch.from_numpy(mask).float(), 0.5, reach)
        true = np.stack([0.5 * distance_transform_edt(~m) for m in mask])
        np.testing.assert_allclose(found.numpy(), np.minimum(true, reach), atol=1e-6)


def test_values_are_looked_up_in_the_frame_and_window_of_the_point() -> None:
    nx, ny = GRID.shape
    maps = torch.arange(2 * 3 * nx * ny).float().view(2, 3, nx, ny)
    points = torch.tensor([[0.5, 0.5], [100.0, 0.5]]).expand(2, 4, 3, 2, 2)
    found = look_up(maps, points, GRID, -1.0)
    i, j = cell(0.5, 0.5)
    for b in range(2):
        for f in range(3):
            assert found[b, :, f, 0].unique().tolist() == [float(maps[b, f, i, j])]
    assert found[..., 1].unique().tolist() == [-1.0]


def test_between_cells_lie_the_values_between_in_the_frame_and_window_of_the_point() -> None:
    nx, ny = GRID.shape
    maps = torch.randn(2, 3, nx, ny, generator=torch.Generator().manual_seed(0))
    i, j = cell(0.5, 0.5)
    points = torch.tensor([[0.5, 0.5], [1.0, 0.5], [0.5, 0.25], [100.0, 0.5]])
    found = interpolate(maps, points.expand(2, 5, 3, 4, 2), GRID)
    middle, next_x, next_y = maps[:, :, i, j], maps[:, :, i + 1, j], maps[:, :, i, j - 1]
    at = (middle, (middle + next_x) / 2, 0.75 * middle + 0.25 * next_y, maps[:, :, nx - 1, j])
    expected = torch.stack(at, -1)[:, None].expand(2, 5, 3, 4)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    apart = 20 * torch.rand(2, 5, 3, 4, 2, generator=torch.Generator().manual_seed(1)) - 5
    whole = interpolate(maps, apart, GRID)
    for m, f in ((0, 1), (3, 0), (4, 2)):
        part = interpolate(maps[:, f : f + 1], apart[:, m : m + 1, f : f + 1], GRID)
        torch.testing.assert_close(whole[:, m, f], part[:, 0, 0])
    one = interpolate(maps[:, :1], points.expand(2, 5, 3, 4, 2), GRID)
    torch.testing.assert_close(one, found[:, :, :1].expand(2, 5, 3, 4), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("target", "miss"),
    [
        ((10.0, 0.0), 0.0),  # on the path
        ((10.0, 3.0), 3.0),
        ((40.0, -2.0), 2.0),  # beside the prolonged path, which ends at 24 + 30 m
        ((57.0, 4.0), 5.0),  # beyond its end
        ((-3.0, 4.0), 5.0),  # behind the car
        ((10.0, -30.0), 10.0),  # the largest distance that counts
    ],
)
def test_a_target_costs_its_distance_from_the_prolonged_path(
    target: tuple[float, float], miss: float
) -> None:
    found = measure_miss(straight(8.0), torch.tensor([target]))
    assert found.tolist() == [[pytest.approx(miss)]]


def test_the_path_goes_on_along_its_last_heading() -> None:
    turned = straight(2.0)
    turned[..., 2] = torch.linspace(0, np.pi / 2, 6)  # its places stay on the x axis, to 6 m
    other = straight(2.0, y=-1.0)
    targets = torch.tensor([[6.0, 20.0], [3.0, -3.0]])
    found = measure_miss(torch.cat([turned, other], 1).expand(2, -1, -1, -1), targets)
    torch.testing.assert_close(found, torch.tensor([[0.0, 10.0], [3.0, 2.0]]))


def test_who_knows_no_target_pays_nothing_for_it() -> None:
    planners = [replace(CONFIG.planner, start=1.0, navigation=n) for n in ("command", "target")]
    blind, knows = (Cost(replace(CONFIG, planner=p)) for p in planners)
    path, around = straight(8.0), empty()
    near, far = (ahead(8.0, target) for target in ((20.0, 0.0), (20.0, 4.0)))
    assert len(blind.log_weight) == len(knows.log_weight) - 1
    assert blind(path, around, near).total.equal(blind(path, around, far).total)
    gain = knows(path, around, far).total - knows(path, around, near).total
    torch.testing.assert_close(gain, torch.tensor([[4.0 * FACTORS["target"]]]))


def test_weights_are_the_published_ones_at_first_and_learned_or_not() -> None:
    around, path = empty(), straight(8.0)
    around.occupied[0, 2][cell(13.5, 0.5)] = 1
    published = replace(CONFIG, planner=replace(CONFIG.planner, start=1.0))
    costs = Cost(published)(path, around, ahead(8.0))
    found = parts(path, around, 8.0)
    frames = sum(FACTORS[k] * found[k] for k in ("safety", "headway", "lane", "rule"))
    torch.testing.assert_close(costs.frames, torch.as_tensor(frames))
    torch.testing.assert_close(costs.whole, torch.tensor([[-12.0]]))
    torch.testing.assert_close(costs.total, costs.frames.sum(-1) - 12)
    halved = Cost(replace(CONFIG, planner=replace(CONFIG.planner, start=0.5)))
    torch.testing.assert_close(halved(path, around, ahead(8.0)).total, costs.total / 2)
    constant = replace(CONFIG, planner=replace(CONFIG.planner, weights="constant"))
    assert Cost(CONFIG).log_weight.requires_grad
    assert not Cost(constant).log_weight.requires_grad


def test_missing_road_costs_more_by_the_caution_when_it_drives() -> None:
    around = empty()._replace(drivable=torch.full((1, *GRID.shape), 0.75))
    cost = Cost(replace(CONFIG, planner=replace(CONFIG.planner, start=1.0, caution=3.0)))
    path, ego = straight(8.0), ahead(8.0)
    trained, driven = (cost.train(mode)(path, around, ego).frames for mode in (True, False))
    rule = 0.25 * FACTORS["rule"]
    torch.testing.assert_close(driven - trained, torch.full((1, 1, 6), 2 * rule))
    plain = Cost(replace(CONFIG, planner=replace(CONFIG.planner, start=1.0, caution=1.0)))
    assert plain.eval()(path, around, ego).frames.equal(trained)


def test_a_larger_box_must_be_on_the_road_when_it_drives() -> None:
    drivable = torch.zeros(1, *GRID.shape)
    drivable[:, :, 22:26] = 1.0  # to 2 m on each side: 1 up to 1.5 m, 0 from 2.5 m on
    around, path, ego = empty()._replace(drivable=drivable), straight(8.0), ahead(8.0)
    planner = replace(CONFIG.planner, start=1.0, caution=1.0, verge=1.0)
    cost = Cost(replace(CONFIG, planner=planner))
    trained, driven = (cost.train(mode)(path, around, ego).frames for mode in (True, False))
    # Two of five points across the larger box, 1.925 m aside, see 0.575 of the road.
    missing = FACTORS["rule"] * 2 * 0.425 / 5
    torch.testing.assert_close(driven - trained, torch.full((1, 1, 6), missing))
    usual = Cost(replace(CONFIG, planner=replace(planner, verge=0.25)))
    assert usual.eval()(path, around, ego).frames.equal(trained)
