from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from graphs import random_graph, stimulus
from hypothesis import given, reject, settings, strategies as st
from torch import Tensor
from written_graphs import chain, wire

from lava_export import training
from lava_export.integers import trace_membranes
from lava_export.lower import LowerError, lower
from lava_export.program import ProgramError, take_apart
from lava_export.reference import run
from lava_export.training import ChipNet
from neuro.base.units import Seconds
from neuro.graph import Dense, GradedInput, Graph, Input, Softmax
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF, LIFReset, TernaryLIF
from neuro.nn import Net
from neuro.nn.net import record
from neuro.spikes import to_events, to_raster

TICKS = 15


def draw(seed: int) -> Graph:
    """A random network with loops; in half of them some neurons have refractory periods."""
    graph = random_graph(seed, dyadic=False, for_lava=True)
    wait = Seconds(graph.dt * (seed % 4))
    nodes = {
        name: replace(node, refractory=wait) if hasattr(node, "refractory") else node
        for name, node in graph.nodes.items()
    }
    drawn = replace(graph, nodes=nodes)
    try:
        lower(drawn, ticks=TICKS, largest_weight=2)
    except LowerError:  # a decay that 12 bits do not hold, or a threshold without weights
        reject()
    return drawn


def tensors(graph: Graph, seed: int) -> dict[str, Tensor]:
    found = stimulus(graph, seed, TICKS)
    return {
        name: torch.from_numpy(to_raster(e)).double().unflatten(2, graph.shapes[name])
        for name, e in found.items()
    }


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([2, 6, 14, 254]))
def test_the_forward_pass_is_the_reference_in_every_spike_and_read_out(
    seed: int, largest: int
) -> None:
    graph = draw(seed)
    chip = ChipNet(Net(graph).double(), TICKS, largest)
    activity, state = chip(tensors(graph, seed))
    expected = run(chip.program(), stimulus(graph, seed, TICKS), TICKS)
    found = record(graph, activity)
    assert state is None
    for name, events in expected.spikes.items():
        for a, b in zip(events, found.spikes[name], strict=True):
            assert np.array_equal(a, b), name
    for name, v in expected.values.items():
        assert np.array_equal(v / chip.program()[name].unit, found.values[name])


def find_gradients(net: Any, x: dict[str, Tensor]) -> dict[str, Tensor]:
    net.zero_grad()
    y = net(x)[0]["readout"]
    (y * torch.arange(1.0, 1 + y.numel()).reshape(y.shape).cos()).sum().backward()
    return {n.removeprefix("net."): p.grad.clone() for n, p in net.named_parameters()}


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_without_values_of_the_chip_the_gradient_is_that_of_the_net(seed: int) -> None:
    graph = draw(seed)
    net, x = Net(graph).double(), tensors(graph, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "place", lambda x, _: x)
        found = find_gradients(ChipNet(net, TICKS), x)
    expected = find_gradients(net, x)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name


def test_at_8_bits_both_gradients_point_the_same_way() -> None:
    rng = np.random.default_rng(0)
    graph = chain(
        x=Input(shape=(40,)),
        w=Dense(weight=rng.normal(0.1, 0.2, (30, 40))),
        n=LIF(tau=Seconds(0.01), threshold=1.0, tau_syn=Seconds(0.005)),
        out=Dense(weight=rng.normal(0, 0.3, (10, 30))),
        readout=LI(tau=Seconds(0.02)),
        dt=Seconds(1e-3),
    )
    net = Net(graph).double()
    x = {"x": torch.from_numpy(rng.random((TICKS, 64, 40)) < 0.2).double()}

    def cosine(largest: int) -> float:
        pairs = find_gradients(net, x), find_gradients(ChipNet(net, TICKS, largest), x)
        one, other = (torch.cat([g.ravel() for g in found.values()]) for found in pairs)
        return float(torch.cosine_similarity(one, other, 0))

    assert cosine(254) > 0.98
    assert cosine(2) < 0.9


