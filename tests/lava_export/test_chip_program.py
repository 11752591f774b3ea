"""Both kinds of chip program keep one contract; a file holds exactly the fields of one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import program as make_program, same
from small_language import make_small
from written_graphs import chain

from lava_export import (
    ProgramError,
    load_program,
    lower,
    lower_graph,
    make_scaling_table,
    reference,
    save_program,
)
from lava_export.binary import BinaryChipProgram
from lava_export.chip_program import check_parity, list_misfits
from lava_export.graded import GradedProgram, RangeError, run_graded
from lava_export.graded.chip import GradedChipProgram
from lava_export.program import LoihiProgram, as_int32
from lava_export.run import LavaFailed, LavaMissing
from neuro.energy import find_chip
from neuro.graph import Dense, Input, Softmax
from neuro.io.store import StoreError, load_arrays, save_arrays
from neuro.neurons import LI, LIF, DiscreteLIF, TernaryLIF
from neuro.nn.mixer_graph import EMBEDDED, LOGITS
from neuro.spikes import Events, to_events, to_raster
from neuro.spikes.record import Record

SMALL = make_small(layers=1, tokens=11, samples=2)
CHIPS = (find_chip("loihi1"), find_chip("loihi1_sanafe"), find_chip("loihi2"))


BINARY = chain(
    x=Input(shape=(2,)),
    w=Dense(weight=np.eye(2)),
    n=LIF(tau=0.01, reset="soft"),
    on=Dense(weight=np.array([[1.0, 0.5]])),
    out=LI(tau=0.01),
)
STIMULUS = {"x": to_events(np.ones((6, 3, 2), np.float32))}


def test_a_network_of_binary_spikes_becomes_a_loihi_program(tmp_path: Path) -> None:
    program, plain = lower_graph(BINARY, ticks=6), lower(BINARY, ticks=6)
    assert isinstance(program, BinaryChipProgram)
    record = reference.run(plain, STIMULUS, 6)
    out = record.values["out"] / (64 * plain["out"].scale)
    np.testing.assert_array_equal(program.run(STIMULUS).values["out"], out)
    with pytest.raises(ProgramError, match="a run of 7 ticks"):
        program.require_run({"x": STIMULUS["x"]._replace(shape=(7, 3, 2))})
    assert program.list_breaches(CHIPS[2]) == []
    assert program.tabulate_rounding(BINARY) == make_scaling_table(BINARY, plain)
    program.save(tmp_path / "program.safetensors")
    again = load_program(tmp_path / "program.safetensors")
    assert repr(again) == repr(program) == f"BinaryChipProgram(program={plain!r})"


def test_a_file_holds_a_reset_to_or_by_a_value_only_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "program.safetensors"

    def kept(**reset: Any) -> set[str]:
        cell = DiscreteLIF(decay=0.5, **reset)
        program = lower(replace(BINARY, nodes={**BINARY.nodes, "n": cell}), ticks=6)
        save_program(path, program)
        again = load_program(path).program
        assert isinstance(again, LoihiProgram)
        assert same(again, program)
        arrays, plain = load_arrays(path, "program")
        assert all("reset_to" not in p and "reset_by" not in p for p in plain["populations"])
        return {name for name in arrays if "reset" in name}

    assert kept() == kept(reset="hard") == kept(reset="hard", reset_to=0.0) == set()
    assert kept(reset="hard", strict=True) == kept(reset_by=1.0) == set()
    assert kept(reset="hard", reset_to=-1.0) == {"p1.reset_to"}
    assert kept(reset_by=0.5) == kept(strict=True) == {"p1.reset_by"}


def test_a_graph_that_counts_spikes_becomes_a_graded_program(tmp_path: Path) -> None:
    program = lower_graph(SMALL.graph, ticks=11)
    assert isinstance(program, GradedChipProgram)
    whole = run_graded(program.program, SMALL.inputs)
    found = program.run(SMALL.inputs).values[LOGITS]
    np.testing.assert_array_equal(found, whole.values[LOGITS] / 2**16)
    program.require_run(SMALL.inputs)
    e = SMALL.inputs[EMBEDDED]
    with pytest.raises(RangeError, match="needs more than 24 bits"):
        program.require_run({EMBEDDED: e._replace(value=np.full_like(e.value, 128.0))})
    assert program.list_breaches(CHIPS[2]) == []
    assert len(program.tabulate_rounding(SMALL.graph)) > 7
    program.save(tmp_path / "program.safetensors")
    again = load_program(tmp_path / "program.safetensors")
    told = (
        "GradedChipProgram(program=GradedProgram(48 groups: 1 input, 11 norm, 7 spikes, "
        "8 synapses, 8 scale, 3 silu, 4 add, 3 join, 1 gated, 2 multiply; latency 5))"
    )
    assert repr(again) == repr(program) == told
    record, other = (p.run(SMALL.inputs) for p in (program, again))
    np.testing.assert_array_equal(record.values[LOGITS], other.values[LOGITS])
    assert again.program.digest == program.program.digest != ""


def test_lava_runs_all_of_a_binary_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(program: Any, inputs: dict[str, Events], ticks: int) -> Record:
        record = reference.run(program, inputs, ticks)
        record.values["out"][4, 2, 0] += 64
        return record

    monkeypatch.setattr("lava_export.binary.run", wrong)
    found = check_parity(lower_graph(BINARY, ticks=6), STIMULUS).as_json()
    assert (found["samples"], found["mismatches"]) == (3, 1)
    assert (found["first"]["tick"], found["first"]["sample"]) == (4, 2)
    assert "u = " in found["first"]["cause"]
    assert "ticks" not in found


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LavaMissing("no Lava"), {"skipped": "no Lava"}),
        (LavaFailed("code 3"), {"skipped": "Lava failed: code 3", "failed": True}),
    ],
)
def test_where_lava_is_missing_or_fails_no_sample_is_compared(
    error: Exception, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Record:
        raise error

    monkeypatch.setattr("lava_export.binary.run", fail)
    assert (
        check_parity(lower_graph(BINARY, ticks=6), STIMULUS).as_json() == {"samples": 0} | told
    )


def test_lava_runs_eight_tokens_of_one_sample_of_a_graded_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(program: GradedProgram, inputs: dict[str, Events]) -> Record:
        whole, few = (to_raster(x[EMBEDDED]) for x in (SMALL.inputs, inputs))
        np.testing.assert_array_equal(few, whole[:8, :1])
        record = run_graded(program, inputs)
        record.values[LOGITS][5, 0, 2] += 1
        return record

    monkeypatch.setattr("lava_export.graded.chip.run_graded_on_lava", wrong)
    found = check_parity(lower_graph(SMALL.graph, ticks=11), SMALL.inputs).as_json()
    assert (found["samples"], found["ticks"], found["mismatches"]) == (1, 8, 1)
    assert found["first"]["layer"] == LOGITS
    assert (found["first"]["tick"], found["first"]["neuron"]) == (5, 2)


def test_what_a_chip_lacks_is_named_for_each_set_of_its_constants() -> None:
    soft = chain(x=Input(shape=(2,)), w=Dense(weight=np.eye(2)), n=LIF(tau=0.01, reset="soft"))
    found = list_misfits(soft, 9, CHIPS)
    assert [len(found[chip.name]) for chip in CHIPS] == [1, 1, 0]
    assert found["loihi1"] == found["loihi1_sanafe"]
    assert found["loihi1"][0].startswith(
        "only a programmable chip resets softly or adapts or forgets: n: soft reset, Loihi 1 "
        "sets v to 0"
    )


def test_what_integers_cannot_hold_fits_no_chip() -> None:
    x, w = Input(shape=(2,)), Dense(weight=np.eye(2))
    mixed = TernaryLIF(tau=0.01, lower=np.array([1.0, 2.0]))
    found = list_misfits(chain(x=x, w=w, n=mixed), 9, CHIPS)
    assert all(reasons[0].startswith("n: its neurons differ") for reasons in found.values())
    # As long as the runs are, and no longer: a leakless read-out of 9 ticks fits.
    assert not any(list_misfits(chain(x=x, w=w, n=LI(tau=np.inf)), 9, CHIPS).values())


def test_only_the_part_for_the_chip_must_fit() -> None:
    hosted = chain(
        x=Input(shape=(2,)),
        soft=Softmax(),
        w=Dense(weight=np.eye(2)),
        n=LIF(tau=0.01, reset="hard"),
    )
    assert not any(list_misfits(hosted, 9, CHIPS).values())


def test_a_program_comes_back_from_a_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "program.safetensors"
    save_program(path, make_program())
    assert same(load_program(str(path)).program, make_program())
    assert load_program(path).program.ticks is None
    save_program(path, BinaryChipProgram(replace(make_program(), ticks=12)))
    assert load_program(path).program.ticks == 12
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing temporary stays


def test_a_file_holds_groups_dilation_and_delays_only_where_there_are_some(
    tmp_path: Path,
) -> None:
    path = tmp_path / "program.safetensors"

    def kept(**more: Any) -> set[str]:
        plain = make_program()
        conv, fc = plain.connections
        changed = replace(plain, connections=(replace(conv, **more), fc))
        save_program(path, changed)
        assert same(load_program(path).program, changed)
        arrays, fields = load_arrays(path, "program")
        found = {*fields["connections"][0], *(n[3:] for n in arrays if n.startswith("c0."))}
        return found & {"groups", "dilation", "delays_in", "delays_out"}

    assert kept() == set()
    assert kept(dilation=(1, 2), padding=(0, 1), stride=(1, 2)) == {"dilation"}
    waits = {"delays_in": as_int32(np.arange(9)), "delays_out": as_int32(np.arange(8))}
    assert kept(**waits) == {"delays_in", "delays_out"}


@pytest.mark.parametrize("kept", [0, 10, 300, 0.5, 0.99])
def test_a_file_cut_short_is_named_with_the_cure(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "program.safetensors"
    save_program(path, make_program())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(StoreError, match=r"program.*: damaged or cut short.*run the verb"):
        load_program(path)


def test_another_file_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(StoreError, match="holds a file of NumPy's or of an earlier version"):
        load_program(path)
    with pytest.raises(StoreError, match="no such file"):
        load_program(tmp_path / "nothing.safetensors")


def put(part: str, index: int, **values: Any) -> Callable[..., None]:
    return lambda _, meta: meta[part][index].update(values)


CHANGES: dict[str, tuple[Callable[..., object], str]] = {
    "no decay": (lambda a, _: a.pop("p1.dv"), "it lacks 'p1.dv'"),
    "no weight": (lambda a, _: a.pop("c0.weight"), "it lacks 'c0.weight'"),
    "no lag": (lambda _, m: m["populations"][1].pop("lag"), "p1.lag: is missing"),
    "no ticks": (lambda _, m: m.pop("ticks"), "ticks: is missing"),
    "half a tick": (lambda _, m: m.update(ticks=0.5), "ticks: is 0.5, expected a whole"),
    "no connections": (
        lambda _, m: m.pop("connections"),
        "connections: is None, expected a list",
    ),
    "unknown field": (put("populations", 0, tau=3), "p0.tau: there is no such field"),
    "unknown array": (lambda a, _: a.update(more=np.ones(1)), "more has no meaning"),
    "array of a part that is not there": (
        lambda a, _: a.update({"p3.dv": np.ones(1, np.int32)}),
        "p3.dv has no meaning",
    ),
    "float weights": (
        lambda a, _: a.update({"c1.weight": a["c1.weight"].astype(float)}),
        "c1.weight is float64",
    ),
    "text scale": (put("populations", 1, scale="x"), "p1.scale: is 'x', expected a number"),
    "scale 0": (put("populations", 1, scale=0), "scale 0.0 > 0 and finite"),
    "negative lag": (put("populations", 2, lag=-1), "lag -1 and bias_after"),
    "no neurons": (put("populations", 1, shape=[2, 0, 2]), "must be >= 1"),
    "kind": (put("populations", 1, kind="relu"), "p1.kind: is 'relu', expected one of"),
    "hard is 1": (put("populations", 1, hard=1), "p1.hard: is 1, expected true or false"),
    "stride 0": (put("connections", 0, stride=[1, 0]), "no kernel of shape"),
    "negative padding": (put("connections", 0, padding=[-1, 0]), "no kernel of shape"),
    "an image of one axis": (put("connections", 0, shape=[9]), "no kernel of shape"),
    "dilation 0": (put("connections", 0, dilation=[0, 1]), "dilation \\(0, 1\\)"),
    "no groups": (put("connections", 0, groups=0), "in 0 groups"),
    "groups of other channels": (put("connections", 0, groups=2), "in 2 groups"),
    "ragged stride": (put("connections", 0, stride=[1]), "c0.stride: is .*a list of 2"),
    "negative delay": (put("connections", 1, extra=-4), "extra = -4 with lags"),
    "parts that are no list": (lambda _, m: m.update(populations={}), "populations: is {}"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_holds_exactly_its_fields(tmp_path: Path, name: str) -> None:
    path = tmp_path / "program.safetensors"
    save_program(path, make_program())
    arrays, meta = load_arrays(path, "program")
    change, told = CHANGES[name]
    change(arrays, meta)
    save_arrays(path, "program", arrays, meta)
    with pytest.raises(StoreError, match=rf"(?s)program.safetensors: .*{told}"):
        load_program(path)
