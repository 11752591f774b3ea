"""Test vectors of a LoihiProgram: stimuli, with every spike and state of the reference.

Axes of a raster: T ticks, 1 sample, N neurons.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lava_export.population import STATE_LIMIT, SUMS, Population, ProgramError
from lava_export.program import LoihiProgram
from lava_export.reference import (
    Tick,
    decay,
    iterate_ticks,
    make_arrival,
    make_rest_state,
    make_weighted_sum,
)

MOST_NUMBERS = 2**20  # of one state of all neurons over all ticks
LONGEST = 40
EDGES = ("wrap", "clip", "threshold", "clear", "delay")


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A stimulus of one sample, and the run of the reference.

    reaches: the entries of :data:`EDGES` that occur in it; "threshold": v equals the threshold,
        which does not fire.
    """

    name: str
    rasters: Mapping[str, np.ndarray]
    ticks: list[Tick]
    reaches: tuple[str, ...]


def make_vectors(program: LoihiProgram) -> tuple[Vector, ...]:
    """Return a random test vector, and the one of some others that reaches the most edges.

    Raises:
        ProgramError: the program runs no stimulus.
    """
    ticks = count_ticks(program)
    tried: list[Vector] = []
    for name, rasters in _iterate_stimuli(program, ticks):
        try:
            done = list(iterate_ticks(program, rasters, ticks))
        except ProgramError as error:  # a sum that is too large for its register
            refused = error
            continue
        reached = list_edges(program, rasters, done)
        tried.append(Vector(name=name, rasters=rasters, ticks=done, reaches=reached))
    if not tried:
        raise ProgramError(f"no test vector runs: {refused}")
    first, *others = tried
    best = max(others, key=lambda vector: len(vector.reaches), default=first)
    return (first,) if best is first else (first, best)


def count_ticks(program: LoihiProgram) -> int:
    """Return the length of the test vectors: short for large programs, beyond every delay."""
    longest = max(map(program.longest_delay, program.connections), default=0)
    neurons = sum(p.size for p in program.populations)
    wanted = max(LONGEST, longest + 8)
    return min(wanted, max(MOST_NUMBERS // neurons, 4), program.ticks or wanted)


def _iterate_stimuli(
    program: LoihiProgram, ticks: int
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield random stimuli by name: of several densities, some with silence at the end."""
    inputs = [p for p in program.populations if p.kind == "input"]
    for seed, share in enumerate((0.15, 0.03, 0.4, 1.0)):
        for size in (1.0, 1 / 64) if any(p.signed for p in inputs) else (1.0,):
            rng = np.random.default_rng(seed)
            rasters = {p.name: _draw(p, rng, (ticks, 1, p.size), share, size) for p in inputs}
            if seed % 2:
                for raster in rasters.values():
                    raster[2 * ticks // 3 :] = 0
            yield f"random, {share:.0%} of the inputs, {size:g} of their range", rasters


def _draw(
    p: Population, rng: np.random.Generator, shape: tuple[int, ...], share: float, size: float
) -> np.ndarray:
    fires = rng.random(shape) < share
    if not p.signed:
        return fires
    low, high = (int(limit * size) for limit in p.messages)
    low, high = min(low, -1), max(high, 1)
    return (fires * rng.integers(low, high, shape, endpoint=True)).astype(np.int32)


def list_edges(
    program: LoihiProgram, rasters: Mapping[str, np.ndarray], ticks: list[Tick]
) -> tuple[str, ...]:
    """Return which of :data:`EDGES` a run of one sample reaches."""
    found: set[str] = set()
    outs = [
        {**tick.out, **{k: r[t] for k, r in rasters.items()}} for t, tick in enumerate(ticks)
    ]
    for c in filter(program.longest_delay, program.connections):
        largest = program[c.source].largest
        arrive, at_once = make_arrival(program, c), make_weighted_sum(c, largest)
        for t, out in enumerate(outs):
            x = arrive(outs[: t + 1])
            late = (x != 0) & (x != at_once(out[c.source]))
            found |= {"delay"} if late.any() else set()
    for p in program.populations:
        if p.kind != "input" and p.kind not in SUMS:
            found |= _find_edges(program, p, outs, ticks)
    return tuple(edge for edge in EDGES if edge in found)


def _find_edges(
    program: LoihiProgram, p: Population, outs: list[dict[str, np.ndarray]], ticks: list[Tick]
) -> set[str]:
    """Return the edges that one population reaches."""
    found: set[str] = set()
    incoming = [make_arrival(program, c) for c in program.into(p.name)]
    rest: Any = make_rest_state(p, 1)
    before = rest
    for t, tick in enumerate(ticks):
        state: Any = tick.states[p.name]
        if p.clears(t):
            found |= {"clear"} if any(x.any() for x in before[:3]) else set()
            before = rest
        x = sum(arrive(outs[: t + 1]) for arrive in incoming)
        u = decay(before.u, 4095 - p.du.astype(np.int64)) + x * 64
        v = (
            decay(before.v, 4096 - p.dv.astype(np.int64))
            + state.u
            + p.bias * (t >= p.bias_after)
        )
        a = decay(before.a, 4096 - p.da.astype(np.int64))
        found |= {"wrap"} if (u != state.u).any() else set()
        found |= {"clip"} if (np.abs(v) >= STATE_LIMIT).any() else set()
        at = v == p.vth.astype(np.int64) * 64 + a
        found |= {"threshold"} if p.fires and at.any() else set()
        before = state
    return found
