"""What makes a LoihiProgram well formed: names, kinds, sizes and delays that fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lava_export.program import LoihiProgram, Population


class ProgramError(ValueError):
    """A program, or a stimulus for one, that does not hold together."""


def problems_of(program: LoihiProgram) -> list[str]:
    """Return what is wrong with names, kinds, sizes and delays."""
    found = []
    names = [p.name for p in program.populations]
    found += [f"{n}: the name is used twice" for n in sorted(set(names)) if names.count(n) > 1]
    found += [
        f"{p.name}: a lif has hard reset, no bias, no adaptation and one du, dv, vth for "
        "all neurons; make its kind alif"
        for p in program.populations
        if p.kind == "lif" and not _is_stock(p)
    ]
    for c in program.connections:
        where = f"connection {c.name}"
        lost = [n for n in (c.source, c.target) if n not in names]
        if lost:
            found.append(f"{where}: no population {lost[0]!r}; there are {', '.join(names)}")
            continue
        source, target = program[c.source], program[c.target]
        if c.in_size != source.size or math.prod(c.out_shape) != target.size:
            found.append(
                f"{where}: maps {c.in_size} to {math.prod(c.out_shape)} neurons, but "
                f"{c.source} has {source.size} and {c.target} has {target.size}"
            )
        if c.extra < 0 or program.delay(c) < 0:
            found.append(
                f"{where}: extra = {c.extra} with lags {source.lag} and {target.lag} reaches "
                "into the future; raise the lag of the target"
            )
    return found


def _is_stock(p: Population) -> bool:
    one = p.du.size == p.dv.size == p.vth.size == 1
    return one and p.hard and not p.beta.any() and not p.bias_mant.any()
