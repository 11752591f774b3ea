"""NEST and the event engine run a Graph alike; what NEST cannot do is refused, all at once."""

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import nest_reference
import numpy as np
import pytest
import torch
from written_graphs import chain, wire

from neuro.base.units import Seconds, Ticks
from neuro.events import Exact, Grid, simulate
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    Graph,
    Input,
    Node,
    Softmax,
    Sparse,
)
from neuro.interop.nest import NestError, export, run
from neuro.interop.nest_plan import plan
from neuro.interop.nest_script import NestNetwork, NestPopulation, NestSpikes, find_early_spike
from neuro.io.graph_digest import digest_graph
from neuro.neurons import ALIF, LI, LIF, GatedLI, psc_gain
from neuro.nn import replay
from neuro.spikes import Events, Times, of_sample, to_ticks, to_times

DT = Seconds(1e-3)
MS = 1e-3
NONE = np.zeros(0, np.int32)


def cell(tau: float = 0.02, threshold: float = 1.0, **more: object) -> LIF:
    return LIF(tau=tau, threshold=threshold, reset="hard", refractory=2 * MS, **more)  # type: ignore[arg-type]


def alone(node: Node, weight: float = 1.0, bias: float = 0.0) -> Graph:
    return chain(
        x=Input(shape=(1,)),
        w=Dense(weight=np.array([[weight]]), bias=np.array([bias])),
        cell=node,
    )


def at(*times: float, ticks: int = 200, value: float = 1.0) -> dict[str, Times]:
    n = len(times)
    none = np.zeros(n, np.int32)
    return {"x": Times(none, np.array(times), none, np.full(n, value), (ticks, 1, 1))}


def images(seed: int) -> Graph:
    """Convolution, pool, per-channel taus, a loop with a delay of its own for each synapse."""
    rng = np.random.default_rng(seed)
    listed = rng.integers(0, 4, (2, 9)).astype(np.int32)
    back = Sparse.from_coo(
        *listed,
        rng.normal(0, 0.5, 9),
        shape=(4, 4),
        delay=rng.integers(0, 3, 9).astype(np.int32),
    )
    nodes: dict[str, Node] = {
        "x": Input(shape=(2, 6, 6)),
        "conv": Conv2d(weight=rng.normal(0.1, 0.4, (3, 2, 3, 3)), bias=np.full(3, 0.01)),
        "a": cell(np.array([0.01, 0.02, 0.03]).reshape(3, 1, 1)),  # type: ignore[arg-type]
        "pool": AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        "flat": Flatten(),
        "fc": Dense(weight=rng.normal(0.3, 1, (4, 12))),
        "b": cell(threshold=0.7),
        "back": back,
    }
    return wire("x>conv conv>a a>pool:1 pool>flat flat>fc fc>b:1 b>back:2 back>b", nodes)


