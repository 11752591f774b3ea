"""Both kinds of chip program keep one contract; of a graded one Lava runs the first tokens."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_language import make_small

from lava_export import (
    ProgramError,
    load_program,
    lower,
    lower_graph,
    make_scaling_table,
    reference,
)
from lava_export.chip_program import (
    BinaryChipProgram,
    GradedChipProgram,
    check_parity,
    list_misfits,
)
from lava_export.graded import GradedProgram, RangeError, run_graded
from neuro.energy import find_chip
from neuro.graph import Dense, Edge, Graph, Input, Node, Softmax
from neuro.neurons import LI, LIF
from neuro.record import Record
from neuro.spikes import Events, to_events, to_raster
from neuro.units import Seconds
from tasks.language.graph import EMBEDDED, LOGITS

SMALL = make_small(layers=1, tokens=11, samples=2)
CHIPS = (find_chip("loihi1"), find_chip("loihi1_sanafe"), find_chip("loihi2"))


def chain(**nodes: Node) -> Graph:
    edges = tuple(Edge(*pair) for pair in pairwise(nodes))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


BINARY = chain(
    x=Input(shape=(2,)),
    w=Dense(weight=np.eye(2)),
    n=LIF(tau=0.01, reset="soft"),
    on=Dense(weight=np.array([[1.0, 0.5]])),
    out=LI(tau=0.01),
)
STIMULUS = {"x": to_events(np.ones((6, 3, 2), np.float32))}


def test_a_network_of_binary_spikes_becomes_a_loihi_program(tmp_path: Path) -> None:
    program, plain = lower_graph(BINARY, ticks=6), lower(BINARY, ticks=6)
    assert isinstance(program, BinaryChipProgram)
    record = reference.run(plain, STIMULUS, 6)
    out = record.values["out"] / (64 * plain["out"].scale)
    np.testing.assert_array_equal(program.run(STIMULUS).values["out"], out)
    with pytest.raises(ProgramError, match="a run of 7 ticks"):
        program.require_run({"x": STIMULUS["x"]._replace(shape=(7, 3, 2))})
    assert program.list_breaches(CHIPS[2]) == []
    assert program.tabulate_rounding(BINARY) == make_scaling_table(BINARY, plain)
    program.save(tmp_path / "program.safetensors")
    assert repr(load_program(tmp_path / "program.safetensors")) == repr(plain)


def test_a_graph_that_counts_spikes_becomes_a_graded_program(tmp_path: Path) -> None:
    program = lower_graph(SMALL.graph, ticks=11)
    assert isinstance(program, GradedChipProgram)
    whole, _ = run_graded(program.program, SMALL.inputs)
    found = program.run(SMALL.inputs).values[LOGITS]
    np.testing.assert_array_equal(found, whole.values[LOGITS] / 2**16)
    program.require_run(SMALL.inputs)
    e = SMALL.inputs[EMBEDDED]
    with pytest.raises(RangeError, match="needs more than 24 bits"):
        program.require_run({EMBEDDED: e._replace(value=np.full_like(e.value, 128.0))})
    assert program.list_breaches(CHIPS[2]) == []
    assert len(program.tabulate_rounding(SMALL.graph)) > 7
    program.save(tmp_path / "program.safetensors")
    assert isinstance(load_program(tmp_path / "program.safetensors"), GradedProgram)


def test_lava_runs_all_of_a_binary_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(program: Any, inputs: dict[str, Events], ticks: int) -> Record:
        record = reference.run(program, inputs, ticks)
        record.values["out"][4, 2, 0] += 64
        return record

    monkeypatch.setattr("lava_export.chip_program.run", wrong)
    found = check_parity(lower_graph(BINARY, ticks=6), STIMULUS).as_json()
    assert (found["samples"], found["mismatches"]) == (3, 1)
    assert (found["first"]["tick"], found["first"]["sample"]) == (4, 2)
    assert "u = " in found["first"]["cause"]
    assert "ticks" not in found


def test_lava_runs_eight_tokens_of_one_sample_of_a_graded_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(program: GradedProgram, inputs: dict[str, Events]) -> Record:
        whole, few = (to_raster(x[EMBEDDED]) for x in (SMALL.inputs, inputs))
        np.testing.assert_array_equal(few, whole[:8, :1])
        record, _ = run_graded(program, inputs)
        record.values[LOGITS][5, 0, 2] += 1
        return record

    monkeypatch.setattr("lava_export.chip_program.run_graded_on_lava", wrong)
    found = check_parity(lower_graph(SMALL.graph, ticks=11), SMALL.inputs).as_json()
    assert (found["samples"], found["ticks"], found["mismatches"]) == (1, 8, 1)
    assert found["first"]["layer"] == LOGITS
    assert (found["first"]["tick"], found["first"]["neuron"]) == (5, 2)


def test_what_a_chip_lacks_is_named_for_each_set_of_its_constants() -> None:
    soft = chain(x=Input(shape=(2,)), w=Dense(weight=np.eye(2)), n=LIF(tau=0.01, reset="soft"))
    found = list_misfits(soft, 9, CHIPS)
    assert [len(found[chip.name]) for chip in CHIPS] == [1, 1, 0]
    assert found["loihi1"] == found["loihi1_sanafe"]
    assert found["loihi1"][0].startswith(
        "only a programmable chip resets softly or adapts or forgets: n: soft reset, Loihi 1 "
        "sets v to 0"
    )


def test_what_integers_cannot_hold_fits_no_chip() -> None:
    x, w = Input(shape=(2,)), Dense(weight=np.eye(2))
    found = list_misfits(chain(x=x, w=w, n=LIF(tau=0.01, refractory=3e-3)), 9, CHIPS)
    assert all(reasons[0].startswith("n: a refractory period") for reasons in found.values())
    # As long as the runs are, and no longer: a leakless read-out of 9 ticks fits.
    assert not any(list_misfits(chain(x=x, w=w, n=LI(tau=np.inf)), 9, CHIPS).values())


def test_only_the_part_for_the_chip_must_fit() -> None:
    hosted = chain(
        x=Input(shape=(2,)),
        soft=Softmax(),
        w=Dense(weight=np.eye(2)),
        n=LIF(tau=0.01, reset="hard"),
    )
    assert not any(list_misfits(hosted, 9, CHIPS).values())
