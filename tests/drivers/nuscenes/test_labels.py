from dataclasses import replace

import numpy as np
from hypothesis import given, settings, strategies as st
from shapely.geometry import Polygon, box as rectangle

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import box_footprint
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.labels import draw_labels

GRID = GroundGrid(x=(-10.0, 10.0), y=(-5.0, 5.0), step=0.5)
HERE = np.zeros(3)
CAR = Box(
    instance="car", category="vehicle.car", x=4.25, y=0.25, z=0.8, yaw=0.0, width=1.5,
    length=4.0, height=1.6,
)  # fmt: skip
WALKER = replace(
    CAR,
    instance="walker",
    category="human.pedestrian.adult",
    x=0.1,
    y=2.1,
    width=0.7,
    length=0.7,
)


def test_a_box_covers_the_cells_of_its_corners_and_between() -> None:
    labels = draw_labels([[CAR, WALKER]], 1, HERE, GRID)
    x, y = np.nonzero(labels.vehicle[0])
    # x from 2.25 to 6.25 m, y from -0.5 to 1 m, of cells of 0.5 m from -10 and -5 m
    assert (x.min(), x.max(), y.min(), y.max()) == (24, 32, 9, 12)
    assert labels.vehicle.sum() == 9 * 4
    assert labels.instance.max() == 1
    x, y = np.nonzero(labels.pedestrian[0])
    assert (x.min(), x.max(), y.min(), y.max()) == (19, 20, 13, 14)


def test_labels_are_in_the_present_ego_frame() -> None:
    turned = np.array([4.25, 0.25, np.pi / 2])
    labels = draw_labels([[CAR]], 1, turned, GRID)
    x, y = np.nonzero(labels.vehicle[0])
    assert abs(x.mean() - 19.5) <= 0.5
    assert abs(y.mean() - 9.5) <= 0.5
    assert np.ptp(y) > np.ptp(x)  # it lies across


def test_what_is_hidden_is_not_drawn_until_it_is_seen() -> None:
    hidden = replace(CAR, visibility=1)
    assert not draw_labels([[hidden], [hidden]], 2, HERE, GRID).vehicle.any()
    late = draw_labels([[hidden], [CAR], [hidden]], 2, HERE, GRID)
    assert late.vehicle.any(axis=(1, 2)).tolist() == [False, True, True]
    walker = replace(WALKER, visibility=1)
    assert not draw_labels([[walker]], 1, HERE, GRID).pedestrian.any()


def test_the_future_holds_only_what_was_seen_before() -> None:
    other = replace(CAR, instance="other", x=-4.0)
    labels = draw_labels([[CAR], [CAR, other], [other, WALKER]], 1, HERE, GRID)
    assert labels.vehicle.any(axis=(1, 2)).tolist() == [True, True, False]
    assert not labels.pedestrian.any()
    assert set(np.unique(labels.instance)) == {0, 1}


def test_a_vehicle_has_one_number_in_all_frames() -> None:
    other = replace(CAR, instance="other", x=-4.0)
    labels = draw_labels([[CAR, other], [other, CAR]], 2, HERE, GRID)
    for number in (1, 2):
        first, second = labels.instance == number
        assert first.any()
        assert (first == second).all()
    assert ((labels.instance > 0) == labels.vehicle).all()


def test_a_box_across_the_border_is_drawn_as_one_inside() -> None:
    wide = replace(GRID, y=(GRID.y[0], GRID.y[1] + 10))
    car = replace(CAR, x=0.0, y=5.5, yaw=3.0, width=0.5, length=4.0)
    whole = draw_labels([[car]], 1, HERE, wide).vehicle[0]
    cut = draw_labels([[car]], 1, HERE, GRID).vehicle[0]
    assert whole[:, GRID.shape[1] :].any()
    np.testing.assert_array_equal(cut, whole[:, : GRID.shape[1]])


@given(
    st.floats(-12, 12), st.floats(-7, 7), st.floats(-3, 3), st.floats(0.5, 3), st.floats(3, 8)
)
@settings(max_examples=10)
def test_a_mask_is_the_box_up_to_a_cell(
    x: float, y: float, yaw: float, width: float, length: float
) -> None:
    car = replace(CAR, x=x, y=y, yaw=yaw, width=width, length=length)
    mask = draw_labels([[car]], 1, HERE, GRID).vehicle[0]
    outline = Polygon(box_footprint(car))
    inner, outer = outline.buffer(-GRID.step), outline.buffer(GRID.step)
    for (a, b), on in np.ndenumerate(mask):
        cell = rectangle(
            *(GRID.x[0] + 0.5 * a, GRID.y[0] + 0.5 * b), *(-9.5 + 0.5 * a, -4.5 + 0.5 * b)
        )
        if on:
            assert cell.intersects(outer)
        elif not inner.is_empty:
            assert not inner.contains(cell)
