import numpy as np
import pytest
import torch
from torch import nn

from neuro.io.run_folder import RunError
from neuro.neurons import LI
from neuro.nn import Spiking, Stack
from neuro.nn.net import replay
from neuro.nn.trace import trace
from neuro.spikes import to_events, to_raster
from tasks.verbs.trained_run import CLASSIFIER, Samples, collect_outputs


def test_an_output_that_the_graph_does_not_have_is_told_with_those_it_has() -> None:
    graph = trace(Stack(fc=nn.Linear(3, 2), readout=Spiking(LI(tau=0.02))), (3,))
    outputs = collect_outputs(graph, replay(graph, {"input": to_events(torch.ones(4, 1, 3))}))
    assert outputs["readout"].shape == (4, 1, 2)
    with pytest.raises(RunError, match=r"no output 'out'; it has readout: ask for one of them"):
        outputs["out"]


def test_the_default_judge_reads_one_output_and_counts_right_answers() -> None:
    y = torch.zeros(4, 3, 2)
    y[3, 0, 1] = y[0, 2, 1] = 1.0
    answers = CLASSIFIER.decode({"out": y})
    assert answers.tolist() == [1, 0, 1]
    assert CLASSIFIER.measure(answers, torch.ones(3, dtype=torch.int64)) == {"accuracy": 2 / 3}
    with pytest.raises(ValueError, match=r"several outputs, a, b; .* Judge\(decode, measure\)"):
        CLASSIFIER.decode({"a": y, "b": y})


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_the_first_samples_of_some_are_theirs_alone(most: int) -> None:
    x = torch.rand(5, 3, 4).round()
    labels = torch.arange(3)
    some = Samples({"input": to_events(x)}, labels)
    few = some.take(most)
    n = min(most, 3)
    assert (few.n, few.ticks) == (n, 5)
    assert np.array_equal(to_raster(few.inputs["input"]), x[:, :n].numpy())
    assert few.targets.tolist() == labels[:n].tolist()
