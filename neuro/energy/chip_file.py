"""Chips as files: finds them, reads them, and refuses one with all that is wrong in it.

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

``spread = 0.12`` in place of low and high is a range of 12 % on both sides. A limit of ``inf``
is not published, and not checked. Of the host's power ``nominal = "not published"`` is allowed,
with low and high. A file with a base gives only what differs from that chip; all else, limits
included, is as there. Without a title of its own it has that of the base with the name of the
file behind it.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from neuro.arguments import make_type_error
from neuro.energy.chip import (
    Allowed,
    Barrier,
    Chip,
    ChipLimits,
    ChipPower,
    OperationEnergies,
    OperationTimes,
)
from neuro.energy.constants import Confidence, Constant, Range

FOLDER = Path(__file__).with_name("chips")
TABLES: Mapping[str, type] = {
    "energy": OperationEnergies,
    "time": OperationTimes,
    "power": ChipPower,
    "limits": ChipLimits,
}
TRUTHS = ("programmable", "charged_is_active")
KEYS = ("title", "description", "hardware", *TRUTHS, "base", "barrier", "origins")
ORIGIN = ("process", "condition", "source", "confidence")
NOT_PUBLISHED = "not published"
PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}


class ChipError(ValueError):
    """A file that describes no chip; ``problems`` lists each reason and cure."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join([f"{path} describes no chip:", *problems]))
        self.problems = problems


def load_chips() -> Mapping[str, Chip]:
    """Return every chip of the folder ``chips/``, by name, in alphabetical order."""
    return _load_folder(FOLDER)


@cache
def _load_folder(folder: Path) -> Mapping[str, Chip]:
    return MappingProxyType({p.stem: read_chip(p) for p in sorted(folder.glob("*.toml"))})


def find_chip(name: str) -> Chip:
    """Return a chip by its name in the folder ``chips/``, or by the path of another file.

    Raises:
        TypeError: it is no name.
        ValueError: there is no such chip or file, or it has the name of one in the folder.
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
            f"{', '.join(chips)}; a copy of {FOLDER / 'loihi1.toml'} is a start"
        )
    if path.suffix != ".toml":
        raise ValueError(
            f"no chip {name!r}; there are {', '.join(chips)}, or give the path of a chip file "
            "that ends in .toml"
        )
    if path.stem in chips and path.resolve().parent != FOLDER.resolve():
        raise ValueError(f"{path}: there is a chip {path.stem} already; rename the file")
    return read_chip(path)


def read_chip(path: Path) -> Chip:
    """Return the chip that a file describes.

    Raises:
        ChipError: lists unknown keys, missing values, units that do not fit, ranges out of
            order and all else that is wrong, each with its cure.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or no UTF-8
        raise ChipError(path, [f"it is not TOML: {error}; mend that place"]) from error
    reader = _Reader(path=path, given=given)
    chip = reader.read()
    if chip is None:
        raise ChipError(path, reader.problems)
    return chip


