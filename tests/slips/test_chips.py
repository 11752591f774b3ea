"""Lowering, programs, counts and estimates, as a new user may write them by mistake."""

from dataclasses import replace

import numpy as np
import pytest
from written_slips import (
    GRAPH,
    PROGRAM,
    RASTER,
    RECORD,
    STATE,
    STIMULUS,
    Slip,
    call,
    net,
    require_told,
)

import lava_export
from lava_export import lower, reference
from neuro.energy import count, estimate, estimate_chips, find_chip
from neuro.nn import Net

SLIPS: dict[str, Slip] = {
    "reference.run(raster)": Slip(
        call(reference.run, lower(GRAPH, ticks=4), {"input": RASTER}, 4),
        TypeError,
        "input must be Events or Times, got a NumPy array",
        "neuro.to_events(raster)",
    ),
    "reference.run(Graph)": Slip(
        call(reference.run, GRAPH, STIMULUS, 4),
        TypeError,
        "program must be a LoihiProgram, got a Graph",
        "lava_export.lower(graph, ticks=...)",
    ),
    "reference.run(ticks=4.)": Slip(
        call(reference.run, PROGRAM, STIMULUS, ticks=4.0),
        TypeError,
        "ticks must be a whole number of ticks, got 4.0",
        "neuro.units.ticks(seconds, dt)",
    ),
    "lava_export.run(Graph)": Slip(
        call(lava_export.run, GRAPH, STIMULUS, 4),
        TypeError,
        "got a Graph",
        "lava_export.lower(graph, ticks=...)",
    ),
    "lower(ticks=30.)": Slip(
        call(lower, GRAPH, ticks=30.0),
        TypeError,
        "ticks must be a whole number of ticks, got 30.0",
        "neuro.units.ticks(seconds, dt)",
    ),
    "check(Graph)": Slip(
        call(lava_export.check, GRAPH), TypeError, "got a Graph", "lower(graph"
    ),
    "list_breaches(2)": Slip(
        call(lava_export.list_breaches, PROGRAM, 2),
        TypeError,
        "a chip must be a Chip or its name, got 2",
        '"loihi1"',
    ),
    "compare(program)": Slip(
        call(lava_export.compare, RECORD, PROGRAM),
        TypeError,
        "lava must be a Record, got a LoihiProgram",
        "simulate returns (record, state)",
    ),
    "compare(others)": Slip(
        call(lava_export.compare, RECORD, replace(RECORD, spikes={})),
        ValueError,
        "records of input, out and of  cannot be compared",
        "one program on both",
    ),
    "to_float(other)": Slip(
        call(lava_export.to_float, PROGRAM, "readout", np.zeros(1, np.int64)),
        ValueError,
        "no population 'readout'",
        "there are input, out",
    ),
    "save_program(Graph)": Slip(
        call(lava_export.save_program, "program.safetensors", GRAPH),
        TypeError,
        "program must be a LoihiProgram or a GradedProgram, got a Graph",
        "lower(graph",
    ),
    "find_chip(Chip)": Slip(
        call(find_chip, find_chip("loihi1")),
        TypeError,
        "a chip must be a name or a file, got a Chip",
        '"loihi1"',
    ),
    "estimate(run_time='1ms')": Slip(
        call(estimate, GRAPH, RECORD, "loihi1", run_time="1ms"),
        TypeError,
        "run_time must be a number of seconds, got '1ms'",
        "1 ms is 1e-3",
    ),
    "count(swapped)": Slip(
        call(count, RECORD, GRAPH), TypeError, "got a Record", "trace(net, "
    ),
    "count(pair)": Slip(
        call(count, GRAPH, (RECORD, STATE)),
        TypeError,
        "record must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "estimate_chips(name)": Slip(
        call(estimate_chips, GRAPH, RECORD, "loihi1"),
        TypeError,
        "chips must be several chips, or their names, got 'loihi1'",
        '["loihi1"]',
    ),
    "lower(net)": Slip(call(lower, net()), TypeError, "got a Stack", "trace(net, input_shape)"),
    "lower(Net)": Slip(call(lower, Net(GRAPH)), TypeError, "got a Net", "net.graph() of a Net"),
    "estimate(pair)": Slip(
        call(estimate, GRAPH, (RECORD, STATE), "loihi1"),
        TypeError,
        "record must be a Record, got a tuple",
        "simulate returns (record, state)",
    ),
    "estimate(net)": Slip(
        call(estimate, net(), RECORD, "loihi1"), TypeError, "a Stack", "trace("
    ),
    "estimate(typo)": Slip(
        call(estimate, GRAPH, RECORD, "loihi"),
        ValueError,
        "no chip 'loihi'",
        "there are loihi1,",
    ),
    "estimate(None)": Slip(
        call(estimate, GRAPH, RECORD, None), TypeError, "got None", '"loihi1"'
    ),
    "make_scaling_table(swapped)": Slip(
        call(lava_export.make_scaling_table, PROGRAM, GRAPH),
        TypeError,
        "got a LoihiProgram",
        "trace(net, ",
    ),
    "make_scaling_table(twice)": Slip(
        call(lava_export.make_scaling_table, GRAPH, GRAPH),
        TypeError,
        "got a Graph",
        "lower(graph",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_what_was_given_and_the_cure(slip: str) -> None:
    require_told(SLIPS[slip])


def test_a_chip_goes_by_its_name() -> None:
    want = estimate(GRAPH, RECORD, find_chip("loihi2"))
    assert estimate(GRAPH, RECORD, "loihi2").core == want.core
