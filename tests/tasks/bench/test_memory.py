"""The peak of what is done counts, and nothing before it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.bench import memory

LINUX = memory.OWN.exists()
MEGABYTES = 10**6


TWICE = """
import numpy as np
from tasks.bench import memory

def twice():
    for _ in range(2):
        np.ones(50_000_000, np.uint8)

np.ones(200_000_000, np.uint8)  # an earlier peak is forgotten
held = [np.ones(100_000, np.uint8) for _ in range(1000)]  # what is freed is given back
del held
print(memory.measure_growth(twice))
"""


@pytest.mark.skipif(not LINUX, reason="only Linux tells a process its peak")
def test_the_peak_is_what_is_held_at_a_time() -> None:
    # In a process of its own: training in this one has it keep the memory that it frees.
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, check=True)
    assert 49 * MEGABYTES < int(done.stdout) < 60 * MEGABYTES


@pytest.mark.skipif(not LINUX, reason="only Linux hands the peak of a process to its child")
def test_the_peak_of_a_process_is_not_that_of_its_parent() -> None:
    held = np.ones(400 * MEGABYTES, np.uint8)
    peak = "from tasks.bench import memory; print(memory.measure_peak())"
    done = subprocess.run([sys.executable, "-c", peak], capture_output=True, check=True)
    assert 5 * MEGABYTES < int(done.stdout) < 200 * MEGABYTES < held.nbytes


def test_a_system_that_does_not_tell_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "OWN", tmp_path / "no such folder")
    assert memory.measure_growth(lambda: None) is None
    assert memory.measure_peak() > 5 * MEGABYTES
