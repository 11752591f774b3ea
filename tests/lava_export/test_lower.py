import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from written_graphs import chain, wire

from lava_export import reference
from lava_export.chip_program import load_program, save_program
from lava_export.lower import LowerError, lower, to_bias
from lava_export.program import LoihiProgram, Population, as_int32
from lava_export.rules import check, compute_head_room
from neuro.base.units import Seconds
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    Input,
    Node,
    Softmax,
    Sparse,
)
from neuro.graph.partition import chip_part
from neuro.neurons import ALIF, IF, LI, LIF, DiscreteLIF, GatedLI, TernaryLIF
from neuro.nn import replay
from neuro.spikes import Events, to_events, to_raster

DT = Seconds(1.0)
HALF = Seconds(1 / math.log(2))  # a time constant that halves in one tick of DT


def one(neuron: Node, weight: np.ndarray, bias: np.ndarray | None = None) -> Graph:
    return chain(
        x=Input(shape=(weight.shape[1],)), w=Dense(weight=weight, bias=bias), n=neuron, dt=DT
    )


def weights(program: LoihiProgram) -> np.ndarray:
    return program.connections[0].weight


def test_the_largest_weight_lands_on_an_even_integer_of_8_bits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        w = rng.normal(size=(5, 7)) * 10 ** rng.uniform(-3, 3)
        program = lower(one(IF(threshold=float(np.abs(w).max())), w), ticks=9)
        q, scale = weights(program), program["n"].scale
        assert not (q % 2).any()
        assert 128 <= np.abs(q).max() <= 254
        assert np.abs(q / scale - np.float32(w)).max() <= 1 / scale * (1 + 1e-9)


def test_what_can_be_exact_is_exact() -> None:
    program = lower(one(IF(threshold=0.75), np.array([[1.0, 0.125, -0.625]])), ticks=9)
    scale = program["n"].scale
    assert (weights(program) / scale).tolist() == [[1.0, 0.125, -0.625]]
    assert (program["n"].vth + 1).item() / scale == 0.75
    assert scale == 240.0  # the largest of 128, 144, ... 240 with no error at all


def test_a_strict_threshold_is_that_of_the_chip_and_resets_are_in_units_of_v() -> None:
    def cell(**changed: object) -> Population:
        model = DiscreteLIF(**{"decay": 0.5, "threshold": 0.75, **changed})  # type: ignore[arg-type]
        return lower(one(model, np.array([[1.0, 0.125, -0.625]])), ticks=9)["n"]

    assert cell().scale == cell(strict=True).scale == 240
    assert (cell().vth, cell(strict=True).vth) == (179, 180)
    assert cell().reset_by is cell(reset="hard").reset_to is None
    assert cell(strict=True).reset_by == 64 * 180
    assert cell(reset_by=0.001).reset_by == 15  # 15.36
    assert cell(reset="hard", reset_to=-0.5).reset_to == -64 * 120
    assert cell(threshold=1.0, rest=0.25, reset="hard", reset_to=-0.25).reset_to == -64 * 120
    # Rounding leaves it at the threshold, where it does not fire.
    assert cell(reset="hard", reset_to=0.7499).reset_to == 64 * 179
    # Nearest to 0.123 are 31 / 252 from above, and 30 / 244 from below.
    nearest = [
        lower(one(DiscreteLIF(decay=0.5, threshold=0.123, strict=s), np.eye(1)), ticks=9)["n"]
        for s in (False, True)
    ]
    assert [(p.vth, p.scale) for p in nearest] == [(30, 252), (30, 244)]
    assert [cell(reset="hard", strict=s).kind for s in (False, True)] == ["lif", "lif"]
    assert cell(reset="hard", reset_to=-0.5).kind == "alif"


def test_a_concat_is_one_connection_for_each_edge_into_it() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-8, 9, (3, 7)) / 4
    graph = wire(
        "x>c:1 y>c:1 x>c:2 c>w w>n",
        {
            "x": Input(shape=(2,)),
            "y": Input(shape=(3,)),
            "c": Concat(),
            "w": Dense(weight=weight),
            "n": IF(threshold=1.0, reset="hard"),
        },
        dt=DT,
    )
    program = lower(graph, ticks=12)
    x = {n: to_events(rng.random((12, 2, graph.size(n))) < 0.4) for n in "xy"}
    found, want = reference.run(program, x, 12), replay(graph, x)
    assert want.spikes["n"].tick.size > 15
    for a, b in zip(found.spikes["n"], want.spikes["n"], strict=True):
        np.testing.assert_array_equal(a, b)
    assert sorted(c.source for c in program.connections) == ["x", "x", "y"]


