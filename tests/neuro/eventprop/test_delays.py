"""Gradients of delays: central differences, the law of first spikes, and DelayedLinear."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from exact_networks import DT, T, drawn
from written_graphs import wire

from neuro.base.seeds import seeded
from neuro.eventprop import (
    Activity,
    EventPropError,
    Tally,
    adjoint,
    compute_activity,
    compute_gradients,
    compute_module_outputs,
)
from neuro.eventprop.layers import build_layers
from neuro.events import Exact, simulate
from neuro.graph import Dense, Graph, Input, Sparse
from neuro.neurons import LI, LIF
from neuro.nn import DelayedLinear, Spiking, Stack
from neuro.spikes import Times

STEP = 1e-7  # of a delay [s]


def axonal(rng: np.random.Generator, out: int, given: int, mean: float) -> Sparse:
    """Return all synapses between two populations, with one delay of 0 to 5 ticks a source."""
    target, source = np.indices((out, given)).reshape(2, -1)
    waits = rng.integers(0, 6, given)
    weight = mean * rng.uniform(0.2, 1.8, source.size)
    return Sparse.from_coo(source, target, weight, shape=(out, given), delay=waits[source])


def network(seed: int) -> Graph:
    """Return 3 inputs -> 4 LIF -> (2 LIF, 2 LI), with delays by source, by edge, and a skip."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Any] = {
        "input": Input(shape=(3,)),
        "fc1": axonal(rng, 4, 3, 0.3),
        "hidden": LIF(tau=rng.uniform(0.005, 0.03), tau_syn=0.004, reset="hard"),
        "fc2": axonal(rng, 2, 4, 0.13),
        "skip": Dense(weight=rng.uniform(0.01, 0.09, (2, 3))),
        "out": LIF(tau=math.inf, tau_syn=0.004, reset="hard", threshold=np.array([1.0, 1.3])),
        "fc3": axonal(rng, 2, 4, 1.0),
        "read": LI(tau=0.01, gain=0.5),
    }
    edges = "input>fc1 fc1>hidden:1 hidden>fc2:2 fc2>out input>skip:3 skip>out hidden>fc3"
    return wire(f"{edges} fc3>read skip>read", nodes, dt=DT)


