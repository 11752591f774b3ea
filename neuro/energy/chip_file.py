"""Chips as files: finds and reads them; a file with errors is refused with a list of them all.

A chip is a TOML file, and its name without ``.toml`` is the name of the chip::

    title = "Loihi 1 (Davies 2018)"   # what tables call this set of constants
    description = "..."               # how they were chosen; title and this: not with a base
    hardware = "Loihi 1"              # what messages call the chip
    programmable = false              # neurons follow a program, not only a fixed LIF
    charged_is_active = false         # a neuron with a membrane other than zero is active, too
    base = "loihi1"                   # optional: a chip of the folder, see below
    barrier = [{ tiles = 1, value = 113e-9, unit = "s", origin = "paper" }]  # and more tiles

    [origins.paper]                   # where constants come from, see Constant
    process = "Intel 14 nm"
    condition = "0.75 V, SPICE"
    source = "Davies et al. 2018, IEEE Micro 38(1), 82-99"
    confidence = "memory"

    [energy]                          # so for each field of OperationEnergies
    synapse = { nominal = 23.6, low = 23.6, high = 35.5, unit = "pJ", origin = "paper" }
    [time]                            # of OperationTimes
    [power]                           # of ChipPower
    [limits]                          # of ChipLimits, without a range
    neurons = { value = 1024, unit = "neurons", origin = "paper" }

``spread = 0.12`` instead of low and high is a range of 12 % on both sides. A limit of ``inf``
is not published and not checked. Only the host's power may be ``nominal = "not published"``,
with low and high. A file with a base holds only what differs from that chip; everything else,
limits included, is inherited. If it has no title, it gets the title of the base followed by the
name of the file.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from neuro.base.arguments import make_type_error
from neuro.energy.chip import (
    Allowed,
    Barrier,
    Chip,
    ChipLimits,
    ChipPower,
    Confidence,
    Constant,
    OperationEnergies,
    OperationTimes,
    Range,
)
from neuro.io.schema import SchemaError, convert

FOLDER = Path(__file__).with_name("chips")
TABLES: Mapping[str, type] = {
    "energy": OperationEnergies,
    "time": OperationTimes,
    "power": ChipPower,
    "limits": ChipLimits,
}
KEYS = ("origins", *(f.name for f in fields(Chip) if f.name != "name"))
NOT_PUBLISHED = "not published"
PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}


@dataclass(frozen=True)
class Origin:
    """The origin of constants; see :class:`neuro.energy.chip.Range`."""

    process: str
    condition: str
    source: str
    confidence: Confidence

    def __post_init__(self) -> None:
        if empty := [key for key, text in vars(self).items() if not text.strip()]:
            raise ValueError(f"{', '.join(empty)}: is empty; write it")


def _make_entry(*numbers: str, hint: Any = float) -> Any:
    """Return a dataclass for a constant in a file: these numbers, a unit and an origin."""
    parts: list[Any] = [(name, hint) for name in numbers]
    return make_dataclass("Entry", [*parts, ("unit", str), ("origin", str)], frozen=True)


_EXACT, _SPREAD = _make_entry("value"), _make_entry("nominal", "spread")
_BOUNDED = _make_entry("nominal", "low", "high")
_OPEN = _make_entry("nominal", "low", "high", hint=float | Literal["not published"])
_REFUSED = object.__new__(Constant)  # stands for a wrong constant in a refused chip


class ChipError(ValueError):
    """A file does not describe a chip; ``problems`` lists each reason with its cure."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join([f"{path} describes no chip:", *problems]))
        self.problems = problems


def load_chips() -> Mapping[str, Chip]:
    """Return all chips of the folder ``chips/``, by name, in alphabetical order."""
    return _load_folder(FOLDER)


@cache
def _load_folder(folder: Path) -> Mapping[str, Chip]:
    return MappingProxyType({p.stem: read_chip(p) for p in sorted(folder.glob("*.toml"))})


