"""The peak of what is done counts, and nothing before it."""

from pathlib import Path

import numpy as np
import pytest

from tasks.bench import memory

LINUX = memory.OWN.exists()
MEGABYTES = 10**6


@pytest.mark.skipif(not LINUX, reason="only Linux tells a process its peak")
def test_the_peak_is_what_is_held_at_a_time() -> None:
    def twice() -> None:
        for _ in range(2):
            np.ones(50 * MEGABYTES, np.uint8)

    np.ones(200 * MEGABYTES, np.uint8)  # an earlier peak is forgotten
    found = memory.grown(twice)
    assert found is not None
    assert 49 * MEGABYTES < found < 60 * MEGABYTES


def test_a_system_that_does_not_tell_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "OWN", tmp_path / "no such folder")
    assert memory.grown(lambda: None) is None
