import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exact_networks import DT, T, drawn, network, times
from torch import nn
from written_graphs import chain, wire

from neuro.base.seeds import seeded
from neuro.eventprop import (
    LEAST,
    EventPropError,
    Tally,
    compute_activity,
    compute_gradients,
    compute_module_outputs,
    compute_outputs,
    find_first_spikes,
)
from neuro.graph import Dense, Edge, Graph, Input
from neuro.neurons import LI, LIF
from neuro.nn.layers import Spiking, Stack
from neuro.nn.trace import trace
from neuro.spikes import to_events, to_times


def model(readout: bool = True) -> Stack:
    cell = LIF(tau=0.01, tau_syn=0.004, reset="hard")
    with seeded(0):
        net = Stack(
            fc1=nn.Linear(4, 8, bias=False),
            hidden=Spiking(cell, DT),
            fc2=nn.Linear(8, 3, bias=False),
            out=Spiking(LI(tau=math.inf) if readout else cell, DT),
        )
        for fc in (net.fc1, net.fc2):
            nn.init.uniform_(fc.weight, 0, 0.4)
    return net


def raster(samples: int = 6) -> torch.Tensor:
    return (torch.rand(T, samples, 4, generator=torch.Generator().manual_seed(0)) < 0.1).float()


def grazing() -> Graph:
    """Return a neuron whose V lies but 0.02 % above its threshold at its highest."""
    tau = 0.01
    top = 0.25 / (math.exp(-DT / tau) - math.exp(-2 * DT / tau))
    nodes = {
        "input": Input(shape=(1,)),
        "fc": Dense(weight=np.full((1, 1), 1.0002 / top)),
        "out": LIF(tau=tau, tau_syn=tau / 2, reset="hard", threshold=1.0),
    }
    return wire("input>fc fc>out", nodes, dt=DT)


def test_first_spikes_and_their_places() -> None:
    time, place = find_first_spikes(times([(0.003, 1), (0.005, 1)], [(0.002, 0)], size=2), 0.04)
    assert time.tolist() == [[0.04, 0.003], [0.002, 0.04]]
    assert place.tolist() == [[-1, 0], [2, -1]]


def test_a_loss_on_first_spikes_has_the_gradient_of_central_differences() -> None:
    """Time to first spike: cross-entropy of the negative times (Göltz et al. 2021)."""
    rng = np.random.default_rng(1)
    x = {"input": drawn(rng, 5, 3)}
    labels = torch.tensor([0, 1, 0, 1, 1])
    weight = torch.tensor(rng.uniform(0.1, 0.5, (2, 3)), requires_grad=True)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        graph = chain(
            input=Input(shape=(3,)),
            fc=Dense(weight=weight.detach().numpy()),
            out=LIF(tau=0.02, tau_syn=0.005, reset="hard"),
            dt=DT,
        )
        first = compute_outputs(graph, x, {"fc": weight}, Tally())
        return F.cross_entropy(-first / 0.005, labels)

    loss(weight).backward()
    for at in np.ndindex(2, 3):
        step = torch.zeros(2, 3, dtype=torch.float64)
        step[at] = 1e-6
        central = (loss(weight.detach() + step) - loss(weight.detach() - step)) / 2e-6
        assert weight.grad[at].item() == pytest.approx(central.item(), rel=1e-6, abs=1e-7)


def test_a_module_says_what_its_graph_does_and_gets_its_gradients() -> None:
    net, x, tally = model(), raster(), Tally()
    y = compute_module_outputs(net, x, tally)
    graph = trace(net, (4,))
    inputs = {"input": to_times(to_events(x.numpy()), DT)}
    done = compute_activity(graph, inputs)
    assert np.array_equal(y.detach().numpy(), done.means["out"])
    y.square().sum().backward()
    by = compute_gradients(
        graph, done.times, by_mean={"out": 2 * done.means["out"]}, least=LEAST
    )
    for name in ("fc1", "fc2"):
        weight = net.get_submodule(name).weight
        np.testing.assert_array_equal(weight.grad.numpy(), by.weights[name].astype(np.float32))
    assert (tally.spikes, tally.raised) == (by.spikes, by.raised)
    assert tally.spikes > 20


def test_the_bound_of_slopes_is_the_caller_s_choice() -> None:
    """The bound makes derivatives too small, and counts where; without it they are exact."""
    graph, x = grazing(), {"input": times([(0.002, 0)], size=1)}
    by = {}
    for least in (0.0, 0.05, 0.1):
        weight, tally = torch.tensor(graph.nodes["fc"].weight, requires_grad=True), Tally()  # type: ignore[union-attr]
        compute_outputs(graph, x, {"fc": weight}, tally, least).sum().backward()
        by[least] = weight.grad.item()
        assert (tally.spikes, tally.raised) == (1, least > 0)
    net, spikes = model(), raster()
    fired = compute_activity(
        trace(net, (4,)), {"input": to_times(to_events(spikes.numpy()), DT)}
    )
    y = compute_module_outputs(net, spikes, Tally(), 0.5)  # of a read-out
    y.sum().backward()
    bounded = compute_gradients(
        trace(net, (4,)), fired.times, by_mean={"out": np.ones(y.shape)}, least=0.5
    )
    found = net.fc1.weight.grad.numpy()
    np.testing.assert_array_equal(found, bounded.weights["fc1"].astype(np.float32))
    assert bounded.raised > 0
    done = compute_activity(graph, x)
    exact = compute_gradients(graph, done.times, by_time={"out": np.ones(1)})
    assert by[0.0] == exact.weights["fc"].item()
    assert by[0.05] == pytest.approx(2 * by[0.1], rel=1e-12)
    assert abs(by[0.05]) < 0.6 * abs(by[0.0])
    weight = torch.tensor(graph.nodes["fc"].weight, requires_grad=True)  # type: ignore[union-attr]
    compute_outputs(graph, x, {"fc": weight}, Tally()).sum().backward()
    assert weight.grad.item() == by[LEAST]


@pytest.mark.parametrize("least", [-0.1, math.nan, math.inf])
def test_a_bound_that_cannot_be_is_refused(least: float) -> None:
    with pytest.raises(ValueError, match="least must be >= 0 and finite"):
        compute_module_outputs(model(), raster(), Tally(), least)


@pytest.mark.parametrize("readout", [True, False])
def test_exact_gradients_train_a_module(readout: bool) -> None:
    net, x, labels = model(readout), raster(), torch.tensor([0, 1, 2, 0, 1, 2])
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        y = compute_module_outputs(net, x, Tally())
        loss = F.cross_entropy(y.mean(0) if readout else -y / 0.002, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_another_device_is_refused() -> None:
    with pytest.raises(EventPropError, match="the input is on meta; EventProp runs on the cpu"):
        compute_module_outputs(model(), raster().to("meta"), Tally())


def test_what_acts_otherwise_in_training_is_refused() -> None:
    net = Stack(
        fc=nn.Linear(4, 3, bias=False), drop=nn.Dropout(), out=Spiking(LI(tau=0.01), DT)
    )
    with pytest.raises(EventPropError, match="drop: Dropout acts differently in training"):
        compute_module_outputs(net, raster(), Tally())


def test_one_output_is_needed() -> None:
    graph = network(0)
    two = Graph(
        nodes=graph.nodes,
        edges=tuple(e for e in graph.edges if e != Edge("out", "read")),
        dt=graph.dt,
    )
    with pytest.raises(EventPropError, match="one output is needed, got out, read"):
        compute_outputs(two, {"input": drawn(np.random.default_rng(0), 1, 3)}, {}, Tally())
