from dataclasses import replace

import numpy as np
import pytest
from written_graphs import chain, wire

from lava_export import reference
from lava_export.lower import lower
from lava_export.report import compare, make_scaling_table
from lava_export.rules import compute_head_room
from neuro.energy import estimate
from neuro.graph import Conv2d, Dense, Input
from neuro.io.graph_digest import digest_graph
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF
from neuro.spikes import to_events, to_raster

GRAPH = wire(
    "x>w:2 w>n n>r r>out",
    {
        "x": Input(shape=(2,)),
        "w": Dense(weight=np.array([[1.0, 0.3], [-0.5, 0.7]])),
        "n": LIF(tau=0.01, threshold=0.8),
        "r": Dense(weight=np.eye(2)),
        "out": LI(tau=0.02),
    },
)


def test_the_table_says_what_rounding_changed() -> None:
    program = lower(GRAPH)
    n, out = make_scaling_table(GRAPH, program)
    assert [n["layer"], out["layer"]] == ["n", "out"]
    assert [n["kind"], out["kind"]] == ["alif", "li"]
    assert (n["lag"], n["extra"], out["lag"], out["extra"]) == (0, 1, 1, 0)
    weight = np.array([[1.0, 0.3], [-0.5, 0.7]])
    error = program.connections[0].weight / program["n"].scale - weight
    assert n["weight_error_max"] == pytest.approx(np.abs(error).max())
    assert n["weight_error_rms"] == pytest.approx(np.sqrt((error**2).mean()))
    assert 0 <= n["threshold_error"] < 1 / program["n"].scale
    assert n["decay_error"] == pytest.approx(abs(4096 - 390 - 4096 * np.exp(-0.1)) / 4096)
    assert out["weight_error_max"] == out["threshold_error"] == 0
    assert 0 < n["head_room"] < 1
    assert (n["weight_min"], n["weight_max"]) == (
        program.connections[0].weight.min(),
        program.connections[0].weight.max(),
    )


