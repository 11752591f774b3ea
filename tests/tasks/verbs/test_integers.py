"""The verbs run either kind of program; of graded ones Lava runs the first tokens."""

import numpy as np
import pytest
from small_language import make_small

from lava_export.graded import GradedProgram, lower_graded, run_graded
from neuro.record import Record
from neuro.spikes import Events, to_raster
from tasks.language.graph import EMBEDDED, LOGITS
from tasks.runs.samples import Samples
from tasks.verbs.integers import compare_with_lava, cut_ticks, lower_graph, run_integers

SMALL = make_small(layers=1, tokens=11, samples=2)
SOME = Samples(SMALL.inputs, np.zeros(2))


def test_cut_trains_are_the_first_ticks() -> None:
    whole = to_raster(SMALL.inputs[EMBEDDED])
    for most in (4, 11, 20):
        found = to_raster(cut_ticks(SMALL.inputs, most)[EMBEDDED])
        np.testing.assert_array_equal(found, whole[:most])


def test_a_graph_that_counts_spikes_becomes_a_graded_program() -> None:
    program = lower_graph(SMALL.graph, ticks=11)
    assert isinstance(program, GradedProgram)
    record = run_integers(program, SOME)
    whole, _ = run_graded(program, SMALL.inputs)
    np.testing.assert_array_equal(record.values[LOGITS], whole.values[LOGITS] / 2**16)


def test_eight_tokens_of_one_sample_are_compared_with_lava(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(program: GradedProgram, inputs: dict[str, Events]) -> Record:
        record, _ = run_graded(program, inputs)
        assert (record.ticks, record.samples) == (8, 1)
        record.values[LOGITS][5, 0, 2] += 1
        return record

    monkeypatch.setattr("tasks.verbs.integers.run_graded_on_lava", wrong)
    found = compare_with_lava(lower_graded(SMALL.graph), SOME)
    assert (found["samples"], found["ticks"], found["mismatches"]) == (1, 8, 1)
    assert found["first"]["layer"] == LOGITS
    assert (found["first"]["tick"], found["first"]["neuron"]) == (5, 2)
