from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.images import task_template
from tasks.images.classification.data import Labelled, batches
from tasks.images.classification.mnist import tiny


def test_pixels_go_from_0_to_1_on_a_line() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    data = Labelled(images=pixels, labels=np.zeros(1, np.int64), source="all greys")
    config = replace(tiny(), code="direct", ticks=2, batch=1)
    expected = (torch.arange(256, dtype=torch.float32) / 255).reshape(16, 16)
    for split in ("test", "train"):
        ((x, _),) = batches(data, config, lambda images, _: images, split, 0)  # type: ignore[arg-type]
        for tick in x:
            torch.testing.assert_close(tick[0, 0], expected, rtol=0, atol=1e-7)
        assert (x.min(), x.max()) == (0.0, 1.0)


def test_in_the_template_full_ink_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_template, "rate", lambda x, _: x[None])
    x, _ = next(iter(task_template.batches(task_template.tiny(), "test", 0)))
    assert (x.min(), x.max()) == (0.0, 1.0)
