"""A node of SpikingJelly and the population that it becomes: the same spikes and membranes.

Both are stepped by hand, in float64, on random currents, in both step modes of theirs.
"""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuro.base.units import Seconds
from neuro.interop.neuron_reader import CaptureError
from neuro.interop.spikingjelly_neurons import NEURONS, convert_neuron

jelly = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
functional = pytest.importorskip("spikingjelly.activation_based.functional")

N, DT = 6, Seconds(1e-3)
NODE = {
    "IFNode, hard": lambda: jelly.IFNode(),
    "IFNode, hard to -0.5": lambda: jelly.IFNode(v_reset=-0.5, v_threshold=0.75),
    "IFNode, soft": lambda: jelly.IFNode(v_reset=None),
    "IFNode, a threshold a neuron": lambda: jelly.IFNode(v_reset=None),
    "SimpleIFNode, starts above its reset": lambda: jelly.SimpleIFNode(v_reset=-0.5),
    "HalfThresholdIFNode": lambda: jelly.HalfThresholdIFNode(1.5),
    "ActivationAwareIFNode": lambda: jelly.ActivationAwareIFNode(
        torch.linspace(0.5, 2, N), torch.linspace(-0.2, 0.4, N)
    ),
    "LIFNode, hard": lambda: jelly.LIFNode(tau=2.5),
    "LIFNode, hard to 0.25": lambda: jelly.LIFNode(tau=2.5, v_reset=0.25),
    "LIFNode, soft": lambda: jelly.LIFNode(tau=3.0, v_reset=None),
    "LIFNode, its input not decayed": lambda: jelly.LIFNode(tau=3.0, decay_input=False),
    "LIFNode, soft, input not decayed": lambda: jelly.LIFNode(
        tau=3.0, decay_input=False, v_reset=None, surrogate_function=surrogate.ATan()
    ),
    "SimpleLIFNode": lambda: jelly.SimpleLIFNode(tau=2.5, decay_input=True),
    "ParametricLIFNode": lambda: jelly.ParametricLIFNode(2.7, v_reset=-0.25),
    "ParametricLIFNode, soft": lambda: jelly.ParametricLIFNode(2.7, False, v_reset=None),
    "CUBALIFNode": lambda: jelly.CUBALIFNode(0.5, 0.75, 1.0),
    "CUBALIFNode, soft": lambda: jelly.CUBALIFNode(0.25, 0.5, 1.0, None),
}


def current(seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * (torch.randn(80, 3, N, dtype=torch.float64, generator=generator) + 0.3)


def make_node(name: str) -> Any:
    node = NODE[name]()
    if "a threshold a neuron" in name:
        node.v_threshold = torch.linspace(0.5, 2, N, dtype=torch.float64)
    return node.double()


@pytest.mark.parametrize("name", NODE)
def test_a_node_and_its_population_fire_alike(name: str) -> None:
    node, x = make_node(name), current(len(name), 1.5)
    neuron = convert_neuron(node, type(node).__name__, (N,))
    ours, spikes = neuron.initial(x[0]), []
    for x_t in x:
        z = node(x_t)
        s, ours = neuron.step(x_t, ours, DT)
        assert torch.equal(s, z.double())
        torch.testing.assert_close(ours.v + neuron.rest, node.v)
        if ours.i is not None:
            torch.testing.assert_close(ours.i, node.c)
        spikes.append(s)
    assert 0.02 < torch.stack(spikes).mean() < 0.9
    functional.reset_net(node)
    functional.set_step_mode(node, "m")
    assert torch.equal(torch.stack(spikes), node(x).double())


def test_a_membrane_at_its_threshold_fires() -> None:
    node = jelly.IFNode()
    neuron = convert_neuron(node, "IFNode", (1,))
    x = torch.ones(1, 1, dtype=torch.float64)
    s, _ = neuron.step(x, neuron.initial(x), DT)
    assert s.item() == node(x).item() == 1


def test_the_learned_tau_of_a_parametric_lif_is_read_in_float64() -> None:
    node = jelly.ParametricLIFNode(2.7)
    with torch.no_grad():
        node.w.fill_(0.3)
    neuron = convert_neuron(node, "ParametricLIFNode", (1,))
    assert neuron.gain == pytest.approx(1 / (1 + math.exp(-float(np.float32(0.3)))), rel=1e-15)


def late_reset() -> Any:
    node = jelly.LIFNode()
    node.v_reset = -0.5  # SpikingJelly keeps starting at 0
    return node


def precise() -> Any:
    node = jelly.IFNode()
    node._neuron_precision = (torch.float16, "fp32", "fp32")
    return node


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: jelly.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)),
            "^surrogate_function Sigmoid does not emit 1 above the threshold and 0 below",
        ),
        (late_reset, "^v starts at 0 and decays towards -0.5; set v_reset when"),
        (precise, "^its precision is set for a GPU"),
        (
            lambda: jelly.SimpleLIFNode(2.0, True, v_reset=None),
            "^a SimpleLIFNode with v_reset=None fails in SpikingJelly itself",
        ),
        (
            lambda: jelly.CUBALIFNode(0.5, 0.5, 1.0, -0.5),
            "^v starts at -0.5 and decays towards 0",
        ),
        (lambda: jelly.IFNode(0.5, 0.5), "^DiscreteLIF.threshold must be > rest"),
    ],
)
def test_what_has_no_counterpart_is_refused(make: Any, problem: str) -> None:
    node = make()
    with pytest.raises(CaptureError) as caught:
        convert_neuron(node, type(node).__name__, (N,))
    assert re.match(problem, "; ".join(caught.value.problems))


def test_every_kind_that_is_converted_is_compared() -> None:
    assert {name.split(",")[0] for name in NODE} == {*NEURONS}
