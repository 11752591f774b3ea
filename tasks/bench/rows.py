"""A row of a benchmark: ours, theirs, their ratio, and the conditions of both."""

import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    case: the work that both did. subject: the part of neuro. peer: what it is compared with.
    unit: of ``ours`` and ``theirs``, which are None if not measured; ``note`` then says why.
    ratio: > 1 if neuro is better, unless the benchmark says otherwise.
    conditions: everything that the numbers depend on; "target" is the smallest ratio that we
    aim for.
    """

    case: str
    subject: str
    peer: str
    unit: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    note: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Whether the ratio reaches its target; None if either is missing."""
        target = self.conditions.get("target")
        return None if target is None or self.ratio is None else self.ratio >= target


def find_ratio(ours: float | None, theirs: float | None, better: str = "lower") -> float | None:
    """Return the ratio of ours and theirs, > 1 if ours is better.

    Returns None for a division by zero, or if one value is NaN or None (not measured).
    """
    if ours is None or theirs is None:
        return None
    above, below = (ours, theirs) if better == "higher" else (theirs, ours)
    return above / below if below > 0 and not math.isnan(above) else None


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows as a list in JSON, atomically."""
    from neuro.io.store import write_bytes  # torch: not in measuring processes

    text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode())


def list_versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python, of neuro and of some packages."""
    versions = {"python": platform.python_version()}
    for package in ("neuro", "numba", *packages):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    return versions


def name_processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
