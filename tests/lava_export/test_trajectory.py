"""Inputs with which neurons in floats follow the integers of a chip."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lava_export.trajectory import find_inputs
from neuro.base.units import Seconds
from neuro.neurons import ALIF, LIF, DiscreteLIF

DT = Seconds(1e-3)
SEEN: list[Tensor] = []  # distances from the threshold, latest tick first


def record(distance: Tensor) -> Tensor:
    SEEN.append(distance.detach())
    return torch.ones_like(distance)


ROW = np.array([0.5, 0.75, 1.25])
NEURONS = (
    ALIF(leak=ROW / 2, threshold=ROW, beta=0.25, rho=0.5, surrogate=record),
    ALIF(leak=0.3, beta=0.5, reset="soft", refractory=Seconds(0.001), surrogate=record),
    LIF(tau=0.004 * ROW, threshold=2 * ROW, tau_syn=0.003, surrogate=record),
    LIF(tau=0.01, reset="hard", refractory=Seconds(0.003), tau_syn=0.002, surrogate=record),
    DiscreteLIF(decay=ROW / 2, gain=0.5, reset="hard", reset_to=-ROW, surrogate=record),
    DiscreteLIF(decay=1.0, strict=True, rest=0.25, reset_by=ROW, surrogate=record),
)


@pytest.mark.parametrize("neuron", NEURONS)
def test_neurons_stand_as_far_above_their_threshold_as_told(neuron: Any) -> None:
    rng = np.random.default_rng(0)
    above = rng.integers(-300, 300, (12, 4, 3))
    above[rng.random(above.shape) < 0.3] = 0  # the nearest to either side
    above[rng.random(above.shape) < 0.3] = 1
    inputs, spikes = find_inputs(neuron.coefficients(DT).spread((3,)), above, 64.0)
    state, out = neuron.initial(torch.zeros(4, 3).double()), []
    free = []
    SEEN.clear()
    for x in torch.from_numpy(inputs):
        free.append(np.ones((4, 3), bool) if state.wait is None else state.wait.numpy() == 0)
        s, state = neuron.step(x.requires_grad_(), state, DT)
        out.append(s)
    torch.stack(out).sum().backward()
    assert (spikes == ((above > 0) & free)).all()
    assert np.array_equal(torch.stack(out).detach().numpy(), spikes)
    assert 0 < spikes.mean() < 1
    found = np.stack([far.numpy() for far in SEEN[::-1]])
    assert np.abs(found - (above - 0.5) / 64)[np.array(free)].max() < 1e-12
