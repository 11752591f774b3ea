"""Writes a LoihiProgram as a folder of C99: tables, runtime, test, Makefile and README."""

import re
import zlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lava_export.c99.tables import (
    ProgramTables,
    count_fan_out,
    list_parameters,
    list_states,
    sort_by_source,
    store_weights,
)
from lava_export.checks import list_wide_integers
from lava_export.openformat import list_unknown
from lava_export.population import Population
from lava_export.program import LoihiConnection, LoihiProgram, ProgramError
from lava_export.reference import Tick
from lava_export.vectors import Vector, make_vectors
from neuro.io.store import write_bytes

FIXED = ("runtime.c", "runtime.h", "test.c", "Makefile")
KEPT = ("u", "v", "a", "residue", "error", "wait", "fired", "sent")


class TableText:
    """The lines of ``network.c``, and the bytes of its const arrays."""

    def __init__(self, tables: ProgramTables, lines: list[str]) -> None:
        self.tables, self.lines, self.flash = tables, lines, 0

    def add(self, type_: str, name: str, values: np.ndarray) -> str:
        """Add a const array; return its name."""
        self.flash += max(len(values), 1) * self.tables.count_bytes(type_)
        self.lines.append(f"static const {type_} {name}[] = {_list(values)};")
        return name


def list_problems(program: LoihiProgram) -> list[str]:
    """Return why the C runtime cannot hold a program; empty if it can."""
    problems = list_unknown(program) or list_wide_integers(program)
    if not program.connections:
        problems.append("no connection; a program of one input needs no runtime")
    tables = ProgramTables(program)
    problems += [
        f"{p.name}: u never decays and can need more than 51 bits; set the ticks of the "
        "program, or du from 0 on"
        for p in program.populations
        if tables.bound_current(p) >= 2**51
    ]
    for p in program.populations:
        channels = {len(c.weight) for c in program.into(p.name) if c.kind == "conv"}
        if len(channels - {1}) > 1:
            problems.append(
                f"{p.name}: convolutions of {sorted(channels)} channels end at it, and the "
                "runtime keeps one order of neurons; list the synapses of one (kind sparse)"
            )
    return problems


def write_c(folder: Path, program: LoihiProgram) -> None:
    """Write a program as C into a folder.

    Raises:
        ProgramError: lists everything that the runtime cannot hold, each with its cure.
        StoreError: a file cannot be written.
    """
    problems = list_problems(program)
    if problems:
        raise ProgramError("\n".join(["the program cannot be written as C:", *problems]))
    tables, vectors = ProgramTables(program), make_vectors(program)
    network = write_tables(tables)
    texts = {
        "network.h": write_header(tables),
        "network.c": "\n".join(network.lines),
        "vectors.h": "\n".join(write_vectors(tables, vectors)),
        "README.md": describe(tables, network.flash, vectors),
    }
    here = files("lava_export.c99")
    texts |= {name: here.joinpath(name).read_text() for name in FIXED}
    for name, text in texts.items():
        write_bytes(folder / name, f"{text.rstrip()}\n".encode())


def write_header(tables: ProgramTables) -> str:
    """Return ``network.h``: the sizes and types of the network."""
    names = [f"{name} = {i}" for i, name in enumerate(name_populations(tables))]
    lines = [
        "/* Sizes and types of the network. */",
        *("#ifndef NET_NETWORK_H", "#define NET_NETWORK_H", "#include <stdint.h>"),
        f"#define NET_POPULATIONS {len(tables.populations)}u",
        f"#define NET_PORTS {len(tables.ports)}u",
        f"#define NET_TICKS UINT32_C({tables.ticks})",
        *(f"typedef {type_} {name};" for name, type_ in tables.types.items()),
        f"enum {_list(names)};",
        "#endif",
    ]
    return "\n".join(lines)


def name_populations(tables: ProgramTables) -> list[str]:
    """Return a name in C of each population; the index makes it unique."""
    signs = [re.sub("[^A-Z0-9]+", "_", p.name.upper()) for p in tables.populations]
    return [f"NET_{i}_{name}" for i, name in enumerate(signs)]


