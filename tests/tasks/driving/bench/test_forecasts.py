import numpy as np
from hypothesis import given, settings, strategies as st

from drivers.nuscenes.grid import GroundGrid
from tasks.driving.bench.window_results import (
    as_json,
    copy_present,
    find_prior,
    from_json,
    warp_instances,
)
from tasks.driving.evaluate import Forecast, count_forecast, make_counts, summarise_counts
from tasks.driving.metrics import count_overlap

GRID = GroundGrid(x=(0.0, 8.0), y=(0.0, 4.0), step=1.0)


def place(*cells: tuple[int, int, int]) -> np.ndarray:
    """Return a map of 8 x 4 cells with (number, i, j)."""
    out = np.zeros((8, 4), np.int64)
    for number, i, j in cells:
        out[i, j] = number
    return out


def test_instances_move_on_as_in_the_last_frame() -> None:
    before = place((1, 0, 0), (1, 1, 0), (2, 7, 2), (2, 7, 3))
    now = place((1, 2, 1), (1, 3, 1), (2, 6, 2), (2, 6, 3), (3, 5, 0))
    found = warp_instances(before, now, 3)
    assert np.array_equal(found[0], now)
    # 1 goes two ahead and one to the left, 2 one back, 3 is new and stays.
    second = place((1, 4, 2), (1, 5, 2), (2, 5, 2), (2, 5, 3), (3, 5, 0))
    assert np.array_equal(found[1], second)
    third = place((1, 6, 3), (1, 7, 3), (2, 4, 2), (2, 4, 3), (3, 5, 0))
    assert np.array_equal(found[2], third)


def test_what_leaves_the_grid_is_gone_and_half_cells_add_up() -> None:
    before, now = place((1, 5, 0), (1, 6, 0)), place((1, 6, 0), (1, 6, 1))
    found = warp_instances(before, now, 4)  # half a cell a frame, along both axes
    assert np.array_equal(found[2], place((1, 7, 1), (1, 7, 2)))
    longer = warp_instances(
        place((1, 0, 0), (1, 1, 0)), place(*((1, i, 0) for i in range(3))), 4
    )
    assert np.argwhere(longer[3])[:, 0].tolist() == [2, 3, 4]  # a step and a half are two
    gone = warp_instances(place((1, 4, 0)), place((1, 6, 0)), 2)
    assert gone[1].sum() == 0


def test_what_leaves_over_the_first_row_or_column_is_gone() -> None:
    """And does not come back at the other end."""
    found = warp_instances(
        place((1, 1, 0), (1, 2, 0), (2, 6, 1), (2, 6, 2)),
        place((1, 0, 0), (1, 1, 0), (2, 6, 0), (2, 6, 1)),
        3,
    )
    assert np.array_equal(found[1], place((1, 0, 0), (2, 6, 0)))
    assert not found[2].any()


def test_a_copy_is_the_present_again() -> None:
    assert np.array_equal(copy_present(place((4, 1, 1)), 2), [place((4, 1, 1))] * 2)


def test_a_prior_is_the_mask_with_the_best_iou() -> None:
    # Of 4 maps: a cell in all, one in three, one in one. Both first: 7 of 8 + 1.
    counts = np.array([[4, 1], [3, 0]])
    assert find_prior(counts, 4).tolist() == [[True, False], [True, False]]
    assert not find_prior(np.zeros((2, 2), np.int64), 4).any()


@settings(max_examples=20)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6))
def test_no_other_mask_is_better(maps: list[list[bool]]) -> None:
    truth = np.array(maps)

    def iou(mask: np.ndarray) -> float:
        found = count_overlap(np.repeat(mask[None], len(truth), 0), truth).iou
        return float(np.nan_to_num(found))

    best = iou(find_prior(truth.sum(0), len(truth)))
    every = (np.array([k >> i & 1 for i in range(5)], bool) for k in range(32))
    assert best == max(map(iou, every))


def test_a_forecast_is_counted_by_hand() -> None:
    true = np.stack([place((1, t, 0), (2, 7, 3)) for t in range(3)])
    made = np.stack([place((1, 0, 0), (2, 7, 3))] * 3)
    counts = make_counts()
    count_forecast(counts, Forecast(made > 0, made), true, true > 0, GRID)
    values = summarise_counts(counts)
    # Of two future frames: the standing one is hit, the other one false and missed.
    assert values["future_iou"] == 2 / 6
    assert values["future_iou_moving"] == 0
    # Of three frames: four matches in all, two of the moving one false and missed.
    assert values["pq"] == 4 / (4 + 1 + 1)
    assert values["pq_moving"] == 1 / (1 + 1 + 1)
    assert values["sq_moving"] == 1


def test_no_more_than_two_seconds_are_counted() -> None:
    true = np.stack([place((1, t, 0)) for t in range(7)])
    made = true.copy()
    made[5:] = 0
    counts = make_counts()
    count_forecast(counts, Forecast(made > 0), true, true > 0, GRID)
    values = summarise_counts(counts)
    assert values == {"future_iou": 1.0, "future_iou_moving": 1.0}


def test_counts_can_be_kept() -> None:
    true = np.stack([place((1, t, 0)) for t in range(3)])
    counts = make_counts()
    for made in (true, true * 0):
        count_forecast(counts, Forecast(made > 0, made), true, true > 0, GRID)
    kept = as_json(counts)
    assert kept["overlaps"]["future_iou"] == [2, 0, 2]
    assert summarise_counts(from_json(kept)) == summarise_counts(counts)
