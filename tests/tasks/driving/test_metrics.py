import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from drivers.nuscenes.grid import GroundGrid
from tasks.driving.cost import AHEAD, LENGTH, WIDTH
from tasks.driving.metrics import (
    Overlap,
    Panoptic,
    PathErrors,
    add_counts,
    count_overlap,
    count_segments,
    find_hits,
    find_still,
    join_errors,
    measure_paths,
    summarise_paths,
)

GRID = GroundGrid(x=(-16.0, 32.0), y=(-24.0, 24.0), step=1.0)
MASKS = arrays.arrays(bool, (2, 4, 4))
SEGMENTS = arrays.arrays(np.int64, (3, 5, 5), elements=st.integers(0, 3))


@given(MASKS, MASKS, MASKS)
def test_overlap_is_counted_over_what_is_not_ignored(
    made: np.ndarray, truth: np.ndarray, aside: np.ndarray
) -> None:
    found = count_overlap(made, truth, aside)
    kept = ~aside
    assert found.hits == np.sum(made[kept] & truth[kept])
    assert found.hits + found.false == np.sum(made[kept])
    assert found.hits + found.missed == np.sum(truth[kept])
    assert count_overlap(truth, made).iou == pytest.approx(
        count_overlap(made, truth).iou, nan_ok=True
    )


def test_iou_is_of_the_sums_and_not_the_mean() -> None:
    sums = add_counts([Overlap(1, 1, 0), Overlap(0, 0, 8)])
    assert sums.iou == 0.1
    assert sums == Overlap(1, 1, 8)
    assert math.isnan(Overlap(0, 0, 0).iou)
    assert Panoptic(0.0, 0, 2, 1).quality == (0.0, 0.0, 0.0)  # all wrong is not nothing
    both = add_counts([Panoptic(0.5, 1, 2, 3), Panoptic(0.75, 1, 0, 0)])
    assert both == Panoptic(1.25, 2, 2, 3)


def segments(*cells: tuple[int, int, slice]) -> np.ndarray:
    out = np.zeros((3, 4, 12), np.int64)
    for number, row, columns in cells:
        out[:, row, columns] = number
    return out


@given(SEGMENTS)
def test_the_truth_has_a_panoptic_quality_of_one(truth: np.ndarray) -> None:
    found = count_segments(truth, truth)
    assert found.false == found.missed == 0
    if found.hits:
        assert found.quality == (1.0, 1.0, 1.0)
    renamed = count_segments(truth * 7, truth)
    assert renamed == found


@given(SEGMENTS, SEGMENTS)
def test_pq_is_sq_by_rq_and_every_segment_is_counted(
    made: np.ndarray, truth: np.ndarray
) -> None:
    found = count_segments(made, truth)
    pq, sq, rq = found.quality
    assert pq == pytest.approx(sq * rq, nan_ok=True)
    true = sum(len(set(t.ravel()) - {0}) for t in truth)
    mine = sum(len(set(t.ravel()) - {0}) for t in made)
    assert found.hits + found.missed == true
    assert found.hits + found.false == mine


def test_a_match_needs_more_than_half() -> None:
    truth = segments((1, 0, slice(0, 4)))
    assert count_segments(segments((1, 0, slice(0, 2))), truth) == Panoptic(0.0, 0, 3, 3)
    assert count_segments(segments((1, 0, slice(0, 3))), truth) == Panoptic(2.25, 3, 0, 0)


def test_a_changed_number_is_one_false_and_one_missed_and_then_the_new_one() -> None:
    truth = segments((1, 0, slice(0, 4)))
    made = truth.copy()
    made[1:] *= 2
    assert count_segments(made, truth) == Panoptic(2.0, 2, 1, 1)


