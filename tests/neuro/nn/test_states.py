"""A state of other samples, of another model or of another length is refused by the layer."""

from itertools import pairwise
from typing import Any

import jaxtyping
import pytest
import torch
from tables import read_table
from torch import nn
from written_graphs import wire

import neuro
from neuro import neurons
from neuro.base.units import Seconds, Ticks
from neuro.graph import Edge, Graph, Input
from neuro.neurons import LIF
from neuro.nn import Net, net
from neuro.nn.layers import Spiking, Stack
from neuro.nn.spiking import LayerError

PLAIN, CURRENT = LIF(tau=0.02), LIF(tau=0.02, tau_syn=0.01)
HELD = LIF(tau=0.02, refractory=Seconds(2e-3))
CURE = "continue with the samples and model of the last run, or start at rest: state=None"


def x(samples: int = 2, ticks: int = 4) -> torch.Tensor:
    return torch.ones(ticks, samples, 3)


def state_of(module: Any, samples: int = 2) -> Any:
    given = {"input": x(samples)} if isinstance(module, Net) else x(samples)
    return module(given)[1]


def linear() -> nn.Module:
    return nn.Linear(3, 3)


def loop(*names: str, delay: int = 1) -> Net:
    """Return input -> a -> b -> ..., the last fed back to the first."""
    nodes: dict[str, Any] = {"input": Input(shape=(3,)), **dict.fromkeys(names, PLAIN)}
    ends = (("input", names[0]), *pairwise(names))
    back = Edge(names[-1], names[0], Ticks(delay))
    edges = (*(Edge(*pair) for pair in ends), back)
    return Net(Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3)))


# What goes on from which state, and what is said.
WRONG = """
Spiking(PLAIN)(x(3), state_of(Spiking(PLAIN)))
    Spiking: its state has v of shape (2, 3), x needs (3, 3)
Spiking(PLAIN)(x(3), state_of(Spiking(PLAIN), 1))
    Spiking: its state has v of shape (1, 3), x needs (3, 3)
Spiking(CURRENT)(x(), state_of(Spiking(PLAIN)))
    Spiking: its state has i of shape None, x needs (2, 3)
Spiking(PLAIN)(x(), state_of(Spiking(CURRENT)))
    Spiking: its state has i of shape (2, 3), x needs None
Spiking(HELD)(x(), state_of(Spiking(PLAIN)))
    Spiking: its state has wait of shape None, x needs (2, 3)
Spiking(ALIF())(x(), state_of(Spiking(PLAIN)))
    Spiking: takes a state of type ALIFState, got a LIFState
Spiking(PLAIN)(x(), [x()])
    Spiking: takes a state of type LIFState, got a list
Spiking(PLAIN)(x(), LIFState(v=0.0, i=None))
    Spiking: its state has v of shape (), x needs (2, 3)
Stack(fc=linear(), cells=Spiking(PLAIN))(x(3), (None, state_of(Spiking(PLAIN))))
    cells: its state has v of shape (2, 3), x needs (3, 3)
Stack(linear(), Spiking(PLAIN))(x(), (None,))
    Stack: its state is a tuple of 2, got 1
Stack(Spiking(PLAIN))(x(), state_of(Spiking(PLAIN)))
    Stack: its state is a tuple of 1, got a LIFState
Stack(fc=linear(), cells=Spiking(PLAIN))(x(), (x(), None))
    fc: has no state, got a Tensor of shape (4, 2, 3), torch.float32
Delay(Ticks(3))(x(), x(ticks=2))
    Delay: its state has past of shape (2, 2, 3), x needs (3, 2, 3)
Stack(late=Delay(Ticks(3)))(x(), (x(1, ticks=3),))
    late: its state has past of shape (3, 1, 3), x needs (3, 2, 3)
Recurrent(Spiking(PLAIN), linear(), 2)(x(), state_of(Recurrent(Spiking(PLAIN), linear())))
    Recurrent: its state has past of shape (1, 2, 3), x needs (2, 2, 3)
Recurrent(Spiking(PLAIN), linear())(x(), (state_of(Spiking(PLAIN), 3), x(ticks=1)))
    Spiking: its state has v of shape (3, 3), x needs (2, 3)
Residual(Spiking(PLAIN))(x(), (None,) * 3)
    Residual: its state is a tuple of 2, got 3
loop("a", "b")({"input": x(3)}, state_of(loop("a", "b")))
    Net: its state has b -> a (1 ticks) of shape (1, 2, 3), x needs (1, 3, 3)
loop("a", "b")({"input": x()}, state_of(loop("a", "c")))
    Net: its state has other populations or edges
loop("a")({"input": x()}, NetState({}, state_of(loop("a")).edges))
    Net: its state has other populations or edges
loop("a", "b", delay=2)({"input": x()}, state_of(loop("a", "b")))
    Net: its state has other populations or edges
loop("a")({"input": x()}, state_of(Spiking(PLAIN)))
    Net: takes a state of type NetState, got a LIFState
loop("a")({"input": x()}, NetState({"a": state_of(Spiking(CURRENT))}, state_of(loop("a"))[1]))
    a: its state has i of shape (2, 3), x needs None
"""


@pytest.fixture(autouse=True)
def types_are_checked_by_the_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(("run", "said"), read_table(WRONG))
def test_a_state_that_does_not_fit_is_told_with_both_shapes(run: str, said: str) -> None:
    with pytest.raises(LayerError) as told:
        eval(run, {**vars(neurons), **vars(net), **vars(neuro), **globals()})
    assert str(told.value) == f"{said}; {CURE}"


def test_with_parts_of_a_batch_the_samples_of_a_state_are_counted_before() -> None:
    torch.set_num_threads(1)
    net, images = Stack(cells=Spiking(PLAIN)), torch.ones(1, 301, 1, 1, 1)
    with torch.no_grad():
        state = net(images)[1]
        with pytest.raises(LayerError, match=r"^cells: its state must have 300 samples"):
            net(images[:, :300], state)  # parts of 256


def test_inputs_of_one_net_are_of_the_same_ticks_and_samples() -> None:
    net = Net(wire("x>a y>a", {"x": Input(shape=(3,)), "y": Input(shape=(3,)), "a": PLAIN}))
    for other in (x(1), x(2, ticks=1)):
        with pytest.raises(LayerError, match=r"^Net: inputs differ in \(ticks, samples\)"):
            net({"x": x(), "y": other})


def test_parameters_of_another_shape_are_refused_before_they_broadcast_over_samples() -> None:
    cells = Spiking(LIF(tau=0.02, threshold=[1.0, 2.0, 3.0, 4.0]))  # type: ignore[arg-type]
    said = r"^Spiking: LIF\.threshold of shape \(4,\) does not broadcast to \(1,\)"
    with pytest.raises(LayerError, match=said):
        cells(torch.ones(2, 4, 1))
    with pytest.raises(LayerError, match=r"^1: LIF\.threshold of shape \(4,\) does not"):
        Stack(nn.Identity(), cells)(x())
