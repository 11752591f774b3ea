from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks import task_template
from tasks.image_classification.data import Labelled, ordered_batches, shuffled_batches
from tasks.image_classification.mnist import tiny


def test_pixels_go_from_0_to_1_on_a_line() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    data = Labelled(images=pixels, labels=np.zeros(1, np.int64), source="all greys")
    config = replace(tiny(), code="direct", ticks=2, batch=1)
    expected = (torch.arange(256, dtype=torch.float32) / 255).reshape(16, 16)
    for batches in (
        ordered_batches(data, config),
        shuffled_batches(data, config, lambda images, _: images, 0),
    ):
        ((x, _),) = batches
        for tick in x:
            torch.testing.assert_close(tick[0, 0], expected, rtol=0, atol=1e-7)
        assert (x.min(), x.max()) == (0.0, 1.0)


@pytest.mark.parametrize("ticks", [6, 9])
def test_in_the_template_full_ink_spikes_at_every_tick(ticks: int) -> None:
    config = replace(task_template.tiny(), ticks=ticks)
    x, _ = next(iter(task_template.batches(config, "test", 0)))
    images, _ = task_template.digits(config, "test")
    ink = torch.from_numpy(images[: x.shape[1]].reshape(x.shape[1], -1))
    rate = x.mean(0)
    assert (ink == 255).sum() > 100
    assert bool((rate[ink == 255] == 1).all())
    assert bool((rate[ink == 0] == 0).all())
