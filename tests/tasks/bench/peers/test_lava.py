"""The reference and Lava as subjects of a benchmark, small."""

import math

import numpy as np
import pytest

from lava_export import reference
from lava_export.run import available
from tasks.bench.peers.lava import (
    CASES,
    COMPILED,
    LAVA,
    REFERENCE,
    make_program,
    make_stimulus,
    run_batch,
    run_lava,
)


def test_both_run_the_same_layers_that_fire_in_some_steps() -> None:
    cases = CASES["dense"](False)
    assert [c.name for c in cases] == [f"784-512-10, {n} at a time" for n in (64, 1)]
    for case in cases:
        pairs = [(COMPILED, (LAVA,), 20.0), (COMPILED, (REFERENCE,), None)]
        assert [pair[:3] for pair in case.pairs] == pairs
    program = make_program((200, 50, 10))
    x = make_stimulus(program, 20, 3)
    record = reference.run(program, x, 20)
    for name, least, most in (("layer1", 0.02, 0.3), ("layer2", 0.002, 0.5)):
        assert least < len(record.spikes[name].tick) / np.prod(record.spikes[name].shape) < most


def test_times_are_those_of_a_step_of_a_sample() -> None:
    few, many = (run_batch(COMPILED, (50, 20, 3), 10, n, 1)() for n in (2, 64))
    assert few.counted < many.counted
    assert many.cpu < few.cpu  # a batch shares what a tick costs anyway


@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup")
def test_lava_tells_wall_and_cpu_time_of_its_steps() -> None:
    timing = run_lava((20, 10, 3), 20, 1)()
    assert 1e-5 < timing.wall < 1.0
    assert math.isnan(timing.cpu) or 0 <= timing.cpu < 1.0
