from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from neuro.base.seeds import seeded
from neuro.nn import DelayedLinear
from tasks.delays import bench
from tasks.delays.task import batches, build, count_steps, fixed, learned, none, tiny
from tasks.measures.train import evaluate_run, launch_fabric, train_run
from tasks.report.key_figures import explain_refusal, list_key_figures, state_verdict
from tasks.runs.find import make_run


def test_a_sample_is_two_spikes_whose_interval_is_the_class() -> None:
    ((x, labels),) = batches(learned(), "test", 0)
    assert x.shape == (64 + 18 + 20 + 10, 160, 2)
    assert x.sum(0).unique().tolist() == [1.0]
    first, second = x.argmax(0).T
    assert torch.equal(second - first, 2 * labels)


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


def test_the_experiment_has_three_arms_of_equal_steps() -> None:
    experiment = bench.list_experiments(False)["intervals"]
    assert [*experiment.arms] == ["no delays", "fixed random delays", "learned delays"]
    assert [c.delays for c in experiment.arms.values()] == ["none", "fixed", "learned"]
    assert {c.epochs * count_steps(c) for c in experiment.arms.values()} == {800}
    assert experiment.seeds == (0, 1, 2, 3, 4)
    quick = bench.list_experiments(True)["intervals"]
    assert {c.epochs for c in quick.arms.values()} == {2}


@pytest.mark.slow
def test_the_trained_network_is_the_one_that_the_event_engine_runs(tmp_path: Path) -> None:
    run = make_run("intervals:tiny", tmp_path, 0)
    run = replace(run, config=replace(tiny(), epochs=12))
    train_run(run, launch_fabric(run, "cpu", 1))
    trained = evaluate_run(run)["accuracy"]
    measured = bench.measure_executors(run)
    assert measured["event engine"] == {"accuracy": trained}
    integers = run.read("verify.json")["metrics"]["accuracy"]["integers"]
    assert measured["chip integers"] == {"accuracy": integers}
    assert trained > 0.2


def test_the_report_says_why_delays_have_no_energy(tmp_path: Path) -> None:
    run = make_run("intervals:tiny", tmp_path, 0)
    why = "no energy is estimated, because how a chip stores synapses"
    assert state_verdict(run, dict.fromkeys(("verify", "energy")), {}).startswith(f"N{why[1:]}")
    figures = list_key_figures(run, dict.fromkeys(("verify", "energy")), {})
    assert figures[-1].note.startswith(f"not possible: {why}")
    assert explain_refusal(run, "verify") == ""
    without = replace(run, config=none())
    assert explain_refusal(without, "energy") == ""
