"""Writes a LoihiProgram as a folder of C99: tables, the runtime, a test, Makefile and README."""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lava_export.c99.tables import (
    Tables,
    Weights,
    list_parameters,
    list_starts,
    list_states,
    make_tables,
    sort_by_source,
    store_weights,
)
from lava_export.checks import list_wide_integers
from lava_export.population import Population
from lava_export.program import LoihiConnection, LoihiProgram, require_program
from lava_export.reference import Tick
from lava_export.vectors import Vector, make_vectors
from neuro.io.store import write_bytes

KINDS = {"input": "INPUT", "lif": "LIF", "alif": "LIF", "li": "LI", "ternary": "TERNARY"}
KINDS |= {"delta": "DELTA", "sigma_delta": "SIGMA_DELTA", "sigma": "SIGMA"}
FIXED = ("runtime.c", "runtime.h", "test.c", "Makefile")
LARGEST_INDEX = 2**16  # ports and connections are counted in 16 bits


class CError(ValueError):
    """A program that the C runtime cannot hold; ``problems`` lists each reason and cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the program cannot be written as C:", *problems]))
        self.problems = problems


def list_problems(program: LoihiProgram) -> list[str]:
    """Return why the C runtime cannot hold a program; empty if it can."""
    problems = list_wide_integers(program)
    return problems


def write_c(folder: Path, program: LoihiProgram) -> list[Path]:
    """Write a program as C into a folder; return the paths of the files.

    Raises:
        TypeError: ``program`` is no LoihiProgram.
        CError: lists everything that the runtime cannot hold, each with its cure.
        StoreError: a file cannot be written.
    """
    require_program(program)
    problems = list_problems(program)
    if problems:
        raise CError(problems)
    tables = make_tables(program)
    texts = {
        "network.h": write_header(tables),
        "network.c": "\n".join(write_tables(tables)) + "\n",
        "vectors.h": "\n".join(write_vectors(tables, make_vectors(program))) + "\n",
    }
    here = files("lava_export.c99")
    texts |= {name: here.joinpath(name).read_text() for name in FIXED}
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())
    return [folder / name for name in texts]


def write_header(tables: Tables) -> str:
    """Return ``network.h``: the sizes and types of the network."""
    names = [f"    {name} = {i}" for i, name in enumerate(name_populations(tables))]
    ticks = tables.program.ticks or 2**32 - 1
    return "\n".join(
        [
            "/* Sizes of the network in network.c. */",
            "#ifndef NET_NETWORK_H",
            "#define NET_NETWORK_H",
            "",
            "#include <stdint.h>",
            "",
            f"typedef {tables.sum_type} net_sum;",
            f"typedef {tables.current_type} net_current;",
            f"typedef {tables.index_type} net_index;",
            f"#define NET_POPULATIONS {len(tables.populations)}u",
            f"#define NET_PORTS {len(tables.ports)}u",
            f"#define NET_TICKS UINT32_C({ticks})",
            "enum {",
            ",\n".join(names),
            "};",
            "",
            "#endif",
            "",
        ]
    )


def name_populations(tables: Tables) -> list[str]:
    """Return a name in C of each population, with its index: names may differ in signs only."""
    return [
        f"NET_{i}_{re.sub('[^A-Z0-9]+', '_', p.name.upper())}"
        for i, p in enumerate(tables.populations)
    ]


def write_tables(tables: Tables) -> Iterator[str]:
    """Yield the lines of ``network.c``."""
    yield '/* Tables (const, for flash) and states (RAM) of the network. */\n#include "runtime.h"\n'
    yield "#include <stddef.h>\n"
    ports = []
    for i, port in enumerate(tables.ports):
        yield f"static net_sum sums{i}[{port.length}];"
        values = (f"sums{i}", port.size, port.slots, port.channels, port.divisor)
        ports.append(_brace(*values, int(port.modulo)))
    connections = []
    for i, c in enumerate(tables.connections):
        lines, value = _write_connection(tables, i, c)
        yield from lines
        connections.append(value)
    populations = []
    for i, p in enumerate(tables.populations):
        lines, value = _write_population(tables, i, p)
        yield from lines
        populations.append(value)
    yield f"const net_port net_ports[] = {_list(ports)};"
    yield f"const net_connection net_connections[] = {_list(connections)};"
    yield f"const net_population net_populations[NET_POPULATIONS] = {_list(populations)};"


def _write_connection(tables: Tables, i: int, c: LoihiConnection) -> tuple[list[str], str]:
    weights: Weights = store_weights(c)
    lines = [_array(weights.type, f"weight{i}", weights.values)]
    narrow, start, target, conv = weights.type == "int8_t", "NULL", "NULL", "NULL"
    if c.kind == "sparse":
        start, target = f"start{i}", f"target{i}"
        lines.append(_array("uint32_t", start, list_starts(c)))
        lines.append(_array("net_index", target, c.places[0][sort_by_source(c)]))
    if c.kind == "conv":
        conv = f"&conv{i}"
        sizes = (*c.shape[1:], *c.weight.shape[2:], *c.stride, *c.padding, *c.out_shape)
        lines.append(f"static const net_conv conv{i} = {_brace(*sizes)};")
    value = _brace(
        *(f"NET_{c.kind.upper()}", tables.port_of[c], tables.program.delay(c), weights.factor),
        *(f"weight{i}" if narrow else "NULL", "NULL" if narrow else f"weight{i}"),
        *(start, target, conv),
    )
    return lines, f"/* {_comment(c.name)} */ {value}"


def _write_population(tables: Tables, i: int, p: Population) -> tuple[list[str], str]:
    states = list_states(p, tables)
    lines = [f"static {t} {name}{i}[{p.size}];" for name, t in states.items()]
    fired = sent = "NULL"
    if p.fires:
        fired = f"fired{i}"
        lines.append(f"static net_index {fired}[{p.size}];")
    if p.signed:
        sent = f"sent{i}"
        lines.append(f"static int32_t {sent}[{p.size}];")
    params = []
    for name, values in list_parameters(p).items():
        lines.append(_array("int32_t", f"{name}{i}", values))
        params.append(_brace(f"{name}{i}", int(values.size > 1)))
    first = [c.source for c in tables.connections]
    leaving = first.index(p.name) if p.name in first else 0
    value = _brace(
        *(f"NET_{KINDS[p.kind]}", p.size, tables.channels(p)),
        *(tables.first_port[i], tables.first_port[i + 1], leaving),
        *(leaving + first.count(p.name), p.bias_after, p.reset_interval),
        *(p.reset_offset % p.reset_interval if p.reset_interval else 0, int(p.hard)),
        *(p.refractory, int(p.relu), int(p.cumulative), 2 ** (p.spike_exp + p.state_exp)),
        *(2**p.state_exp, *p.messages, *params),
        *(f"{name}{i}" if name in states else "NULL" for name in "uva"),
        *(f"{name}{i}" if name in states else "NULL" for name in ("residue", "error", "wait")),
        *(fired, sent),
    )
    return lines, f"/* {_comment(p.name)} */ {value}"


def write_vectors(tables: Tables, vectors: Iterable[Vector]) -> Iterator[str]:
    """Yield the lines of ``vectors.h``: input spikes, and CRC-32 of all that they lead to."""
    yield "/* Test vectors: input spikes, and a CRC-32 per tick and population. */"
    events: list[str] = []
    sums: list[int] = []
    heads = []
    for vector in vectors:
        heads.append(f"/* {vector.name} */ {_brace(len(vector.ticks), len(events), len(sums))}")
        for t, tick in enumerate(vector.ticks):
            for i, p in enumerate(tables.populations):
                if p.kind == "input":
                    row = vector.rasters[p.name][t, 0]
                    events += [_brace(t, i, n, int(row[n])) for n in np.flatnonzero(row)]
            sums += [digest_tick(tables, p, tick) for p in tables.populations]
    heads.append(_brace(0, len(events), len(sums)))
    yield f"static const struct event events[] = {_list(events or [_brace(0, 0, 0, 0)])};"
    yield f"static const struct vector vectors[] = {_list(heads)};"
    yield _array("uint32_t", "digests", np.array(sums), "UINT32_C({})")


def digest_tick(tables: Tables, p: Population, tick: Tick) -> int:
    """Return a CRC-32 of the spikes and states of a population after a tick."""
    numbers: list[Any] = []
    if p.fires:
        row = tick.out[p.name][0]
        fired = np.flatnonzero(row)
        numbers = [[len(fired)], fired, *([row[fired]] if p.signed else [])]
    if p.kind != "input":
        state = tick.states[p.name]._asdict()
        named: Mapping[str, str] = {"v": "sigma", "a": "act"} if "sigma" in state else {}
        numbers += [state[named.get(k, k)][0] for k in list_states(p, tables)]
    return zlib.crc32(np.concatenate(numbers).astype("<i8").tobytes())


def _array(type_: str, name: str, values: np.ndarray, form: str = "{}") -> str:
    """Return a const array in C."""
    texts = [form.format(x) for x in values.tolist()] or ["0"]
    return f"static const {type_} {name}[] = {_list(texts)};"


def _list(values: list[str]) -> str:
    """Return an initializer in braces, in lines of 16 values."""
    lines = [", ".join(values[at : at + 16]) for at in range(0, len(values), 16)]
    return "{\n  " + ",\n  ".join(lines) + "\n}"


def _brace(*values: object) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


def _comment(name: str) -> str:
    """Return a name without what ends a comment or is no ASCII."""
    return name.encode("ascii", "replace").decode().replace("*/", "* /").replace("\n", " ")
