"""Files of LoihiPrograms for readers without neuro, as ``docs/program_format.md`` says.

``save_program`` writes the exact fields and nothing else, fast, for neuro itself. A file of
this format adds what others need: derived values, bounds, and test vectors, which take runs of
the reference. Its fields and arrays have the same names, so that one decoder reads both.
"""

import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from lava_export.decode import decode_program
from lava_export.population import SUMS, Population, ProgramError
from lava_export.program import LATER, LoihiConnection, LoihiProgram, take_apart
from lava_export.reference import order_populations
from lava_export.rules import bound_states
from lava_export.vectors import Vector, make_vectors
from neuro.base.version import __version__
from neuro.io.schema import convert
from neuro.io.store import StoreError, parse_json, read_bytes, write_bytes

MAGIC = b"NEUP"
FORMAT, VERSION, SEMANTICS = "neuro-program", (1, 1), "loihi-int/1"
PREFIX = struct.Struct("<4sIQ")  # magic, CRC-32 and length of the header
STEP = 8  # arrays begin at multiples of it
# The fields and kinds that the semantics give a meaning.
KNOWN: tuple[str, ...] = (
    *("name", "kind", "shape", "lag", "scale", "du", "dv", "vth", "da", "beta", "bias_mant"),
    *("bias_exp", "hard", "bias_after", "reset_to", "reset_by", "reset_interval"),
    *("reset_offset", "refractory", "vth_low", "message_bits", "spike_exp", "state_exp"),
    *("cumulative", "relu", "v_bound", "source", "target", "weight", "stride", "padding"),
    *("places", "sizes", "extra", "weight_exp", "sign_mode", "weight_bits"),
    *("groups", "dilation", "delays_in", "delays_out"),
)
KINDS = ("input", "lif", "alif", "li", "ternary", "delta", "sigma_delta", "sigma")
ROUTES = ("dense", "conv", "identity", "sparse")
# Since 1.1, by field. The kind of a connection names those that it has: a reader of 1.0 skips
# keys and arrays that it does not know, but refuses a kind.
FEATURES = ("groups", "dilation", "delays_in", "delays_out")


def list_unknown(program: LoihiProgram) -> list[str]:
    """Return each field with a value, and each kind, without a meaning in the semantics."""
    parts: list[Any] = [*program.populations, *program.connections]
    of_population = [p.kind not in KINDS for p in program.populations]
    of_connection = [c.kind not in ROUTES for c in program.connections]
    problems = []
    for part, unknown in zip(parts, of_population + of_connection, strict=True):
        problems += [f"{part.name}: the kind {part.kind}"] * unknown
        for f in fields(part):
            made: Any = f.default_factory() if f.default_factory is not MISSING else f.default
            if f.name not in KNOWN and not np.array_equal(getattr(part, f.name), made):
                problems.append(f"{part.name}: {f.name} = {getattr(part, f.name)}")
    cure = f"is not part of {SEMANTICS}; leave it out, or run it with lava_export.reference"
    return [f"{problem} {cure}" for problem in problems]


def name_kind(c: LoihiConnection) -> str:
    """Return the kind of a connection in a file: conv+groups+delays_in."""
    values = {name: getattr(c, name) for name in FEATURES}
    has = {
        k: v is not None and not np.array_equal(v, LATER.get(k, ())) for k, v in values.items()
    }
    return "+".join([c.kind, *filter(has.get, FEATURES)])


def write_program(path: str | Path, program: LoihiProgram, licence: str = "not stated") -> None:
    """Write a program with its bounds and test vectors.

    Raises:
        ProgramError: the program runs no stimulus, or has fields without a meaning.
        StoreError: the file cannot be written.
    """
    if problems := list_unknown(program):
        raise ProgramError("\n".join(["the program cannot be written:", *problems]))
    arrays, plain = take_apart(program)
    for held, c in zip(plain["connections"], program.connections, strict=True):
        held["kind"] = name_kind(c)
    order = [program[name] for name in order_populations(program)]
    vectors = []
    for i, vector in enumerate(make_vectors(program)):
        held = _list_arrays(program, vector, f"v{i}")
        arrays |= held
        reaches = list(vector.reaches)
        vectors.append({"ticks": len(vector.ticks), "about": vector.name, "reaches": reaches})
    data = bytearray()
    index = {}
    for name, array in arrays.items():
        raw, dtype = _narrow(array)
        index[name] = {
            **{"dtype": dtype, "shape": list(array.shape), "offset": len(data)},
            "crc32": zlib.crc32(raw),
        }
        data += raw + bytes(-len(raw) % STEP)
    names = [p.name for p in program.populations]
    header = {
        **{"format": FORMAT, "version": VERSION, "semantics": SEMANTICS},
        **{"creator": f"neuro {__version__}", "licence": licence},
        **plain,
        "order": [names.index(p.name) for p in order],
        "delays": [program.delay(c) for c in program.connections],
        "inputs": [_describe_input(p) for p in program.populations if p.kind == "input"],
        "outputs": [_describe_output(p) for p in program.populations if not p.fires],
        "bounds": list(_bound(program)),
        "vectors": vectors,
        "arrays": index,
    }
    text = json.dumps(header, allow_nan=False).encode()
    text += b" " * (-(PREFIX.size + len(text)) % STEP)
    write_bytes(path, PREFIX.pack(MAGIC, zlib.crc32(text), len(text)) + text + data)


