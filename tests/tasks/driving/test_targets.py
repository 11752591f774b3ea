import numpy as np
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from drivers.nuscenes import labels
from tasks.driving.targets import make_instance_targets


@settings(max_examples=30)
@given(
    arrays.arrays(
        np.int32, (2, 3, 5, 4), elements=st.sampled_from([0, 0, 0, 0, 1, 2, 7]), fill=st.just(0)
    )
)
def test_targets_of_a_batch_are_the_labels_of_its_windows(instance: np.ndarray) -> None:
    made = make_instance_targets(torch.from_numpy(instance))
    for b in range(2):
        slow = labels.make_instance_targets(instance[b])
        for name, batched in made._asdict().items():
            np.testing.assert_allclose(batched[b].numpy(), getattr(slow, name), atol=1e-5)


def test_a_car_that_drives_on_has_the_flow_of_its_step() -> None:
    instance = torch.zeros(1, 3, 10, 6, dtype=torch.int32)
    for t in range(3):
        instance[0, t, 1 + 2 * t : 4 + 2 * t, 2] = 5
    made = make_instance_targets(instance)
    assert made.centre[0, 1, 4, 2] == 1
    assert made.offset[0, 1, :, 3, 2].tolist() == [1, 0]
    assert made.flow[0, 0, :, 1, 2].tolist() == [2, 0]
    assert made.flow[0, 2].isnan().all()  # nobody knows what comes after the last frame
    assert made.offset[0, 1, :, 0, 0].isnan().all()


def test_an_empty_world_has_no_targets() -> None:
    made = make_instance_targets(torch.zeros(2, 3, 4, 4, dtype=torch.int32))
    assert not made.centre.any()
    assert made.offset.isnan().all()
    assert made.flow.isnan().all()


def test_the_numbers_of_one_window_say_nothing_about_another() -> None:
    instance = torch.zeros(2, 2, 4, 4, dtype=torch.int32)
    instance[0, :, 0, 0] = 1
    instance[1, :, 3, 3] = 1
    both = make_instance_targets(instance)
    for b in range(2):
        alone = make_instance_targets(instance[b : b + 1])
        for whole, one in zip(both, alone, strict=True):
            torch.testing.assert_close(whole[b : b + 1], one, equal_nan=True)
