"""Populations and the connections between them: what programs in any integers share."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from lava_export.population import ProgramError

P = TypeVar("P")
C = TypeVar("C")


class Wiring(Generic[P, C]):
    """The look-ups of a program. ticks: length of the longest run; None: any length."""

    populations: tuple[P, ...]
    connections: tuple[C, ...]
    ticks: int | None

    def __getitem__(self, name: str) -> P:
        for p in self.populations:
            if p.name == name:  # type: ignore[attr-defined]
                return p
        names = ", ".join(p.name for p in self.populations)  # type: ignore[attr-defined]
        raise ProgramError(f"the program has no population {name!r}; there are {names}")

    def into(self, name: str) -> tuple[C, ...]:
        """Return the connections that end at ``name``."""
        return tuple(c for c in self.connections if c.target == name)  # type: ignore[attr-defined]

    @property
    def latency(self) -> int:
        """Steps between the input's last tick and the last tick of the slowest population."""
        return max(p.lag for p in self.populations)  # type: ignore[attr-defined]


def list_problems_of_wiring(
    program: Any,
    kinds: tuple[str, ...],
    check_population: Callable[[Any], Iterable[str]],
    check_connection: Callable[[Any, Any], Iterable[str]],
) -> Iterator[str]:
    """Yield what is wrong with names, kinds and lags, and what both checks say of the parts."""
    names = [p.name for p in program.populations]
    if program.ticks is not None and program.ticks < 1:
        yield f"ticks is {program.ticks}; give one at least, or None for any number"
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"{name}: the name is used twice"
    if not any(p.kind == "input" for p in program.populations):
        yield "no population has kind input; a run needs one at least"
    for p in program.populations:
        if p.kind not in kinds:
            yield f"{p.name}: no kind {p.kind!r}; there are {', '.join(kinds)}"
        if p.kind == "input" and p.lag:
            yield f"{p.name}: an input with lag {p.lag}; inputs lead, their lag is 0"
        yield from check_population(p)
    for c in program.connections:
        unknown = [n for n in (c.source, c.target) if n not in names]
        if unknown:
            listed = ", ".join(names)
            yield f"connection {c.name}: no population {unknown[0]!r}; there are {listed}"
        else:
            yield from (f"connection {c.name}: {why}" for why in check_connection(program, c))