def find_slope(
    graph: Graph,
    x: Times,
    asked: tuple[np.ndarray, np.ndarray],
    at: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> float:
    """Return the central difference of a loss by one source's delay, or NaN across a kink."""

    def run(step: float) -> Activity:
        def shift(graph: Graph) -> Any:
            layers = build_layers(graph)
            for path in (path for layer in layers for path in layer.paths):
                if path.matrix == at[0]:
                    path.delay[at[1]] += step
            return layers

        with monkeypatch.context() as patch:
            patch.setattr(adjoint, "build_layers", shift)
            return compute_activity(graph, {"input": x})

    far, near, plus, most = (evaluate(run(k * STEP), asked) for k in (-2, -1, 1, 2))
    narrow, wide = (plus - near) / 2, (most - far) / 4
    kink = abs(narrow - wide) > 1e-6 * abs(narrow)
    return math.nan if kink else (4 * narrow - wide) / 3 / STEP


def evaluate(done: Activity, asked: tuple[np.ndarray, np.ndarray]) -> float:
    out = done.times["out"].time
    return float(
        (np.resize(asked[0], out.size) * out).sum() / DT + (asked[1] * done.means["read"]).sum()
    )


@pytest.mark.slow
def test_gradients_by_delay_equal_central_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        graph, x = network(seed), drawn(rng, 2, 3)
        asked = (rng.normal(size=7), rng.normal(size=(T, 2, 2)))
        times = compute_activity(graph, {"input": x}).times
        by_time = {"out": np.resize(asked[0], times["out"].time.size) / DT}

        loss = {"by_time": by_time, "by_mean": {"read": asked[1]}}
        if compute_gradients(
            graph, times, **loss, least=0.02
        ).raised:  # a spike that grazes the threshold: differences are wrong
            continue
        delays = compute_gradients(graph, times, **loss).delays
        assert set(delays) == {"fc1", "fc2", "skip", "fc3"}
        for name, by in delays.items():
            k = int(rng.integers(by.size))
            slope = find_slope(graph, x, asked, (name, k), monkeypatch)
            if not math.isnan(slope):
                assert abs(slope - by[k]) <= 1e-5 * np.abs(by).max(), (seed, name)
                checked += by[k] != 0
    assert checked > 100


@pytest.mark.parametrize("seed", range(20))
def test_a_first_spike_moves_by_as_much_as_all_its_inputs_together(seed: int) -> None:
    """Without a bias, a shift of all arrivals at a layer shifts all later spikes."""
    graph = network(seed)
    graph = Graph(
        nodes={k: v for k, v in graph.nodes.items() if k not in ("skip", "fc3", "read")},
        edges=tuple(e for e in graph.edges if not {"skip", "fc3"} & {e.source, e.target}),
        dt=DT,
    )
    times = compute_activity(graph, {"input": drawn(np.random.default_rng(seed), 1, 3)}).times
    for k in range(min(2, times["out"].time.size)):
        by_time = np.zeros(times["out"].time.size)
        by_time[k] = 1.0
        delays = compute_gradients(graph, times, by_time={"out": by_time}).delays
        assert delays["fc1"].sum() == pytest.approx(1, abs=1e-9)
        assert delays["fc2"].sum() == pytest.approx(1, abs=1e-9)


def test_spikes_equal_those_of_the_exact_clock() -> None:
    graph, x = network(5), drawn(np.random.default_rng(5), 2, 3)
    ours, theirs = (
        compute_activity(graph, {"input": x}).times,
        simulate(graph, {"input": x}, Exact())[0],
    )
    assert theirs.times is not None
    for name in ("hidden", "out"):
        np.testing.assert_allclose(ours[name].time, theirs.times[name].time, rtol=0, atol=1e-12)
        assert np.array_equal(ours[name].neuron, theirs.times[name].neuron)


def test_synapses_of_one_source_need_one_delay() -> None:
    late = Sparse.from_coo(
        np.array([0, 0]), np.array([0, 1]), np.ones(2), shape=(2, 1), delay=np.array([1, 2])
    )
    cell = LIF(tau=0.01, tau_syn=0.004, reset="hard")
    graph = wire("x>late late>out", {"x": Input(shape=(1,)), "late": late, "out": cell}, dt=DT)
    with pytest.raises(
        EventPropError, match="late: synapses of one source differ in delay; give"
    ):
        build_layers(graph)


@pytest.mark.parametrize("late", [[0.011, 0.034, 0.066], [0.02, 0.021, 0.024]])
def test_a_module_gets_the_gradients_of_its_weights_and_delays(late: list[float]) -> None:
    """The second delays are 2 ticks each: its Graph has a Dense."""
    with seeded(1):
        fc = DelayedLinear(3, 2, 6, soft_steps=0, bias=False)
    fc.late.data = torch.tensor([-0.01, *late[1:]]) if late[0] == 0.011 else torch.tensor(late)
    fc.weight.data = fc.weight.abs() + 0.2
    net = Stack(fc=fc, out=Spiking(LIF(tau=0.01, tau_syn=0.004, reset="hard"), DT))
    x = (torch.rand(T, 4, 3, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    first = compute_module_outputs(net, x, Tally(), least=0.0)
    fired = first < T * DT
    assert fired.sum() >= 4
    first.sum().backward()  # type: ignore[no-untyped-call]
    assert fc.late.grad is not None
    assert fc.weight.grad is not None
    assert fc.late.min() >= 0
    # Each first spike moves by as much as its inputs together: 100 ticks of 1 ms per unit.
    assert fc.late.grad.sum().item() == pytest.approx(fired.sum().item() * 0.1, rel=1e-5)
    before = fc.weight.grad.clone()
    with torch.no_grad():
        fc.weight[1, 2] += 1e-3
        more = compute_module_outputs(net, x, Tally()).sum().item()
        fc.weight[1, 2] -= 2e-3
        less = compute_module_outputs(net, x, Tally()).sum().item()
    assert (more - less) / 2e-3 == pytest.approx(before[1, 2].item(), rel=1e-2)
