"""Forecasters: sizes, independence of samples, an arm that changes nothing but the loss."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from neuro.base.seeds import seeded
from neuro.nn.trace import trace
from neuro.training.checkpoint import load_weights, save_weights
from tasks.forecasting.config import guided_ann, tiny, tiny_ann
from tasks.forecasting.data import batches, count_channels
from tasks.forecasting.network import build
from tasks.forecasting.task import loss

CELLS = ("lif", "alif", "tanh")


@pytest.mark.parametrize("cells", CELLS)
def test_every_sample_is_answered_on_its_own(cells: str) -> None:
    """In the released code for EEG, an LSTM runs along the batch."""
    config = replace(tiny(), points=400, batch=40, cells=cells)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
    x, *_ = next(batches(config, "test", 0))
    order = torch.randperm(x.shape[1])
    with torch.no_grad():
        all_at_once = model(x)[0]
        moved, few = model(x[:, order])[0], model(x[:, 3:5])[0]
    assert torch.allclose(moved, all_at_once[:, order], atol=1e-5)
    assert torch.allclose(few, all_at_once[:, 3:5], atol=1e-5)


@pytest.mark.parametrize("cells", CELLS)
def test_the_arm_changes_neither_the_student_nor_its_batches(cells: str) -> None:
    weights = []
    for arm in ("none", "future", "smoothing", "shuffled"):
        config = replace(tiny(), points=400, cells=cells, arm=arm)  # type: ignore[arg-type]
        with seeded(5):
            weights.append(build(config).student.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(other[name], own) for name, own in weights[0].items())


def test_the_network_without_spikes_has_the_size_of_the_bench() -> None:
    with torch.device("meta"):
        model = build(guided_ann())
    sizes = [p.numel() for p in model.student.parameters()]
    assert sizes == [8 * 48, 48, 48 * 48, 48, 48 * 25, 25]


def test_the_spiking_student_is_a_recurrent_graph_of_two_populations() -> None:
    config = tiny()
    graph = trace(build(config).student, (count_channels(config),))
    assert graph.shapes["hidden_spiking"] == (32,)
    assert graph.shapes["readout"] == (25,)
    assert "hidden_feedback" in graph.shapes
    assert graph.outputs == ("readout",)


def test_the_student_answers_once_a_step_and_the_teacher_once() -> None:
    """In the released code a step with drift answers twice, each with another dropout."""
    config = replace(tiny_ann(), points=400, batch=40)
    with seeded(0):
        model = build(config)
    calls: list[str] = []
    for name in ("student", "teacher"):
        model.get_submodule(name).register_forward_hook(lambda *_, n=name: calls.append(n))
    loss(config, model, next(batches(config, "train", 0)), 0.0)
    assert calls == ["student", "teacher"]
    assert not any(isinstance(m, torch.nn.Dropout) for m in model.modules())


def test_teacher_and_student_are_kept_as_tensors_alone(tmp_path: Path) -> None:
    """In the released code whole modules are pickled, which torch by default refuses."""
    config = replace(tiny_ann(), points=400)
    with seeded(0):
        model = build(config)
    with seeded(1):
        other = build(config)
    path = tmp_path / "weights.safetensors"
    save_weights(path, model.state_dict(), {"run": ""})
    load_weights(path, other)
    for name, weight in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight)
    names = load_file(path)
    assert {name.split(".")[0] for name in names} == {"student", "teacher"}


def test_an_unsound_configuration_builds_nothing() -> None:
    with pytest.raises(ValueError, match="horizon is 0; it must be >= 1"):
        build(replace(tiny(), horizon=0))
