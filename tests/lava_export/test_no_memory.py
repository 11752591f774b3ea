"""A membrane without memory (leak = 1) on a chip: no spike is decided by what 12 bits keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn
from written_graphs import wire

from lava_export import list_breaches, lower, reference
from lava_export.program import as_int32
from lava_export.rules import keeps_no_memory
from neuro.base.units import Seconds
from neuro.events import simulate
from neuro.graph import Dense, Graph, Input
from neuro.neurons import ALIF, LI, LIF
from neuro.nn.layers import Spiking, Stack
from neuro.nn.trace import trace
from neuro.spikes import Events, to_events, to_raster

DT = Seconds(1e-3)


def one(weight: np.ndarray, **neuron: object) -> Graph:
    nodes = {
        "x": Input(shape=(weight.shape[1],)),
        "w": Dense(weight=weight),
        "n": ALIF(leak=1.0, **neuron),  # type: ignore[arg-type]
    }
    return wire("x>w w>n", nodes)


def fire(ticks: int, inputs: int) -> Events:
    return to_events(np.ones((ticks, 1, inputs), np.float32))


def test_a_sum_just_below_the_threshold_never_fires_with_the_help_of_memory() -> None:
    graph, x = one(np.array([[122.0]]), threshold=122.5, reset="hard"), {"x": fire(10, 1)}
    assert len(simulate(graph, x)[0].spikes["n"].tick) == 0
    n = lower(graph, ticks=10)["n"]
    # A weight of 244 against 246: half way, at 245, stands vth.
    assert (n.kind, n.dv.tolist(), n.vth.tolist()) == ("lif", [4095], [245])
    assert len(reference.run(lower(graph, ticks=10), x, 10).spikes["n"].tick) == 0


@given(seed=st.integers(0, 2**32 - 1), inputs=st.sampled_from([1, 2, 40, 300]))
def test_integers_without_memory_fire_as_floats_do(seed: int, inputs: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(rng.uniform(-0.2, 0.2), 1, (3, inputs))
    reset = ("hard", "soft")[int(rng.integers(2))]
    theta = float(rng.uniform(0.1, 2 * np.sqrt(inputs)))
    raster = (rng.random((20, 1, inputs)) < rng.uniform(0.2, 1)).astype(np.float32)
    program = lower(one(weight, threshold=theta, reset=reset))
    integers = program.connections[0].weight.astype(np.float64)
    threshold = program["n"].scale * theta
    if raster.any():  # a sum at the threshold itself, where memory decides most easily
        some = raster[rng.integers(len(raster)), 0] @ integers[0]
        scaled = max(some, 2.0) + rng.choice([-1.5, -0.5, 0, 0.5, 1.5])
        program = lower(one(integers, threshold=float(scaled), reset=reset))
        threshold = scaled * program["n"].scale
        integers = program.connections[0].weight.astype(np.float64)
    x = {"x": to_events(raster)}
    wanted = simulate(one(integers, threshold=float(threshold), reset=reset), x)[0]
    found = reference.run(program, x, 20)
    assert np.array_equal(to_raster(found.spikes["n"]), to_raster(wanted.spikes["n"]))


def test_what_memory_could_decide_goes_to_a_process_that_keeps_nothing() -> None:
    # 17 synapses of -254 drive v 64 x 4318 below 0: 1/4096 of that is 67, a sum is 64 away.
    weight = np.array([[254.0] * 2 + [-254.0] * 17])
    graph = one(weight, threshold=508.0, reset="hard")
    program = lower(graph)
    n = program["n"]
    assert (n.kind, n.dv.tolist()) == ("alif", [4096])
    raster = np.zeros((2, 1, 19), np.float32)
    raster[0, 0, 2:] = 1
    raster[1, 0, :2] = 1  # exactly at the threshold
    x = {"x": to_events(raster)}
    assert simulate(graph, x)[0].spikes["n"].tick.tolist() == [1]
    assert reference.run(program, x, 2).spikes["n"].tick.tolist() == [1]
    stock = replace(n, kind="lif", dv=as_int32(4095))
    kept = replace(program, populations=(program["x"], stock))
    assert not keeps_no_memory(stock, kept.connections, None, kept.messages)
    assert len(reference.run(kept, x, 2).spikes["n"].tick) == 0  # as it was
    (told,) = list_breaches(program, "loihi1")
    assert "n: its membrane keeps nothing, Loihi 1 keeps 1/4096 of it, which would" in told
    assert "; take a programmable chip, such as loihi2 (what Loihi 1 could run: docs/" in told
    assert list_breaches(program, "loihi2") == []
    coarse = lower(graph, largest_weight=240)
    assert coarse["n"].kind == "lif"
    assert list_breaches(coarse, "loihi1") == []


@pytest.mark.parametrize(
    ("inhibition", "threshold", "kind"),
    [
        ([254] * 16 + [30], 254.0, "lif"),  # 4094 weight units, 64 more of older ticks
        ([254] * 16 + [32], 254.0, "alif"),
        ([2], 4096.0, "lif"),
        ([2], 4097.0, "alif"),
    ],
)
def test_lavas_own_lif_is_used_where_memory_is_harmless(
    inhibition: list[int], threshold: float, kind: str
) -> None:
    weight = -np.array([[-254.0, *inhibition]])
    program = lower(one(weight, threshold=threshold, reset="hard"))
    n = program["n"]
    assert (n.kind, n.scale) == (kind, 1.0)
    assert n.vth.item() == 2 * -(-threshold // 2) - 1


def test_other_membranes_without_memory_keep_nothing_either() -> None:
    weight = np.eye(2)
    for neuron in (
        {"reset": "soft"},
        {"reset": "hard", "beta": 0.5},
        {"reset": "hard", "threshold": np.array([0.5, 0.25])},
    ):
        n = lower(one(weight, **neuron), ticks=9)["n"]
        assert (n.kind, n.dv.tolist()) == ("alif", [4096])
    part = one(weight, reset="soft")
    mixed = replace(part, nodes={**part.nodes, "n": ALIF(leak=np.array([1.0, 0.5]))})
    assert lower(mixed, ticks=9)["n"].dv.tolist() == [4096, 2048]
    current = replace(
        part, nodes={**part.nodes, "n": LIF(tau=1e-6, tau_syn=0.002, reset="hard")}
    )
    assert (lower(current)["n"].kind, lower(current)["n"].dv.tolist()) == ("alif", [4096])
    read_out = replace(part, nodes={**part.nodes, "n": LI(tau=1e-6)})
    assert (lower(read_out)["n"].kind, lower(read_out)["n"].dv.tolist()) == ("li", [4095])


def test_the_cells_of_a_maximum_are_lavas_own_lif() -> None:
    net = Stack(cells=Spiking(LIF(tau=0.02)), pool=nn.MaxPool2d(2))
    program = lower(trace(net, (1, 4, 4)), ticks=5)
    cells = program.populations[-1]
    assert (cells.kind, cells.vth.tolist()) == ("lif", [127])
    raster = torch.zeros(5, 1, 1, 4, 4)
    raster[::2, :, :, 0, 1] = 1
    found = reference.run(program, {"input": to_events(raster)}, 5)
    assert found.spikes[cells.name].tick.tolist() == [0, 2, 4]
