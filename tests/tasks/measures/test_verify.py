import html
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from written_graphs import chain

from lava_export import LoihiProgram, LowerError, lower, reference
from lava_export.binary import BinaryChipProgram
from lava_export.run import LavaFailed
from neuro.base.units import Seconds
from neuro.events import Grid, simulate
from neuro.graph import Dense, Edge, Graph, Input, Node
from neuro.neurons import LI, LIF, TernaryLIF
from neuro.nn import replay
from neuro.nn.rounding import bound_rounding, compute_margins, count_near
from neuro.spikes import to_events, to_raster
from neuro.spikes.record import Record
from tasks.cli import main
from tasks.images.classification.classifier import ACCURACY
from tasks.measures.export import export_run
from tasks.measures.verify import (
    DOES_NOT_FIT,
    _Tally,
    find_layer_differences,
    verify_run,
    verify_samples,
)
from tasks.report.key_figures import list_agreement
from tasks.report.report import show_parity
from tasks.runs.find import open_folder
from tasks.runs.results import read_result
from tasks.runs.samples import Samples
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import open_trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    main(["train", "mnist:tiny", "--out", str(folder)])
    return open_folder(folder)


SUMS = {"spikes", "mismatches", "flips", "executors", "near", "differ", "of", "error"}


@pytest.mark.slow
def test_labels_may_be_an_array_and_no_samples_are_refused(run: TaskRun) -> None:
    network = open_trained_run(run).network
    graph = network.graph
    some = next(network.iterate_samples(most=3))
    assert some.targets.shape == (3,)
    arrays = some._replace(targets=some.targets.numpy())
    want, got = (verify_samples(graph, x, lava_samples=1) for x in (some, arrays))
    assert got == want
    assert want["reference_lava"]["samples"] in (0, 1)  # 0: without Lava
    parts = [some.take(2), some]
    assert verify_samples(graph, parts, lava_samples=0)["n"] == 5
    with pytest.raises(ValueError, match=r"no samples; .* Samples\(stimulus, labels\)"):
        verify_samples(graph, [])


def without_its_first_spike(record: Record, name: str) -> Record:
    e = record.spikes[name]
    fewer = e._replace(
        sample=e.sample[1:], tick=e.tick[1:], neuron=e.neuron[1:], value=e.value[1:]
    )
    return replace(record, spikes={**record.spikes, name: fewer})


