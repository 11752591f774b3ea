import math
from pathlib import Path

import pytest
import torch
from torch import nn

from neuro.io.run_folder import RunError, begin_run
from neuro.neurons import LI
from neuro.nn import Spiking, Stack
from neuro.nn.net import replay
from neuro.nn.trace import trace
from neuro.spikes import to_events
from neuro.training import TrainError, get_best_weights_path
from neuro.training.checkpoint import get_weights, save_weights
from tasks.runs.find import make_run
from tasks.runs.samples import collect_outputs
from tasks.runs.trained_run import build_fresh_model, load_trained_model, require_declared


@pytest.mark.slow
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_is_refused_with_what_it_means(
    tmp_path: Path, value: float
) -> None:
    run = make_run("language:small", tmp_path)
    require_declared(run, {"bits_per_byte": 2.0})
    with pytest.raises(RunError, match=f"bits_per_byte is {value}: answers of the model, or"):
        require_declared(run, {"bits_per_byte": value})


def test_an_output_that_the_graph_does_not_have_is_told_with_those_it_has() -> None:
    graph = trace(Stack(fc=nn.Linear(3, 2), readout=Spiking(LI(tau=0.02))), (3,))
    outputs = collect_outputs(graph, replay(graph, {"input": to_events(torch.ones(4, 1, 3))}))
    assert outputs["readout"].shape == (4, 1, 2)
    with pytest.raises(RunError, match=r"no output 'out'; it has readout: use one of them"):
        outputs["out"]


def test_weights_of_another_run_are_not_measured(tmp_path: Path) -> None:
    run = make_run("yinyang:tiny", tmp_path, 1)
    digest = begin_run(run)
    path, weights = get_best_weights_path(tmp_path), get_weights(build_fresh_model(run))
    save_weights(path, weights, {"epoch": 0, "run": digest})
    load_trained_model(run)
    other = begin_run(make_run("yinyang:tiny", tmp_path / "other", 2))
    for mine, told in ((other, "of another task"), ("", "without a run")):
        save_weights(path, weights, {"epoch": 0, "run": mine})
        with pytest.raises(TrainError, match=f"best.safetensors: weights {told}"):
            load_trained_model(run)
