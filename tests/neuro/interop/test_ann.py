"""Torch modules of ANNs, with any forward, as Graphs."""

import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.graph import Pointwise
from neuro.graph.convert import list_activations
from neuro.interop.ann import read_ann
from neuro.interop.neuron_reader import CannotRunError, CaptureError
from neuro.nn.counted_relu import CountedReLU


class Net(nn.Module):
    """A forward of its own: functions, a residual add, and one ReLU in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.counted = CountedReLU(4, 1.5)
        self.out = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.second(x) + x)
        x = self.counted(F.adaptive_avg_pool2d(x, 2))
        y: Tensor = self.out(F.dropout(x.view(x.size(0), -1), training=self.training))
        return y


def test_a_forward_of_its_own_is_read() -> None:
    read = read_ann(Net(), (3, 6, 6))
    assert read.error < 1e-12
    names = list_activations(read.graph)
    counted = [read.graph.nodes[n] for n in names]
    assert [n.levels for n in counted if isinstance(n, Pointwise)] == [0, 0, 4]
    assert len(set(names)) == 3  # the ReLU of two places became two


class Refused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(16, 5)
        self.pool, self.norm = nn.MaxPool2d(2), nn.GroupNorm(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.leaky_relu(self.pool(self.conv(x))))
        return F.softmax(self.out(F.gelu(F.relu6(x)).flatten(1)), 1)


def test_everything_that_no_spiking_network_can_is_listed_at_once() -> None:
    with pytest.raises(CaptureError) as error:
        read_ann(Refused(), (3, 6, 6))
    told = error.value.problems
    for name, cure in (
        ("max_pool2d", "train with AvgPool2d, or a stride"),
        ("leaky_relu", "train the ANN with ReLU"),
        ("relu6", "train the ANN with ReLU"),
        ("gelu", "train the ANN with ReLU"),
        ("group_norm", "train with BatchNorm1d or BatchNorm2d"),
        ("softmax", "return the logits"),
    ):
        assert sum(f"{name}()" in p and cure in p and "test_ann.py:" in p for p in told) == 1


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.one(x) if len(x) < 4 else self.two(x)
        return y


def test_a_module_that_is_not_its_graph_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"differ by .* let forward depend on nothing"):
        read_ann(Branches(), (3,))


def test_an_error_of_the_module_is_told_with_its_line() -> None:
    with pytest.raises(CannotRunError, match=r"test_ann\.py:"):
        read_ann(Net(), (2, 6, 6))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.b(x)


def test_a_network_that_only_returns_zeros_is_refused() -> None:
    layer = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(layer.weight)
    with pytest.raises(CaptureError, match="returns 0 for random images; load its weights"):
        read_ann(nn.Sequential(layer), (3,))


def test_two_outputs_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"returns .*tuple.*; return its logits alone"):
        read_ann(Two(), (3,))