def test_vth_is_one_below_the_integer_threshold() -> None:
    """On multiples of 64 the strict v > 64 vth of Lava is the v >= threshold of the floats."""
    for threshold, vth in ((1.0, 253), (0.999, 253), (0.5, 126)):
        w = np.full((1, 3), 1.0)
        program = lower(one(IF(threshold=threshold, reset="hard"), w))
        n = math.ceil(threshold * program["n"].scale - 1e-6)
        assert program["n"].vth.tolist() == [n - 1]
        if threshold != 0.999:
            assert vth == n - 1
        spikes = to_events(np.ones((1, 1, 3), bool))
        assert len(reference.run(program, {"x": spikes}, 1).spikes["n"].tick) == 1


def test_a_threshold_of_17_bits_bounds_the_scale() -> None:
    program = lower(one(IF(threshold=1.0), np.array([[1e-4]])))
    assert program["n"].vth.item() <= 131071
    assert weights(program).item() == 12
    with pytest.raises(LowerError, match="n: its threshold 1 is more than 65535 times its"):
        lower(one(IF(threshold=1.0), np.array([[1e-5]])))


def test_decays_become_12_bits() -> None:
    tau = Seconds(5.0)
    program = lower(one(LIF(tau=tau, tau_syn=2.0, reset="hard"), np.eye(2)))
    n = program["n"]
    assert n.dv.tolist() == [round(4096 * (1 - math.exp(-1 / 5)))]
    assert n.du.tolist() == [round(4096 * (1 - math.exp(-1 / 2))) - 1]
    assert lower(one(LIF(tau=tau), np.eye(2)))["n"].du.tolist() == [4095]
    edge = lower(one(ALIF(leak=1.0, rho=1.0, beta=0.5), np.eye(2)), ticks=9)["n"]
    assert (edge.dv.tolist(), edge.da.tolist()) == ([4096], [0])


@pytest.mark.filterwarnings("ignore:LIF.tau", "ignore:a tick of dt")  # so long ones are meant
@pytest.mark.parametrize(
    ("neuron", "told"),
    [
        (LIF(tau=1e5), "n: v keeps 0.99999.* of itself a tick.*; use a shorter time constant"),
        (
            LIF(tau=0.1),
            "n: v keeps 4.5399.*e-05 of itself a tick.*; use a longer time constant",
        ),
        (LIF(tau=5.0, tau_syn=1e5), "n: the synaptic current keeps .* shorter time constant"),
        (LIF(tau=5.0, tau_syn=0.1), "n: the synaptic current keeps .* longer time constant"),
        (ALIF(leak=0.5, rho=0.99999, beta=0.5), "n: the threshold keeps .* shorter"),
        # 12 bits hold no 4096: 1/4096 of the state would stay.
        (ALIF(leak=0.5, rho=0.0, beta=0.5), "n: the threshold keeps 0 of itself .* longer"),
    ],
)
def test_a_decay_that_12_bits_would_lose_is_refused(neuron: Node, told: str) -> None:
    with pytest.raises(LowerError, match=told):
        lower(one(neuron, np.eye(2)))


def test_a_decay_that_nothing_uses_may_be_any() -> None:
    assert lower(one(ALIF(leak=0.5, rho=0.99999, beta=0.0), np.eye(2)))["n"].kind == "lif"
    assert lower(one(IF(threshold=1.0), np.eye(2)))["n"].dv.tolist() == [0]


def test_a_graph_that_falls_apart_is_refused() -> None:
    graph = wire(
        "x>a y>b",
        {"x": Input(shape=(2,)), "a": LIF(tau=5.0), "y": Input(shape=(2,)), "b": LIF(tau=5.0)},
        dt=DT,
    )
    with pytest.raises(LowerError, match="these parts: a, x; b, y; split it into one graph"):
        lower(graph)


