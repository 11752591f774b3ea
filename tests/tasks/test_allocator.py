"""Arrays that are freed and made anew cost no new pages; whoever has chosen is obeyed."""

import platform
import subprocess
import sys

import pytest

from tasks.allocator import CHOSEN

STEPS = """
import resource, sys
import numpy as np
from tasks.allocator import keep_freed_memory

def count(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        kept = [np.ones(2**20), np.ones(2**19)]  # 8 and 4 MB: 3072 pages
        del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(keep_freed_memory())
count(2)
print(count(20))
"""
GLIBC = platform.libc_ver()[0] == "glibc"


def run(**environment: str) -> tuple[bool, int]:
    """Return whether memory is kept, and how many pages twenty steps ask for."""
    out = subprocess.run(
        [sys.executable, "-c", STEPS],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = out.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc")
def test_a_step_finds_the_memory_of_the_one_before() -> None:
    kept, faults = run()
    assert kept
    assert faults < 3072  # not even those of one step of twenty


@pytest.mark.parametrize("name", CHOSEN)
def test_what_the_user_has_chosen_stays(name: str) -> None:
    chosen = "glibc.malloc.check=0" if name == "GLIBC_TUNABLES" else "131072"
    kept, faults = run(**{name: chosen})
    assert not kept
    if name != "GLIBC_TUNABLES" and GLIBC:
        assert faults >= 20 * 1024
