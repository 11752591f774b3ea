import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays
from window_targets import make_window_targets

from tasks.driving.losses import FrameTargets, make_instance_targets


@given(
    arrays.arrays(
        np.int32, (2, 3, 5, 4), elements=st.sampled_from([0, 0, 0, 0, 1, 2, 7]), fill=st.just(0)
    )
)
def test_targets_of_a_batch_are_the_labels_of_its_windows(instance: np.ndarray) -> None:
    made = make_instance_targets(torch.from_numpy(instance))
    for b in range(2):
        slow = make_window_targets(instance[b])
        for name, batched in made._asdict().items():
            np.testing.assert_allclose(batched[b], getattr(slow, name), atol=1e-5)


def make_targets(instance: np.ndarray) -> FrameTargets:
    batched = make_instance_targets(torch.from_numpy(instance)[None])
    return FrameTargets(*(target[0].numpy() for target in batched))


def test_the_heat_map_falls_with_the_square_of_the_distance_over_nine() -> None:
    instance = np.zeros((1, 9, 9), np.int32)
    instance[0, 3:6, 4] = 1
    targets = make_targets(instance)
    assert targets.centre[0, 4, 4] == 1
    assert targets.centre[0, 7, 4] == pytest.approx(np.exp(-1))
    assert targets.centre[0, 4, 0] == pytest.approx(np.exp(-16 / 9))
    np.testing.assert_array_equal(targets.offset[0, :, 3, 4], [1, 0])
    np.testing.assert_array_equal(targets.offset[0, :, 5, 4], [-1, 0])
    assert np.isnan(targets.offset[0, :, 0, 0]).all()


def test_a_middle_lies_between_cells_where_their_number_is_even() -> None:
    instance = np.zeros((1, 9, 9), np.int32)
    instance[0, 3:5, 4] = 1
    targets = make_targets(instance)
    assert targets.centre[0, 3, 4] == targets.centre[0, 4, 4] == pytest.approx(np.exp(-1 / 36))
    np.testing.assert_array_equal(targets.offset[0, :, 3, 4], [0.5, 0])


def test_the_heat_of_two_vehicles_is_the_greater() -> None:
    instance = np.zeros((1, 9, 1), np.int32)
    instance[0, 1], instance[0, 4] = 1, 2
    centre = make_targets(instance).centre[0, :, 0]
    assert centre[1] == centre[4] == 1
    assert centre[2] == pytest.approx(np.exp(-1 / 9))


def test_flow_leads_from_a_vehicle_to_its_next_place() -> None:
    instance = np.zeros((3, 9, 9), np.int32)
    instance[0, 1:4, 1], instance[1, 3:6, 2] = 1, 1  # then it is gone
    instance[2, 7, 7] = 2
    flow = make_targets(instance).flow
    assert (flow[0, :, 1:4, 1] == np.array([[2], [1]])).all()
    assert np.isfinite(flow).sum() == 2 * 3
    # One that comes back has no flow over the gap.
    instance[2, 6, 6] = 1
    instance[1] = 0
    assert np.isnan(make_targets(instance).flow).all()