def test_ignored_instances_and_what_lies_on_them_do_not_count() -> None:
    truth = segments((1, 0, slice(0, 4)), (2, 2, slice(0, 4)))
    made = segments((1, 0, slice(0, 4)), (5, 2, slice(0, 4)), (6, 3, slice(0, 2)))
    assert count_segments(made, truth, frozenset({2})) == Panoptic(3.0, 3, 3, 0)
    partly = segments((1, 0, slice(0, 4)), (5, 2, slice(2, 5)))  # two of three cells on it
    assert count_segments(partly, truth, frozenset({2})) == Panoptic(3.0, 3, 0, 0)
    assert count_segments(partly * 0, truth, frozenset({2})) == Panoptic(0.0, 0, 0, 3)


def test_still_is_what_moves_less_than_a_metre() -> None:
    truth = np.zeros((3, 20, 20), np.int64)
    for t in range(3):
        truth[t, 2:5, 2] = 1
        truth[t, 8 + t : 11 + t, 6] = 2
    truth[0, 15:18, 15] = 3
    assert find_still(truth, GRID) == {1, 3}
    coarse = GroundGrid(x=(-4.0, 4.0), y=(-4.0, 4.0), step=0.4)
    assert find_still(truth, coarse) == {1, 2, 3}


def straight(y: float = 0.0) -> torch.Tensor:
    x = 4 * torch.arange(1.0, 7.0)
    return torch.stack([x, torch.full_like(x, y), torch.zeros_like(x)], -1)[None]


def occupied(frame: int, x: float, y: float) -> torch.Tensor:
    out = torch.zeros(1, 6, *GRID.shape, dtype=torch.bool)
    i, j = GRID.cells(np.array([x, y]))
    out[0, frame, i, j] = True
    return out


def test_a_hit_is_a_touched_cell_in_the_same_frame() -> None:
    path = straight()
    assert find_hits(path, occupied(2, 13.5, 0.5), GRID)[0].tolist() == [0, 0, 1, 0, 0, 0]
    # The box goes from 12 - 0.602 to 12 + 3.482 m, and 0.925 m to both sides.
    assert not find_hits(path, occupied(2, 10.5, 0.5), GRID).any()
    assert find_hits(path, occupied(2, 11.5, 0.5), GRID).any()
    assert find_hits(path, occupied(2, 15.4, -0.9), GRID).any()
    assert not find_hits(path, occupied(2, 16.1, 0.5), GRID).any()
    assert not find_hits(path, occupied(2, 13.5, 1.5), GRID).any()


def one_pose(x: float, y: float, yaw: float) -> torch.Tensor:
    return torch.tensor([[[x, y, yaw]]], dtype=torch.float64)


@given(
    yaw=st.floats(0.05, math.pi / 2 - 0.05),
    along=st.floats(-LENGTH / 2 + 0.3, LENGTH / 2 - 0.3),
    depth=st.floats(1e-6, 0.2),
    inside=st.booleans(),
)
def test_a_corner_of_a_cell_in_the_side_of_the_box_is_a_hit_however_little(
    yaw: float, along: float, depth: float, inside: bool
) -> None:
    cells = torch.zeros(1, 1, *GRID.shape, dtype=torch.bool)
    i, j = GRID.cells(np.array([5.5, 3.5]))
    cells[0, 0, i, j] = True
    corner = np.array([6.0, 3.0])  # of that cell: it lies left of the car
    cos, sin = math.cos(yaw), math.sin(yaw)
    u, v = AHEAD + along, WIDTH / 2 + (-depth if inside else depth)
    x, y = corner - np.array([u * cos - v * sin, u * sin + v * cos])
    assert find_hits(one_pose(x, y, yaw), cells, GRID).item() is inside


