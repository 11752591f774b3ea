"""Quantisers and gates against their definitions."""

import math

import pytest
import torch
from narrow_cases import narrow

from neuro.seeds import seeded
from tasks.bottlenecks import task
from tasks.bottlenecks.links import Gates, Quantiser
from tasks.bottlenecks.teaching import compute_loss


class TestQuantiser:
    @pytest.mark.parametrize("bits", [4, 8])
    def test_has_the_levels_of_its_bits(self, bits: int) -> None:
        link = Quantiser(1, bits)
        link.set_range(torch.tensor([-1.0]), torch.tensor([2.0]))
        y = link(torch.linspace(-3, 3, 4001).reshape(-1, 1)).detach()
        assert len(y.unique()) == 2**bits
        assert (float(y.min()), float(y.max())) == (-1.0, pytest.approx(2.0))

    def test_rounds_to_the_nearest_level(self) -> None:
        link = Quantiser(1, 4)
        link.set_range(torch.tensor([0.0]), torch.tensor([15.0]))
        x = torch.tensor([[0.4], [0.6], [7.0], [99.0], [-1.0]])
        assert link(x).flatten().tolist() == [0, 1, 7, 15, 0]

    def test_gradients_are_those_of_lsq(self) -> None:
        """Inside the range 1 for x and round - value for the step; beyond it 0 and a level."""
        link = Quantiser(1, 4)
        link.set_range(torch.tensor([0.0]), torch.tensor([15.0]))
        x = torch.tensor([[3.3], [99.0]], requires_grad=True)
        y = link(x)
        y[0].backward(retain_graph=True)
        assert x.grad is not None
        assert x.grad.flatten().tolist() == [1, 0]
        assert link.step.grad is not None
        assert float(link.step.grad) == pytest.approx(3 - 3.3, abs=1e-5)
        link.step.grad = None
        y[1].backward()
        assert float(link.step.grad) == 15

    def test_a_channel_that_never_changes_keeps_its_value(self) -> None:
        link = Quantiser(1, 8)
        link.set_range(torch.tensor([0.5]), torch.tensor([0.5]))
        assert link(torch.tensor([[0.5]])).tolist() == [[0.5]]


class TestGates:
    def test_expected_number_of_open_gates_is_that_of_draws(self) -> None:
        gates = Gates(4)
        with torch.no_grad():
            gates.a.copy_(torch.tensor([-3.0, -1.0, 0.0, 2.0]))
        shift = 2 / 3 * math.log(0.1 / 1.1)
        closed = torch.sigmoid(gates.a.detach() - shift)
        assert float(gates.expect_open().detach()) == pytest.approx(float(closed.sum()))
        with seeded(0), torch.no_grad():
            drawn = torch.stack([gates.draw() for _ in range(4000)])
        torch.testing.assert_close((drawn > 0).float().mean(0), closed, atol=0.025, rtol=0)

    def test_are_fixed_in_evaluation_and_one_at_least_stays_open(self) -> None:
        gates = Gates(3).eval()
        with torch.no_grad():
            gates.a.copy_(torch.tensor([-9.0, -8.0, 9.0]))
        assert gates.draw().tolist() == pytest.approx([0, 0, 1], abs=1e-3)
        assert gates.find_open().tolist() == [2]
        assert gates.find_open(least=2).tolist() == [1, 2]
        with torch.no_grad():
            gates.a.fill_(-9.0)
        assert len(gates.find_open()) == 1

    def test_the_penalty_prices_expected_kilobits(self) -> None:
        """A channel of 2 ticks, 28 x 28 pixels, 8 bits is 12.544 kilobits."""
        config = narrow("8bit", (1, 4), gated=True, penalty=0.5)
        x, labels = next(task.batches(config, "train", 0))
        with seeded(0):
            model = task.build(config)
        without = narrow("8bit", (1, 4), gated=True)
        losses = []
        for each in (config, without):
            with seeded(1), torch.no_grad():
                losses.append(float(compute_loss(each, 28, model.eval(), x, labels)))
        gates = Gates(4)
        assert losses[0] - losses[1] == pytest.approx(
            0.5 * 12.544 * float(gates.expect_open().detach()), rel=1e-4
        )
