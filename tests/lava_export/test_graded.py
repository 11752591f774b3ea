"""Graphs of graded spikes in fixed point: near the floats, and the same on Lava."""

from dataclasses import replace

import numpy as np
import pytest
from small_language import make_small
from written_graphs import chain, wire

from lava_export import LavaFailed, LowerError, available
from lava_export.graded import (
    GradedProgram,
    RangeError,
    is_graded,
    list_graded_breaches,
    lower_graded,
    make_graded_scaling_table,
    run_graded,
    run_graded_on_lava,
    to_floats,
)
from lava_export.graded.program import Kind, NeuronGroup
from lava_export.graded.reference import quantise_input
from lava_export.graded.run import plan_stages
from lava_export.report import compare
from neuro.energy import find_chip
from neuro.graph import CountSpikes, Dense, Input, Multiply, Pointwise, RMSNorm, Softmax
from neuro.neurons import LI, GatedLI
from neuro.nn.mixer_graph import EMBEDDED, LOGITS
from neuro.nn.net import record_activity
from neuro.spikes import to_events, to_raster

SMALL = make_small(tokens=40)
PROGRAM = lower_graded(SMALL.graph)
SHORT = 1e-9


def test_integers_choose_the_tokens_of_floats() -> None:
    record = to_floats(run_graded(PROGRAM, SMALL.inputs))
    exact, found = SMALL.logits.numpy(), record.values[LOGITS]
    chosen = np.take_along_axis(exact, found.argmax(-1)[..., None], -1)[..., 0]
    assert np.mean(chosen >= exact.max(-1) - 1e-9) >= 0.99  # of equal logits any
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.05 * exact.std()
    activity = record_activity(SMALL.graph, SMALL.inputs)
    for name, events in record.spikes.items():
        if name != EMBEDDED:
            differ = to_raster(events) != activity[name].flatten(2).numpy()
            assert differ.mean() < 2e-2, name


def test_groups_follow_each_other_in_stages() -> None:
    assert PROGRAM.latency == 2 * 4 + 1
    assert PROGRAM.readouts == (LOGITS,)
    stages = plan_stages(PROGRAM)
    assert len(stages) == 10
    assert [name for name, _ in stages[0].receives] == [EMBEDDED]
    assert [name for name, _ in stages[1].receives] == [
        f"block0_{part}_synapses" for part in ("forget", "candidate", "gate")
    ]
    assert stages[1].takes == stages[0].gives == ((EMBEDDED, 16),)
    assert stages[2].takes == ((EMBEDDED, 16),)  # the residual connection waits
    assert stages[2].gives == stages[3].gives == (("block0_mixed", 16),)
    assert stages[-1].sends == ((LOGITS, 11),)
    placed = [name for stage in stages for name in stage.groups]
    own = [g.name for g in PROGRAM.groups if g.kind not in ("input", "synapses")]
    assert sorted(placed) == sorted(own)


def test_values_beyond_24_bits_are_refused_where_they_are() -> None:
    e = SMALL.inputs[EMBEDDED]
    with pytest.raises(RangeError, match="embedded: a value of 128 needs more than 24 bits"):
        run_graded(PROGRAM, {EMBEDDED: e._replace(value=np.where(e.value > 0, 128.0, 0.0))})
    nodes = {
        "x": Input(shape=(2,)),
        "double": Pointwise(function="identity"),
        "product": Multiply(),
        "spikes": CountSpikes(ticks=2, threshold=1.0),
        "w": Dense(weight=np.ones((1, 1))),
        "out": LI(tau=SHORT),
    }
    program = lower_graded(chain(**nodes))
    x = np.array([[[3.0, 4.0]], [[0.25, -1.0]], [[-2.0, 64.0]]])
    with pytest.raises(RangeError, match="product: -8388608 of neuron 0, tick 2, sample 0"):
        run_graded(program, {"x": to_events(x)})
    found = to_floats(run_graded(program, {"x": to_events(x[:2])}))
    assert found.values["out"].ravel().tolist() == [2, 0]  # 12 is 2 spikes, -1/4 none


def test_all_that_cannot_go_is_told_at_once() -> None:
    nodes = {
        "x": Input(shape=(2,)),
        "soft": Softmax(),
        "spikes": CountSpikes(ticks=2, threshold=0.3),
        "w": Dense(weight=np.full((4, 2), 0.5), bias=np.ones(4)),
        "slow": LI(tau=0.02),
        "gate": GatedLI(),
        "end": LI(tau=SHORT, gain=np.array([1.0, 2.0])),
    }
    graph = chain(**nodes)
    with pytest.raises(LowerError) as told:
        lower_graded(graph)
    text = str(told.value)
    assert len(told.value.problems) == 6
    for problem in (
        "soft: no microcode here for a Softmax",
        "spikes: threshold 0.3 is no multiple",
        "w: weights are not -1, 0 and 1; put their scale into the gain of the LI",
        "w: ternary synapses have no bias",
        "slow: an LI that remembers",
        "end: gains of its own for each neuron",
    ):
        assert problem in text
    assert is_graded(graph)