@given(
    x=st.floats(-3, 3),
    y=st.floats(-3, 3),
    yaw=st.floats(-7, 7),
    step=st.sampled_from([0.5, 1.0]),
)
def test_hits_are_those_of_polygons(x: float, y: float, yaw: float, step: float) -> None:
    geometry = pytest.importorskip("shapely")
    grid = GroundGrid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=step)
    u = np.array([1, 1, -1, -1]) * LENGTH / 2 + AHEAD
    v = np.array([1, -1, -1, 1]) * WIDTH / 2
    cos, sin = math.cos(yaw), math.sin(yaw)
    car = geometry.Polygon(np.stack([x + u * cos - v * sin, y + u * sin + v * cos], 1))
    low = grid.centres() - step / 2
    cells = geometry.box(low[..., 0], low[..., 1], low[..., 0] + step, low[..., 1] + step)
    apart = torch.from_numpy(geometry.distance(cells, car))
    shared = torch.from_numpy(geometry.area(geometry.intersection(cells, car)))
    n = apart.numel()  # each cell is occupied in a frame of its own
    alone = torch.eye(n, dtype=torch.bool).view(1, n, *grid.shape)
    found = find_hits(one_pose(x, y, yaw).expand(1, n, 3), alone, grid).view(grid.shape)
    assert not found[apart > 1e-9].any()
    assert found[shared > 1e-9].all()


def test_each_frame_of_each_window_is_held_against_its_own_cells() -> None:
    path = straight().repeat(2, 1, 1)
    cells = torch.cat([occupied(1, 9.5, 0.5), occupied(4, 21.5, 0.5)])
    found = find_hits(path, cells, GRID)
    assert found.tolist() == [[k == 1 for k in range(6)], [k == 4 for k in range(6)]]
    assert not find_hits(path, torch.zeros_like(cells), GRID).any()


def test_both_conventions_follow_their_definitions() -> None:
    distance = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
    hits = torch.tensor([[0, 0, 1, 1, 0, 0]], dtype=torch.bool)
    vehicles = torch.tensor([[0, 0, 0, 1, 0, 0]], dtype=torch.bool)
    found = summarise_paths(PathErrors(distance, hits, vehicles))
    assert found["l2_mean_1s"] == 0.5
    assert found["l2_mean_3s"] == 2.5
    assert (found["l2_at_1s"], found["l2_at_2s"], found["l2_at_3s"]) == (1, 3, 5)
    assert found["collision_mean_1s"] == 0
    assert found["collision_mean_2s"] == 0.5
    assert found["collision_mean_3s"] == pytest.approx(2 / 6)
    assert (found["collision_at_1s"], found["collision_at_2s"]) == (0, 1)
    assert found["collision_at_3s"] == 0


def test_paths_are_measured_against_vehicles_and_pedestrians() -> None:
    vehicle, pedestrian = occupied(1, 9.5, 0.5), occupied(3, 17.5, 0.5)
    errors = measure_paths(straight(), straight(3.0), vehicle, pedestrian, GRID)
    assert errors.distance.unique().tolist() == [3.0]
    assert errors.hits[0].tolist() == [0, 1, 0, 1, 0, 0]
    assert errors.vehicle_hits[0].tolist() == [0, 1, 0, 0, 0, 0]
    both = join_errors([errors, errors])
    assert both.distance.shape == (2, 6)


def test_what_the_true_box_hits_too_does_not_count() -> None:
    vehicle, pedestrian = occupied(1, 9.5, 0.5), occupied(3, 17.5, 0.5)
    clash = measure_paths(straight(), straight(), vehicle, pedestrian, GRID)
    assert not clash.hits.any()
    assert not clash.vehicle_hits.any()
    # The path hits a vehicle where the true box hits a pedestrian: one of vehicles alone.
    vehicle, pedestrian = occupied(3, 17.5, 0.5), occupied(3, 17.5, 3.5)
    mixed = measure_paths(straight(), straight(3.0), vehicle, pedestrian, GRID)
    assert mixed.hits[0].tolist() == [0, 0, 0, 0, 0, 0]
    assert mixed.vehicle_hits[0].tolist() == [0, 0, 0, 1, 0, 0]