@pytest.mark.parametrize(
    ("neuron", "bias", "kind"),
    [
        (LIF(tau=5.0, reset="hard"), None, "lif"),
        (ALIF(leak=0.5), None, "lif"),
        (LIF(tau=5.0, reset="soft"), None, "alif"),
        (LIF(tau=5.0, reset="hard"), np.array([0.1, 0.0]), "lif"),
        (LIF(tau=5.0, reset="hard", refractory=2.0), None, "alif"),
        (ALIF(leak=0.5, beta=0.1), None, "alif"),
        (ALIF(leak=np.array([0.5, 0.25])), None, "alif"),
        (LI(tau=5.0), np.array([0.1, 0.0]), "li"),
    ],
)
def test_what_lava_has_itself_is_its_own_lif(
    neuron: Node, bias: np.ndarray | None, kind: str
) -> None:
    assert lower(one(neuron, np.eye(2), bias))["n"].kind == kind


@given(st.floats(-4000 * 2**7, 4000 * 2**7))
def test_a_bias_is_held_to_half_a_unit_of_its_exponent(value: float) -> None:
    b = to_bias(np.array([value]))
    m, e = int(b.mantissa[0]), int(b.exponent[0])
    assert -4096 <= m <= 4095
    assert 0 <= e <= 7
    assert abs((m << e) - value) <= 2**e / 2
    assert e == 0 or abs(value) > 2047 * 2 ** (e - 1)  # the least exponent that fits


def test_a_bias_beyond_both_fields_is_refused() -> None:
    with pytest.raises(LowerError, match="bias_mant"):
        lower(one(IF(threshold=1.0), np.array([[0.01]]), np.array([1000.0])))


def test_sums_are_given_room_below_2_to_the_23() -> None:
    w = np.full((1, 3000), 0.5)
    graph = one(LI(tau=Seconds(20.0)), w)
    endless, short = lower(graph), lower(graph, ticks=5)
    for program, ticks in ((endless, None), (short, 5)):
        assert (
            0.5
            < compute_head_room(program["n"], program.connections, ticks, program.messages)
            < 1
        )
        assert program.ticks == ticks
        check(program)
    assert weights(endless).max() < weights(short).max() < 254
    coarse = lower(graph, largest_weight=2)
    assert weights(coarse).max() == 2
    with pytest.raises(ValueError, match="largest_weight must be even, from 2 to 254, got 255"):
        lower(graph, largest_weight=255)


def read_out_of_one_spike_a_tick(tau: float) -> Graph:
    weight = Dense(weight=np.ones((1, 1)))
    a, out = LIF(tau=HALF, threshold=0.5), LI(tau=tau)
    return chain(x=Input(shape=(1,)), a=a, w=weight, out=out, dt=DT)


def test_a_read_out_without_leak_needs_a_number_of_ticks() -> None:
    graph = read_out_of_one_spike_a_tick(math.inf)
    with pytest.raises(LowerError) as refused:
        lower(graph)
    assert refused.value.problems == [
        "worst case sums stay below 2^23: out: v of neuron 0 has no leak and can grow without "
        "end; give the length of the runs, lower(graph, ticks=...), or use a finite time "
        "constant"
    ]
    x = {"x": to_events(np.ones((1200, 1, 1), bool))}
    program = lower(graph, ticks=1200)
    v = reference.run(program, x, 1200).values["out"]
    wanted = replay(graph, x).values["out"][:, 0, 0]
    assert reference.to_float(program, "out", v)[:, 0, 0].tolist() == wanted.tolist()
    assert wanted[-1] == 1200  # with weights of 254 it would have stopped at 515


@pytest.mark.parametrize(
    ("neuron", "weight", "state"),
    [
        (IF(threshold=1.0, reset="hard"), -1.0, "v"),  # down there is no reset
        (IF(threshold=0.5, reset="soft"), 1.0, "v"),  # falls behind its input
        (ALIF(leak=0.5, rho=1.0, beta=0.25), 1.0, "a"),
    ],
)
def test_what_never_leaks_has_no_endless_run(neuron: Node, weight: float, state: str) -> None:
    graph = one(neuron, np.array([[weight, 0.25]]))
    with pytest.raises(LowerError, match=f"n: {state} of neuron 0 has no leak and can grow"):
        lower(graph)
    assert lower(graph, ticks=30).ticks == 30