@pytest.mark.slow
def test_a_spike_that_differs_is_counted_with_its_margin_and_fails_the_verb(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(*args: Any, **options: Any) -> Any:
        record, state = simulate(*args, **options)
        return without_its_first_spike(record, "alif2"), state

    monkeypatch.setattr("tasks.measures.verify.simulate", forgetful)
    with pytest.raises(SystemExit) as e:
        main(["verify", str(run.folder)])
    assert e.value.code == 1
    found = run.read("verify.json")["torch_events"]
    network = open_trained_run(run).network
    graph = network.graph
    inputs = next(network.iterate_samples()).inputs
    first = simulate(graph, inputs)[0].spikes["alif2"]
    expected = compute_margins(graph, inputs, "alif2")[
        first.tick[0], first.sample[0], first.neuron[0]
    ]
    assert found["mismatches"] == 1
    assert found["layers"]["alif1"]["mismatches"] == 0
    assert found["layers"]["alif2"]["margins"] == [expected]
    assert expected >= 0
    pairs = [told["pair"] for told in found["unexplained"]]
    assert pairs == ["torch, events", "torch, events in float32"]
    for told in found["unexplained"]:
        place = [told[key] for key in ("name", "tick", "sample", "neuron")]
        assert place == ["alif2", first.tick[0], first.sample[0], first.neuron[0]]
        assert told["margin"] == pytest.approx(expected, rel=1e-4)
        assert told["margin"] > told["bound"] > 0


@pytest.mark.slow
def test_what_float32_decides_is_counted(run: TaskRun) -> None:
    found = verify_run(run, lava_samples=0)["torch_events"]
    network = open_trained_run(run).network
    graph = network.graph
    inputs = next(network.iterate_samples()).inputs
    near = count_near(bound_rounding(graph, replay(graph, inputs)))
    assert {n: flip["near"] for n, flip in found["float32_flips"].items()} == near
    single, (engine, _) = (
        replay(graph, inputs, torch.float32),
        simulate(graph, inputs, Grid(dtype=np.float32)),
    )
    for name, flip in found["float32_flips"].items():
        apart = to_raster(single.spikes[name]) != to_raster(engine.spikes[name])
        assert flip["executors"] == apart.sum()
    assert found["unexplained"] == []


@pytest.mark.slow
def test_the_gap_between_floats_and_integers_is_measured(run: TaskRun) -> None:
    result = verify_run(run, lava_samples=0)
    gap = result["quantisation"]
    assert set(gap) == {"alif1", "alif2", "readout"}
    assert all(0 <= share < 0.05 for share in gap.values())
    # The read-out's, written out for the first batch; a batch is all there is.
    network = open_trained_run(run).network
    graph = network.graph
    inputs = next(network.iterate_samples()).inputs
    program = lower(graph, ticks=4)
    value = simulate(graph, inputs)[0].values["readout"]
    integers = (
        reference.run(program, inputs, 4).values["readout"] / program["readout"].scale / 64
    )
    error = np.linalg.norm(integers - value) / np.linalg.norm(value)
    assert gap["readout"] == pytest.approx(error, rel=1e-9)
    assert result["n"] == 100
    accuracy = result["metrics"]["accuracy"]
    assert abs(accuracy["integers"] - accuracy["events"]) <= 0.05


@pytest.mark.slow
def test_values_may_differ_by_rounding_and_by_nothing_more(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(share: float) -> dict[str, Any]:
        def shifted(*args: Any, **how: Any) -> Any:
            record, state = simulate(*args, **how)
            values = {k: v + share * np.abs(v).max() for k, v in record.values.items()}
            return replace(record, values=values), state

        monkeypatch.setattr("tasks.measures.verify.simulate", shifted)
        found: dict[str, Any] = verify_run(run, lava_samples=0)["torch_events"]
        return found

    for share, wrong in ((3e-13, 0), (3e-12, 4 * 100 * 10)):
        found = off(share)
        assert found["mismatches"] == found["layers"]["readout"]["mismatches"] == wrong
        assert found["layers"]["readout"]["rounding"] == pytest.approx(share, rel=0.01)


def test_a_value_that_is_no_number_is_a_mismatch(run: TaskRun) -> None:
    network = open_trained_run(run).network
    graph = network.graph
    record, _ = simulate(graph, next(network.iterate_samples(most=2)).inputs)
    values = {k: v.copy() for k, v in record.values.items()}
    values["readout"][1, 0, 3] = np.nan
    spoilt = replace(record, values=values)
    assert not find_layer_differences(graph, record, record)["readout"].any()
    found = find_layer_differences(graph, record, spoilt)["readout"]
    assert np.argwhere(found).tolist() == [[1, 0, 3]]


class TestSeveralBatches:
    """Differences are added up, and the farthest is kept, whatever the order of batches."""

    @pytest.fixture
    def parts(self) -> tuple[Graph, LoihiProgram, list[tuple[Any, ...]]]:
        """Return a network, its program, and two batches that differ in every figure."""
        rng = np.random.default_rng(0)
        nodes: dict[str, Node] = {
            "x": Input(shape=(6,)),
            "a": Dense(weight=rng.normal(0.2, 0.3, (8, 6))),
            "cells": LIF(tau=0.01, threshold=0.5),
            "on": Dense(weight=rng.normal(0.2, 0.3, (4, 8))),
            "more": LIF(tau=0.01, threshold=0.5),
            "b": Dense(weight=rng.normal(0.0, 0.5, (3, 4))),
            "read": LI(tau=0.02),
        }
        names = list(nodes)
        edges = tuple(Edge(*pair) for pair in pairwise(names))
        graph = Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))
        program = lower(graph, ticks=7)
        batches = []
        for samples, lost, share in ((5, 3, 2e-13), (2, 1, 6e-13)):
            x = {"x": to_events((rng.random((7, samples, 6)) < 0.6).astype(np.float32))}
            clock = replay(graph, x)
            fewer = clock
            for _ in range(lost):
                fewer = without_its_first_spike(fewer, "cells")
            off = {k: v + share * np.abs(v).max() for k, v in clock.values.items()}
            batches.append((x, clock, replace(fewer, values=off), reference.run(program, x, 7)))
        return graph, program, batches

    @pytest.fixture
    def tallies(
        self,
        parts: tuple[Graph, LoihiProgram, list[tuple[Any, ...]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> dict[tuple[int, ...], _Tally]:
        """Return the tallies of either batch, and of both in either order."""
        graph, program, batches = parts

        def rounded(graph: Graph, x: Any, *dtype: Any) -> Record:
            record = replay(graph, x, *dtype)
            for _ in range(x["x"].shape[1]):  # as many flips as samples
                for name in ("cells", "more"):
                    record = without_its_first_spike(record, name)
            return record

        monkeypatch.setattr("tasks.measures.verify.replay", rounded)
        out = {}
        for order in ((0,), (1,), (0, 1), (1, 0)):
            out[order] = _Tally(graph, BinaryChipProgram(program))
            for k in order:
                out[order].add(*batches[k])
        return out

    def test_counts_are_sums(self, tallies: dict[tuple[int, ...], _Tally]) -> None:
        one, other = tallies[0,], tallies[1,]
        assert [t.layers["cells"]["mismatches"] for t in (one, other)] == [3, 1]
        for name in ("cells", "more"):
            assert [t.flips[name]["flips"] for t in (one, other)] == [5, 2]
        assert [t.gap.sums["cells"]["of"] for t in (one, other)] == [7 * 5 * 8, 7 * 2 * 8]
        for order in ((0, 1), (1, 0)):
            both = tallies[order]
            for table in ("layers", "flips", "gap.sums"):
                mine, first, second = (attrgetter(table)(t) for t in (both, one, other))
                for name, figures in mine.items():
                    for key in SUMS & figures.keys():
                        total = first[name][key] + second[name][key]
                        assert figures[key] == pytest.approx(total, rel=1e-12), (name, key)
            margins = both.layers["cells"]["margins"]
            assert len(margins) == 4
            assert sorted(margins) == sorted(
                one.layers["cells"]["margins"] + other.layers["cells"]["margins"]
            )
            assert sum(layer["mismatches"] for layer in both.layers.values()) == 4

    def test_the_farthest_is_kept(self, tallies: dict[tuple[int, ...], _Tally]) -> None:
        one, other = tallies[0,], tallies[1,]
        far = [t.flips["cells"]["largest_margin"] for t in (one, other)]
        apart = [t.layers["read"]["rounding"] for t in (one, other)]
        assert apart == pytest.approx([2e-13, 6e-13], rel=0.01)
        assert far[0] != far[1]
        for order in ((0, 1), (1, 0)):
            both = tallies[order]
            assert both.flips["cells"]["largest_margin"] == max(far)
            assert both.layers["read"]["rounding"] == max(apart)

    def test_quantisation_is_a_share_of_all_batches(
        self, tallies: dict[tuple[int, ...], _Tally]
    ) -> None:
        both = tallies[0, 1]
        one, other = (tallies[k,].quantisation() for k in (0, 1))
        assert min(one["cells"], other["cells"]) < max(one["cells"], other["cells"])
        share = (5 * one["cells"] + 2 * other["cells"]) / 7
        assert both.quantisation()["cells"] == pytest.approx(share, rel=1e-12)
        parts = [tallies[k,].gap.sums["read"] for k in (0, 1)]
        error = sum(p["error"] for p in parts) / sum(p["of"] for p in parts)
        assert both.quantisation()["read"] == pytest.approx(error**0.5, rel=1e-12)


class TestANetworkThatDoesNotFit:
    """It is compared on torch and the event engine, and said not to fit."""

    def test_the_float_executors_are_compared(self) -> None:
        graph = chain(
            x=Input(shape=(3,)),
            w=Dense(weight=np.eye(3)),
            cells=TernaryLIF(tau=0.02, threshold=1.5, lower=np.array([1.0, 2.0, 3.0])),
            b=Dense(weight=np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]])),
            read=LI(tau=0.02),
        )
        x = {"x": to_events(np.ones((12, 2, 3), np.float32))}
        with pytest.raises(LowerError) as told:
            lower(graph, ticks=12)
        assert len(told.value.problems) == 1
        found = verify_samples(graph, [Samples(x, np.array([0, 1]))] * 2)
        assert found["misfits"] == told.value.problems
        assert found["reference_lava"]["samples"] == 0
        assert found["reference_lava"]["skipped"] == DOES_NOT_FIT
        assert found["quantisation"] == {}
        assert found["metrics"] == {"accuracy": {"torch": 0.5, "events": 0.5}}
        spikes = replay(graph, x).spikes["cells"].tick.size
        assert spikes > 6
        cells = found["torch_events"]["layers"]["cells"]
        assert (cells["spikes"], cells["mismatches"]) == (2 * spikes, 0)
        page = show_parity(found)
        assert "does not fit" in page
        assert html.escape(f"No integers: {told.value.problems[0]}") in page
        events, integers, *_ = list_agreement(found, (ACCURACY,))
        assert (events.value, integers.value) == ("50%", "–")
        assert events.note == "95 % interval 15 to 85%; 4 samples"
        assert integers.note == "does not fit Loihi"

    def test_so_is_one_whose_stimulus_is_graded(self) -> None:
        graph = chain(x=Input(shape=(2,)), w=Dense(weight=np.eye(2)), cells=LIF(tau=0.02))
        x = {"x": to_events(np.full((9, 2, 2), [0.5, 0.25]))}
        found = verify_samples(graph, Samples(x, np.array([0, 1])))
        (misfit,) = found["misfits"]
        assert misfit.startswith("x: 36 spikes are not 1 (first 0.5); Loihi takes binary")
        assert found["metrics"] == {"accuracy": {"torch": 0.5, "events": 0.5}}

    def test_the_verb_says_why_and_ends_well(
        self, run: TaskRun, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
    ) -> None:
        def refuse(*_: Any, **__: Any) -> LoihiProgram:
            raise LowerError(["alif1: too fine; make it coarser"])

        monkeypatch.setattr("lava_export.chip_program.lower", refuse)
        told = cli.run("verify", run.folder)
        assert f"no parity with Lava: {DOES_NOT_FIT}" in told
        assert "alif1: too fine; make it coarser" in told
        written = read_result(run.folder, "verify")
        assert written is not None
        assert written["misfits"] == ["alif1: too fine; make it coarser"]
        assert set(written["metrics"]["accuracy"]) == {"torch", "events"}


def test_a_lava_that_fails_is_written_down_as_failed(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Record:
        raise LavaFailed("Lava ended with code 1; its last output:\nno room")

    monkeypatch.setattr("lava_export.binary.run", failing)
    told = "Lava failed: Lava ended with code 1; its last output:\nno room"
    expected = {"samples": 0, "skipped": told, "failed": True}
    verify_run(run)
    assert run.read("verify.json")["reference_lava"] == expected
    export_run(run)
    assert run.read("export.json")["reference_lava"] == expected


def test_a_run_without_training_says_so_before_anything_is_read(
    tmp_path: Path, run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("tasks.runs.trained_run.describe_provenance")
    (tmp_path / "config.json").write_bytes((run.folder / "config.json").read_bytes())
    untrained = open_folder(tmp_path)
    command = f"neuro train mnist:tiny --out {tmp_path} --seed 0"
    with pytest.raises(ValueError, match=f"is not trained yet; {command} first"):
        verify_run(untrained)


def test_the_test_split_comes_in_the_order_of_its_labels(run: TaskRun) -> None:
    network = open_trained_run(run).network
    labels = np.concatenate([some.targets for some in network.iterate_samples(most=25)])
    assert labels.tolist() == [*range(10), *range(10), *range(5)]
