"""Xylo: the reference by its equations, the lowering by exact numbers, and what is refused."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_graphs import chain, wire
from xylo_programs import ENDS, KINDS, SIZES, draw_channels, draw_program

from lava_export import LowerError, ProgramError, load_program, lower_graph, save_program
from lava_export.excess import describe_excess
from lava_export.program import as_int32
from lava_export.xylo import (
    XyloPopulation,
    XyloProgram,
    list_xylo_breaches,
    lower_to_xylo,
    make_xylo_scaling_table,
    run_xylo,
)
from lava_export.xylo.chip import XyloChipProgram
from lava_export.xylo.lower import choose_shifts, compute_head_room, find_dash
from lava_export.xylo.program import Shifts, XyloConnection
from lava_export.xylo.reference import iterate_steps
from neuro.energy import OneCoreChip, load_one_core_chips
from neuro.events import simulate
from neuro.graph import AvgPool2d, Conv2d, Dense, Flatten, Graph, Input
from neuro.neurons import ALIF, LI, LIF, LIFReset
from neuro.spikes import to_events, to_raster

DT = 1e-3
CHIP = load_one_core_chips()["xylo"]


def tau(shift: int) -> float:
    """Return the time constant [s] that leaves 1 - 2^-shift of a state in a tick."""
    return -DT / math.log1p(-(2.0**-shift))


def soft(**more: Any) -> LIF:
    return LIF(**{"tau": tau(4), "tau_syn": tau(2), "reset": "soft", **more})


def network(**nodes: Any) -> Graph:
    """Return 3 channels, 4 hidden neurons and 2 outputs; weights are exact in 8 bits."""
    rng = np.random.default_rng(3)
    first = rng.integers(-127, 128, (4, 3)) / 64 * 0.75
    second = rng.integers(-127, 128, (2, 4)) / 64 * 0.875
    first[0, 0], second[0, 0] = 127 / 64 * 0.75, 127 / 64 * 0.875
    parts: dict[str, Any] = {
        "x": Input(shape=(3,)),
        "w": Dense(weight=first),
        "n": soft(),
        "on": Dense(weight=second),
        "out": LI(tau=tau(3)),
    }
    return chain(**{**parts, **nodes})


def problems_of(graph: Graph, **how: Any) -> list[str]:
    with pytest.raises(LowerError, match="cannot be lowered to Xylo") as error:
        lower_to_xylo(graph, **how)
    return error.value.problems


def clip(x: int) -> int:
    return min(max(x, -(2**15)), 2**15 - 1)


def fall(x: int, dash: int) -> int:
    return x >> dash or (x > 0) - (x < 0)


def follow(program: XyloProgram, sent: np.ndarray) -> dict[str, list[list[int]]]:
    """Return v of each population, T N, by the equations of the program in plain integers."""
    state = {
        p.name: [[0, 0, 0] for _ in range(p.size)]
        for p in program.select("hidden", "output", "readout")
    }
    trace: dict[str, list[list[int]]] = {name: [] for name in state}
    for channels in sent.tolist():
        now = {"x": channels[: SIZES["x"]], "y": channels[SIZES["x"] :]}
        now = {name: [min(n, 15) for n in own] for name, own in now.items()}
        before = now | {name: [n for _, _, n in own] for name, own in state.items()}
        for name, neurons in state.items():
            p = program[name]
            shift = program.shift if p.kind == "hidden" else program.shift_out
            for k, (i, v, _) in enumerate(neurons):
                for source in ("x", "y", "a", "b"):  # channels first, by their numbers
                    for c in program.into(name):
                        if c.source != source:
                            continue
                        for weight, times in zip(
                            c.weight[k].tolist(), before[source], strict=True
                        ):
                            for _ in range(times):
                                i = clip(i + (weight << shift))
                d_syn, d_mem, threshold, bias = (
                    int(np.broadcast_to(r, p.size)[k])
                    for r in (p.dash_syn, p.dash_mem, p.threshold, p.bias)
                )
                i -= fall(i, d_syn)
                lost = -fall(v, d_mem)
                lost = lost if lost < 2**15 else -(2**15)
                v = clip(v + clip(clip(lost + i) + bias))
                n, most = 0, 31 if p.kind == "hidden" else 1
                while v >= threshold and n < most:
                    n, v = n + 1, v - threshold
                neurons[k] = [i, v, n]
            trace[name].append([v for _, v, _ in neurons])
    return trace


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_the_reference_follows_its_equations(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 7, KINDS.index(kind)])
    program, sent = draw_program(rng, kind), draw_channels(rng, 12, 2)
    steps = list(iterate_steps(program, sent))
    hidden, output = (np.stack([getattr(s, g).v for s in steps]) for g in ("hidden", "output"))
    for sample in range(2):
        wanted = follow(program, sent[:, sample])
        ours = hidden[:, sample, :7], hidden[:, sample, 7:], output[:, sample, :3]
        for name, found in zip(("a", "b", "out"), ours, strict=True):
            np.testing.assert_array_equal(found, wanted[name], err_msg=name)


def test_what_is_exact_in_integers_becomes_exact() -> None:
    program = lower_to_xylo(network(), ticks=20, shifts=Shifts(0, 0))
    w, n, out = program.connections[0].weight, program["n"], program["out"]
    # A current passes on 1 - 2^-2 at once, so weights are 4/3 of 64 units.
    assert (n.scale, n.threshold.tolist()) == (64.0, [64] * 4)
    np.testing.assert_array_equal(w, network().nodes["w"].weight * 64 / 0.75)  # type: ignore[union-attr]
    assert (n.dash_syn.tolist(), n.dash_mem.tolist(), n.lag) == ([2] * 4, [4] * 4, 0)
    assert (out.kind, out.scale, out.dash_syn.tolist(), out.lag) == ("readout", 64.0, [3, 3], 1)
    for row in make_xylo_scaling_table(network(), program):
        assert row["weight_error_max"] < 1e-12
        assert row["threshold_error"] == 0
        assert row["decay_error"] < 1e-12


def test_shifts_double_scale_and_threshold_and_leave_the_weights() -> None:
    plain = lower_to_xylo(network(), ticks=20, shifts=Shifts(0, 0))
    lifted = lower_to_xylo(network(), ticks=20, shifts=Shifts(3, 2))
    assert lifted["n"].threshold.tolist() == [8 * 64] * 4
    assert (lifted["n"].scale, lifted["out"].scale) == (8 * 64.0, 4 * 64.0)
    for one, other in zip(plain.connections, lifted.connections, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)


def test_a_program_shows_its_populations_and_shifts() -> None:
    program = lower_to_xylo(network(), ticks=20)
    told = "XyloProgram(x input 3, n hidden 4, out readout 2; shifts 2, 4"
    assert repr(program) == f"{told}; ticks=20)"
    assert repr(replace(program, ticks=None)) == f"{told})"


def test_without_a_stimulus_no_source_that_fires_once_a_tick_saturates() -> None:
    program = lower_to_xylo(network(), ticks=20)
    rooms = [row["head_room"] for row in make_xylo_scaling_table(network(), program)]
    assert max(rooms) <= 1 < 2.001 * min(rooms)  # a further shift would not fit
    full = {"x": to_events(np.ones((20, 1, 3), np.float32))}
    assert all(x.saturated == 0 for x in run_xylo(program, full, 20).excess.values())


def test_shifts_lift_twice_the_largest_states_as_far_as_sixteen_bits() -> None:
    program = lower_to_xylo(network(), ticks=20, shifts=Shifts(3, 1))
    for peaks, wanted in (
        ((2000, 9000), Shifts(6, 1)),  # 4,000 times 8 fits; 18,000 stays
        ((2000, 1100), Shifts(6, 4)),
        ((9, 9), Shifts(7, 7)),  # 512, a threshold, and 18, but no more than 7
        ((9000, 20_000), Shifts(3, 0)),
    ):
        assert choose_shifts(program, dict(zip(("n", "out"), peaks, strict=True))) == wanted


def test_a_current_that_halves_in_its_step_has_room_before_it_falls() -> None:
    # Two neurons fire once in each tick, with weights of 127: 254 units arrive, and 508 stand
    # before half of them leave. So 2^6 is the largest factor within 16 bits.
    graph = chain(
        x=Input(shape=(1,)),
        w=Dense(weight=np.ones((2, 1))),
        n=soft(tau_syn=tau(1), threshold=2.0),
        on=Dense(weight=np.ones((1, 2))),
        out=LI(tau=tau(1)),
    )
    program = lower_to_xylo(graph, ticks=60)
    assert program.shift_out == 6
    _, row = make_xylo_scaling_table(graph, program)
    assert row["head_room"] == pytest.approx(508 * 64 / (2**15 - 1), rel=1e-3)
    excess = run_xylo(program, {"x": to_events(np.ones((60, 1, 1), np.float32))}, 60).excess
    assert [(x.several, x.saturated) for x in excess.values()] == [(0, 0), (0, 0)]
    assert excess["out"].peak == 508 * 64


def test_a_stimulus_leaves_room_for_finer_integers() -> None:
    graph = network(n=soft(threshold=8.0))
    rng = np.random.default_rng(0)
    inputs = {"x": to_events((rng.random((40, 30, 3)) < 0.1).astype(np.float32))}
    coarse = lower_graph(graph, 40, OneCoreChip)
    fine = coarse.calibrate(graph, inputs)
    assert fine.program.shift >= coarse.program.shift
    floats = simulate(graph, inputs)[0]

    def differ(program: Any) -> tuple[float, float]:
        found, excess = program.run_with_excess(inputs)
        assert not any(x.saturated for x in excess.values())
        spikes = to_raster(found.spikes["n"]) != to_raster(floats.spikes["n"])
        return float(spikes.mean()), float(
            np.abs(found.values["out"] - floats.values["out"]).max()
        )

    bare = XyloChipProgram(lower_to_xylo(graph, ticks=40, shifts=Shifts(0, 0)))
    assert differ(fine)[0] < 1e-3 < differ(bare)[0]
    assert differ(fine)[1] < 0.1 * differ(bare)[1]


def test_layers_run_behind_each_other_by_a_step() -> None:
    eye = Dense(weight=np.eye(2))
    graph = chain(
        x=Input(shape=(2,)),
        a=eye,
        n=soft(threshold=0.7),
        b=eye,
        m=soft(threshold=0.7),
        c=eye,
        out=soft(threshold=0.7),
        dt=DT,
    )
    program = lower_to_xylo(graph, ticks=9)
    assert [p.lag for p in program.populations] == [0, 0, 1, 2]
    assert [p.kind for p in program.populations] == ["input", "hidden", "hidden", "output"]
    assert program.latency == 2
    x = np.zeros((9, 1, 2), np.float32)
    x[::5] = 1
    found, floats = (
        run_xylo(program, {"x": to_events(x)}, 9),
        simulate(graph, {"x": to_events(x)}),
    )
    for name in ("n", "m", "out"):
        wanted = to_raster(floats[0].spikes[name])
        assert wanted.any()
        first = (to_raster(found.record.spikes[name]) > 0).argmax(0)  # in ticks of the graph
        np.testing.assert_array_equal(first, (wanted > 0).argmax(0))


def test_the_order_of_populations_changes_no_run() -> None:
    program = lower_to_xylo(network(), ticks=9)
    x, n, out = program.populations
    assert (n.lag, out.lag) == (0, 1)
    turned = replace(program, populations=(out, x, n))
    assert turned.latency == program.latency == 1
    rng = np.random.default_rng(0)
    inputs = {"x": to_events((rng.random((9, 2, 3)) < 0.5).astype(np.float32))}
    one, other = (run_xylo(p, inputs, 9).record for p in (program, turned))
    assert one.values["out"].any()
    np.testing.assert_array_equal(other.values["out"], one.values["out"])


def test_the_head_room_is_that_of_the_larger_side() -> None:
    """A current keeps 1 - 2^-3 of a sum for the next tick, and less than a unit by rounding."""
    for sign in (1, -1):
        weight = as_int32(sign * np.array([[100, 20, -30]]))
        parts = (
            XyloPopulation(name="x", kind="input", shape=(1,)),
            XyloPopulation(name="n", kind="hidden", shape=(3,)),
            XyloPopulation(name="out", kind="readout", shape=(1,), dash_syn=as_int32(3)),
        )
        into = XyloConnection(name="c", source="n", target="out", weight=weight)
        program = XyloProgram(populations=parts, connections=(into,), shift_out=2, ticks=2)
        sums = (120 * 4 + 7 / 8) * (1 + 7 / 8)
        assert compute_head_room(program, parts[2]) == pytest.approx(sums / (2**15 - 1))


def test_a_loop_of_one_tick_needs_no_wait() -> None:
    nodes = {
        "x": Input(shape=(2,)),
        "w": Dense(weight=np.eye(2)),
        "n": soft(),
        "back": Dense(weight=-0.5 * np.eye(2)),
        "on": Dense(weight=np.eye(2)),
        "out": LI(tau=tau(3)),
    }
    program = lower_to_xylo(wire("x>w w>n n>back back>n:1 n>on on>out", nodes, DT), ticks=5)
    assert [c.name for c in program.connections] == ["w", "back", "on"]
    (problem,) = problems_of(wire("x>w w>n n>back back>n:2 n>on on>out", nodes, DT))
    assert (
        "back: a spike from n to n waits 1 steps beyond the 1 that it takes on Xylo" in problem
    )


def test_kernels_and_pools_are_unrolled() -> None:
    rng = np.random.default_rng(1)
    graph = chain(
        x=Input(shape=(1, 4, 4)),
        pool=AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        conv=Conv2d(weight=rng.normal(size=(2, 1, 2, 2))),
        n=soft(),
        flat=Flatten(),
        on=Dense(weight=rng.normal(size=(2, 2))),
        out=LI(tau=tau(3)),
        dt=DT,
    )
    program = lower_to_xylo(graph, ticks=5)
    assert [c.weight.shape for c in program.connections] == [(2, 16), (2, 2)]
    kernel = graph.nodes["conv"].weight.reshape(2, 4).repeat(4, 1)  # type: ignore[union-attr]
    gain = 0.75 / program["n"].scale * 2**program.shift
    # Windows of the pool are 2 x 2, one after the other in C order of the image.
    windows = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    np.testing.assert_allclose(
        program.connections[0].weight[:, windows] * gain, kernel / 4, atol=gain
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "hard reset": ({"n": soft(reset="hard")}, "n: a hard reset, and Xylo subtracts"),
    "adaptation": (
        {"n": ALIF(leak=1 / 16, reset="soft", beta=0.2)},
        "n: its threshold adapts (beta > 0)",
    ),
    "refractory": ({"n": soft(refractory=2e-3)}, "n: a refractory period of 0.002 s"),
    "no current": ({"n": LIF(tau=tau(4), reset="soft")}, "n: no synaptic current"),
    "a leak between shifts": (
        {"n": soft(tau=0.02)},
        "n: v keeps 0.951229 of itself a tick, and no 1 - 2^-n is within 10% of its leak; use "
        "a time constant of 0.007489 or 0.01549 or 0.0315 s",
    ),
    "no leak": ({"out": LI(tau=math.inf)}, "out: its value keeps 1 of itself a tick"),
    "a biased current": (
        {"w": Dense(weight=np.ones((4, 3)), bias=np.ones(4))},
        "n: a bias passes its synaptic current",
    ),
    "a reset by the clock": (
        {"n": LIFReset(tau=tau(4), tau_syn=tau(2), interval=8)},
        "n: Xylo has no LIFReset",
    ),
    "a high threshold": ({"n": soft(threshold=1e6)}, "n: its largest threshold 1e+06 needs"),
    "a low threshold": ({"n": soft(threshold=1e-4)}, "n: its least threshold 0.0001 is less"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_xylo_cannot_do_is_refused_by_layer(name: str) -> None:
    nodes, told = REFUSED[name]
    (problem,) = [p for p in problems_of(network(**nodes)) if told in p]
    assert ";" in problem  # and a cure


def test_all_problems_come_at_once() -> None:
    nodes = {"n": soft(reset="hard", tau=0.02), "out": LI(tau=0.02)}
    found = problems_of(network(**nodes))
    assert [p.split(":")[0] for p in found] == ["n", "n", "out"]


def test_what_is_no_layer_of_xylo_is_refused() -> None:
    eye = Dense(weight=np.eye(2))
    direct = wire("x>w w>out", {"x": Input(shape=(2,)), "w": eye, "out": LI(tau=tau(3))}, DT)
    assert "leads from the input x to the output out" in problems_of(direct)[0]
    nodes = {"x": Input(shape=(2,)), "w": eye, "n": soft(), "back": eye}
    looped = wire("x>w w>n n>back back>n:1", nodes, DT)
    assert "no population is an output" in problems_of(looped)[0]


def test_the_nearest_shift_is_that_of_the_leak() -> None:
    kept = 1 - 2.0 ** -np.arange(1, 16)
    np.testing.assert_array_equal(find_dash(kept), np.arange(1, 16))
    np.testing.assert_array_equal(find_dash(np.array([0.0, 0.3, 0.951, 1.0])), [0, 1, 4, 15])


def test_a_tolerance_of_the_caller_counts_and_shows_in_the_table() -> None:
    graph = network(n=soft(tau=0.02))
    table = make_xylo_scaling_table(graph, lower_to_xylo(graph, ticks=5, tolerance=0.4))
    assert table[0]["decay_error"] == pytest.approx(math.exp(-0.05) - 15 / 16)


def test_limits_of_the_chip_are_named() -> None:
    rng = np.random.default_rng(0)
    graph = chain(
        x=Input(shape=(17,)),
        a=Dense(weight=rng.normal(size=(70, 17))),
        n=soft(),
        b=Dense(weight=rng.normal(size=(940, 70)) + 10),
        m=soft(),
        c=Dense(weight=rng.normal(size=(9, 940))),
        out=LI(tau=tau(3)),
        dt=DT,
    )
    found = list_xylo_breaches(lower_to_xylo(graph, ticks=5), CHIP)
    assert [text.split(",")[0] for text in found] == [
        "Xylo Audio 2 has 16 input channels",
        "Xylo Audio 2 has 1000 hidden neurons",
        "Xylo Audio 2 has 8 output neurons",
        "n: a neuron reaches 940 hidden neurons",
        "65",
    ]
    assert "65,800 synapses between hidden neurons" in found[-1]
    assert list_xylo_breaches(lower_to_xylo(network(), ticks=5), CHIP) == []


def test_channels_send_up_to_fifteen_spikes_a_tick() -> None:
    program = lower_to_xylo(network(), ticks=4)
    x = np.zeros((4, 1, 3), np.float32)
    x[0, 0] = (15, 1, 0)
    found = run_xylo(program, {"x": to_events(x)}, 4)
    w = program.connections[0].weight << program.shift
    after = w @ np.array([15, 1, 0])
    np.testing.assert_array_equal(
        next(iterate_steps(program, x.astype(np.int64))).hidden.i[0], after - (after >> 2)
    )
    assert found.record.samples == 1
    for value in (16.0, 0.5, -1.0):
        x[0, 0, 0] = value
        with pytest.raises(ProgramError, match="1 values are no whole numbers from 0 to 15"):
            run_xylo(program, {"x": to_events(x)}, 4)
    with pytest.raises(
        ProgramError, match="a run of 5 ticks, and the program was lowered for 4"
    ):
        run_xylo(program, {"x": to_events(np.zeros((5, 1, 3), np.float32))}, 5)


def test_several_spikes_and_saturated_states_are_counted() -> None:
    weight = np.ones((4, 3))
    weight[3] = 0.01  # this neuron fires once in some ticks
    graph = network(w=Dense(weight=weight), n=soft(threshold=0.05))
    full = {"x": to_events(np.ones((30, 2, 3), np.float32))}
    found = run_xylo(lower_to_xylo(graph, ticks=30, shifts=Shifts(7, 0)), full, 30)
    several = int((to_raster(found.record.spikes["n"]) > 1).sum())
    assert 0 < several < len(found.record.spikes["n"].tick)
    assert found.excess["n"].several == several
    assert found.excess["n"].saturated > 0
    assert found.excess["n"].of == 30 * 2 * 4
    lines = describe_excess(found.excess)
    assert lines[0].startswith("n: fired more than once in a tick")
    assert lines[1].startswith("n: a state stood at a bound")


def test_a_file_holds_a_program_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "program.safetensors"
    program = lower_to_xylo(network(), ticks=12)
    save_program(path, program)
    again = load_program(path)
    assert isinstance(again, XyloChipProgram)
    assert repr(again.program) == repr(program)
    inputs = {"x": to_events(np.ones((12, 1, 3), np.float32))}
    one, other = run_xylo(program, inputs, 12), run_xylo(again.program, inputs, 12)
    np.testing.assert_array_equal(one.record.values["out"], other.record.values["out"])
    assert again.program.digest == program.digest != ""
    assert again.list_net_problems()[0].startswith("a program for Xylo")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shift": 8}, "shift is 8, allowed is 0..7"),
        ({"ticks": 0}, "ticks is 0"),
        ({"connections": ()}, ""),
    ],
)
def test_a_program_holds_together(change: dict[str, Any], told: str) -> None:
    program = draw_program(np.random.default_rng(0), "any")
    if not told:
        assert replace(program, **change).connections == ()
        return
    with pytest.raises(ProgramError, match=told):
        replace(program, **change)


def test_registers_and_ends_are_checked() -> None:
    program = draw_program(np.random.default_rng(0), "any")
    wrong = XyloPopulation(name="a", kind="hidden", shape=(7,), dash_syn=as_int32(0))
    parts = tuple(wrong if p.name == "a" else p for p in program.populations)
    connections = (
        replace(program.connections[0], weight=as_int32(np.full((7, 5), 128))),
        replace(program.connections[0], name="x>out", target="out"),
    )
    with pytest.raises(ProgramError) as error:
        replace(program, populations=parts, connections=connections)
    told = str(error.value)
    assert "a: dash_syn = 0, allowed is 1..15" in told
    assert "connection x>a: a weight of 128" in told
    assert "no synapses lead from input x to output out" in told
    assert ENDS[0] == "x>a"