def test_a_reset_bounds_a_neuron_without_leak_and_inhibition() -> None:
    assert lower(one(IF(threshold=1.0, reset="hard"), np.ones((1, 2)))).ticks is None
    assert lower(one(IF(threshold=4.0, reset="soft"), np.ones((1, 2)))).ticks is None


@pytest.mark.parametrize("ticks", [0, -3])
def test_a_run_to_lower_for_has_a_tick_at_least(ticks: int) -> None:
    with pytest.raises(ValueError, match=f"ticks must be >= 1, or None .* got {ticks}"):
        lower(one(LI(tau=5.0), np.ones((1, 2))), ticks=ticks)


def test_sums_too_large_for_any_scale_are_refused() -> None:
    with pytest.raises(LowerError, match=r"n: u of neuron 0 can reach 1\.28e\+07"):
        lower(one(LI(tau=5.0), np.ones((1, 100_000))))


def residual(delay: int) -> Graph:
    conv = Conv2d(weight=np.ones((1, 1, 3, 3)), padding=(1, 1))
    nodes = {
        "x": Input(shape=(1, 4, 4)),
        **{"conv1": conv, "a": LIF(tau=5.0), "conv2": conv, "b": LIF(tau=5.0)},
        "pool": AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        "flat": Flatten(),
        "fc": Dense(weight=np.ones((2, 4))),
        "out": LI(tau=5.0),
    }
    edges = "x>conv1 conv1>a a>conv2 conv2>b b>pool pool>flat flat>fc fc>out"
    return wire(f"{edges} x>b:{delay}", nodes, dt=DT)


def test_lags_count_connections_and_a_short_cut_waits() -> None:
    program = lower(residual(0))
    assert {p.name: p.lag for p in program.populations} == {"x": 0, "a": 1, "b": 2, "out": 3}
    assert {c.name: c.extra for c in program.connections} == {
        "conv1": 0, "conv2": 0, "x->b": 1, "pool+flat+fc": 0,
    }  # fmt: skip
    assert [c.extra for c in lower(residual(2)).connections if c.name == "x->b"] == [3]


def test_everything_that_cannot_go_is_refused_at_once() -> None:
    graph = wire(
        "x>faint faint>c x>w w>a a>b b>v:1 v>a:0 x>v v>b:3 w>b",
        {
            "x": Input(shape=(2,)),
            "w": Dense(weight=1e-6 * np.eye(2), bias=np.ones(2)),
            "a": LIF(tau=5.0),
            "v": Dense(weight=np.eye(2), bias=np.ones(2)),
            "b": LIF(tau=5.0),
            "faint": Dense(weight=1e-6 * np.eye(2)),
            "c": LIF(tau=5.0),
        },
        dt=DT,
    )
    before = np.array(graph.nodes["w"].weight)  # type: ignore[union-attr]
    with pytest.raises(LowerError) as e:
        lower(graph)
    biases, loop, weights = e.value.problems
    assert biases.startswith("b: biases arrive after [0, 3] ticks")
    assert loop.startswith("loop b -> a -> b: its delays add up to 1 ticks")
    assert weights.startswith("c: its threshold 1 is more than 65535 times its largest weight")
    assert str(e.value).count("\n") == 3
    assert np.array_equal(graph.nodes["w"].weight, before)  # type: ignore[union-attr]


def test_a_bias_through_a_synaptic_current_is_refused() -> None:
    """In a graph it settles at b / (1 - c) a tick, on Loihi it would stay b."""
    neuron = LIF(tau=HALF, tau_syn=HALF)
    with pytest.raises(LowerError, match=r"n: a bias passes its synaptic current in a graph"):
        lower(one(neuron, np.eye(2), np.array([0.0, 0.5])))
    lower(one(neuron, np.eye(2), np.zeros(2)))


def test_listed_synapses_become_a_matrix_for_each_delay() -> None:
    w = Sparse.from_coo(
        np.array([0, 1, 1, 1]),
        np.array([0, 0, 1, 1]),
        np.array([1.0, 0.5, 0.25, 0.25]),
        shape=(2, 2),
        delay=np.array([0, 0, 2, 2]),
    )
    nodes = {"x": Input(shape=(2,)), "w": w, "n": LIF(tau=5.0, reset="hard")}
    program = lower(wire("x>w w>n", nodes, dt=DT))
    soon, late = program.connections
    scale = program.populations[1].scale
    assert (soon.weight / scale).tolist() == [[1, 0.5], [0, 0]]
    assert (late.weight / scale).tolist() == [[0, 0], [0, 0.5]]
    assert (soon.extra, late.extra) == (0, 2)
    assert (soon.name, late.name) == ("w@0+w", "w@2+w")


