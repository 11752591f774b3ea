import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from neuro.training.malloc import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(8_000_000)  # 64 MB, 15,625 pages of 4 KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

touched()
print(touched())
"""


def faults(how: str) -> int:
    """Return how many pages 20 arrays of 64 MB make the system map, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has this switch")
def test_memory_that_is_kept_is_not_mapped_anew() -> None:
    kept, given_back = faults("keep"), faults("as it comes")
    assert given_back > 20 * 10  # huge pages make it few; never none
    assert kept < given_back / 20
