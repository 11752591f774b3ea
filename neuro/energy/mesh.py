"""A search for the positions of cores on the mesh that keeps the ways of messages short.

A quadratic assignment: each core of a placement gets its own slot (a core of the hardware),
such that this sum is small:

    sum over pairs  messages * (|dx| e_x + |dy| e_y + |dchip| e_crossing) .

Crossings from chip to chip cost most, so the same search cuts a network over chips where little
crosses. It starts from the given slots, exchanges two slots at a time by simulated annealing,
and then makes every exchange that helps until there is none. It is seeded, and its result is
never worse than its start. Axes: K cores, P slots, E pairs of cores that send to each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from neuro.energy.chip import Chip
from neuro.energy.traffic import Sent, locate_cores
from neuro.ops.jit import kernel

PROPOSALS = 1_000_000  # exchanges tried; with many cores, more
PROPOSALS_OF_CORE = 1000
MOST_PROPOSALS = 4_000_000
MOST_PAIRS = 4_000_000  # pairs of cores and slots; beyond, exchanges are only tried at random
HOTTEST, COLDEST = 0.5, 0.01  # temperatures, relative to the mean |change| of an exchange


@dataclass(frozen=True, kw_only=True, eq=False)
class CoreFlows:
    """Messages between cores, both directions together, and messages that enter at slot 0.

    indptr, indices, messages: row k lists the partners of core k.
    entering: messages of the Inputs to each core.
    """

    indptr: Int[np.ndarray, " K1"]
    indices: Int[np.ndarray, " E"]
    messages: Float[np.ndarray, " E"]
    entering: Float[np.ndarray, " K"]


def gather_flows(
    sent: Mapping[tuple[str, str], Sent], inputs: Sequence[str], cores: int
) -> CoreFlows:
    """Return the flows of a placement whose cores are numbered 0, 1, ... ``cores`` - 1.

    sent: result of :func:`neuro.energy.traffic.count_sent` for the placement.
    """
    entering = np.zeros(cores)
    rows, columns, weights = [], [], []
    for (source, _), x in sent.items():
        if source in inputs:
            entering[x.cores] += x.messages.sum(0)
            continue
        home, target = (a.ravel() for a in np.meshgrid(x.home, x.cores, indexing="ij"))
        some = (x.messages.ravel() > 0) & (home != target)
        rows += [home[some], target[some]]
        columns += [target[some], home[some]]
        weights += [x.messages.ravel()[some]] * 2
    if not rows:
        none = np.zeros(0, np.int64)
        return CoreFlows(
            indptr=np.zeros(cores + 1, np.int64),
            indices=none,
            messages=none.astype(float),
            entering=entering,
        )
    row, column = np.concatenate(rows), np.concatenate(columns)
    pair, where = np.unique(row * cores + column, return_inverse=True)
    return CoreFlows(
        indptr=np.searchsorted(pair // cores, np.arange(cores + 1)),
        indices=pair % cores,
        messages=np.bincount(where, np.concatenate(weights)),
        entering=entering,
    )


def choose_slots(
    flows: CoreFlows, slots: Int[np.ndarray, " K"], allowed: int, chip: Chip, seed: int = 0
) -> Int[np.ndarray, " K"]:
    """Return the slot of each core, among the first ``allowed`` slots.

    slots: where the search starts; each slot may be taken only once.
    """
    cores, rng = len(slots), np.random.default_rng(seed)
    if not (flows.messages.any() or flows.entering.any()):
        return slots
    energy = chip.energy
    step = np.array([energy.hop_x.value, energy.hop_y.value, energy.crossing.value])
    mesh = _Mesh(
        flows.indptr.astype(np.int64),
        flows.indices.astype(np.int64),
        flows.messages,
        flows.entering,
        locate_cores(np.arange(allowed), chip) * step,  # sums of distances are joules
    )
    number = min(max(PROPOSALS, PROPOSALS_OF_CORE * cores), MOST_PROPOSALS)
    best = _Lying(slots.astype(np.int64), np.full(allowed, -1, np.int64))
    best.holder[best.slot] = np.arange(cores)
    _anneal(
        mesh,
        _Lying(best.slot.copy(), best.holder.copy()),
        best.slot,
        rng.integers(0, cores, number),
        rng.integers(0, allowed, number),
        rng.random(number),
    )
    best.holder[:] = -1
    best.holder[best.slot] = np.arange(cores)
    if cores * allowed <= MOST_PAIRS:
        _improve(mesh, best)
    return best.slot


class _Mesh(NamedTuple):
    """The flows of :class:`CoreFlows`, and the positions of all slots of the mesh."""

    indptr: np.ndarray
    indices: np.ndarray
    messages: np.ndarray
    entering: np.ndarray
    places: np.ndarray


class _Lying(NamedTuple):
    """The slot of each core, and the core on each slot or -1."""

    slot: np.ndarray
    holder: np.ndarray


@kernel
def _distance(places: np.ndarray, a: int, b: int) -> float:
    total = 0.0
    for axis in range(3):
        total += abs(places[a, axis] - places[b, axis])
    return total


@kernel
def _move(mesh: _Mesh, slots: np.ndarray, core: int, other: int, new: int) -> float:
    """Return the change if a core moves; messages to ``other``, which moves too, stay equal."""
    old = slots[core]
    change: float = mesh.entering[core] * (
        _distance(mesh.places, new, 0) - _distance(mesh.places, old, 0)
    )
    for e in range(mesh.indptr[core], mesh.indptr[core + 1]):
        partner = mesh.indices[e]
        if partner != other:
            at = slots[partner]
            further = _distance(mesh.places, new, at) - _distance(mesh.places, old, at)
            change += mesh.messages[e] * further
    return change


@kernel
def _exchange(mesh: _Mesh, lying: _Lying, core: int, new: int) -> float:
    """Return the change if a core takes a slot and the slot's holder takes the core's."""
    other = lying.holder[new]
    change = _move(mesh, lying.slot, core, other, new)
    if other >= 0:
        change += _move(mesh, lying.slot, other, core, lying.slot[core])
    return change


@kernel
def _take(lying: _Lying, core: int, new: int) -> None:
    other, old = lying.holder[new], lying.slot[core]
    lying.holder[old], lying.holder[new], lying.slot[core] = other, core, new
    if other >= 0:
        lying.slot[other] = old


@kernel
def _anneal(
    mesh: _Mesh,
    lying: _Lying,
    best: np.ndarray,
    cores: np.ndarray,
    slots: np.ndarray,
    chance: np.ndarray,
) -> None:
    """Exchange at random at falling temperature; ``best`` becomes the cheapest state met."""
    number = len(cores)
    first = min(number, 1000)
    mean = 0.0
    for i in range(first):
        mean += abs(_exchange(mesh, lying, cores[i], slots[i])) / first
    cost, least = 0.0, 0.0
    for i in range(number):
        change = _exchange(mesh, lying, cores[i], slots[i])
        heat = mean * HOTTEST * (COLDEST / HOTTEST) ** (i / number)
        if change <= 0 or chance[i] < np.exp(-change / heat):
            _take(lying, cores[i], slots[i])
            cost += change
            if cost < least - 1e-9 * mean:
                least = cost
                best[:] = lying.slot


@kernel
def _improve(mesh: _Mesh, lying: _Lying) -> None:
    """Exchange as long as an exchange helps."""
    farthest = 0.0
    for p in range(len(mesh.places)):
        farthest = max(farthest, _distance(mesh.places, p, 0))
    least = 1e-12 * farthest * (mesh.messages.sum() + mesh.entering.sum())  # within rounding
    improved = True
    while improved:
        improved = False
        for core in range(len(lying.slot)):
            for slot in range(len(lying.holder)):
                own = slot == lying.slot[core]
                if not own and _exchange(mesh, lying, core, slot) < -least:
                    _take(lying, core, slot)
                    improved = True
