"""The program format: others run its test vectors without neuro, and damage is refused."""

import copy
import json
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import plain_reader
import pytest
from programs import program as make_program, same
from random_programs import Builder, draw_program

from lava_export import load_program
from lava_export.openformat import list_unknown, write_program
from lava_export.population import Population
from lava_export.program import LoihiConnection, LoihiProgram, ProgramError, as_int32
from lava_export.vectors import make_vectors
from neuro.io.store import StoreError


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file, and its arrays."""
    (length,) = struct.unpack_from("<Q", data, 8)
    return json.loads(data[16 : 16 + length]), data[16 + length :]


def rewrite(path: Path, change: Any) -> None:
    """Change the header of a file, with the checksum that belongs to it."""
    header, arrays = split(path.read_bytes())
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    prefix = struct.pack("<4sIQ", b"NEUP", zlib.crc32(text), len(text))
    path.write_bytes(prefix + text + arrays)


@pytest.mark.parametrize("seed", range(9))
def test_every_test_vector_runs_without_neuro(seed: int, tmp_path: Path) -> None:
    program = draw_program(seed)
    write_program(tmp_path / "a", program, "CC0-1.0")
    data = (tmp_path / "a").read_bytes()
    header, arrays = plain_reader.read(data)
    assert header["licence"] == "CC0-1.0"
    assert [line for k in (0, 1) for line in plain_reader.run(header, arrays, k)] == []
    assert same(load_program(tmp_path / "a").program, program)
    schema = json.loads(files("lava_export").joinpath("program_schema.json").read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(split(data)[0], schema)
    for part, change in (("populations", {"kind": "rf"}), ("connections", {"kind": "conv+x"})):
        header = split(data)[0]
        header[part][0] |= change
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(header, schema)


def test_the_plain_reader_needs_nothing_and_sees_each_change(tmp_path: Path) -> None:
    write_program(tmp_path / "a", draw_program(0))
    command = [sys.executable, "-I", "-S", plain_reader.__file__, str(tmp_path / "a")]
    assert subprocess.run(command, check=False).returncode == 0
    whole, arrays = plain_reader.read((tmp_path / "a").read_bytes())
    changed = [name for name in arrays if name.startswith("v1.p")] + ["v1.spikes"]
    assert len(changed) == 14
    for name in changed:
        values = (*arrays[name][:-1], arrays[name][-1] + 1)
        header = copy.deepcopy(whole)
        assert [*plain_reader.run(header, arrays | {name: values}, 1)], name


def test_damage_and_other_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_program(path, make_program())
    data = path.read_bytes()
    for at in (4, 8, 20, len(data) - 400):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(StoreError, match="damaged"):
            load_program(path)
        with pytest.raises((ValueError, struct.error)):
            plain_reader.read(path.read_bytes())
    other = {"format": "program", "version": [2, 0], "semantics": "loihi-int/2"}
    for key, value in other.items():
        path.write_bytes(data)
        rewrite(path, lambda header, k=key, v=value: header.update({k: v}))
        with pytest.raises(StoreError, match="this neuro reads"):
            load_program(path)
        with pytest.raises(ValueError, match="another format"):
            plain_reader.read(path.read_bytes())
    for part, kind in (("populations", "rf"), ("connections", "pool")):
        path.write_bytes(data)
        rewrite(path, lambda header, p=part, k=kind: header[p][1].update(kind=k))
        with pytest.raises(StoreError, match=f"kind: is '{kind}'"):
            load_program(path)
        with pytest.raises(ValueError, match=f"unknown: .'{kind}'"):
            plain_reader.read(path.read_bytes())


def test_unknown_sections_and_minor_versions_are_skipped(tmp_path: Path) -> None:
    write_program(tmp_path / "a", make_program())
    assert plain_reader.read((tmp_path / "a").read_bytes())[0]["version"] == [1, 1]
    rewrite(tmp_path / "a", lambda header: header.update(version=[1, 7], cores=[3]))
    assert same(load_program(tmp_path / "a").program, make_program())
    header, arrays = plain_reader.read((tmp_path / "a").read_bytes())
    assert [*plain_reader.run(header, arrays, 0)] == []


def test_a_file_of_version_1_0_still_loads() -> None:
    path = Path(__file__).parent.parent / "data" / "program_1_0.neup"
    header, arrays = plain_reader.read(path.read_bytes())
    assert header["version"] == [1, 0]
    assert [line for k in (0, 1) for line in plain_reader.run(header, arrays, k)] == []
    assert same(load_program(path).program, make_program())


def test_a_header_states_order_ranges_units_and_bounds(tmp_path: Path) -> None:
    b = Builder(0)
    b.add("s", "sigma", (1,), 2, scale=3.0)
    b.add("x", "input", (1,), 0, message_bits=4)
    wide = {"du": as_int32(3000), "dv": as_int32(1000), "reset_interval": 2, "reset_offset": 4}
    b.add("v", "li", (1,), 1, scale=2.5, **wide)
    for target, delay in (("s", 0), ("v", 1)):
        b.link("x", target, delay, kind="dense", weight=as_int32([[2]]))
    program = replace(b.program(), ticks=3)
    write_program(tmp_path / "a", program)
    header = split((tmp_path / "a").read_bytes())[0]
    assert header["order"] == [1, 2, 0]
    assert header["delays"] == [0, 1]
    assert header["inputs"] == [{"population": "x", "least": -8, "largest": 7}]
    assert header["outputs"] == [
        {"population": "s", "state": "sigma", "unit": 3.0},
        {"population": "v", "state": "v", "unit": 160.0},
    ]
    reached = [list(vector.reaches) for vector in make_vectors(program)]
    assert [vector["reaches"] for vector in header["vectors"]] == reached
    assert ["clear", "delay"] in reached
    assert header["bounds"] == [{"population": "v", "u": 1371, "v": 3191, "a": 0}]


def test_a_bound_measured_on_samples_is_kept_and_bounds_hold_without_it(tmp_path: Path) -> None:
    b = Builder(0)
    b.add("x", "input", (1,), 0)
    b.add("v", "li", (1,), 1, du=as_int32(3000), dv=as_int32(1000), v_bound=150)
    b.link("x", "v", kind="dense", weight=as_int32([[2]]))
    write_program(tmp_path / "a", replace(b.program(), ticks=3))
    header = split((tmp_path / "a").read_bytes())[0]
    assert ["v_bound" in p for p in header["populations"]] == [False, True]
    assert header["bounds"] == [{"population": "v", "u": 172, "v": 399, "a": 0}]
    assert load_program(tmp_path / "a").program["v"].v_bound == 150


def draw_late(**more: Any) -> LoihiProgram:
    """Draw two pixels of two channels, a convolution that has more, and a read-out."""
    b = Builder(0)
    b.add("x", "input", (2, 1, 2), 0)
    b.add("n", "li", (2, 1, 2), 1)
    weight = as_int32(np.arange(2, 2 + 4 // more.get("groups", 1))).reshape(2, -1, 1, 1)
    b.link("x", "n", kind="conv", weight=weight, shape=(2, 1, 2), **more)
    return b.program()


FEATURES: dict[str, Any] = {
    "groups": 2,
    "dilation": (1, 3),
    "delays_in": as_int32([0, 3, 1, 2]),
    "delays_out": as_int32([2, 0, 0, 5]),
}


@pytest.mark.parametrize("names", [("groups",), ("dilation", "delays_out"), tuple(FEATURES)])
def test_a_kind_names_what_readers_of_1_0_do_not_know(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    path, program = tmp_path / "a", draw_late(**{name: FEATURES[name] for name in names})
    write_program(path, program)
    data = path.read_bytes()
    kind = "+".join(["conv", *names])
    assert split(data)[0]["connections"][0]["kind"] == kind
    assert same(load_program(path).program, program)
    for told in ("conv", f"{kind}+octave"):
        path.write_bytes(data)
        rewrite(path, lambda header, k=told: header["connections"][0].update(kind=k))
        match = (
            rf"the kind of connection x->n is {re.escape(told)}, .* reads {re.escape(kind)} "
        )
        with pytest.raises(StoreError, match=match):
            load_program(path)
    with pytest.raises(ValueError, match="'octave'"):
        plain_reader.read(path.read_bytes())


def test_vectors_say_which_edges_they_reach() -> None:
    def draw(**more: Any) -> LoihiProgram:
        b = Builder(0)
        b.add("x", "input", (1,), 0)
        settings = {"vth": as_int32(600), "dv": as_int32(4095)}
        b.add("n", "lif", (1,), 1, **(settings | more.pop("lif", {})))
        weight = as_int32([[200]])
        b.link("x", "n", more.pop("delay", 0), kind="dense", weight=weight, **more)
        return b.program()

    def reached(program: LoihiProgram) -> tuple[str, ...]:
        return make_vectors(program)[-1].reaches

    assert reached(draw()) == ()
    assert reached(draw(delay=2)) == ("delay",)
    assert reached(replace(draw(delay=2), ticks=2)) == ()
    assert reached(draw(delays_in=as_int32([1]))) == ("delay",)
    assert reached(draw(delays_out=as_int32([1]))) == ("delay",)
    assert reached(draw(delays_in=as_int32([0]), delays_out=as_int32([0]))) == ()
    assert reached(draw(lif={"vth": as_int32(200)})) == ("threshold",)
    assert reached(draw(lif={"vth": as_int32(199)})) == ()
    assert reached(draw(lif={"reset_interval": 3})) == ("clear",)
    slow = {"du": as_int32(0), "vth": as_int32(2**17 - 1)}
    assert reached(draw(lif=slow, weight_exp=7)) == ("wrap",)
    slow = {"dv": as_int32(0), "vth": as_int32(2**17 - 1)}
    assert reached(draw(lif=slow, weight_exp=7)) == ("clip",)


def test_vectors_are_longer_than_the_slowest_spike() -> None:
    waits = {"delays_in": as_int32([0, 31, 7, 2]), "delays_out": as_int32([3, 0, 5, 2])}
    for program, ticks in ((draw_late(), 40), (draw_late(**waits), 31 + 5 + 8)):
        assert {len(vector.ticks) for vector in make_vectors(program)} == {ticks}


def test_vectors_end_where_the_program_does_and_a_program_without_one_is_refused() -> None:
    short = replace(draw_program(0), ticks=3)
    assert {len(vector.ticks) for vector in make_vectors(short)} == {3}
    b = Builder(0)
    b.add("x", "input", (1,), 0, message_bits=2)
    b.add("d", "delta", (1,), 1, message_bits=2, spike_exp=7, state_exp=7)
    b.link("x", "d", kind="identity", weight=as_int32([254]), weight_exp=7)
    with pytest.raises(ProgramError, match="no test vector runs: d: the difference"):
        make_vectors(b.program())


@dataclass(frozen=True, kw_only=True, eq=False)
class LateConnection(LoihiConnection):
    """A connection with a field that the semantics do not know."""

    late: np.ndarray | None = None


def test_fields_without_a_meaning_are_named(tmp_path: Path) -> None:
    def draw(late: np.ndarray | None) -> LoihiProgram:
        more = {"source": "x", "target": "n", "kind": "identity", "weight": as_int32([2, 4])}
        x = Population(name="x", kind="input", shape=(2,))
        n = Population(name="n", kind="li", shape=(2,), lag=1)
        return LoihiProgram(
            populations=(x, n), connections=(LateConnection(name="c", late=late, **more),)
        )

    assert list_unknown(draw(None)) == []
    with pytest.raises(ProgramError, match=r"c: late = \[1 3\] is not part of loihi-int/1"):
        write_program(tmp_path / "a", draw(as_int32([1, 3])))
    assert not (tmp_path / "a").exists()