def small(neuron: Any, **more: Any) -> Graph:
    weight = np.array([[0.5, -0.25], [1.0, 0.75], [0.125, 2.0]])
    return chain(
        x=more.get("x", Input(shape=(2,))), w=Dense(weight=weight), n=neuron,
        out=Dense(weight=weight.T), readout=LI(tau=Seconds(0.01)), dt=Seconds(1e-3),
    )  # fmt: skip


def test_the_program_is_that_of_the_present_parameters_however_they_changed() -> None:
    net = Net(small(ALIF(leak=0.5, threshold=0.5)))
    chip = ChipNet(net, 5, 30, {"n": 3.0})

    def is_lowered() -> bool:
        arrays, plain = take_apart(chip.program())
        again, fields = take_apart(
            lower(chip.graph(), ticks=5, largest_weight=30, bounds={"n": 3.0})
        )
        same = all(np.array_equal(x, again[name]) for name, x in arrays.items())
        return same and plain == fields

    assert is_lowered()
    x = {"x": torch.ones(5, 1, 2)}
    first = chip.program()
    chip(x)
    assert chip.program() is first
    net.parts["node_w"].weight.data.mul_(torch.tensor([[1.0, 0.5]]))  # no new version
    assert not is_lowered()
    chip(x)
    assert is_lowered()
    assert [*map(id, chip.parameters())] == [*map(id, net.parameters())]


def test_whole_numbers_go_into_a_graded_input() -> None:
    graph = small(LIF(tau=Seconds(0.01)), x=GradedInput(shape=(2,), message_bits=9))
    x = {"x": torch.tensor([[[200.0, -7.0]], [[3.0, 11.0]]])}
    chip = ChipNet(Net(graph), 2)
    events = {"x": stimulus(graph, 0, 2, 1)["x"]._replace(
        sample=np.zeros(4, np.int32), tick=np.array([0, 0, 1, 1], np.int32),
        neuron=np.array([0, 1, 0, 1], np.int32), value=np.array([200.0, -7.0, 3.0, 11.0]),
    )}  # fmt: skip
    expected = run(chip.program(), events, 2).values["readout"]
    found = chip(x)[0]["readout"].detach().double().numpy()
    assert np.array_equal(np.rint(found * chip.program()["readout"].unit), expected)
    with pytest.raises(ProgramError, match=r"x: .*0\.5"):
        chip({"x": torch.full((2, 1, 2), 0.5)})


def test_gradients_are_those_of_floats_that_stand_as_far_above_the_threshold() -> None:
    graph = chain(
        x=Input(shape=(1,)),
        w=Dense(weight=np.array([[0.3]]), bias=np.array([0.27])),
        n=ALIF(leak=0.7, threshold=0.5, beta=0.25, rho=0.5),
        out=Dense(weight=np.array([[1.0]])),
        readout=LI(tau=Seconds(0.01)),
        dt=Seconds(1e-3),
    )
    chip = ChipNet(Net(graph).double(), 3, 6)
    p, x = chip.program()["n"], torch.ones(3, 1, 1).double()
    above = trace_membranes(chip.program(), {"x": to_events(x.numpy())}, 3)["n"].ravel()
    spikes = chip({"x": x})[0]["n"]
    assert spikes.flatten().tolist() == (above > 0).tolist() == [0, 1, 0]
    # The last spike depends on the threshold by its own distance only, and on the bias by gain
    # times one, because the reset was hard.
    spikes[2].sum().backward()
    distance = (above[2] - 0.5) / p.unit
    slope = 1 / (1 + (np.pi * distance) ** 2)
    parameters = {n.rpartition("node_")[2]: p.grad for n, p in chip.named_parameters()}
    assert float(parameters["n.threshold"]) == pytest.approx(-slope, rel=1e-6)
    assert float(parameters["w.bias"]) == pytest.approx(0.7 * slope, rel=1e-6)
    # d v / d leak = current - v before, and v before is 0; d leak / d logit = leak (1 - leak).
    current = (distance + 0.5 + 0.25 * 0.5) / 0.7
    assert current == pytest.approx(0.57, abs=0.1)
    expected = 0.7 * 0.3 * slope * current
    assert float(parameters["n.logit_leak"]) == pytest.approx(expected, rel=1e-6)


