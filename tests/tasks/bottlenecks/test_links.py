"""Quantisers and gates against their definitions."""

import math

import pytest
import torch
from narrow_cases import narrow

from neuro.base.seeds import seeded
from tasks.bottlenecks import task
from tasks.bottlenecks.bottleneck import drop_penalty
from tasks.bottlenecks.links import Gates, Quantiser
from tasks.bottlenecks.network import make_boundary
from tasks.bottlenecks.teaching import compute_loss, price_bits


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
            gates.raw.copy_(torch.tensor([-3.0, -1.0, 0.0, 2.0]) / gates.SPEED)
        shift = 2 / 3 * math.log(0.1 / 1.1)
        closed = torch.sigmoid(gates.a.detach() - shift)
        assert float(gates.expect_open().sum().detach()) == pytest.approx(float(closed.sum()))
        with seeded(0), torch.no_grad():
            drawn = torch.stack([gates.draw() for _ in range(4000)])
        torch.testing.assert_close((drawn > 0).float().mean(0), closed, atol=0.025, rtol=0)

    def test_are_fixed_in_evaluation_and_one_at_least_stays_open(self) -> None:
        gates = Gates(3).eval()
        with torch.no_grad():
            gates.raw.copy_(torch.tensor([-9.0, -8.0, 9.0]) / gates.SPEED)
        assert gates.draw().tolist() == pytest.approx([0, 0, 1], abs=1e-3)
        assert gates.find_open().tolist() == [2]
        with torch.no_grad():
            gates.raw.fill_(-0.9)
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
            0.5 * 12.544 * float(gates.expect_open().sum().detach()), rel=1e-4
        )

    def test_a_step_of_adam_moves_them_enough_to_close(self) -> None:
        """70 steps of a learning rate of 0.01, half of it on the mean: from 2 to below -2.4."""
        gates = Gates(1)
        optimizer = torch.optim.Adam(gates.parameters(), lr=0.005)
        for _ in range(70):
            optimizer.zero_grad()
            gates.expect_open().sum().backward()
            optimizer.step()
        assert gates.eval().draw().tolist() == [0]


class TestAddressEvents:
    """Spikes of the link, times the bits of an address among the channels left open."""

    def price(self, *, gated: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the price, what crossed, and the probability of each gate that it is open."""
        config = narrow("spikes", (1, 4), gated=gated, penalty=0.5, price="aer")
        boundary = make_boundary(config, 4, 4)
        rng = torch.Generator().manual_seed(0)
        sent = (torch.rand(2, 3, 4, 28, 28, generator=rng) < 0.1).float().requires_grad_()
        chance = torch.ones(4)
        for gates in boundary.children():
            if isinstance(gates, Gates):
                with torch.no_grad():
                    gates.raw.copy_(torch.tensor([2.0, -9.0, 2.0, -9.0]) / gates.SPEED)
                chance = gates.expect_open().detach()
        return price_bits(config, 28, {"narrow1": boundary}, {"narrow1": sent}), sent, chance

    def test_are_priced_without_gates(self) -> None:
        """4 x 28 x 28 = 3,136 neurons have addresses of 12 bits."""
        price, sent, _ = self.price(gated=False)
        spikes = float(sent.detach().sum()) / 3
        assert float(price.detach()) == pytest.approx(0.5 * 12 * spikes / 1000)

    def test_are_priced_by_the_channels_that_stay_open(self) -> None:
        """Two of them have 1,568 neurons: addresses of 11 bits."""
        price, sent, chance = self.price(gated=True)
        each = sent.detach().sum((0, 3, 4)).mean(0)
        expected = 0.5 * 11 * float((each * chance).sum()) / 1000
        assert float(price.detach()) == pytest.approx(expected)

    def test_make_spikes_rare(self) -> None:
        price, sent, _ = self.price(gated=False)
        (gradient,) = torch.autograd.grad(price, sent)
        assert gradient.unique().tolist() == pytest.approx([0.5 * 12 / 1000 / 3])


def test_narrow_networks_of_given_widths_keep_only_the_price_of_events() -> None:
    """A bitmap has no more to close; address events have spikes to lose."""
    bitmap = narrow("spikes", (1, 4), gated=True, penalty=0.5)
    assert drop_penalty(bitmap).narrow.penalty == 0
    events = narrow("spikes", (1, 4), penalty=0.5, price="aer")
    assert drop_penalty(events) == events