def test_delays_and_spikes_in_the_place_of_values_are_told() -> None:
    nodes = {
        "x": Input(shape=(2,)),
        "spikes": CountSpikes(ticks=2, threshold=1.0),
        "norm": RMSNorm(gain=np.ones(2), eps=1e-6),
        "w": Dense(weight=np.ones((2, 2))),
        "out": LI(tau=SHORT),
    }
    with pytest.raises(LowerError) as told:
        lower_graded(wire("x>spikes spikes>norm norm>w w>out:1", nodes))
    text = str(told.value)
    assert "norm: takes values, and spikes gives counts" in text
    assert "w: takes counts, and norm gives values" in text
    assert "out: an edge of delay 1" in text


def test_several_inputs_and_several_sources_of_synapses_are_told() -> None:
    nodes = {
        **{name: Input(shape=(2,)) for name in ("x", "y")},
        **{f"{name}_spikes": CountSpikes(ticks=2, threshold=1.0) for name in ("x", "y")},
        "w": Dense(weight=np.ones((1, 2))),
        "out": LI(tau=SHORT, gain=1023.0),
    }
    graph = wire("x_spikes>w y_spikes>w x>x_spikes y>y_spikes w>out", nodes)
    with pytest.raises(LowerError) as told:
        lower_graded(graph)
    assert told.value.problems == [
        "a program has one input; join them before",
        "w: counts of several sources; give each a Dense of its own",
    ]
    for gain in (1024.0, 0.0):
        large = replace(graph, nodes={**nodes, "out": LI(tau=SHORT, gain=gain)})
        with pytest.raises(LowerError, match=r"out: .*or one outside 0 \.\.\. 1024; give one"):
            lower_graded(large)


def test_the_stimulus_is_rounded_half_away_from_zero() -> None:
    units = np.array([0.5, -0.5, 0.49, 1.5, -2.5, 2.0, *[0.0] * 10]) / 2**16
    found = quantise_input(PROGRAM, {EMBEDDED: to_events(units[None, None])})
    assert found.ravel().tolist() == [1, -1, 0, 2, -3, 2, *[0] * 10]


