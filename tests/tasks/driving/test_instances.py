import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from tasks.driving.instances import (
    InstanceMaps,
    assign_cells,
    decode_instances,
    find_centres,
    follow_instances,
)
from tasks.driving.losses import make_instance_targets


def true_maps(instance: np.ndarray) -> InstanceMaps:
    made = make_instance_targets(torch.from_numpy(instance[None]))
    arrays = [np.nan_to_num(x[0].numpy()) for x in made]
    return InstanceMaps(instance > 0, *arrays)


def drive(places: list[tuple[int, int, int]], frames: int = 4) -> np.ndarray:
    """Return masks of cars of 3 cells that start at (x, y) and move by a speed along x."""
    out = np.zeros((frames, 24, 24), np.int32)
    for number, (x, y, speed) in enumerate(places, 1):
        for t in range(frames):
            out[t, x + speed * t : x + speed * t + 3, y] = number
    return out


def same_partition(made: np.ndarray, truth: np.ndarray) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(made.ravel(), truth.ravel(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_true_maps_give_the_true_instances_back() -> None:
    truth = drive([(1, 3, 4), (18, 9, -2), (8, 20, 0)])
    made = decode_instances(true_maps(truth))
    assert same_partition(made, truth)


@settings(max_examples=20)
@given(st.lists(st.integers(-3, 4), min_size=1, max_size=4))
def test_lanes_of_cars_keep_their_numbers_at_any_speed(speeds: list[int]) -> None:
    truth = drive([(10, 1 + 6 * k, speed) for k, speed in enumerate(speeds)], frames=3)
    assert same_partition(decode_instances(true_maps(truth)), truth)


def test_without_flow_a_fast_car_becomes_another_one() -> None:
    truth = drive([(1, 3, 4)], frames=3)
    maps = true_maps(truth)._replace(flow=np.zeros((3, 2, 24, 24)))
    assert decode_instances(maps).max() == 3


def test_a_car_that_comes_later_gets_a_new_number() -> None:
    truth = drive([(1, 3, 1), (10, 9, 0)])
    truth[:2][truth[:2] == 2] = 0
    made = decode_instances(true_maps(truth))
    assert set(np.unique(made[:2])) == {0, 1}
    assert set(np.unique(made[2:])) == {0, 1, 2}


def test_a_middle_between_cells_is_one_instance() -> None:
    truth = drive([(1, 3, 4), (8, 20, 0)])
    wide = np.maximum(truth, np.roll(truth, 1, axis=2))  # two cells wide
    long = np.maximum(wide, np.roll(wide, 1, axis=1))  # and four long
    assert same_partition(decode_instances(true_maps(long)), long)
    assert len(find_centres(true_maps(long).centre[0])) == 2


def test_centres_are_peaks_above_a_tenth_the_surest_first() -> None:
    heat = np.zeros((8, 8))
    heat[1, 1], heat[1, 2], heat[5, 5], heat[0, 7], heat[7, 0] = 0.5, 0.4, 0.9, 0.1, 0.11
    assert find_centres(heat).tolist() == [[5, 5], [1, 1], [7, 0]]
    heat[5, 6] = heat[4, 6] = heat[1, 2] = 0.9  # as warm as a neighbour: the first is one
    heat[1, 1] = 0.9
    assert find_centres(heat).tolist() == [[1, 1], [4, 6], [7, 0]]
    many = np.zeros((40, 40))
    many[::2, ::2] = np.linspace(0.2, 1, 400).reshape(20, 20)
    assert len(find_centres(many)) == 100
    assert find_centres(many)[0].tolist() == [38, 38]


@pytest.mark.parametrize(
    "side", [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
)
def test_a_warmer_neighbour_on_any_side_takes_a_centre(side: tuple[int, int]) -> None:
    heat = np.zeros((5, 5))
    heat[2, 2], heat[2 + side[0], 2 + side[1]] = 0.5, 0.6
    assert find_centres(heat).tolist() == [[2 + side[0], 2 + side[1]]]


def test_cells_go_where_their_offset_points() -> None:
    vehicle = np.zeros((6, 6), bool)
    vehicle[2, 1:5] = True
    offset = np.zeros((2, 6, 6))
    offset[1, 2, 2] = 3.0
    centres = np.array([[2, 1], [2, 5]])
    found = assign_cells(vehicle, centres, offset)
    assert found[2].tolist() == [0, 1, 2, 1, 2, 0]  # of two as near, the first
    assert not assign_cells(vehicle, np.zeros((0, 2), np.int64), offset).any()


def test_partners_are_the_nearest_together_and_within_the_gate() -> None:
    before = np.array([[0.0, 0.0], [0.0, 2.0]])
    after = np.array([[0.0, 1.5], [0.0, -1.5], [9.0, 9.0]])
    assert follow_instances(before, after) == {0: 1, 1: 0}
    assert follow_instances(before, np.array([[0.0, 5.0]])) == {0: 1}
    assert follow_instances(before, np.array([[0.0, 5.1]])) == {}
    assert follow_instances(np.zeros((0, 2)), after) == {}
