"""The kernels are also plain Python: not compiled they give the same spikes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from exact_laws import CLOCK, at_any_time, network, run

SUPPORT = Path(__file__).parents[3] / "support"
ROOT = Path(__file__).parents[4]

SCRIPT = """
import json, sys
sys.path[:0] = sys.argv[1:3]
from dataclasses import replace
from exact_laws import CLOCK, at_any_time, network, run
from numba import config
assert config.DISABLE_JIT
found = {}
for kind in ("delta", "two currents", "per neuron", "adaptive currents"):
    for driver in ("window", "heap"):
        clock = replace(CLOCK, driver=driver)
        late = run(network(kind, 3), at_any_time(3, spikes=40), clock).times["late"]
        found[f"{kind} {driver}"] = [late.time.tolist(), late.neuron.tolist()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def plain() -> dict[str, list[list[float]]]:
    """Return the spikes of a child process without compiler."""
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(SUPPORT), str(ROOT)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found: dict[str, list[list[float]]] = json.loads(child.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["delta", "two currents", "per neuron", "adaptive currents"])
@pytest.mark.parametrize("driver", ["window", "heap"])
def test_kernels_that_are_not_compiled_give_the_same_spikes(
    plain: dict[str, list[list[float]]], kind: str, driver: str
) -> None:
    late = run(network(kind, 3), at_any_time(3, spikes=40), CLOCK).times["late"]
    time, neuron = plain[f"{kind} {driver}"]
    order = sorted(range(len(time)), key=lambda k: (neuron[k], time[k]))
    want = sorted(zip(late.neuron.tolist(), late.time.tolist(), strict=True))
    assert [neuron[k] for k in order] == [n for n, _ in want]
    assert len(want) > 0
    assert [time[k] for k in order] == pytest.approx([t for _, t in want], rel=0, abs=1e-14)
