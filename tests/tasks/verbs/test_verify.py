from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lava_export import lower, reference
from lava_export.run import LavaFailed
from neuro.events import Grid, simulate
from neuro.io.run_folder import Run
from neuro.nn import replay
from neuro.nn.rounding import bound_rounding, count_near
from neuro.nn.threshold_margin import compute_margins
from neuro.record import Record
from neuro.spikes import to_raster
from tasks.cli import main
from tasks.find import open_folder
from tasks.verbs.export import export_run
from tasks.verbs.trained_run import iterate_samples, load_run_graph
from tasks.verbs.verify import find_layer_differences, verify_run, verify_samples


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    main(["train", "mnist:tiny", "--out", str(folder)])
    return open_folder(folder)


def test_labels_may_be_an_array_and_no_samples_are_refused(run: Run) -> None:
    graph = load_run_graph(run)
    some = next(iterate_samples(run, graph, most=3))
    assert some.targets.shape == (3,)
    arrays = some._replace(targets=some.targets.numpy())
    want, got = (verify_samples(graph, x, lava_samples=1) for x in (some, arrays))
    assert got == want
    assert want["reference_lava"]["samples"] in (0, 1)  # 0: without Lava
    parts = [some.take(2), some]
    assert verify_samples(graph, parts, lava_samples=1)["n"] == 5
    with pytest.raises(ValueError, match=r"no samples; .* Samples\(stimulus, labels\)"):
        verify_samples(graph, [])


def without_its_first_spike(record: Record, name: str) -> Record:
    e = record.spikes[name]
    fewer = e._replace(
        sample=e.sample[1:], tick=e.tick[1:], neuron=e.neuron[1:], value=e.value[1:]
    )
    return replace(record, spikes={**record.spikes, name: fewer})


def test_a_spike_that_differs_is_counted_with_its_margin_and_fails_the_verb(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(*args: Any, **options: Any) -> Any:
        record, state = simulate(*args, **options)
        return without_its_first_spike(record, "alif2"), state

    monkeypatch.setattr("tasks.verbs.verify.simulate", forgetful)
    with pytest.raises(SystemExit) as e:
        main(["verify", str(run.folder)])
    assert e.value.code == 1
    found = run.read("verify.json")["torch_events"]
    graph = load_run_graph(run)
    inputs = next(iterate_samples(run, graph)).inputs
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


def test_what_float32_decides_is_counted(run: Run) -> None:
    found = verify_run(run, lava_samples=1)["torch_events"]
    graph = load_run_graph(run)
    inputs = next(iterate_samples(run, graph)).inputs
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


def test_the_gap_between_floats_and_integers_is_measured(run: Run) -> None:
    result = verify_run(run, lava_samples=1)
    gap = result["quantisation"]
    assert set(gap) == {"alif1", "alif2", "readout"}
    assert all(0 <= share < 0.05 for share in gap.values())
    # The read-out's, written out for the first batch; a batch is all there is.
    graph = load_run_graph(run)
    inputs = next(iterate_samples(run, graph)).inputs
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


def test_values_may_differ_by_rounding_and_by_nothing_more(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(share: float) -> dict[str, Any]:
        def shifted(*args: Any, **how: Any) -> Any:
            record, state = simulate(*args, **how)
            values = {k: v + share * np.abs(v).max() for k, v in record.values.items()}
            return replace(record, values=values), state

        monkeypatch.setattr("tasks.verbs.verify.simulate", shifted)
        found: dict[str, Any] = verify_run(run, lava_samples=1)["torch_events"]
        return found

    for share, wrong in ((3e-13, 0), (3e-12, 4 * 100 * 10)):
        found = off(share)
        assert found["mismatches"] == found["layers"]["readout"]["mismatches"] == wrong
        assert found["layers"]["readout"]["rounding"] == pytest.approx(share, rel=0.01)


def test_a_value_that_is_no_number_is_a_mismatch(run: Run) -> None:
    graph = load_run_graph(run)
    record, _ = simulate(graph, next(iterate_samples(run, graph, most=2)).inputs)
    values = {k: v.copy() for k, v in record.values.items()}
    values["readout"][1, 0, 3] = np.nan
    spoilt = replace(record, values=values)
    assert not find_layer_differences(graph, record, record)["readout"].any()
    found = find_layer_differences(graph, record, spoilt)["readout"]
    assert np.argwhere(found).tolist() == [[1, 0, 3]]


def test_a_lava_that_fails_is_written_down_as_failed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Record:
        raise LavaFailed("Lava ended with code 1; its last output:\nno room")

    monkeypatch.setattr("tasks.verbs.verify.run_lava", failing)
    told = "Lava failed: Lava ended with code 1; its last output:\nno room"
    expected = {"samples": 0, "skipped": told, "failed": True}
    verify_run(run)
    assert run.read("verify.json")["reference_lava"] == expected
    export_run(run)
    assert run.read("export.json")["reference_lava"] == expected


def test_a_run_without_training_says_so(tmp_path: Path, run: Run) -> None:
    (tmp_path / "config.json").write_bytes((run.folder / "config.json").read_bytes())
    untrained = open_folder(tmp_path)
    command = f"neuro train mnist:tiny --out {tmp_path} --seed 0"
    with pytest.raises(ValueError, match=f"is not trained yet; {command} first"):
        verify_run(untrained)


def test_the_test_split_comes_in_the_order_of_its_labels(run: Run) -> None:
    graph = load_run_graph(run)
    labels = np.concatenate([some.targets for some in iterate_samples(run, graph, most=25)])
    assert labels.tolist() == [*range(10), *range(10), *range(5)]
