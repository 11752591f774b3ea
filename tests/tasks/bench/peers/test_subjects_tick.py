"""The function of one tick is our network, its gradients too."""

import pytest
import torch
from torch import nn

from neuro.base.seeds import seeded
from neuro.base.units import Seconds
from neuro.neurons import LIF
from neuro.nn.layers import DT, Spiking, Stack
from tasks.bench.peers.subjects_tick import _Tick
from tasks.bench.peers.subjects_training import CELLS, TAU


@pytest.mark.slow
def test_a_loop_over_ticks_has_the_spikes_and_the_gradients_of_our_stack() -> None:
    with seeded(0):
        first, second = nn.Linear(6, 8, bias=False), nn.Linear(8, 4, bias=False)
        x = (torch.rand(12, 5, 6) < 0.5).float()
    for layer in (first, second):
        nn.init.uniform_(layer.weight, -0.5, 1.5)
    cells = LIF(tau=Seconds(float(DT / torch.log(torch.tensor(TAU)))), reset="hard")
    stack = Stack(first, Spiking(cells), second, Spiking(cells))
    tick, states, out = _Tick([first, CELLS, second, CELLS]), [torch.zeros(())] * 2, []
    for now in x:
        y, states = tick(now, states)
        out.append(y)
    found, (want, _) = torch.stack(out), stack(x)
    assert 20 < want.sum() < want.numel() - 20
    assert torch.equal(found, want)
    weights, pull = (first.weight, second.weight), torch.rand(want.shape)
    theirs, ours = (torch.autograd.grad((y * pull).sum(), weights) for y in (found, want))
    for a, b in zip(theirs, ours, strict=True):
        assert b.abs().max() > 0.1
        torch.testing.assert_close(a, b)
