"""Training on the integers of Xylo: spikes and read-outs of the reference."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from written_graphs import chain, wire

from lava_export.lower import LowerError
from lava_export.program import take_apart
from lava_export.xylo import lower_to_xylo, run_xylo
from lava_export.xylo.program import Shifts
from lava_export.xylo.training import XyloNet
from neuro.graph import Dense, Graph, Input
from neuro.neurons import ALIF, LI, LIF
from neuro.nn import Net
from neuro.spikes import Events, to_events, to_raster

DT, TICKS, SAMPLES = 1e-3, 20, 70


def tau(shift: int) -> float:
    return -DT / math.log1p(-(2.0**-shift))


def network(seed: int) -> Graph:
    """Two layers, a loop, and an output that fires or is read."""
    rng = np.random.default_rng(seed)
    outputs = (LI(tau=tau(3)), LIF(tau=tau(2), tau_syn=tau(1), threshold=0.75))

    def weight(n: int, m: int) -> np.ndarray:
        return rng.normal(0.2, 0.6, (n, m))

    nodes: dict[str, Any] = {
        "x": Input(shape=(5,)),
        "w": Dense(weight=weight(6, 5)),
        "a": LIF(tau=tau(4), tau_syn=tau(2), threshold=np.array([0.4, 0.5, 0.7, 1, 1, 1.5])),
        "back": Dense(weight=weight(6, 6) / 4),
        "u": Dense(weight=weight(4, 6)),
        "b": LIF(tau=tau(1), tau_syn=tau(3), threshold=0.5),
        "on": Dense(weight=weight(3, 4)),
        "out": outputs[seed % 2],
    }
    return wire("x>w w>a a>back back>a:1 a>u u>b b>on on>out", nodes, DT)


def draw(seed: int) -> tuple[dict[str, torch.Tensor], dict[str, Events]]:
    spikes = np.random.default_rng(seed).integers(0, 3, (TICKS, SAMPLES, 5)).astype(np.float64)
    return {"x": torch.from_numpy(spikes)}, {"x": to_events(spikes)}


@pytest.mark.parametrize("seed", range(4))
def test_the_forward_pass_is_the_reference(seed: int) -> None:
    x, events = draw(seed)
    chip = XyloNet(Net(network(seed)).double(), TICKS, Shifts(3, 2))
    found = chip(x)[0]
    program, run = chip.program(), run_xylo(chip.program(), events, TICKS)
    assert (program.shift, program.shift_out) == (3, 2)
    assert run.excess["a"].several > 0
    for name, spikes in run.record.spikes.items():
        assert np.array_equal(found[name].detach().numpy(), to_raster(spikes)), name
    for name, i in run.record.values.items():
        assert np.array_equal(found[name].detach().numpy(), i / program[name].scale)


def test_gradients_pass_by_the_distance_of_the_chip() -> None:
    graph = chain(
        x=Input(shape=(1,)), w=Dense(weight=np.array([[0.9]])),
        n=LIF(tau=tau(4), tau_syn=tau(2)), on=Dense(weight=np.array([[1.0]])),
        out=LI(tau=tau(3)), dt=DT,
    )  # fmt: skip
    chip = XyloNet(Net(graph).double(), 2, Shifts(4, 0))
    n, w = chip.program()["n"], chip.program().connections[0]
    y = chip({"x": torch.tensor([1.0, 0.0]).double().reshape(2, 1, 1)})[0]["n"]
    assert y.flatten().tolist() == [0, 1]
    y[0].sum().backward()
    arrived = int(w.weight[0, 0]) << 4
    i = arrived - (arrived >> 2)  # the current falls before it charges v
    distance = (i - int(n.threshold[0]) + 0.5) / n.scale
    slope = 1 / (1 + (np.pi * distance) ** 2)
    weight = dict(chip.named_parameters())["net.parts.node_w.weight"]
    assert float(weight.grad) == pytest.approx(slope, rel=1e-9)  # type: ignore[arg-type]


def test_the_program_follows_the_weights_at_the_same_shifts() -> None:
    chip, (x, _) = XyloNet(Net(network(0)), TICKS, Shifts(1, 2)), draw(0)
    before = chip.program()
    with torch.no_grad():
        chip.net.parts["node_w"].weight[0, 0] += 1.5
    chip(x)
    arrays, plain = take_apart(chip.program())
    again, fields = take_apart(lower_to_xylo(chip.graph(), ticks=TICKS, shifts=Shifts(1, 2)))
    assert all(np.array_equal(own, again[name]) for name, own in arrays.items())
    assert plain == fields
    assert not np.array_equal(before.connections[0].weight, arrays["c0.weight"])


def test_what_xylo_cannot_do_is_refused_by_layer() -> None:
    graph = chain(
        x=Input(shape=(1,)), w=Dense(weight=np.ones((1, 1))), n=ALIF(),
        on=Dense(weight=np.ones((1, 1))), out=LI(tau=tau(3)), dt=DT,
    )  # fmt: skip
    with pytest.raises(LowerError, match="n: a hard reset, and Xylo subtracts"):
        XyloNet(Net(graph), TICKS, Shifts(0, 0))
