"""The model beside the published PilotNet, and its operations beside NeuroBench's."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from written_graphs import chain

from neuro.energy import estimate, find_chip
from neuro.energy.validation import (
    DYNAMIC,
    PILOTNET,
    TIME_OF_STEP,
    check_energy,
    check_steps,
    list_step_seconds,
)
from neuro.events import simulate
from neuro.graph import Conv2d, Dense, Flatten, Graph, Input
from neuro.neurons import LIF
from neuro.spikes import to_events, to_raster
from neuro.spikes.record import Record


def test_pilotnet_costs_what_was_measured_within_a_quarter() -> None:
    columns = ("neurons", "cores", "spikes", "events")
    sums = [sum(getattr(layer, column) for layer in PILOTNET) for column in columns]
    assert sums == [158_509, 74, 34_607.1875, 2_269_710.375]
    assert pytest.approx(68.35e-6, rel=1e-3) == DYNAMIC
    found = check_energy(find_chip("loihi1"))
    assert found.ours == pytest.approx(66.5e-6, rel=2e-3)  # Davies' prices: no fit
    assert found.passes
    assert 0.95 < found.ratio < 1.0
    sana_fe = check_energy(find_chip("loihi1_sanafe"))
    assert sana_fe.passes
    assert sana_fe.ratio > found.ratio


def test_the_pattern_of_its_steps_is_the_measured_one() -> None:
    checks = check_steps(find_chip("loihi2"))
    assert all(check.passes for check in checks)
    assert max(abs(check.ratio - 1) for check in checks) < 0.02
    # With the messages that come in, each step is longer than measured, by at most an eighth.
    over = np.array(list_step_seconds(find_chip("loihi2"))) / TIME_OF_STEP
    assert over.min() > 1.05
    assert over.max() < 1.125
    # Loihi 1's 3.5 ns for a synaptic event would take three times as long.
    slow = np.array(list_step_seconds(find_chip("loihi1"))) / TIME_OF_STEP
    assert slow.min() > 3


def convolved() -> tuple[Graph, Record]:
    """Return a small network with some weights of zero, and a run of two samples."""
    rng = np.random.default_rng(0)
    conv = rng.normal(size=(3, 2, 3, 3)) * (rng.random((3, 2, 3, 3)) < 0.7)
    dense = rng.normal(size=(5, 48)) * (rng.random((5, 48)) < 0.7)
    graph = chain(
        x=Input(shape=(2, 4, 4)),
        conv=Conv2d(weight=conv, padding=(1, 1)),
        hidden=LIF(tau=0.01, threshold=0.7),
        flat=Flatten(),
        fc=Dense(weight=dense),
        out=LIF(tau=0.01),
    )
    record, _ = simulate(graph, {"x": to_events(rng.random((6, 2, 2, 4, 4)) < 0.3)})
    return graph, record


class Replay(nn.Module):
    """The connections of the graph as layers of torch, driven by the spikes of its record."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        nodes = graph.nodes
        self.conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.fc = nn.Linear(48, 5, bias=False)
        self.conv.weight.data = torch.tensor(nodes["conv"].weight).float()  # type: ignore[union-attr]
        self.fc.weight.data = torch.tensor(nodes["fc"].weight).float()  # type: ignore[union-attr]

    def forward(self, data: tuple[Tensor, Tensor]) -> list[Tensor]:
        return [self.fc(hidden) for x, hidden in zip(*data, strict=True) if len(self.conv(x))]


def iterate_layers(record: Record) -> Iterator[Tensor]:
    """Yield what drives each connection, T B and its shape."""
    for name, shape in (("x", (2, 4, 4)), ("hidden", (48,))):
        yield torch.tensor(to_raster(record.spikes[name])).reshape(6, 2, *shape).float()


def test_synaptic_operations_are_those_of_the_definition() -> None:
    graph, record = convolved()
    x, hidden = iterate_layers(record)
    model = Replay(graph)
    model.conv.weight.data = (model.conv.weight != 0).float()
    model.fc.weight.data = (model.fc.weight != 0).float()
    with torch.no_grad():
        events = sum(float(model.conv(t).sum()) for t in x) + float(model.fc(hidden).sum())
    found = estimate(graph, record, "loihi1").convention.operations
    assert found.acs == events / 2
    assert found.macs == 0
    pairs = 3 * 2 * (4 * 3 - 2) ** 2  # of a kernel of 3 on rows of 4, with padding
    assert found.dense == 6 * (pairs + 48 * 5)
    assert 0 < found.acs < 0.5 * found.dense


def test_synaptic_operations_are_those_of_neurobench() -> None:
    pytest.importorskip("neurobench", reason="pip install --no-deps neurobench (a peer)")
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    graph, record = convolved()
    model, metric = TorchModel(Replay(graph)), SynapticOperations()
    model.register_hooks()
    model(tuple(iterate_layers(record)))
    theirs = metric(model, None, (torch.zeros(2), None))
    ours = estimate(graph, record, "loihi1").convention.operations
    assert theirs == {
        "Effective_ACs": ours.acs,
        "Effective_MACs": ours.macs,
        "Dense": ours.dense,
    }