def test_a_program_that_does_not_hold_together_is_refused() -> None:
    def changed(name: str, **values: object) -> tuple:
        return tuple(
            replace(g, **values) if g.name == name else g  # type: ignore[arg-type]
            for g in PROGRAM.groups
        )

    synapses = PROGRAM["block0_output_synapses"]
    for groups, told in (
        (changed("block0_output_synapses", array=synapses.array // 2), "are not -2, 0 and 2"),
        (changed("block0_output_synapses", lag=1), "lag 1, and its sources make it 2"),
        (changed("block0_output_spikes", numbers={"ticks": 0, "threshold": 1}), "out of range"),
        (changed("block0_output_spikes", numbers={"ticks": 2**20, "threshold": 1}), "24 bits"),
        (changed("block0_state", size=15), "has 15 neurons, and 32 reach it"),
        (changed("norm", sources=("later",)), "do not run before it"),
        (PROGRAM.groups[1:], "a program has one input"),
    ):
        with pytest.raises(ValueError, match="does not hold together") as error:
            GradedProgram(groups=groups)
        assert told in str(error.value)


def test_sums_of_synapses_may_take_all_of_their_24_bits_and_no_more() -> None:
    def with_ticks(ticks: int) -> GradedProgram:  # a sum is at most 2 * 16 * ticks
        numbers = {**PROGRAM["block0_output_spikes"].numbers, "ticks": ticks}
        return GradedProgram(
            groups=tuple(
                replace(g, numbers=numbers) if g.name == "block0_output_spikes" else g
                for g in PROGRAM.groups
            )
        )

    assert with_ticks(2**18 - 1)["block0_output_spikes"].numbers["ticks"] == 2**18 - 1
    with pytest.raises(ValueError, match=r"block0_output_synapses: .* sums fit 24 bits"):
        with_ticks(2**18)


def test_it_fits_a_programmable_chip_with_room_for_a_row() -> None:
    assert list_graded_breaches(PROGRAM, find_chip("loihi2")) == []
    (told,) = list_graded_breaches(PROGRAM, find_chip("loihi1"))
    assert "graded spikes and microcode, Loihi 1 has neither" in told
    chip = find_chip("loihi2")
    words = replace(chip.limits.synapse_words, value=20.0, low=20.0, high=20.0)
    tight = replace(chip, limits=replace(chip.limits, synapse_words=words))
    found = list_graded_breaches(PROGRAM, tight)
    assert [breach.partition(":")[0] for breach in found] == [
        "block0_down_synapses",
        "block1_down_synapses",
    ]


def test_rounding_is_tabulated_for_the_graph_of_the_program() -> None:
    rows = {r["layer"]: r for r in make_graded_scaling_table(SMALL.graph, PROGRAM)}
    assert max(row["weight_error_max"] for row in rows.values()) < 2**-15
    assert rows["block0_state"]["decay_error"] < 2**-15
    eps = {name: PROGRAM[name].numbers["eps"] for name in ("block0_read_norm", "norm")}
    assert eps == {"block0_read_norm": round(16e-6 * 2**32), "norm": round(16e-6 * 2**32)}
    most = 4 * int(np.abs(PROGRAM["logits_synapses"].array).sum(1).max()) / 2**23
    assert rows["logits_synapses"]["head_room"] == pytest.approx(most)
    assert rows["logits_synapses"]["weight_max"] == 2
    bounded = {name for name, row in rows.items() if row["head_room"] is not None}
    assert bounded == {name for name, row in rows.items() if row["kind"] == "synapses"}
    assert all(row["threshold_error"] is None for row in rows.values())
    with pytest.raises(ValueError, match="the program is not of this graph"):
        make_graded_scaling_table(make_small(layers=1).graph, PROGRAM)


@pytest.mark.parametrize(
    ("kind", "field", "low", "high"),
    [
        ("scale", "mantissa", 0, 2**31 - 1),
        ("scale", "exponent", 0, 62),
        ("norm", "shift", 0, 30),
        ("norm", "eps", 0, 2**31 - 1),
        ("spikes", "ticks", 1, 2**31 - 1),
        ("spikes", "threshold", 1, 2**31 - 1),
    ],
)
def test_numbers_of_a_group_have_bounds(kind: Kind, field: str, low: int, high: int) -> None:
    numbers = {"scale": {"mantissa": 3, "exponent": 2}, "norm": {"shift": 4, "eps": 5}}
    numbers["spikes"] = {"ticks": 6, "threshold": 7}
    gains = np.arange(1 if kind == "norm" else 4, 4, dtype=np.int32)

    def make(value: int) -> GradedProgram:
        some = numbers[kind] | {field: value}
        x = NeuronGroup(name="x", kind="input", size=3)
        group = NeuronGroup(
            name="g", kind=kind, size=3, sources=("x",), numbers=some, array=gains
        )
        return GradedProgram(groups=(x, group))

    assert [make(value).groups[1].numbers[field] for value in (low, high)] == [low, high]
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"numbers out of range: {{.{field}.: {value}}}"):
            make(value)


@pytest.mark.slow
@pytest.mark.lava
def test_lava_hands_on_two_groups_of_a_stage_each_as_itself() -> None:
    if not available():
        pytest.skip("lava-nc is not installed: make setup")
    weight = np.array([[2, 0, -2], [0, 2, 2]], np.int8)
    counts = {"ticks": 4, "threshold": 2**15}
    all_of = ("triple", "x", "sums", "twice")
    groups = (
        NeuronGroup(name="x", kind="input", size=3),
        NeuronGroup(name="twice", kind="join", size=6, sources=("x", "x")),
        NeuronGroup(
            name="triple", kind="scale", size=3, sources=("x",),
            numbers={"mantissa": 3, "exponent": 0},
        ),
        NeuronGroup(name="counts", kind="spikes", size=3, sources=("x",), numbers=counts),
        NeuronGroup(
            name="sums", kind="synapses", size=2, sources=("counts",), lag=1, array=weight
        ),
        NeuronGroup(name="all", kind="join", size=14, sources=all_of, lag=1),
    )  # fmt: skip
    program = GradedProgram(groups=groups)
    _, behind = plan_stages(program)
    assert [name for name, _ in behind.takes] == ["x", "twice", "triple"]
    x = np.array([[1.0, -0.5, 0.25], [0.0, 2.0, -3.0]])[:, None]
    reference = run_graded(program, {"x": to_events(x)})
    values = reference.values["all"][:, 0] / 2**16
    np.testing.assert_array_equal(values[:, :6], np.concatenate([3 * x, x], -1)[:, 0])
    np.testing.assert_array_equal(values[:, 8:], np.concatenate([x, x], -1)[:, 0])
    lava = run_graded_on_lava(program, {"x": to_events(x)})
    np.testing.assert_array_equal(lava.values["all"], reference.values["all"])


@pytest.mark.slow
@pytest.mark.lava
def test_lava_computes_the_same_bits() -> None:
    if not available():
        pytest.skip("lava-nc is not installed: make setup")
    small = make_small(layers=1, width=8, tokens=3, samples=1)
    program = lower_graded(small.graph)
    try:
        lava = run_graded_on_lava(program, small.inputs)
    except LavaFailed as failed:
        pytest.fail(str(failed))
    reference = run_graded(program, small.inputs)
    found = compare(reference, lava)
    assert found["mismatches"] == 0, found["first"]
    assert len(found["layers"]) == 1 + 7 + 1
    assert all(len(e.tick) for e in reference.spikes.values())
