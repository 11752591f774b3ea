"""The loss: times, noise, hidden labels, and its value for a network that knows the answer."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from tasks.flow.config import tiny
from tasks.flow.loss import draw, loss, measure_loss, validate
from tasks.flow.model import FlowModel, build

CONFIG = replace(tiny(), images=3, batch=4, width=16, heads=2, train=200, held=50, test=50)


class Spy(nn.Module):
    """A network that returns zeros and records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.given: list[tuple[Tensor, ...]] = []

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> tuple[Tensor, Any]:
        self.given.append((x, t, labels))
        return self.weight * x, ()


def images(samples: int = 4) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, samples, 1, 8, 8, generator=rng)
    return x, torch.arange(samples).expand(3, -1)


def test_the_network_sees_the_linear_path_and_learns_its_velocity() -> None:
    spy, (x, labels) = Spy(), images()
    with seeded(3):
        found = loss(CONFIG, spy, (x, labels), 0.0)
    with seeded(3):
        drawn = draw(CONFIG, x, True)
    ((seen, t, _),) = spy.given
    at = t[..., None, None, None]
    torch.testing.assert_close(seen, at * x + (1 - at) * drawn["noise"])
    assert float(found.detach()) == pytest.approx(float((x - drawn["noise"]).square().mean()))
    assert (t[1:] >= t[:-1]).all()
    assert not torch.equal(drawn["noise"][0], drawn["noise"][1])


@pytest.mark.parametrize("arm", ["sit", "sit_grouped", "arflow"])
def test_a_share_of_labels_is_hidden_and_those_of_a_sequence_together(arm: str) -> None:
    config = replace(CONFIG, arm=arm, dropped=0.3)  # type: ignore[arg-type]
    spy, batch = Spy(), images(2000)
    labels = batch[1] % 10
    with seeded(0):
        loss(config, spy, (batch[0], labels), 0.0)
    told = spy.given[0][2]
    hidden = told == config.classes
    assert torch.equal(told[~hidden], labels[~hidden])
    assert float(hidden.double().mean()) == pytest.approx(0.3, abs=0.03)
    together = (hidden == hidden[0]).all()
    assert bool(together) == (arm != "sit")
    spy.eval()
    loss(config, spy, (batch[0], labels), 0.0)
    assert torch.equal(spy.given[1][2], labels)


@pytest.mark.parametrize("arm", ["sit_unlabelled", "arflow_unlabelled"])
def test_arms_without_labels_are_told_none(arm: str) -> None:
    spy, batch = Spy(), images()
    loss(replace(CONFIG, arm=arm), spy, batch, 0.0)  # type: ignore[arg-type]
    assert (spy.given[0][2] == CONFIG.classes).all()


def test_validation_is_the_same_every_time_and_leaves_the_mode() -> None:
    with seeded(0):
        model = build(CONFIG)
    assert isinstance(model, FlowModel)
    assert (
        validate(CONFIG, model) == validate(CONFIG, model) == measure_loss(CONFIG, model, "val")
    )
    assert model.training
    # A fresh network returns zeros, so the loss is the mean square of image minus noise.
    assert measure_loss(CONFIG, model, "test") == pytest.approx(1.75, abs=0.15)


def test_a_network_that_learns_beats_zeros() -> None:
    with seeded(0):
        model = build(replace(CONFIG, images=2))
        adam = torch.optim.Adam(model.parameters(), 1e-2)
        x, labels = images()
        found = []
        for _ in range(25):
            own = loss(CONFIG, model, (torch.ones_like(x[:2]), labels[:2]), 0.0)
            adam.zero_grad()
            own.backward()
            adam.step()
            found.append(float(own.detach()))
    assert sum(found[-5:]) < 0.75 * sum(found[:5])