def write_tables(tables: ProgramTables) -> TableText:
    """Return ``network.c``, with all arrays of the network."""
    text = TableText(tables, ['#include "runtime.h"', "#include <stddef.h>"])
    ports = []
    for i, port in enumerate(tables.ports):
        text.lines.append(f"static net_sum sums{i}[{port.size * port.slots}];")
        delays = "NULL"
        if port.delays is not None:
            delays = text.add("net_delay", f"delays_out{i}", port.delays)
        ports.append(_list([f"sums{i}", *port[1:-1], delays]))
    parts = {
        "port": ports,
        "connection": [_write_connection(text, i, c) for i, c in enumerate(tables.connections)],
        "population": [_write_population(text, i, p) for i, p in enumerate(tables.populations)],
    }
    for part, values in parts.items():
        text.lines.append(f"const net_{part} net_{part}s[] = {_list(values)};")
    return text


def _write_connection(text: TableText, i: int, c: LoihiConnection) -> str:
    """Add the arrays of a connection; return its ``net_connection``."""
    tables, weights = text.tables, store_weights(c)
    type_ = f"{weights.values.dtype}_t"
    name, start, target, conv = text.add(type_, f"weight{i}", weights.values), *["NULL"] * 3
    delays = "NULL"
    if c.delays_in is not None:
        delays = text.add("net_delay", f"delays_in{i}", c.delays_in)
    if c.kind == "sparse":
        starts = np.searchsorted(np.sort(c.places[1]), np.arange(c.sizes[1] + 1))
        start = text.add("uint32_t", f"start{i}", starts)
        target = text.add("net_index", f"target{i}", c.places[0][sort_by_source(c)])
    if c.kind == "conv":
        conv = f"&conv{i}"
        sizes = (*c.shape[1:], *c.weight.shape[2:], *c.stride, *c.padding, *c.dilation)
        sizes += (*c.out_shape, c.weight.shape[1], len(c.weight) // c.groups)
        text.lines.append(f"static const net_conv conv{i} = {_list(sizes)};")
    port = next(k for k, port in enumerate(tables.ports) if c in port.connections)
    ends = (name, "NULL") if type_ == "int8_t" else ("NULL", name)
    values = (f"NET_{c.kind.upper()}", port, tables.program.delay(c), weights.factor)
    return _list([*values, *ends, start, target, conv, delays])


def _write_population(text: TableText, i: int, p: Population) -> str:
    """Add the arrays of a population; return its ``net_population``."""
    tables, kept = text.tables, list_states(p)
    kept |= {"fired": "net_index"} if p.fires else {}
    kept |= {"sent": "int32_t"} if p.signed else {}
    text.lines += [f"static {type_} {name}{i}[{p.size}];" for name, type_ in kept.items()]
    params = [
        _list([text.add("int32_t", f"{name}{i}", values), int(len(values) > 1)])
        for name, values in list_parameters(p).items()
    ]
    values = (
        *(f"NET_{'LIF' if p.kind == 'alif' else p.kind.upper()}", p.size),
        max((port.channels for port in tables.list_ports(p)), default=1),
        *_span([port.connections[0].target for port in tables.ports], p.name),
        *_span([c.source for c in tables.connections], p.name),
        *(p.bias_after, p.reset_interval, p.reset_offset % max(p.reset_interval, 1)),
        *(int(p.hard), p.refractory, int(p.relu), int(p.cumulative)),
        *(2 ** (p.spike_exp + p.state_exp), 2**p.state_exp, *p.messages, *params),
        *(f"{name}{i}" if name in kept else "NULL" for name in KEPT),
    )
    return _list(values)


def _span(names: list[str], name: str) -> tuple[int, int]:
    """Return the first index of a name in a list of groups of equal names, and the end."""
    first = names.index(name) if name in names else 0
    return first, first + names.count(name)


def write_vectors(tables: ProgramTables, vectors: Sequence[Vector]) -> Iterator[str]:
    """Yield the lines of ``vectors.h``: input spikes, and a CRC-32 of what they lead to."""
    events: list[str] = []
    digests: list[str] = []
    heads = []
    for vector in vectors:
        heads.append(_list([len(vector.ticks), len(events)]))
        for t, tick in enumerate(vector.ticks):
            for i, p in enumerate(tables.populations):
                digests.append(f"UINT32_C({digest_tick(p, tick)})")
                if p.kind == "input":
                    row = vector.rasters[p.name][t, 0].astype(int)
                    events += [_list([t, i, n, row[n]]) for n in np.flatnonzero(row)]
    yield "/* Test vectors: input spikes, and a CRC-32 per tick and population. */"
    yield f"static const struct event events[] = {_list(events or [_list([0, 0, 0, 0])])};"
    heads.append(_list([0, len(events)]))
    yield f"static const struct vector vectors[] = {_list(heads)};"
    yield f"static const uint32_t digests[] = {_list(digests)};"


def digest_tick(p: Population, tick: Tick) -> int:
    """Return a CRC-32 of the spikes and states of a population after a tick."""
    numbers: list[Any] = []
    if p.fires:
        row = tick.out[p.name][0]
        fired = np.flatnonzero(row)
        numbers = [[len(fired)], fired, row[fired] if p.signed else []]
    if p.kind != "input":
        state = tick.states[p.name]._asdict()
        names = {"v": "sigma", "a": "act"} if "sigma" in state else {}
        numbers += [state[names.get(k, k)][0] for k in list_states(p)]
    return zlib.crc32(np.concatenate(numbers).astype("<i8").tobytes())


def describe(tables: ProgramTables, flash: int, vectors: Sequence[Vector]) -> str:
    """Return the README: how to call the network, and what it takes."""
    ram = sum(port.size * port.slots for port in tables.ports) * tables.count_bytes("net_sum")
    rows, updates, adds, most = [], 0, 0.0, 0
    length = sum(len(vector.ticks) for vector in vectors)
    for name, p in zip(name_populations(tables), tables.populations, strict=True):
        kept = [*list_states(p).values(), *["net_index"] * p.fires, *["int32_t"] * p.signed]
        ram += p.size * sum(map(tables.count_bytes, kept))
        fan = sum(
            (count_fan_out(c) for c in tables.connections if c.source == p.name),
            np.zeros(p.size, int),
        )
        for vector in vectors:
            out = [vector.rasters[p.name]] if p.kind == "input" else []
            out = out or [tick.out[p.name] for tick in vector.ticks if p.fires]
            adds += sum(int((spikes != 0).reshape(-1, p.size).sum(0) @ fan) for spikes in out)
        most += int(fan.sum())
        updates += p.size * (p.kind != "input")
        rows.append(f"| `{name}` | {p.name} | {p.kind} | {p.size:,} |")
    return README.format(
        rows="\n".join(rows),
        flash=flash,
        ram=ram,
        updates=updates,
        adds=adds / length,
        most=most,
        length=length,
    )


README = """# A spiking network in C99

`network.c` holds the tables (const) and states of the network, `runtime.c` runs it; neither
allocates memory. Compile both with your firmware; `runtime.h` shows the calls. `make` runs the
test vectors: after every tick, all spikes and states must equal those of neuro's reference.

| index | population | kind | neurons |
|---|---|---|---|
{rows}

| | |
|---|---|
| tables, flash | {flash:,} bytes, and up to 250 per population or connection |
| states, RAM | {ram:,} bytes, and up to 8 per population or connection |
| neurons updated in a tick | {updates:,} |
| additions in a tick | {adds:,.0f} in {length} ticks of test vectors; {most:,} if all fire |

The integers follow the semantics "loihi-int/1" of neuro's `docs/program_format.md`.
"""


def _list(values: Any) -> str:
    """Return an initializer in braces, in lines of 16 values."""
    texts = [str(x) for x in values] or ["0"]
    if len(texts) <= 16:
        return f"{{{', '.join(texts)}}}"
    lines = [", ".join(texts[at : at + 16]) for at in range(0, len(texts), 16)]
    return "{\n  " + ",\n  ".join(lines) + "\n}"