def _narrow(array: np.ndarray) -> tuple[bytes, str]:
    """Return whole numbers in the fewest bytes that hold all, little-endian, and the dtype."""
    ends = (int(array.min(initial=0)), int(array.max(initial=0)))
    dtype = np.result_type(*map(np.min_scalar_type, ends))
    return array.astype(dtype.newbyteorder("<")).tobytes(), dtype.name


def _list_arrays(program: LoihiProgram, vector: Vector, name: str) -> dict[str, np.ndarray]:
    """Return events in, spikes out and states of a test vector, by name."""
    rows: dict[str, list[np.ndarray]] = {"events": [], "spikes": []}
    states: dict[str, list[np.ndarray]] = {}
    for t, tick in enumerate(vector.ticks):
        for i, p in enumerate(program.populations):
            key = "events" if p.kind == "input" else "spikes"
            row = vector.rasters[p.name][t, 0] if p.kind == "input" else tick.out[p.name][0]
            fired = np.flatnonzero(row if p.fires else 0)
            rows[key] += [np.array([t, i, n, int(row[n])]) for n in fired]
            held = tick.states[p.name]._asdict() if p.kind != "input" else {}
            for state, values in held.items():
                if values is not None:
                    states.setdefault(f"{name}.p{i}.{state}", []).append(values[0])
    events = {f"{name}.{k}": np.array(v, np.int64).reshape(-1, 4) for k, v in rows.items()}
    return events | {key: np.stack(values) for key, values in states.items()}


def _describe_input(p: Population) -> dict[str, Any]:
    least, largest = p.messages
    return {"population": p.name, "least": least, "largest": largest}


def _describe_output(p: Population) -> dict[str, Any]:
    """Return which state a read-out shows, and its value that counts 1 in the float network."""
    return {"population": p.name, "state": "sigma" if p.kind in SUMS else "v", "unit": p.unit}


def _bound(program: LoihiProgram) -> Iterator[dict[str, Any]]:
    """Yield bounds of |u|, |v| before its clip, and a, over all stimuli; null where none is."""
    for p in program.populations:
        if p.kind != "input" and p.kind not in SUMS:
            every = replace(p, v_bound=0)  # that was measured on some stimuli
            found = bound_states(every, program.into(p.name), program.ticks, program.messages)
            tops = {k: float(x.max(initial=0)) for k, x in found._asdict().items()}
            finite = {k: math.ceil(x) if x < math.inf else None for k, x in tops.items()}
            yield {"population": p.name, **finite}


def is_open(path: str | Path) -> bool:
    """Return whether a file begins as one of this format does."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_program(path: str | Path) -> LoihiProgram:
    """Return the program of a file; its test vectors are not run.

    Raises:
        StoreError: the file is damaged, has another major version, or describes no program.
    """
    data = read_bytes(path)
    try:
        header, at = _read_header(path, data)
        arrays = {name: _read_array(data, at, name, x) for name, x in header["arrays"].items()}
        plain = {f.name: header[f.name] for f in fields(LoihiProgram)}
        kinds = [c["kind"] for c in plain["connections"]]
        bare = [c | {"kind": c["kind"].split("+")[0]} for c in plain["connections"]]
        program = decode_program(LoihiProgram, arrays, plain | {"connections": bare})
        return _require_kinds(path, program, kinds)
    except StoreError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise StoreError(f"{path}: damaged ({error}); restore it from a copy") from error


def _require_kinds(path: str | Path, program: LoihiProgram, kinds: list[str]) -> LoihiProgram:
    """Return a program whose connections have exactly what their kinds in the file name."""
    for c, kind in zip(program.connections, kinds, strict=True):
        if kind != name_kind(c):
            raise StoreError(
                f"{path}: the kind of connection {c.name} is {kind}, and this neuro reads "
                f"{name_kind(c)} there; take a neuro of the version that wrote it"
            )
    return program


def _read_header(path: str | Path, data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header and where the arrays begin."""
    _, crc, length = PREFIX.unpack_from(data)
    text = data[PREFIX.size : PREFIX.size + length]
    if zlib.crc32(text) != crc:
        raise ValueError("the checksum of its header is another")
    header = convert(parse_json(path, text.decode()), dict[str, Any])
    found = (header["format"], header["version"][0], header["semantics"])
    if found != (FORMAT, VERSION[0], SEMANTICS):
        raise StoreError(
            f"{path}: has format {found}, this neuro reads {(FORMAT, VERSION[0], SEMANTICS)}; "
            "take a neuro of the version that wrote it"
        )
    return header, PREFIX.size + length


def _read_array(data: bytes, at: int, name: str, about: dict[str, Any]) -> np.ndarray:
    count = math.prod(convert(about["shape"], list[int]))
    dtype = np.dtype(about["dtype"]).newbyteorder("<")
    first = at + about["offset"]
    raw = data[first : first + count * dtype.itemsize]
    if zlib.crc32(raw) != about["crc32"]:
        raise ValueError(f"the checksum of {name} is another")
    return np.frombuffer(raw, dtype).reshape(about["shape"])