@dataclass(kw_only=True, eq=False)
class _Reader:
    """Reads one file. Its methods return None for what is wrong, and note the problem."""

    path: Path
    given: Mapping[str, Any]
    base: Chip | None = None
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def read(self) -> Chip | None:
        """Return the chip; None if there are problems."""
        self.check_keys("the file", self.given, (*KEYS, *TABLES))
        self.base = self.read_base()
        for name, origin in self.table("origins").items():
            self.origins[name] = self.read_origin(f"origins.{name}", origin)
        values: dict[str, Any] = {
            "title": self.read_title(),
            **{
                key: self.inherited(key) or self.read_text(key, self.given)
                for key in ("description", "hardware")
            },
            **{key: self.read_truth(key) for key in TRUTHS},
            "barrier": self.inherited("barrier") or self.read_barriers(),
        }
        values |= {name: self.read_table(name, kind) for name, kind in TABLES.items()}
        if not self.problems:
            self.check_barriers(values["barrier"], values["time"].sync)
        if self.problems:
            return None
        return Chip(name=self.path.stem, base=self.base.name if self.base else "", **values)

    def inherited(self, key: str) -> Any:
        """Return the value of the base where the file gives none of its own."""
        return None if key in self.given or self.base is None else getattr(self.base, key)

    def read_title(self) -> str | None:
        """Return the title; two chips of one title could not be told apart in a table."""
        title = self.inherited("title")
        return f"{title}: {self.path.stem}" if title else self.read_text("title", self.given)

    def read_base(self) -> Chip | None:
        """Return the chip that the file starts from."""
        if "base" not in self.given:
            return None
        own = {
            path.stem: path
            for path in sorted(FOLDER.glob("*.toml"))
            if "base" not in tomllib.loads(path.read_text("utf-8"))
        }
        if self.given["base"] in list(own):
            return read_chip(own[self.given["base"]])
        self.problems.append(
            f"base: no chip {self.given['base']!r} with constants of its own; "
            f"there are {', '.join(own)}"
        )
        return None

    def read_text(self, key: str, table: Mapping[str, Any], where: str = "") -> str | None:
        """Return a value that is text."""
        value = table.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.problems.append(f"{where}{key}: is missing, or no text; give it in quotes")
        return None

    def read_truth(self, key: str) -> bool | None:
        """Return a value that is true or false."""
        value = self.given.get(key, self.inherited(key))
        if isinstance(value, bool):
            return value
        self.problems.append(f"{key}: is missing, or no truth value; give true or false")
        return None

    def table(self, key: str) -> Mapping[str, Any]:
        """Return a table of the file, empty if it has none."""
        value = self.given.get(key, {})
        if isinstance(value, dict):
            return value
        self.problems.append(f"{key}: is {value!r}, no table; begin it with [{key}]")
        return {}

    def read_origin(self, where: str, given: Any) -> dict[str, Any]:
        """Return process, condition, source and confidence."""
        if not isinstance(given, dict):
            self.problems.append(f"{where}: is {given!r}, no table; begin it with [{where}]")
            return {}
        self.check_keys(where, given, ORIGIN)
        found = {key: self.read_text(key, given, f"{where}.") for key in ORIGIN}
        known = dict.fromkeys(get_args(Confidence))
        self.check_name(f"{where}.confidence: no", found["confidence"], known)
        return found

    def read_table(self, name: str, kind: Any) -> Any:
        """Return one of :data:`TABLES`."""
        table, found = self.table(name), {}
        hints = get_type_hints(kind, include_extras=True)
        self.check_keys(name, table, tuple(hints))
        for key, hint in hints.items():
            if key in table:
                (allowed,) = hint.__metadata__
                found[key] = self.read_constant(f"{name}.{key}", table[key], allowed)
            elif self.base is not None:
                found[key] = getattr(getattr(self.base, name), key)
            else:
                self.problems.append(f"{name}.{key}: is missing; give it with its origin")
        return None if self.problems else kind(**found)

    def read_constant(self, where: str, given: Any, allowed: Allowed) -> Range | None:
        """Return a constant in SI units; one without a nominal value is a Range."""
        numbers = ["value"] if allowed.exact else ["nominal", "low", "high"]
        if numbers[1:] and isinstance(given, dict) and "spread" in given:
            lacks = given.get("nominal") == NOT_PUBLISHED
            numbers = numbers if lacks else ["nominal", "spread"]
        keys, known = (*numbers, "unit", "origin"), len(self.problems)
        if not isinstance(given, dict):
            self.problems.append(f"{where}: is {given!r}; give {{ {', '.join(keys)} }}")
            return None
        self.check_keys(where, given, keys)
        self.problems += [f"{where}: {k} is missing; give it" for k in keys if k not in given]
        for key in (key for key in numbers if key in given):
            self.check_number(f"{where}: {key}", given[key], allowed)
        scales = {allowed.unit: 1.0}
        if not allowed.counts:
            scales = {prefix + allowed.unit: scale for prefix, scale in PREFIXES.items()}
        self.check_name(f"{where}: no unit", given.get("unit"), scales)
        self.check_name(f"{where}: no origin", given.get("origin"), self.origins)
        if len(self.problems) > known:
            return None
        low, value, high = convert_range(given)
        self.check_order(where, low, value, high)
        scale, origin = scales[given["unit"]], self.origins[given["origin"]]
        if self.problems:
            return None
        about = {"low": low * scale, "high": high * scale, "unit": allowed.unit, **origin}
        return Range(**about) if value is None else Constant(value=value * scale, **about)

    def check_order(self, where: str, low: float, value: float | None, high: float) -> None:
        """Note a range that does not contain its nominal value, if it has one."""
        if not low <= (low if value is None else value) <= high:
            nominal = NOT_PUBLISHED if value is None else f"{value:g}"
            self.problems.append(
                f"{where}: low {low:g}, nominal {nominal} and high {high:g} are not in order; "
                "widen the range"
            )

    def check_name(self, told: str, name: Any, known: Mapping[str, Any]) -> None:
        """Note a name that is given and not known."""
        if name is not None and name not in list(known):
            self.problems.append(f"{told} {name!r}; there are {', '.join(known) or 'none'}")

    def check_number(self, where: str, x: Any, allowed: Allowed) -> None:
        """Note a value that is no number, no whole one, or too small or large."""
        lacks = allowed.may_lack and where.endswith("nominal")
        if lacks and x == NOT_PUBLISHED:
            return
        kind = "a whole number" if allowed.counts else "a number"
        number = isinstance(x, int | float) and not isinstance(x, bool)
        if number and allowed.counts and math.isfinite(x) and x % 1:
            number = False
        if not number or not allowed.least <= x <= allowed.most:
            unknown = ", or inf if nobody published it" if math.isinf(allowed.most) else ""
            unknown = f', or "{NOT_PUBLISHED}"' if lacks else unknown
            self.problems.append(f"{where} is {x!r}; give {kind} >= {allowed.least:g}{unknown}")

    def read_barriers(self) -> tuple[Barrier, ...]:
        """Return the list of barriers."""
        given = self.given.get("barrier")
        if not isinstance(given, list) or not given:
            self.problems.append(
                "barrier: is missing, or no list; give [{ tiles, value, unit, origin }, ...]"
            )
            return ()
        found = []
        for k, entry in enumerate(given):
            rest = dict(entry) if isinstance(entry, dict) else {}
            tiles = rest.pop("tiles", None)
            self.check_number(f"barrier {k}: tiles", tiles, Allowed("tiles", least=1))
            time = self.read_constant(f"barrier {k}", rest, Allowed("s", exact=True))
            if isinstance(time, Constant):
                found.append(Barrier(tiles, time))
        return tuple(found)

    def check_barriers(self, barriers: tuple[Barrier, ...], sync: Constant) -> None:
        """Note barriers out of order, or outside the range of ``time.sync``."""
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

    def check_keys(self, where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
        """Note every key that has no meaning."""
        self.problems += [
            f"{where}: no key {key!r}; there are {', '.join(known)}"
            for key in given
            if key not in known
        ]


def convert_range(given: Mapping[str, Any]) -> tuple[float, float | None, float]:
    """Return (low, nominal, high) of a constant, in the unit of the file."""
    if "low" in given:
        nominal = None if given["nominal"] == NOT_PUBLISHED else float(given["nominal"])
        return float(given["low"]), nominal, float(given["high"])
    value, spread = float(given.get("nominal", given.get("value"))), given.get("spread", 0)
    return max(value * (1 - spread), 0.0), value, value * (1 + spread)