def test_a_layer_too_large_for_a_matrix_is_listed_and_computes_what_its_matrix_would(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    up = ConvTranspose2d(
        weight=rng.normal(size=(3, 2, 3, 3)),
        stride=(2, 2),
        padding=(1, 1),
        output_padding=(1, 1),
        bias=rng.normal(size=2),
    )
    nodes = {"x": Input(shape=(3, 4, 4)), "up": up, "n": ALIF(leak=0.6, threshold=1.0)}
    graph = wire("x>up up>n", nodes, dt=DT)
    stimulus = {"x": to_events(rng.random((12, 2, 48)) < 0.3)}
    assert lower(graph).connections[0].kind == "dense"
    monkeypatch.setattr("neuro.graph.paths.LIMIT", 128 * 48 - 1)
    listed = lower(graph, ticks=12)
    (synapses,) = listed.connections
    assert (synapses.kind, synapses.sizes) == ("sparse", (128, 48))
    weight = np.zeros(synapses.sizes, int)
    weight[tuple(synapses.places)] = synapses.weight
    assert synapses.weight.size < weight.size / 5
    dense = replace(synapses, kind="dense", weight=as_int32(weight))
    matrix = replace(listed, connections=(dense,))
    want, found = (reference.run(p, stimulus, 12) for p in (matrix, listed))
    assert want.spikes["n"].tick.size > 100
    for a, b in zip(want.spikes["n"], found.spikes["n"], strict=True):
        assert np.array_equal(a, b)
    save_program(tmp_path / "p.safetensors", listed)
    (again,) = load_program(tmp_path / "p.safetensors").program.connections
    assert np.array_equal(again.places, synapses.places)
    assert again.sizes == synapses.sizes
    check(listed, "loihi2")


def test_what_has_no_counterpart_is_refused_at_once_with_its_cures() -> None:
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "i": LI(tau=5.0),
        "a": LIF(tau=20.0),
        "b": TernaryLIF(tau=20.0, lower=np.array([1.0, 2.0])),
    }
    edges = [Edge("x", "i"), Edge("i", "a"), Edge("a", "b")]
    with pytest.raises(LowerError) as e:
        lower(Graph(nodes=nodes, edges=tuple(edges), dt=DT))
    current, b, *_ = e.value.problems
    assert current.endswith("leave it out and give a tau_syn=5.0")
    assert b.startswith("b: its neurons differ in tau, tau_syn, threshold or lower")
    nodes["a"] = LIF(tau=20.0, refractory=2.5)
    edges.append(Edge("b", "a"))
    with pytest.raises(LowerError) as e:
        lower(Graph(nodes=nodes, edges=tuple(edges), dt=DT))
    assert [p.split(" ")[0] for p in e.value.problems] == ["zero-delay", "a:"]
    nodes = {"x": Input(shape=(2,)), "a": LIF(tau=20.0, refractory=64.0)}
    with pytest.raises(LowerError, match=r"6 bits: a: refractory = 64, allowed is 0\.\.63"):
        lower(Graph(nodes=nodes, edges=(Edge("x", "a"),), dt=DT))


def test_a_current_in_a_loop_is_refused_by_name() -> None:
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "w": Dense(weight=np.eye(2)),
        "i": LI(tau=5.0),
        "a": LIF(tau=20.0),
        "back": Dense(weight=np.eye(2)),
    }
    with pytest.raises(LowerError) as e:
        lower(wire("x>w w>i i>a a>back:2 back>i", nodes, dt=DT))
    assert e.value.problems == [
        "i: is a current into a, which a chip keeps in the neuron itself; leave it out and "
        "give a tau_syn=5.0"
    ]