def find_chip(name: str, others: Iterable[str] = ()) -> Chip:
    """Return a chip, given its name in the folder ``chips/`` or the path of another file.

    others: names of other chips that the caller takes, for the messages.

    Raises:
        TypeError: the argument is not a name.
        ValueError: there is no such chip or file, or the file has the name of a chip in the
            folder.
        ChipError: see :func:`read_chip`.
    """
    if not isinstance(name, str | Path):
        raise make_type_error("a chip", "a name or a file", name, 'for example "loihi1"')
    chips, path = load_chips(), Path(name)
    if name in chips:
        return chips[name]
    if path.suffix == ".toml" and not path.is_file():
        raise ValueError(
            f"{path}: no such file; give the path of a chip file, or one of the chips "
            f"{', '.join([*chips, *others])}; a copy of {FOLDER / 'loihi1.toml'} is a start"
        )
    if path.suffix != ".toml":
        raise ValueError(
            f"no chip {name!r}; there are {', '.join([*chips, *others])}, or give the path of "
            "a chip file that ends in .toml"
        )
    if path.stem in chips and path.resolve().parent != FOLDER.resolve():
        raise ValueError(f"{path}: there is a chip {path.stem} already; rename the file")
    return read_chip(path)


def read_chip(path: Path) -> Chip:
    """Return the chip that a file describes.

    Raises:
        ChipError: lists unknown keys, missing values, wrong units, ranges out of order and all
            other errors, each with its cure.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, or not UTF-8
        raise ChipError(path, [f"it is not TOML: {error}; mend that place"]) from error
    reader = ChipFileReader()
    chip = reader.read(path.stem, content)
    if chip is None or reader.problems:
        raise ChipError(path, reader.problems)
    return chip


@dataclass(kw_only=True, eq=False)
class ChipFileReader:
    """Reads one file and notes every problem; other kinds of chips use it too."""

    origins: dict[str, Origin | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def convert(self, value: Any, hint: Any, where: str = "") -> Any:
        """Convert a value to a type; return None if there are problems."""
        try:
            return convert(value, hint, where)
        except SchemaError as error:
            self.problems += error.problems
            return None

    def read(self, name: str, content: dict[str, Any]) -> Chip | None:
        """Return the chip, or None if there are problems."""
        own = {k: v.strip() if isinstance(v, str) else v for k, v in content.items()}
        self.problems += [f"{key}: is empty; write it" for key in own if own[key] == ""]
        for key in own:
            self.check_name(key, "key", key, KEYS)
        self.read_origins(own.pop("origins", {}))
        base = self.read_base(own["base"]) if "base" in own else None
        if "base" in own and base is None:  # noted; any other tells what else is wrong
            base = load_chips()["loihi1"]
        # Two chips with the same title could not be distinguished in a table.
        inherited = {**vars(base), "title": f"{base.title}: {name}"} if base else {}
        values = {**inherited, **{key: own[key] for key in KEYS if key in own}}
        values |= {"name": name, "base": base.name if base else ""}
        if "barrier" in own:
            values["barrier"] = self.read_barriers(own["barrier"])
        for key, kind in TABLES.items():
            table = own.get(key, {})
            if isinstance(table, dict):
                constants = vars(inherited[key]) if base else {}
                values[key] = {**constants, **self.read_table(key, kind, table)}
        before = len(self.problems)
        chip: Chip | None = self.convert(values, Chip)
        self.problems[before:] = [
            f'{p}; write it, or name a base, as in base = "loihi1"'
            if p.endswith(": is missing") and base is None
            else p
            for p in self.problems[before:]
        ]
        if chip and not self.problems:
            self.check_barriers(chip.barrier, chip.time.sync)
        return chip

    def read_origins(self, table: Any) -> None:
        """Remember the origins of constants, by name."""
        for key, origin in (self.convert(table, dict[str, Any], "origins") or {}).items():
            self.origins[key] = self.convert(origin, Origin, f"origins.{key}")

    def read_base(self, name: Any) -> Chip | None:
        """Return the chip on which this file is based."""
        paths = {
            path.stem: path
            for path in sorted(FOLDER.glob("*.toml"))
            if "base" not in tomllib.loads(path.read_text("utf-8"))
        }
        self.check_name("base", "chip with constants of its own", name, paths)
        return read_chip(paths[name]) if name in list(paths) else None

    def read_table(self, name: str, kind: Any, table: dict[str, Any]) -> dict[str, Any]:
        """Return the constants of one table of :data:`TABLES`."""
        hints = get_type_hints(kind, include_extras=True)
        return {
            key: self.read_constant(f"{name}.{key}", entry, *hints[key].__metadata__)
            if key in hints
            else entry
            for key, entry in table.items()
        }

    def read_constant(self, where: str, entry: Any, allowed: Allowed) -> Range:
        """Return a constant in SI units; without a nominal value it is a Range."""
        before = len(self.problems)
        kind = _EXACT if allowed.exact else _OPEN if allowed.may_lack else _BOUNDED
        if isinstance(entry, dict) and entry.get("nominal") != NOT_PUBLISHED:
            kind = _SPREAD if "spread" in entry and not allowed.exact else kind
        parts = self.convert(entry, kind, where)
        if parts is None:
            return _REFUSED
        numbers = {key: x for key, x in vars(parts).items() if key not in ("unit", "origin")}
        for key, x in numbers.items():
            self.check_number(f"{where}.{key}", x, allowed)
        if len(self.problems) == before:
            self.check_order(where, *convert_range(numbers))
        scales = {allowed.unit: 1.0}
        if not allowed.counts:
            scales = {prefix + allowed.unit: scale for prefix, scale in PREFIXES.items()}
        self.check_name(f"{where}.unit", "unit", parts.unit, scales)
        self.check_name(f"{where}.origin", "origin", parts.origin, self.origins)
        origin = self.origins.get(parts.origin)
        if origin is None or len(self.problems) > before:
            return _REFUSED
        low, value, high = convert_range(numbers)
        scale, about = scales[parts.unit], {k: v.strip() for k, v in vars(origin).items()}
        about |= {"low": low * scale, "high": high * scale, "unit": allowed.unit}
        return Range(**about) if value is None else Constant(value=value * scale, **about)

    def check_order(self, where: str, low: float, value: float | None, high: float) -> None:
        """Note a range that does not contain its nominal value."""
        if not low <= (low if value is None else value) <= high:
            nominal = NOT_PUBLISHED if value is None else f"{value:g}"
            self.problems.append(
                f"{where}: low {low:g}, nominal {nominal} and high {high:g} are not in order; "
                "widen the range"
            )

    def check_name(self, where: str, what: str, name: Any, known: Iterable[str]) -> None:
        """Note a name that is unknown."""
        if name not in list(known):
            names = ", ".join(known) or "none"
            self.problems.append(f"{where}: there is no {what} {name!r}; there are {names}")

    def check_number(self, where: str, x: float | int | str, allowed: Allowed) -> None:
        """Note a number that is too small or too large, or a count that is not whole."""
        if x == NOT_PUBLISHED and where.endswith(".nominal"):
            return
        part = isinstance(x, float) and allowed.counts and math.isfinite(x) and x % 1
        if isinstance(x, str) or part or not allowed.least <= x <= allowed.most:
            kind = "a whole number" if allowed.counts else "a number"
            cure = f"{kind} >= {allowed.least:g}"
            cure += ", or inf if nobody published it" if math.isinf(allowed.most) else ""
            self.problems.append(f"{where}: is {x!r}; give {cure}")

    def read_barriers(self, entries: Any) -> tuple[Barrier, ...]:
        """Return the barriers in the order of the file."""
        barriers = []
        for k, entry in enumerate(self.convert(entries, list[dict[str, Any]], "barrier") or ()):
            tiles, where = entry.pop("tiles", None), f"barrier[{k}]"
            if self.convert(tiles, int, f"{where}.tiles") is not None:
                self.check_number(f"{where}.tiles", tiles, Allowed("tiles", least=1))
            time: Any = self.read_constant(where, entry, Allowed("s", exact=True))
            barriers.append(Barrier(tiles, time))
        return tuple(barriers)

    def check_barriers(self, barriers: tuple[Barrier, ...], sync: Constant) -> None:
        """Note barriers that are out of order, or outside the range of ``time.sync``."""
        if not barriers:
            self.problems.append("barrier: is empty; give its time among one tile at least")
            return
        tiles, times = [b.tiles for b in barriers], [b.time.value for b in barriers]
        if tiles != sorted(set(tiles)) or times != sorted(times):
            self.problems.append(
                "barrier: tiles and times do not grow together; sort the list by tiles"
            )
        slack = 1e-12  # relative: 113 ns and 113e-9 s may differ in the last bit
        if min(times) < sync.low * (1 - slack) or max(times) > sync.high * (1 + slack):
            self.problems.append(
                f"barrier: {min(times):g} to {max(times):g} s are not within time.sync, "
                f"{sync.low:g} to {sync.high:g} s; widen time.sync"
            )


def convert_range(parts: Mapping[str, Any]) -> tuple[float, float | None, float]:
    """Return (low, nominal, high) of a constant, in the file's unit."""
    if "low" in parts:
        nominal = None if parts["nominal"] == NOT_PUBLISHED else parts["nominal"]
        return parts["low"], nominal, parts["high"]
    value, spread = parts.get("nominal", parts.get("value")), parts.get("spread", 0)
    return max(value * (1 - spread), 0.0), value, value * (1 + spread)
