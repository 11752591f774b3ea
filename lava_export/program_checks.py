"""What makes a LoihiProgram well formed: names, kinds, sizes, delays, all in one part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from neuro.routes import Wiring

if TYPE_CHECKING:
    from lava_export.program import Connection, LoihiProgram, Population

Kind = Literal["input", "lif", "alif", "li"]


class ProgramError(ValueError):
    """A program, or a stimulus for one, that does not hold together."""


def problems_of(program: LoihiProgram) -> list[str]:
    """Return what is wrong with names, kinds, sizes and delays."""
    names = [p.name for p in program.populations]
    found = [f"{n}: the name is used twice" for n in sorted(set(names)) if names.count(n) > 1]
    if not any(p.kind == "input" for p in program.populations):
        found.append("no population has kind input; a run needs one at least")
    found += [problem for p in program.populations for problem in _of_population(p)]
    ends = []
    for c in program.connections:
        lost = [n for n in (c.source, c.target) if n not in names]
        if lost:
            there = ", ".join(names)
            found.append(f"connection {c.name}: no population {lost[0]!r}; there are {there}")
            continue
        ends.append((c.source, c.target))
        found += [f"connection {c.name}: {problem}" for problem in _of_connection(program, c)]
    return found + in_one_part(names, ends)


def in_one_part(names: Iterable[str], ends: Iterable[tuple[str, str]]) -> list[str]:
    """Return the one problem of a network that falls apart: Lava would run its first part."""
    parts = [{n} for n in dict.fromkeys(names)]
    for pair in ends:
        joined = set[str]().union(*(part for part in parts if part & set(pair)))
        parts = [*(part for part in parts if not part & joined), joined]
    if len(parts) < 2:
        return []
    listed = "; ".join(", ".join(sorted(part)) for part in parts)
    return [f"nothing connects these parts: {listed}; split it into one graph for each part"]


def _of_population(p: Population) -> Iterator[str]:
    if p.kind not in get_args(Kind):
        yield f"{p.name}: no kind {p.kind!r}; there are {', '.join(get_args(Kind))}"
    if p.kind == "input" and p.lag:
        yield f"{p.name}: an input with lag {p.lag}; inputs lead, their lag is 0"
    for field in fields(p):
        values = getattr(p, field.name)
        if not isinstance(values, np.ndarray):
            continue
        if values.dtype.kind not in "iu":
            yield f"{p.name}: {field.name} is {values.dtype}; make it with program.integers"
        if values.shape not in ((1,), (p.size,)):
            yield (
                f"{p.name}: {field.name} has shape {values.shape}; give one number, or one for "
                f"each of the {p.size} neurons"
            )
    if p.kind == "lif" and not _is_stock(p):
        yield (
            f"{p.name}: a lif has hard reset, no bias, no adaptation and one du, dv, vth for "
            "all neurons; make its kind alif"
        )


def _of_connection(program: LoihiProgram, c: Connection) -> Iterator[str]:
    source, target = program[c.source], program[c.target]
    if source.kind == "li":
        yield f"{c.source} is a read-out and never fires; start from a lif or an alif"
    if target.kind == "input":
        yield f"{c.target} is an input and listens to nothing; end at a population"
    if c.weight.dtype.kind not in "iu":
        yield f"its weights are {c.weight.dtype}; make them with program.integers"
    if c.extra < 0 or program.delay(c) < 0:
        yield (
            f"extra = {c.extra} with lags {source.lag} and {target.lag} reaches into the "
            "future; raise the lag of the target"
        )
    axes = {"dense": 2, "conv": 4, "identity": 1, "sparse": 1}
    if c.kind not in get_args(Wiring):
        yield f"no kind {c.kind!r}; there are {', '.join(get_args(Wiring))}"
    elif c.weight.ndim != axes[c.kind]:
        yield f"{c.kind} weights have {axes[c.kind]} axes, these have shape {c.weight.shape}"
    elif c.kind == "sparse" and not _lists_synapses(c):
        yield (
            f"places of shape {c.places.shape} are no target and source of each of "
            f"{c.weight.size} weights within sizes {c.sizes}"
        )
    elif c.in_size != source.size or math.prod(c.out_shape) != target.size:
        yield (
            f"maps {c.in_size} to {math.prod(c.out_shape)} neurons, but {c.source} has "
            f"{source.size} and {c.target} has {target.size}"
        )


def _lists_synapses(c: Connection) -> bool:
    if c.places.shape != (2, c.weight.size) or len(c.sizes) != 2:
        return False
    least, most = c.places.min(1, initial=0), c.places.max(1, initial=-1)
    return bool((least >= 0).all() and (most < np.array(c.sizes)).all())


def _is_stock(p: Population) -> bool:
    one = p.du.size == p.dv.size == p.vth.size == 1
    return one and p.hard and not p.beta.any() and not p.bias_mant.any()