def test_a_read_out_of_two_stages_is_refused_with_a_cure_of_its_own() -> None:
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "w": Dense(weight=np.eye(2)),
        "i": LI(tau=5.0),
        "o": LI(tau=20.0),
    }
    with pytest.raises(LowerError) as e:
        lower(wire("x>w w>i i>o", nodes, dt=DT))
    assert "i: is a current into o, a read-out of two stages" in e.value.problems[0]


def in_floats(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Run a graph of Dense nodes in float64, tick by tick, as the equations say."""
    ticks, samples, _ = x.shape
    out = {n: np.zeros((ticks, samples, graph.size(n))) for n in graph.nodes}
    out["x"] = x.astype(np.float64)
    i, v, a = ({n: np.zeros((samples, graph.size(n))) for n in graph.nodes} for _ in range(3))
    for t in range(ticks):
        for name in graph.order[1:]:
            node = graph.nodes[name]
            drive = sum(
                (out[e.source][t - e.delay] for e in graph.into(name) if t >= e.delay),
                np.zeros((samples, node.weight.shape[1] if isinstance(node, Dense) else 1)),
            )
            if isinstance(node, Dense):
                bias = 0.0 if node.bias is None else node.bias.astype(np.float64)
                out[name][t] = drive @ node.weight.astype(np.float64).T + bias
                continue
            c = node.coefficients(graph.dt)  # type: ignore[union-attr]
            keep, keep_i = np.round(c.decay, 12), np.round(c.decay_syn, 12)
            i[name] = keep_i * i[name] + drive
            v[name] = keep * v[name] + c.gain * i[name]
            a[name] = c.decay_adapt * a[name]
            if not c.fires:
                out[name][t] = v[name]
                continue
            s = v[name] >= c.threshold + a[name]
            v[name] = np.where(s, 0 if c.hard else v[name] - c.threshold - a[name], v[name])
            a[name] += c.beta * s
            out[name][t] = s
    return out


def dyadic(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return multiples of 1/64 up to 1, of which one is 1: exact at scale 128."""
    w = rng.integers(-40, 64, shape) / 64
    w.flat[0] = 1.0
    return w


@given(seed=st.integers(0, 10**6))
def test_a_network_that_integers_can_hold_fires_exactly_as_in_floats(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (
        IF(threshold=float(rng.choice([0.5, 0.75, 1.0])), reset=rng.choice(["soft", "hard"]))
        for _ in range(2)
    )
    bias = rng.integers(-8, 16, 4) / 64 if seed % 2 else None
    one, two, back = (int(rng.integers(*span)) for span in ((0, 3), (0, 2), (2, 4)))
    nodes = {
        "x": Input(shape=(5,)),
        "w1": Dense(weight=dyadic(rng, 4, 5), bias=bias),
        "a": first,
        "w2": Dense(weight=dyadic(rng, 4, 4)),
        "b": second,
        "back": Dense(weight=dyadic(rng, 4, 4)),
        "w3": Dense(weight=dyadic(rng, 2, 4)),
        "out": LI(tau=HALF),
    }
    edges = f"x>w1 w1>a:{one} a>w2:{two} w2>b a>b b>back:{back} back>a b>w3 w3>out"
    graph = wire(edges, nodes, dt=DT)
    ticks = 7  # so many halvings of a weight unit leave the read-out integers
    x = rng.random((ticks, 3, 5)) < 0.5
    wanted = in_floats(graph, x)
    program = lower(graph, ticks=ticks)
    record = reference.run(program, {"x": to_events(x)}, ticks)
    for name in ("a", "b"):
        assert np.array_equal(to_raster(record.spikes[name]), wanted[name]), name
    got = reference.to_float(program, "out", record.values["out"])
    assert np.array_equal(got, wanted["out"])


@given(seed=st.integers(0, 10**6))
def test_with_a_leak_the_first_spike_is_early_by_at_most_one_weight_unit(seed: int) -> None:
    """Membranes between two multiples of 64 are what Lava's threshold cannot tell apart."""
    rng = np.random.default_rng(seed)
    neuron = [
        ALIF(leak=0.5, threshold=0.25, beta=0.125, rho=0.5, reset="soft"),
        ALIF(leak=0.5, threshold=0.375, reset="hard"),
        LIF(tau=HALF, threshold=0.75, tau_syn=HALF, reset="hard"),
        LIF(tau=HALF, threshold=1.0, reset="soft"),
    ][seed % 4]
    w = dyadic(rng, 6, 5)
    graph, x = one(neuron, w), rng.random((7, 4, 5)) < 0.4
    program = lower(graph)
    unit = 1 / program["n"].scale
    watched = in_floats(one(LI(tau=HALF), w * (0.5 if isinstance(neuron, ALIF) else 1)), x)["n"]
    wanted = in_floats(graph, x)["n"]
    got = to_raster(reference.run(program, {"x": to_events(x)}, 7).spikes["n"])
    early = np.argwhere(got.cumsum(0) * (wanted.cumsum(0) == 0) == 1)
    late = (wanted.cumsum(0) > 0) & (got.cumsum(0) == 0)
    assert not late.any()
    if neuron.coefficients(DT).decay_syn == 0:
        for t, b, n in early[early[:, 0] == got.argmax(0)[early[:, 1], early[:, 2]]]:
            assert 0 < neuron.threshold - watched[t, b, n] < unit


def silent(graph: Graph) -> Mapping[str, Events]:
    return {"x": to_events(np.zeros((6, 1, graph.size("x")), bool))}


def test_a_delayed_bias_sets_in_late() -> None:
    graph = wire(
        "x>w w>n:2",
        {
            "x": Input(shape=(1,)),
            "w": Dense(weight=np.ones((1, 1)), bias=np.ones(1)),
            "n": LI(tau=math.inf),
        },
        dt=DT,
    )
    program = lower(graph, ticks=6)
    v = reference.run(program, silent(graph), 6).values["n"]
    assert reference.to_float(program, "n", v)[:, 0, 0].tolist() == [0, 0, 1, 2, 3, 4]


def test_what_only_a_host_does_is_refused_together_with_the_rest() -> None:
    nodes: dict[str, Node] = {
        "x": Input(shape=(4,)),
        "h": GatedLI(),
        "s": Softmax(),
        "w": Dense(weight=np.eye(2)),
        "n": TernaryLIF(tau=5.0, lower=np.array([1.0, 2.0])),
    }
    edges = tuple(Edge(a, b) for a, b in pairwise(nodes))
    graph = Graph(nodes=nodes, edges=edges, dt=DT)
    with pytest.raises(LowerError) as refused:
        lower(graph)
    cure = (
        "its host does; leave it out of what is lowered: Deployment.part of a task returns the "
        "module without it, neuro.graph.partition.chip_part(graph) the Graph"
    )
    assert refused.value.problems[:2] == [
        f"h: no chip runs a GatedLI, {cure}",
        f"s: no chip runs a Softmax, {cure}",
    ]
    (neurons,) = refused.value.problems[2:]
    assert neurons.startswith("n: its neurons differ")
    nodes["n"] = LIF(tau=5.0)
    left = chip_part(Graph(nodes=nodes, edges=edges, dt=DT))
    assert [p.name for p in lower(left).populations] == ["s", "n"]


@pytest.mark.parametrize(
    ("above", "n"),
    [
        (0.0, 200),
        (4e-7, 200),  # what a float error leaves above an integer is that integer
        (4e-6, 201),
        (-4e-7, 200),
        (-1e-3, 200),
        (1e-3, 201),
    ],
)
def test_thresholds_are_rounded_up_but_for_what_floats_err(above: float, n: int) -> None:
    neuron = LIF(tau=5.0, reset="hard", threshold=(200 + above) / 2)
    program = lower(one(neuron, np.ones((1, 2))), largest_weight=2)
    assert program["n"].scale == 2
    assert program["n"].vth.item() + 1 == n


def test_a_current_into_neurons_is_refused_but_does_not_count_as_a_gap() -> None:
    graph = Graph(
        nodes={
            "x": Input(shape=(2,)),
            "w": Dense(weight=np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.25]])),
            "current": LI(tau=5e-3),
            "cells": LIF(tau=10e-3, threshold=1.5),
        },
        edges=(Edge("x", "w"), Edge("w", "current"), Edge("current", "cells")),
        dt=1e-3,
    )
    with pytest.raises(LowerError) as e:
        lower(graph)
    assert str(e.value).splitlines()[1:] == [
        "current: is a current into cells, which a chip keeps in the neuron itself; leave it "
        "out and give cells tau_syn=0.005"
    ]