@pytest.mark.parametrize("size", [1, 3])
def test_the_table_takes_the_weights_of_dilated_and_grouped_kernels(size: int) -> None:
    weight = np.random.default_rng(size).normal(size=(4, 2, size, size))
    conv = Conv2d(weight=weight, groups=2, dilation=(2, 1), padding=(size - 1, size // 2))
    nodes = {"in": Input(shape=(4, 6, 6)), "conv": conv, "n": LIF(tau=0.01, reset="hard")}
    graph = wire("in>conv conv>n", nodes)
    program = lower(graph)
    (row,) = make_scaling_table(graph, program)
    scale = program["n"].scale
    error = 2 * np.rint(weight * scale / 2) / scale - weight
    assert row["weight_error_max"] == pytest.approx(np.abs(error).max())
    assert row["weight_error_rms"] == pytest.approx(np.sqrt(np.square(error).mean()))


def test_the_table_holds_the_error_of_a_reset_to_or_by_a_value() -> None:
    def row(**changed: object) -> dict[str, float]:
        model = DiscreteLIF(**{"decay": 0.5, "strict": True, **changed})  # type: ignore[arg-type]
        graph = chain(x=Input(shape=(2,)), w=Dense(weight=np.eye(2)), n=model)
        program = lower(graph)
        (found,) = make_scaling_table(graph, program)
        assert found["threshold_error"] == 0
        return {**found, "scale": program["n"].scale}

    by, to = row(reset_by=0.123), row(reset="hard", reset_to=-0.123)
    error = abs(round(64 * by["scale"] * 0.123) / (64 * by["scale"]) - 0.123)
    assert by["reset_error"] == pytest.approx(error, rel=1e-9)
    assert to["reset_error"] == pytest.approx(error, rel=1e-9)
    assert "reset_error" not in row(reset="hard")


def test_the_table_holds_the_errors_of_current_adaptation_and_bias() -> None:
    graph = chain(
        x=Input(shape=(2,)),
        w=Dense(weight=np.eye(2), bias=np.array([0.1, 0.3])),
        n=ALIF(leak=0.5, rho=0.9, beta=0.3),
        r=Dense(weight=np.eye(2)),
        m=LIF(tau=0.01, tau_syn=0.003),
    )
    program = lower(graph)
    n, m = make_scaling_table(graph, program)
    p = program["n"]
    assert n["decay_error"] == pytest.approx(abs(round(409.6) / 4096 - 0.1), rel=1e-3)
    assert n["beta_error"] == pytest.approx(abs(int(p.beta[0]) / p.scale - 0.3), abs=1e-7)
    held = (p.bias_mant * 2.0**p.bias_exp) / (64 * p.scale)
    assert n["bias_error"] == pytest.approx(
        np.abs(held - 0.5 * np.array([0.1, 0.3])).max(), abs=1e-7
    )
    of_v = abs((4096 - int(program["m"].dv[0])) / 4096 - np.exp(-0.1))
    of_u = abs((4095 - int(program["m"].du[0])) / 4096 - np.exp(-1 / 3))
    assert of_u != of_v
    assert m["decay_error"] == pytest.approx(max(of_u, of_v))
    assert m["beta_error"] == m["bias_error"] == 0


def records() -> tuple[reference.Record, reference.Record]:
    x = np.random.default_rng(0).random((12, 3, 2)) < 0.5
    record = reference.run(lower(GRAPH), {"x": to_events(x)}, 12)
    raster = to_raster(record.spikes["n"])
    raster[7, 2, 1] = 1 - raster[7, 2, 1]
    raster[9, 0, 0] = 1 - raster[9, 0, 0]
    values = record.values["out"].copy()
    values[8, 2, 1] += 1
    return record, replace(
        record,
        executor="lava",
        spikes={**record.spikes, "n": to_events(raster)},
        values={"out": values},
    )


def test_equal_records_have_no_mismatch() -> None:
    record, _ = records()
    told = compare(record, replace(record, executor="lava"))
    assert told["mismatches"] == 0
    assert told["first"] is None
    assert set(told["layers"]) == {"x", "n", "out"}
    assert told["layers"]["n"]["spikes"] == len(record.spikes["n"].tick) > 0
    assert told["layers"]["out"] == {"spikes": 0, "mismatches": 0, "first": None}


def test_a_mismatch_names_layer_neuron_tick_and_cause() -> None:
    told = compare(*records(), lower(GRAPH))
    assert {n: layer["mismatches"] for n, layer in told["layers"].items()} == {
        "x": 0, "n": 2, "out": 1,
    }  # fmt: skip
    assert told["mismatches"] == 3
    first = told["first"]
    assert (first["layer"], first["neuron"], first["tick"], first["sample"]) == ("n", 1, 7, 2)
    assert first["cause"].startswith("reference ")
    assert "; after it u = " in first["cause"]
    assert "wrapped" not in first["cause"]
    assert told["layers"]["out"]["first"]["tick"] == 8
    assert "u = " not in compare(*records())["first"]["cause"]


def test_a_state_at_its_limit_is_named_as_the_cause() -> None:
    program = lower(GRAPH)
    program = replace(
        program,
        populations=tuple(
            replace(p, bias_mant=np.array([4095]), bias_exp=np.array([7]))
            if p.name == "out"
            else p
            for p in program.populations
        ),
    )
    x = np.zeros((60, 1, 2), bool)
    record = reference.run(program, {"x": to_events(x)}, 60)
    values = record.values["out"].copy()
    values[59] -= 1
    told = compare(record, replace(record, executor="lava", values={"out": values}), program)
    assert "wrapped or saturated at 2^23" in told["first"]["cause"]


def test_records_of_different_runs_are_not_compared() -> None:
    record, other = records()
    with pytest.raises(ValueError, match=r"\(12, 3\) and \(11, 3\) cannot be compared"):
        compare(record, replace(other, ticks=11))


def test_the_head_room_is_that_of_the_runs_the_program_is_for() -> None:
    short, endless = (lower(GRAPH, ticks=ticks) for ticks in (2, None))
    for row, other in zip(
        *(make_scaling_table(GRAPH, p) for p in (short, endless)), strict=True
    ):
        assert row["head_room"] < other["head_room"]
    for program in (short, endless):
        (n, _) = make_scaling_table(GRAPH, program)
        into = program.into("n")
        assert n["head_room"] == compute_head_room(
            program["n"], into, program.ticks, program.messages
        )


def test_a_program_and_its_records_say_which_graph_they_are_of() -> None:
    weight = GRAPH.nodes["w"].weight * 2  # type: ignore[union-attr]
    other = replace(GRAPH, nodes={**GRAPH.nodes, "w": Dense(weight=weight)})
    program, twin = lower(GRAPH), lower(other)
    assert program.digest == digest_graph(GRAPH) != twin.digest
    record, foreign = (
        reference.run(p, {"x": to_events(np.ones((4, 1, 2), bool))}, 4) for p in (program, twin)
    )
    assert record.digest == program.digest
    with pytest.raises(ValueError, match="two networks cannot be compared; run one program"):
        compare(record, foreign)
    assert compare(record, replace(record, digest=""))["mismatches"] == 0
    with pytest.raises(ValueError, match=r"program is not of this graph: .* replace\(program,"):
        make_scaling_table(other, program)
    with pytest.raises(ValueError, match="the record does not belong to this graph"):
        estimate(other, record, "loihi2")
    assert estimate(GRAPH, record, "loihi2").core.nominal > 0