def currents(seed: int) -> Graph:
    """Two LI currents of their own sign into one population, its own current in the next."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Node] = {
        "x": Input(shape=(20,)),
        "up": Dense(weight=rng.uniform(0, 1.5, (8, 20))),
        "down": Dense(weight=rng.uniform(-1, 0, (8, 20))),
        "ge": LI(tau=5 * MS, gain=psc_gain(Seconds(5 * MS), Seconds(20 * MS), DT)),
        "gi": LI(tau=10 * MS, gain=psc_gain(Seconds(10 * MS), Seconds(20 * MS), DT)),
        "a": cell(),
        "w": Dense(weight=rng.normal(0.2, 0.5, (6, 8))),
        "b": cell(0.01, 0.5, tau_syn=0.01),
        "loop": Dense(weight=rng.normal(0, 0.3, (6, 6))),
    }
    return wire("x>up:1 x>down:3 up>ge down>gi ge>a gi>a a>w:1 w>b b>loop:2 loop>b", nodes)


def joined(seed: int) -> Graph:
    """Two populations, one after the other, go back into the first."""
    rng = np.random.default_rng(seed)
    nodes: dict[str, Node] = {
        "x": Input(shape=(12,)),
        "in": Dense(weight=rng.uniform(0, 0.8, (4, 12))),
        "a": cell(),
        "on": Dense(weight=rng.uniform(0, 1.2, (5, 4))),
        "b": cell(),
        "both": Concat(),
        "w": Dense(weight=rng.normal(0.1, 0.4, (4, 9))),
    }
    return wire("x>in in>a a>on:1 on>b b>both:2 a>both:1 both>w w>a", nodes)


def scattered(graph: Graph, seed: int, ticks: int = 60) -> dict[str, Times]:
    rng = np.random.default_rng(seed)
    n = graph.size("x")
    time = np.sort(rng.uniform(0, ticks * DT, 12 * n))
    neuron = rng.integers(0, n, time.size).astype(np.int32)
    none = np.zeros(time.size, np.int32)
    value = rng.integers(1, 3, time.size).astype(float)
    return {"x": Times(none, time, neuron, value, (ticks, 1, n))}


def on_grid(graph: Graph, seed: int) -> dict[str, Events]:
    rng = np.random.default_rng(seed)
    raster = (rng.random((60, 2, graph.size("x"))) < 0.15).astype(float)
    sample, tick, neuron = (x.astype(np.int32) for x in np.nonzero(raster.transpose(1, 0, 2)))
    return {"x": Events(sample, tick, neuron, np.ones(tick.size), raster.shape)}


def require_same(ours: Times, theirs: Times, within_ms: float) -> None:
    """Raise unless both hold the same spikes, none further apart than this."""
    assert len(ours.time) == len(theirs.time)
    order = [np.lexsort((t.time, t.neuron)) for t in (ours, theirs)]
    neurons = [t.neuron[o] for t, o in zip((ours, theirs), order, strict=True)]
    np.testing.assert_array_equal(*neurons)
    apart = np.abs(ours.time[order[0]] - theirs.time[order[1]])
    assert apart.max() * 1e3 <= within_ms


@pytest.fixture(scope="module")
def nest() -> None:
    pytest.importorskip("nest")


@pytest.mark.slow
@pytest.mark.usefixtures("nest")
def test_a_driven_cell_fires_where_the_equation_says() -> None:
    drive = 1.5 * -math.expm1(-DT / 0.02)  # a tick, to settle at 1.5
    first = 0.02 * math.log(1.5 / 0.5)
    found = run(alone(cell(), bias=drive), at()).times["cell"].time
    expected = first + (first + 2 * MS) * np.arange(len(found))
    assert len(found) == 8
    np.testing.assert_allclose(found, expected, atol=1e-15, rtol=0)


@pytest.mark.usefixtures("nest")
def test_input_arrives_at_its_time_and_the_first_tick_is_not_lost() -> None:
    found = run(alone(cell(), weight=0.5), at(0.0002, 0.00027, 0.1, 0.1034, value=2.0))
    np.testing.assert_allclose(
        found.times["cell"].time, [0.0002, 0.1, 0.1034], atol=1e-15, rtol=0
    )
    np.testing.assert_array_equal(found.spikes["cell"].tick, [0, 99, 103])
    assert found.digest == digest_graph(alone(cell(), weight=0.5))
    assert found.digest != digest_graph(alone(cell(), weight=0.25))


@pytest.mark.usefixtures("nest")
def test_membranes_start_where_told() -> None:
    graph = alone(cell(), bias=1.5 * -math.expm1(-DT / 0.02))
    found = run(graph, at(ticks=10), membranes={"cell": np.array([0.9])}).times["cell"].time
    np.testing.assert_allclose(found[0], 0.02 * math.log(0.6 / 0.5), atol=1e-15)


@pytest.mark.usefixtures("nest")
def test_what_fires_at_one_instant_is_in_the_order_of_neurons() -> None:
    graph = chain(x=Input(shape=(1,)), w=Dense(weight=np.full((3, 1), 2.0)), cell=cell())
    found = run(graph, at(0.1, 0.15))
    assert found.times["cell"].neuron.tolist() == [0, 1, 2, 0, 1, 2]
    assert found.spikes["cell"].neuron.tolist() == [0, 1, 2, 0, 1, 2]


def test_membranes_of_an_image_are_in_the_order_of_its_neurons() -> None:
    graph = chain(x=Input(shape=(1, 2, 3)), cell=cell())
    start = np.array([[[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]])
    found = plan(graph, to_times_of(6), {"cell": start}).populations["cell"].start["V_m"]
    assert found.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.slow
@pytest.mark.sample(seed=0)
@pytest.mark.usefixtures("nest")
@pytest.mark.parametrize("build", [images, currents, joined])
@pytest.mark.parametrize("seed", [0, 1])
def test_nest_and_the_exact_clock_agree_on_every_spike(
    build: Callable[[int], Graph], seed: int
) -> None:
    graph = build(seed)
    inputs = scattered(graph, seed)
    theirs = run(graph, inputs)
    ours, _ = simulate(graph, inputs, Exact())
    for name in ("a", "b"):
        assert len(theirs.times[name].time) > 15
        require_same(ours.times[name], theirs.times[name], within_ms=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("nest")
def test_nest_on_the_grid_and_the_grid_clock_agree_on_every_tick_of_every_sample() -> None:
    graph = images(0)
    inputs = on_grid(graph, 0)
    theirs, (ours, _) = run(graph, inputs, precise=False), simulate(graph, inputs, Grid())
    for name in ("a", "b"):
        assert len(theirs.spikes[name].tick) > 20
        for one, other in zip(ours.spikes[name][:3], theirs.spikes[name][:3], strict=True):
            np.testing.assert_array_equal(one, other)


def later(graph: Graph, source: str, delay: int) -> Graph:
    """Return a graph with another delay of the edges out of one node."""
    edges = (e._replace(delay=Ticks(delay)) if e.source == source else e for e in graph.edges)
    return replace(graph, edges=tuple(edges))


def layers(*, current: bool) -> Graph:
    """Jumps and currents in turn, in a loop; the first population jumps or has a current."""
    rng = np.random.default_rng(0)
    bias = None if current else rng.uniform(0, 0.03, 9)
    first = "i" if current else "a"
    nodes: dict[str, Node] = {
        "x": Input(shape=(20,)),
        "in": Dense(weight=rng.normal(0.3, 0.4, (9, 20)), bias=bias),
        "a": replace(cell(rng.uniform(0.01, 0.03, 9)), refractory=Seconds(0.0)),  # type: ignore[arg-type]
        "on": Dense(weight=rng.normal(0.3, 0.5, (7, 9))),
        "b": cell(0.015, 0.8),
        "off": Dense(weight=rng.normal(0.4, 0.6, (5, 7))),
        "c": cell(0.02, 0.5, tau_syn=0.02),
        "back": Dense(weight=rng.normal(-0.1, 0.2, (9, 5))),
    }
    edges = f"x>in in>{first} a>on:1 on>b b>off:2 off>c c>back:2 back>{first}"
    if current:
        nodes["i"] = LI(tau=rng.uniform(0.004, 0.012, 9), gain=0.4)
        edges += " i>a:1"
    return wire(edges, nodes)


@pytest.mark.slow
@pytest.mark.sample(current=True)
@pytest.mark.usefixtures("nest")
@pytest.mark.parametrize("current", [True, False])
def test_with_currents_too_nest_at_ticks_has_the_spikes_of_torch(current: bool) -> None:
    graph = layers(current=current)
    inputs = on_grid(graph, 0)
    theirs, torch_too = run(graph, inputs, precise=False), replay(graph, inputs)
    for name in graph.firing:
        assert len(theirs.spikes[name].tick) > 20
        for one, other in zip(torch_too.spikes[name][:3], theirs.spikes[name][:3], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.sample(delay=1)
@pytest.mark.usefixtures("nest")
@pytest.mark.parametrize("delay", [0, 1, 2])
@pytest.mark.parametrize("own", [False, True])
def test_at_ticks_a_spike_through_a_current_acts_in_the_tick_in_which_it_arrives(
    delay: int, own: bool
) -> None:
    """Each population fires in the tick of its input, or two ticks after the one before it."""
    nodes: dict[str, Node] = {"x": Input(shape=(1,))}
    for name in ("a", "b"):
        nodes[f"{name}_w"] = Dense(weight=np.array([[1.5]]))
        nodes[name] = cell(tau_syn=0.001 if own else None)
        if not own:
            nodes[f"{name}_i"] = LI(tau=0.001)
    inner = "a_w>a b_w>b" if own else "a_w>a_i a_i>a b_w>b_i b_i>b"
    graph = wire(f"x>a_w:{delay} a>b_w:2 {inner}", nodes)
    found = run(graph, at(0.001, 0.011, ticks=20), precise=False).spikes
    assert found["a"].tick.tolist() == [delay, 10 + delay]
    assert found["b"].tick.tolist() == [delay + 2, 12 + delay]


@pytest.mark.parametrize("delay", [0, 1])
def test_at_ticks_a_population_needs_two_ticks_of_delay_to_a_current(delay: int) -> None:
    graph = later(currents(0), "a", delay)
    cure = r"a -> w -> b: its delay is less than 2 ticks, and .* lengthen it to >= 2 ticks or"
    with pytest.raises(NestError, match=cure):
        plan(graph, scattered(graph, 0), {}, precise=False)
    plan(later(graph, "a", 2), scattered(graph, 0), {}, precise=False)
    if delay:
        plan(graph, scattered(graph, 0), {})


@pytest.mark.slow
@pytest.mark.usefixtures("nest")
def test_at_ticks_times_between_ticks_count_as_the_ends_of_theirs() -> None:
    graph = alone(cell(), weight=2.0)
    given = at(0.0002, 0.0051, 0.0107, ticks=14)
    found = run(graph, given, precise=False)
    assert found.spikes["cell"].tick.tolist() == [0, 5, 10]
    assert found.times["x"].time.tolist() == [0.001, 0.006, 0.011]
    assert simulate(graph, given)[0].spikes["cell"].tick.tolist() == [0, 5, 10]


@pytest.mark.sample(wait=2)
@pytest.mark.usefixtures("nest")
@pytest.mark.parametrize("wait", [1, 2, 3])
@pytest.mark.parametrize("phase", [0.25, 0.3, 1.0])
def test_nest_hears_what_arrives_at_the_very_end_of_a_refractory_period(
    wait: int, phase: float
) -> None:
    """Each arrival that is heard fires the cell; so does the exact clock."""
    graph = alone(LIF(tau=0.01, reset="hard", refractory=Seconds(wait * MS)), weight=2.0)
    given = at(*((np.arange(13) + phase) * MS), ticks=14)
    for record in (run(graph, given), simulate(graph, given, Exact())[0]):
        heard = np.arange(0, 13, wait) + phase
        np.testing.assert_allclose(record.times["cell"].time / MS, heard, rtol=0, atol=1e-11)


@pytest.mark.sample(wait=1)
@pytest.mark.usefixtures("nest")
@pytest.mark.parametrize("wait", [0, 1, 2, 3])
def test_nest_on_the_grid_hears_the_tick_after_a_refractory_period(wait: int) -> None:
    graph = alone(LIF(tau=0.01, reset="hard", refractory=Seconds(wait * MS)), weight=2.0)
    given = at(*(np.arange(1, 14) * MS), ticks=14)
    on_ticks = {"x": to_ticks(given["x"], DT)}
    records = run(graph, given, precise=False), simulate(graph, on_ticks, Grid())[0]
    for record in records:
        assert record.spikes["cell"].tick.tolist() == list(range(0, 13, wait + 1))


@pytest.mark.slow
@pytest.mark.sample(build=images)
@pytest.mark.usefixtures("nest")
@pytest.mark.parametrize("build", [images, joined])
def test_nest_and_the_exact_clock_agree_where_arrivals_meet_ends_of_refractory_periods(
    build: Callable[[int], Graph],
) -> None:
    graph = build(0)
    inputs = on_grid(graph, 0)
    theirs, (ours, _) = run(graph, inputs), simulate(graph, inputs, Exact())
    for name in ("a", "b"):
        spikes = np.rint(theirs.times[name].time / MS)
        assert np.isin(spikes + 2, spikes).sum() > 15  # of any neuron: all act at ticks
        for sample in range(2):
            pair = of_sample(ours.times[name], sample), of_sample(theirs.times[name], sample)
            require_same(*pair, within_ms=1e-10)


def test_the_first_spike_in_a_refractory_period_is_found_neuron_by_neuron() -> None:
    none = np.zeros(2)
    cells = NestPopulation("m", {"t_ref": np.array([2.0, 3.0])}, {"V_m": none, "I_e": none})

    def told(*spikes: tuple[float, int]) -> str:
        time, neuron = np.array(spikes).T
        return find_early_spike("cells", cells, NestSpikes(time, neuron.astype(int)))

    assert told((1.3, 0), (3.3, 0), (2.0, 1), (5.0, 1), (5.4, 0)) == ""
    found = told((6.0, 1), (9.0, 1), (4.0, 0), (11.9, 1), (6.0, 0))
    assert found.startswith(
        "cells: neuron 1 fires at 9 and 11.9 ms, its refractory period is 3"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("nest")
def test_a_neuron_that_nest_lets_fire_in_its_refractory_period_is_told() -> None:
    """Its current lifts it from rest to its threshold within 0.05 ms."""
    graph = alone(cell(tau_syn=0.05), weight=20.0)
    with pytest.raises(RuntimeError, match=r"wrong:\ncell: neuron 0 fires at 2\.0.* its refr"):
        run(graph, at(0.002, ticks=14))
    calm = run(alone(cell(tau_syn=0.05), weight=0.8), at(0.002, ticks=40))
    ours, _ = simulate(alone(cell(tau_syn=0.05), weight=0.8), at(0.002, ticks=40), Exact())
    require_same(ours.times["cell"], calm.times["cell"], within_ms=1e-10)
    assert calm.times["cell"].time.size > 3


@pytest.mark.parametrize("name", nest_reference.NAMES)
def test_published_networks_fire_as_in_nest(name: str) -> None:
    case = nest_reference.case(name)
    time, neuron, checksum = nest_reference.read(name)
    assert nest_reference.checksum(case.network) == checksum, "the seed drew another network"
    ours = nest_reference.of_the_engine(case)
    theirs = Times(np.zeros(time.size, np.int32), time, neuron, np.ones(time.size), ours.shape)
    require_same(ours, theirs, within_ms=case.within)


@pytest.mark.slow
@pytest.mark.sample(name="delta")
@pytest.mark.usefixtures("nest")
@pytest.mark.parametrize("name", nest_reference.NAMES)
def test_nest_still_fires_as_it_was_kept(name: str) -> None:
    case = nest_reference.case(name)
    time, neuron, _ = nest_reference.read(name)
    found = nest_reference.of_nest(case)
    kept = Times(np.zeros(time.size, np.int32), time, neuron, np.ones(time.size), found.shape)
    require_same(found, kept, within_ms=case.within)


@pytest.mark.slow
@pytest.mark.usefixtures("nest")
def test_nest_runs_whatever_torch_does_with_its_threads() -> None:
    # In one process this crashed NEST: both use OpenMP, and NEST believes its count stands.
    graph = currents(0)
    inputs = scattered(graph, 0)
    found = []
    for threads in (1, 2, 4, 1):
        torch.set_num_threads(threads)
        found.append(run(graph, inputs).times["a"].time)
    assert len(found[0])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.usefixtures("nest")
def test_what_nest_says_when_it_fails_is_told() -> None:
    with pytest.raises(RuntimeError, match="NEST stopped with status"):
        run(alone(cell()), at(0.1), threads=0)


@pytest.mark.slow
@pytest.mark.usefixtures("nest")
def test_the_exported_script_fires_as_nest_does_here(tmp_path) -> None:  # type: ignore[no-untyped-def]
    graph = currents(0)
    inputs = scattered(graph, 0)
    script = export(graph, inputs, tmp_path / "out", membranes={"a": np.full(8, 0.3)})
    command = [sys.executable, str(script), "--threads", "2"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    here = run(graph, inputs, membranes={"a": np.full(8, 0.3)})
    with np.load(tmp_path / "out" / "spikes-0.npz") as found:
        for name in ("a", "b"):
            order = np.lexsort((found[f"{name}/neuron"], found[f"{name}/time"]))
            np.testing.assert_array_equal(
                found[f"{name}/neuron"][order], here.times[name].neuron
            )
            np.testing.assert_array_equal(
                found[f"{name}/time"][order] / 1e3, here.times[name].time
            )


def test_a_physical_current_keeps_its_weight_in_pa() -> None:
    graph = currents(0)
    network = plan(graph, scattered(graph, 0), {})
    by_sign = {s.source + s.target + str(s.weight.min() < 0): s for s in network.synapses}
    up, down = by_sign["xaFalse"], by_sign["xaTrue"]
    np.testing.assert_allclose(up.weight, graph.nodes["up"].weight.T.ravel(), rtol=1e-14)
    np.testing.assert_allclose(down.weight, graph.nodes["down"].weight.T.ravel(), rtol=1e-14)
    assert set(up.delay) == {1.0}
    assert set(down.delay) == {3.0}
    assert network.populations["a"].model == "iaf_psc_exp_ps"
    np.testing.assert_allclose(network.populations["a"].parameters["tau_syn_ex"], 5)
    np.testing.assert_allclose(network.populations["a"].parameters["tau_syn_in"], 10)


def test_the_model_follows_from_the_currents() -> None:
    def model(node: Node, *, precise: bool = True) -> str:
        return plan(alone(node), at(0.1), {}, precise=precise).populations["cell"].model

    assert model(cell()) == "iaf_psc_delta_ps"
    assert model(cell(), precise=False) == "iaf_psc_delta"
    assert model(cell(tau_syn=0.005)) == "iaf_psc_exp_ps_lossless"
    assert model(cell(tau_syn=0.02)) == "iaf_psc_exp_ps"  # lossless divides by tau - tau_syn
    assert model(cell(tau_syn=0.005), precise=False) == "iaf_psc_exp"
    mixed = cell(np.array([0.02, 0.005]), tau_syn=0.005)  # type: ignore[arg-type]
    both = chain(x=Input(shape=(1,)), w=Dense(weight=np.ones((2, 1))), cell=mixed)
    assert plan(both, at(0.1), {}).populations["cell"].model == "iaf_psc_exp_ps"


def test_a_delay_behind_a_current_counts_and_one_sign_gives_both_time_constants() -> None:
    nodes: dict[str, Node] = {
        "x": Input(shape=(1,)),
        "w": Dense(weight=np.array([[-1.0]])),
        "i": LI(tau=0.005),
        "a": cell(),
    }
    network = plan(wire("x>w:1 w>i i>a:2", nodes), at(0.1), {})
    (synapses,) = network.synapses
    assert (synapses.source, synapses.target, synapses.delay.tolist()) == ("x", "a", [3.0])
    assert synapses.weight[0] < 0
    found = network.populations["a"]
    assert found.model == "iaf_psc_exp_ps_lossless"
    for name in ("tau_syn_ex", "tau_syn_in"):
        np.testing.assert_allclose(found.parameters[name], 5.0, rtol=1e-12)


def test_a_weight_of_zero_belongs_to_neither_sign() -> None:
    def listed(*weights: float) -> Sparse:
        both = np.array([0, 1], np.int32)
        return Sparse.from_coo(both, both, np.array(weights), shape=(2, 2))

    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "up": listed(1.0, 0.0),
        "down": listed(-1.0, 0.0),
        "fast": LI(tau=0.005),
        "slow": LI(tau=0.01),
        "a": cell(),
    }
    graph = wire("x>up x>down up>fast down>slow fast>a slow>a", nodes)
    found = plan(graph, to_times_of(2), {}).populations["a"].parameters
    np.testing.assert_allclose(found["tau_syn_ex"], 5.0, rtol=1e-12)
    np.testing.assert_allclose(found["tau_syn_in"], 10.0, rtol=1e-12)


def test_a_current_that_decays_as_its_cell_has_the_weight_of_those_that_nearly_do() -> None:
    def weight(tau_syn: float) -> float:
        return float(plan(alone(cell(tau_syn=tau_syn)), at(0.1), {}).synapses[0].weight[0])

    rate = 1 / 20  # of the cell, in a tick
    assert weight(0.02) == pytest.approx(1 / (rate * math.exp(-rate)), rel=1e-12)
    assert weight(0.02 * (1 + 1e-7)) == pytest.approx(weight(0.02), rel=1e-6)
    share = (math.exp(-rate) - math.exp(-4 * rate)) / (3 * rate)  # of tau_syn = tau / 4
    assert weight(0.005) == pytest.approx(1 / (rate * share), rel=1e-12)


def test_a_bias_becomes_the_current_that_adds_it_in_a_tick() -> None:
    network = plan(alone(cell(), bias=0.1), at(0.1), {"cell": np.array([0.25])})
    found = network.populations["cell"]
    assert float(found.start["I_e"][0]) == pytest.approx(0.1 / -math.expm1(-1 / 20), rel=1e-12)
    assert found.start["V_m"].tolist() == [0.25]
    assert {k: float(v[0]) for k, v in found.parameters.items()} == pytest.approx(
        {"tau_m": 20.0, "C_m": 20.0, "V_th": 1.0, "t_ref": 2.0}, rel=1e-12
    )


def test_a_leak_of_everything_is_refused() -> None:
    with pytest.raises(NestError, match="cell: an ALIF in continuous time needs leak < 1"):
        plan(alone(ALIF(leak=1.0)), at(0.1), {})


def test_one_neuron_without_a_leak_is_refused_as_all_are() -> None:
    some = np.array([0.02, math.inf])
    graph = chain(x=Input(shape=(2,)), i=LI(tau=some), a=cell(some))  # type: ignore[arg-type]
    with pytest.raises(NestError) as refused:
        plan(graph, to_times_of(2), {})
    assert refused.value.problems == [
        "i: a current of NEST decays; use a finite tau",
        "a: NEST needs a leak; use a finite tau",
    ]


def test_export_needs_no_nest_and_run_says_which_extra_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "nest", None)
    script = export(alone(cell()), at(0.1), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"network.npz", "run_nest.py"}
    assert "mpirun" in script.read_text()
    with pytest.raises(ImportError, match="NEST is not installed") as e:
        run(alone(cell()), at(0.1))
    assert str(e.value).endswith(
        "; pip install -e '.[peers]' in a clone of neuro brings it, or export the network and "
        "run it elsewhere"
    )


def test_what_nest_cannot_do_is_refused_all_at_once_with_cures() -> None:
    graph = chain(
        x=Input(shape=(2,)),
        w=Dense(weight=np.ones((2, 2))),
        adapts=ALIF(),
        soft=LIF(tau=0.02, reset="soft"),
        quick=LIF(tau=0.02, reset="hard"),
        sums=LIF(tau=math.inf, reset="hard", refractory=2.5 * MS),
        out=LI(tau=0.02),
    )
    with pytest.raises(NestError) as refused:
        plan(graph, to_times_of(2), {"out": np.zeros(2)})
    said = refused.value.problems
    named = ", ".join(p.split(":")[0] for p in said)
    assert named == "membranes of 'out', adapts, soft, quick, sums, sums.refractory, out"
    assert "use a LIF" in said[1]
    assert "refractory >= dt = 0.001 s, got 0 s" in said[3]


def test_nest_has_no_nodes_of_values() -> None:
    graph = chain(
        x=Input(shape=(2,)),
        i=LI(tau=0.02),
        soft=Softmax(),
        gated=GatedLI(),
        fires=LIF(tau=0.02, reset="soft"),
    )
    with pytest.raises(NestError) as refused:
        plan(graph, to_times_of(2), {})
    assert refused.value.problems == [
        "soft: NEST has no Softmax; end the graph before it",
        "gated: NEST has no GatedLI; end the graph before it",
        "i: feeds soft; in NEST a current feeds a LIF only",
        'fires: NEST resets to a value, never by one; use reset="hard"',
    ]


def to_times_of(n: int) -> dict[str, Times]:
    return {"x": to_times(Events(NONE, NONE, NONE, np.zeros(0), (10, 1, n)), DT)}


def test_currents_and_delays_that_nest_lacks_are_refused_all_at_once() -> None:
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "w": Dense(weight=np.ones((2, 2)), bias=np.ones(2)),
        "slow": LI(tau=0.02),
        "fast": LI(tau=0.01),
        "a": cell(),
        "v": Dense(weight=np.ones((2, 2))),
        "b": cell(),
    }
    edges = "x>w w>fast:1 x>slow fast>a slow>a x>a a>v v>b"
    with pytest.raises(NestError, match="fast: has a bias; put it on a connection into a"):
        plan(wire(edges, nodes), to_times_of(2), {})
    nodes["w"] = Dense(weight=np.ones((2, 2)))
    with pytest.raises(NestError) as refused:
        plan(wire(edges, nodes), to_times_of(2), {})
    no_delay, jumps, decays = refused.value.problems
    assert no_delay.startswith("a -> v -> b: arrives without delay; NEST needs >= 1 tick")
    assert jumps.startswith("a: some spikes make its membrane jump")
    assert decays.startswith("a: excitatory currents decay at different rates")


def test_a_bias_that_builds_up_a_current_or_sets_in_late_is_refused() -> None:
    with pytest.raises(NestError, match="cell: a bias goes through its own current; leave tau"):
        plan(alone(cell(tau_syn=0.005), bias=0.1), at(0.1), {})
    nodes = alone(cell(), bias=0.1).nodes
    for wait in (1, 2):
        with pytest.raises(NestError, match=f"cell: its bias sets in after {wait} ticks"):
            plan(wire(f"x>w w>cell:{wait}", nodes), at(0.1), {})


def test_delays_of_single_synapses_count_and_do_not_fit_into_a_chain() -> None:
    listed = [np.array([0, 1]), np.array([1, 0]), np.ones(2)]
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "a": cell(),
        "w": Sparse.from_coo(*listed, shape=(2, 2), delay=np.array([1, 3], np.int32)),
        "b": cell(),
    }
    network = plan(chain(**nodes), to_times_of(2), {})
    np.testing.assert_array_equal(network.synapses[1].delay, [1.0, 3.0])
    nodes["w"] = Sparse.from_coo(*listed, shape=(2, 2), delay=np.array([0, 3], np.int32))
    with pytest.raises(NestError, match="a -> w -> b: arrives without delay"):
        plan(chain(**nodes), to_times_of(2), {})
    nodes["flat"] = Flatten()  # which is no matrix, and leaves the delays as they are
    network = plan(wire("x>a a>w:1 w>flat flat>b", nodes), to_times_of(2), {})
    np.testing.assert_array_equal(network.synapses[1].delay, [1.0, 4.0])
    del nodes["flat"]
    nodes["v"] = Dense(weight=np.ones((2, 2)))
    with pytest.raises(NestError, match="a -> w -> v -> b: a Sparse with delays of its own"):
        plan(wire("x>a a>w:1 w>v v>b", nodes), to_times_of(2), {})


def test_a_tick_must_be_whole_microseconds_and_input_values_positive() -> None:
    graph = replace(alone(cell()), dt=Seconds(1.5e-6))
    some = at(1e-6, 2e-6, ticks=10)["x"]
    with pytest.raises(NestError) as refused:
        plan(graph, {"x": some._replace(value=np.array([1.0, -1.0]))}, {})
    assert refused.value.problems[:2] == [
        "dt = 1.5e-06 s: NEST counts in whole µs; take dt = 2e-06 s",
        "x: negative values of input spikes; negate the weights behind it instead",
    ]
    finest = replace(graph, dt=Seconds(1e-6))
    assert plan(finest, at(1e-6, ticks=10), {}).dt == pytest.approx(1e-3, rel=1e-12)


@pytest.mark.parametrize("dt", [5e-7, 1e-7, 1e-9, 1e-12, 1e-15])
def test_the_cure_of_a_tick_below_a_microsecond_is_true(dt: float) -> None:
    def planned(dt: float, refractory: float) -> NestNetwork:
        graph = alone(LIF(tau=0.01, reset="hard", refractory=Seconds(refractory)))
        return plan(replace(graph, dt=Seconds(dt)), at(ticks=10), {})

    with pytest.raises(NestError) as refused:
        planned(dt, 4e-7)
    assert refused.value.problems == [
        f"dt = {dt:g} s: NEST counts in whole µs; take dt = 1e-06 s",
        "cell.refractory: 4e-07 s is no whole number of ticks of dt = 1e-06 s; take 1e-06 s",
    ]
    assert planned(1e-6, 1e-6).populations["cell"].parameters["t_ref"] == pytest.approx(1e-3)
