import torch
from torch import nn

from neuro.nn import Residual, Spiking, Stack
from neuro.nn.trace import trace
from tasks.driving.cells import Rectifier, convolve, make_block, make_cells, make_lif
from tasks.driving.config import Cells


def test_neurons_follow_their_equation() -> None:
    cells = Spiking(make_lif(Cells(decay=0.5, threshold=1.0)))
    x = torch.tensor([0.6, 0.5, 0.6, 0.4, 2.5, 0.0])[:, None, None]
    y, _ = cells(x)
    # v: 0.6, 0.8, 1.0 (fires, hard reset), 0.4, 2.7 (fires), 0
    assert y.flatten().tolist() == [0, 0, 1, 0, 1, 0]


def test_halving_the_input_is_doubling_the_threshold() -> None:
    rng = torch.Generator().manual_seed(0)
    x = 4 * torch.rand(50, 3, 8, generator=rng)
    ours, _ = Spiking(make_lif(Cells(threshold=2.0)))(x)
    v, spikes = torch.zeros(3, 8), []
    for now in x:  # v <- v + (x - v) / tau, tau = 2, reset to 0 at 1: SAD's code
        v = v + (now - v) / 2
        spikes.append((v >= 1).float())
        v = torch.where(v >= 1, 0, v)
    assert torch.equal(ours, torch.stack(spikes))


def test_surrogates_are_those_named() -> None:
    x = torch.tensor([[[0.7, 1.2]]], requires_grad=True)
    spiking = Spiking(make_lif(Cells(surrogate="sigmoid")))
    spiking(x)[0].sum().backward()
    s = torch.sigmoid(4 * (x.detach() - 1))
    torch.testing.assert_close(x.grad, 4 * s * (1 - s))


def test_the_twin_has_relu_and_no_state() -> None:
    relu = Cells(kind="relu")
    assert isinstance(make_cells(relu), nn.ReLU)
    x = torch.tensor([-1.0, 2.0])[None, None]
    y, _ = Spiking(Rectifier())(x)
    assert y.flatten().tolist() == [0, 2]


def test_a_block_adds_currents_and_its_convolutions_take_spikes() -> None:
    block = make_block(Cells(), 3, 3, 5).eval()
    assert isinstance(block, Residual)
    x = torch.randn(2, 4, 3, 6, 6)
    taken: list[torch.Tensor] = []
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda _, given: taken.append(given[0]))
    y, _ = block(x)
    assert len(taken) == 2
    assert all(set(z.unique().tolist()) <= {0, 1} for z in taken)
    torch.testing.assert_close(y, x + block.body(x)[0])


def test_a_smaller_block_halves_the_map_on_both_ways() -> None:
    block = make_block(Cells(), 3, 7, 5, stride=2)
    assert block(torch.randn(2, 4, 3, 6, 6))[0].shape == (2, 4, 7, 3, 3)


def test_layers_trace_to_a_graph() -> None:
    stack = Stack(
        **convolve(Cells(), 2, 3), block=make_block(Cells(), 3, 3, 3), end=make_cells(Cells())
    )
    graph = trace(stack.eval(), (2, 4, 4))
    assert graph.outputs == ("end",)
    assert {e.source for e in graph.into("end")} == {"conv", "block_body_conv2"}
