"""Arrays that are freed and made anew cost no new pages; the choice of the user stays."""

import platform
import subprocess
import sys

import pytest

from tasks.runs.allocator import CHOICES

STEPS = """
import resource, sys
import numpy as np
from tasks.runs.allocator import keep_freed_memory

def count(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        arrays = [np.ones(2**20 * size), np.ones(2**19 * size)]  # 3072 pages with size 1
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

size = int(sys.argv[1])
print(keep_freed_memory(of_any_size=size > 1))
count(2)
print(count(20))
"""
GLIBC = platform.libc_ver()[0] == "glibc"


def run(size: int = 1, **environment: str) -> tuple[bool, int]:
    """Return whether memory is kept, and how many pages twenty steps ask for."""
    out = subprocess.run(
        [sys.executable, "-c", STEPS, str(size)],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = out.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc")
@pytest.mark.parametrize("size", [1, 8])  # arrays of at most 8 MB, and of 64 MB
def test_a_step_finds_the_memory_of_the_one_before(size: int) -> None:
    kept, faults = run(size)
    assert kept
    assert faults < 3072  # not even those of one step of twenty


@pytest.mark.parametrize("name", CHOICES)
def test_the_choice_of_the_user_stays(name: str) -> None:
    value = "glibc.malloc.check=0" if name == "GLIBC_TUNABLES" else "131072"
    kept, faults = run(**{name: value})
    assert not kept
    if name != "GLIBC_TUNABLES" and GLIBC:
        assert faults >= 20 * 1024