def test_a_run_that_is_too_long_or_not_binary_is_refused() -> None:
    chip = ChipNet(Net(small(LIF(tau=Seconds(0.01)))), 4)
    with pytest.raises(ProgramError, match="a run of 5 ticks"):
        chip({"x": torch.ones(5, 1, 2)})
    with pytest.raises(ProgramError, match="not 1"):
        chip({"x": torch.full((4, 1, 2), 0.5)})


def test_all_that_cannot_be_trained_on_integers_is_refused_at_once() -> None:
    nodes = {
        "x": Input(shape=(2,)),
        "w": Dense(weight=np.eye(2)),
        "three": TernaryLIF(tau=Seconds(0.01), threshold=1.0, lower=1.0),
        "v": Dense(weight=np.eye(2)),
        "clears": LIFReset(tau=Seconds(0.01), interval=3),
        "u": Dense(weight=np.eye(2)),
        "n": LIF(tau=Seconds(0.01)),
        "host": Softmax(axis=0),
        "readout": LI(tau=Seconds(0.01)),
    }
    ways = "x>w w>three three>v v>clears clears>u u>n n>host host>readout"
    net = Net(wire(ways, nodes, 1e-3))
    with pytest.raises(LowerError) as error:
        ChipNet(net, 5)
    starts = [problem.partition(":")[0] for problem in error.value.problems]
    assert starts == ["three", "clears", "host"]
    ChipNet(Net(small(DiscreteLIF(decay=0.5))), 5)


@pytest.mark.parametrize(
    ("neuron", "soft"),
    [
        (LIF(tau=6e-3, tau_syn=3e-3, threshold=1.3), True),
        (ALIF(leak=0.4, rho=0.8, beta=0.3, threshold=0.35), False),
        (ALIF(leak=0.4, rho=0.8, beta=0.2, threshold=0.35, reset="soft"), True),
    ],
)
def test_training_sees_the_membranes_of_the_equations_in_whole_numbers(
    neuron: LIF | ALIF, soft: bool
) -> None:
    graph = chain(
        x=Input(shape=(3,)),
        w=Dense(weight=np.array([[0.7, -0.4, 0.9], [0.5, 0.8, -0.2]])),
        n=neuron, on=Dense(weight=np.array([[1.0, -0.6]])), out=LI(tau=5e-3),
    )  # fmt: skip
    chip = ChipNet(Net(graph).double(), TICKS, 100)
    x = np.random.default_rng(3).integers(0, 2, (TICKS, 4, 3)).astype(np.float64)
    found = chip({"x": torch.from_numpy(x)})[0]["n"].detach().numpy()
    program = chip.program()
    above = trace_membranes(program, {"x": to_events(x)}, TICKS)["n"]
    p, weight = program["n"], np.round(program.connections[0].weight).astype(int).tolist()

    def at(values: np.ndarray | None, k: int) -> int:
        return int(np.broadcast_to(np.asarray(values), (2,))[k])

    def keep(state: int, decay: int) -> int:
        return (abs(state) * (4096 - decay) >> 12) * (1 if state > 0 else -1)

    fired = 0
    for b in range(4):
        for k in range(2):
            u = v = a = 0
            for t in range(TICKS):
                arrived = sum(weight[k][j] * int(x[t, b, j]) for j in range(3))
                u = keep(u, at(p.du, k) + 1) + 64 * arrived
                v = keep(v, at(p.dv, k)) + u
                a = keep(a, at(p.da, k))
                high = v - 64 * at(p.vth, k) - a
                assert above[t, b, k] == high
                assert found[t, b, k] == (high > 0)
                if high > 0:
                    by = 64 * (at(p.vth, k) + 1) if p.reset_by is None else at(p.reset_by, k)
                    v = v - by - a if soft else 0 if p.reset_to is None else at(p.reset_to, k)
                    a += 64 * at(p.beta, k)
                    fired += 1
    assert 10 < fired < 110
