"""Programs as C: every spike and state of the reference, without a warning of a sanitizer."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_programs import ONES, Builder, draw_program, even

from lava_export import lower
from lava_export.c99 import list_problems, write_c
from lava_export.c99.tables import ProgramTables
from lava_export.c99.write import write_vectors
from lava_export.openformat import ROUTES, name_kind
from lava_export.program import LoihiProgram, ProgramError, as_int32
from lava_export.reference import iterate_ticks
from lava_export.vectors import Vector, make_vectors
from neuro.interop import lava_dl

WARNINGS = "-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Werror"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
COMPILERS = sorted(
    {Path(p).name for p in map(shutil.which, ("gcc", "clang", "clang-14", "clang-19")) if p}
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not COMPILERS or not shutil.which("make"), reason="needs make, and gcc or clang"
    ),
]


def build(folder: Path, flags: str = "-O1", compiler: str = "") -> subprocess.CompletedProcess:
    """Compile and run the test of a folder."""
    words = [f"CC={compiler or COMPILERS[-1]}", f"CFLAGS={WARNINGS} {flags}"]
    shutil.rmtree(folder / "build", ignore_errors=True)
    return subprocess.run(
        ["make", "-s", "-B", *words], cwd=folder, capture_output=True, text=True, check=False
    )


@cache
def find_flags(folder: Path, compiler: str, flags: str) -> str:
    """Return flags if a program links with them, else nothing."""
    (folder / "empty.c").write_text("#include <stdio.h>\nint main(void) { return 0; }\n")
    command = [compiler, *flags.split(), "empty.c", "-o", "empty"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return "" if done.returncode else flags


def require_equal(folder: Path, program: LoihiProgram, compiler: str, flags: str = "") -> None:
    write_c(folder, program)
    flags = flags or find_flags(folder, compiler, SANITIZERS)
    done = build(folder, f"-O1 {flags}", compiler)
    assert "80 ticks as expected" in done.stdout, done.stdout + done.stderr
    assert not done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("seed", range(25))
def test_a_random_program_equals_the_reference(seed: int, tmp_path: Path) -> None:
    require_equal(tmp_path, draw_program(seed), COMPILERS[seed % len(COMPILERS)])


@pytest.mark.nightly
@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_random_programs_equal_the_reference(hundred: int, tmp_path: Path) -> None:
    for seed in range(25 + 100 * hundred, 125 + 100 * hundred):
        require_equal(tmp_path, draw_program(seed), COMPILERS[seed % len(COMPILERS)])


@pytest.mark.parametrize("seed", range(6))
def test_a_random_program_is_equal_with_pointers_of_32_bits(seed: int, tmp_path: Path) -> None:
    if not find_flags(tmp_path, "gcc", "-m32"):
        pytest.skip("gcc here makes no programs of 32 bits; install gcc-multilib")
    require_equal(tmp_path, draw_program(seed), "gcc", "-m32")


def test_random_programs_reach_every_kind_and_edge() -> None:
    found: Counter = Counter()
    for seed in range(18):
        program = draw_program(seed)
        found.update(p.kind for p in program.populations)
        for c in program.connections:
            kind, *more = name_kind(c).split("+")
            found.update([kind, *more, *(f"{name} of {kind}" for name in more)])
            found["odd"] += c.kind == "conv" and (c.weight % 2).any()
        found.update(edge for vector in make_vectors(program) for edge in vector.reaches)
    kinds = "input lif alif li ternary delta sigma_delta sigma dense conv sparse identity"
    more = {f"delays_{end} of {kind}" for end in ("in", "out") for kind in ROUTES}
    more |= {"groups", "dilation", "odd", "wrap", "clip", "threshold", "clear", "delay"}
    assert {*kinds.split()} | more <= {*+found}


def test_no_function_but_memset_is_called_and_memory_is_as_told(tmp_path: Path) -> None:
    program = draw_program(3)
    write_c(tmp_path, program)
    assert build(tmp_path, "-O2", "gcc").returncode == 0
    objects = ["runtime.o", "network.o"]
    told = subprocess.run(
        ["nm", "-u", *objects], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    needed = {line.split()[1] for line in told.stdout.splitlines() if " U " in line}
    assert not {name for name in needed if not name.startswith("net_")} - {"memset"}
    sizes = subprocess.run(
        ["size", "-A", "network.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in sizes.stdout.splitlines() if line.startswith(".")]
    sections = {row[0]: int(row[1]) for row in rows}
    text = (tmp_path / "README.md").read_text()
    flash, ram = (
        int(re.search(rf"{name} \| ([\d,]+) bytes", text)[1].replace(",", ""))
        for name in ("flash", "RAM")
    )
    described = 250 * (len(program.populations) + len(program.connections))
    tables = sum(n for name, n in sections.items() if name.startswith(".rodata"))
    arrays = (tmp_path / "network.c").read_text().count("];")
    assert ram <= sections[".bss"] <= ram + 32 * arrays  # aligned
    assert flash <= tables <= flash + 32 * arrays + described


def test_a_changed_weight_and_a_changed_spike_are_noticed(tmp_path: Path) -> None:
    write_c(tmp_path, draw_program(1))
    for name, old, new in (
        ("network.c", r"(weight0\[\] = \{\s*)-?\d+", r"\g<1>77"),
        ("vectors.h", r"(events\[\] = \{\s*\{\d+, \d+, )\d+", r"\g<1>39"),
    ):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(re.sub(old, new, text, count=1))
        done = build(tmp_path)
        assert re.match(r"vector \d, tick \d+: population \d", done.stdout), done.stdout
        assert done.returncode != 0
        (tmp_path / name).write_text(text)
    assert build(tmp_path).returncode == 0


def require_vector(folder: Path, program: LoihiProgram, vector: Vector, flags: str) -> str:
    """Require that C has the spikes and states of a vector; return what it prints."""
    write_c(folder, program)
    lines = write_vectors(ProgramTables(program), [vector])
    (folder / "vectors.h").write_text("\n".join([*lines, ""]))
    done = build(folder, flags, "gcc")
    assert f"{len(vector.ticks)} ticks as expected" in done.stdout, done.stdout + done.stderr
    return done.stdout


DATA = Path(os.environ.get("NEURO_DATA", "nowhere")) / "netx"


def read_record(path: Path) -> tuple[LoihiProgram, Vector]:
    """Return PilotNet, and a vector with each spike and v that Intel recorded of it."""
    record = np.load(path / "pilotnet_lif.npz")

    def order(key: str) -> np.ndarray:
        return record[key].T.reshape(24, 1, -1).astype(int)

    net = lava_dl.read(path / "pilotnet_lif.net", time="lava", reset_interval=17)
    program, image = lower(net.graph), record["image"].T.reshape(1, 1, -1).astype(np.int32)
    rasters, ticks = {"input": np.repeat(image, 24, 0)}, []
    names = {"0-input": "input"} | {f"{k + 1}-conv": f"conv-{k}" for k in range(5)}
    names |= {f"{k + 7}-dense": f"fc-{k}" for k in range(3)}
    for t, tick in enumerate(iterate_ticks(program, rasters, 24)):
        for name, key in names.items():
            tick.out[name] = spikes = order(key)[t]
            if f"{key}-v" in record:  # where a neuron fires, it is a mark of the chip
                v = np.where(spikes, 0, order(f"{key}-v")[t])
                tick.states[name] = tick.states[name]._replace(v=v)
        ticks.append(tick)
    return program, Vector(name="image", rasters=rasters, ticks=ticks, reaches=())


@pytest.mark.skipif(
    not (DATA / "pilotnet_lif.net").is_file(), reason="$NEURO_DATA/netx has no PilotNet"
)
def test_pilotnet_is_its_record(tmp_path: Path) -> None:
    program, vector = read_record(DATA)
    told = require_vector(tmp_path, program, vector, "-O2")
    sys.stdout.write(told)  # its time, which pytest -rP shows


CALLS = """
#include <stdio.h>
#include "runtime.h"
int main(void)
{
    net_reset();
    printf("%d ", net_send(0, 0, 3));
    printf("%d ", net_send(0, 2, -8));
    printf("%d ", net_send(0, 3, 7));
    printf("%d ", net_send(0, 4, 1));
    printf("%d ", net_send(0, 3, 1));
    printf("%d ", net_send(1, 0, 1));
    printf("%d ", net_send(2, 0, 1));
    net_tick();
    printf("%lu %ld ", (unsigned long)net_fired(0), (long)net_populations[1].v[0]);
    printf("%d ", net_send(0, 0, 8));
    printf("%d ", net_send(0, 0, -9));
    printf("%d ", net_send(0, 0, 0));
    net_tick();
    printf("%lu %ld ", (unsigned long)net_fired(0), (long)net_populations[1].v[0]);
    printf("%d ", net_tick());
    printf("%d\\n", net_tick());
    return 0;
}
"""


def call_network(folder: Path, program: LoihiProgram, text: str) -> str:
    write_c(folder, program)
    (folder / "test.c").write_text(text)
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wrong_calls_are_refused(tmp_path: Path) -> None:
    b = Builder(0)
    b.add("x", "input", (4,), 0, message_bits=4)
    b.add("out", "li", (1,), 1)
    b.link("x", "out", kind="dense", weight=as_int32([[2, 4, 6, 8]]))
    program = replace(b.program(), ticks=3)
    v = 64 * (3 * 2 - 8 * 6 + 7 * 8)
    expected = f"0 0 0 1 1 1 1 3 {v} 1 1 0 0 {v} 0 2\n"
    assert call_network(tmp_path, program, CALLS) == expected


def draw_one(kind: str, bits: int = 24, **more: Any) -> LoihiProgram:
    """Draw an input and a neuron for each bias, joined by weights of 1."""
    b, n = Builder(0), more.get("bias_mant", np.zeros(1)).size
    arrays = {k: as_int32(more.pop(k)) for k in ("dv", "da", "beta", "vth") if k in more}
    b.add("x", "input", (1,), 0, message_bits=bits)
    b.add("n", kind, (n,), 1, **arrays, **more)
    b.link("x", "n", kind="dense", weight=as_int32(np.ones((n, 1))), **ONES)
    return b.program()


M = 2**23
CODER = {"message_bits": 4, "bits": 4}
EDGES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "wrap and clip": (
        {"kind": "li", "dv": 4096, "bias_mant": as_int32([0, -64])},
        [M // 64, -M // 64, M // 64 + 1, 0],
    ),
    "lower threshold": (
        {"kind": "ternary", "dv": 4095, "vth": 5, "vth_low": as_int32(-10)},
        [-10, -11, 5, 6],
    ),
    "most adaptation": ({"kind": "alif", "dv": 4096, "beta": 2**16}, [M // 64] * 3),
    "adaptation alone": ({"kind": "alif", "dv": 4096, "da": 2048, "beta": 5}, [1, 0, 0]),
    "waiting alone": ({"kind": "alif", "dv": 4096, "refractory": 2}, [1, 0, 0, 1]),
    "least and largest message": ({"kind": "delta", **CODER}, [-8, -1]),
    "a message of 0": ({"kind": "sigma_delta", "state_exp": 3, "vth": 1, **CODER}, [2, -4]),
}


@pytest.mark.parametrize("edge", EDGES)
def test_an_edge_is_that_of_the_reference(edge: str, tmp_path: Path) -> None:
    more, values = EDGES[edge]
    program, x = draw_one(**more), np.array(values, np.int32).reshape(-1, 1, 1)
    ticks = [*iterate_ticks(program, {"x": x}, len(x))]
    vector = Vector(name=edge, rasters={"x": x}, ticks=ticks, reaches=())
    require_vector(tmp_path, program, vector, "-O1")


def test_two_channels_and_a_sum_of_a_convolution_that_is_cut(tmp_path: Path) -> None:
    b = Builder(0)
    b.add("x", "input", (1, 1, 2), 0, message_bits=23)  # so that a sum reaches M, no more
    b.add("n", "li", (2, 1, 2), 1)
    weight = as_int32([2, -2]).reshape(2, 1, 1, 1)
    b.link("x", "n", kind="conv", weight=weight, shape=(1, 1, 2))
    x = np.array([[-M // 2, 1], [M // 2 - 1, 7]], np.int32).reshape(2, 1, 2)
    ticks = [*iterate_ticks(b.program(), {"x": x}, 2)]
    vector = Vector(name="cut", rasters={"x": x}, ticks=ticks, reaches=())
    require_vector(tmp_path, b.program(), vector, "-O1")


OVERFLOW = """
#include <stdio.h>
#include "runtime.h"
int main(void)
{
    net_reset();
    net_send(0, 0, %d);
    printf("%%d", net_tick());
    printf("%%d", net_tick());
    net_reset();
    printf("%%d\\n", net_tick());
    return 0;
}
"""


@pytest.mark.parametrize(
    ("weight", "exp", "value", "told"),
    [
        (2, 0, M - 1, "000"),
        (2, 0, -M, "330"),
        (-2, 0, -M, "330"),
        (-256, -8, 1 - M, "000"),
        (-256, -8, -M, "330"),
    ],
)
def test_a_sum_that_is_too_wide_is_an_error_until_the_next_reset(
    weight: int, exp: int, value: int, told: str, tmp_path: Path
) -> None:
    b = Builder(0)
    b.add("x", "input", (1,), 0, message_bits=24)
    b.add("out", "li", (1,), 1)
    b.link("x", "out", kind="dense", weight=as_int32([[weight]]), weight_exp=exp)
    assert call_network(tmp_path, b.program(), OVERFLOW % value) == f"{told}\n"
    wide = {2: "int32_t", -2: "int32_t", -256: "int64_t"}  # a sum of 2^31 is too wide for 32
    assert ProgramTables(b.program()).types["net_sum"] == wide[weight]


@pytest.mark.parametrize(("value", "told"), [(-7, "000"), (-8, "030")])
def test_a_message_that_is_too_wide_is_an_error(value: int, told: str, tmp_path: Path) -> None:
    program = draw_one("delta", **CODER)
    assert call_network(tmp_path, program, OVERFLOW % value) == f"{told}\n"


@pytest.mark.parametrize(("wait", "type_"), [(255, "uint8_t"), (256, "uint16_t")])
def test_long_delays_have_a_wider_type_and_all_sums_a_slot(
    wait: int, type_: str, tmp_path: Path
) -> None:
    b = Builder(0)
    b.add("x", "input", (2,), 0)
    b.add("out", "li", (2,), 1)
    waits = {"delays_in": as_int32([2, wait - 4]), "delays_out": as_int32([1, 0])}
    b.link("x", "out", 3, kind="dense", weight=as_int32([[2, 4], [6, 8]]), **waits)
    write_c(tmp_path, b.program())
    text = (tmp_path / "network.h").read_text()
    assert f"typedef {type_} net_delay;" in text
    assert "#define NET_TICKS UINT32_C(2147483648)" in text
    assert f"sums0[{2 * (wait + 1)}]" in (tmp_path / "network.c").read_text()
    assert f"{2 * (wait + 8)} ticks as expected" in build(tmp_path).stdout
    write_c(tmp_path, replace(b.program(), ticks=2**31 + 1))
    assert (tmp_path / "network.h").read_text() == text


def test_what_the_runtime_cannot_hold_is_named(tmp_path: Path) -> None:
    b = Builder(0)
    b.add("x", "input", (1, 2, 2), 0)
    b.add("two", "lif", (2, 2, 2), 1)
    for channels, kernel in ((2, 1), (8, 2)):
        weight = even(b.rng, channels, 1, kernel, kernel)
        b.link("x", "two", kind="conv", weight=weight, shape=(1, 2, 2))
    (problem,) = list_problems(b.program())
    assert "two: convolutions of [2, 8] channels end at it" in problem
    with pytest.raises(ProgramError, match=r"(?s)as C:.*kind sparse"):
        write_c(tmp_path / "none", b.program())
    assert not (tmp_path / "none").exists()
    b = Builder(0)
    b.add("x", "input", (1,), 0, message_bits=24)
    b.add("out", "li", (1,), 1, du=as_int32(-1))
    b.link("x", "out", kind="dense", weight=as_int32([[2]]))
    (problem,) = list_problems(replace(b.program(), ticks=2**21))
    assert "out: u never decays and can need more than 51 bits" in problem
    assert not list_problems(replace(b.program(), ticks=2**21 - 1))
    alone = Builder(0)
    alone.add("x", "input", (2,), 0)
    assert "no connection" in list_problems(alone.program())[0]
