"""A given placement: checked, and measured against the limits of a chip.

:func:`neuro.energy.place` chooses a placement. To compare with a simulator or a compiler, name
the core on which each neuron lies there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuro.arguments import as_numbers
from neuro.energy.chip import Chip
from neuro.energy.mapping import (
    LayerPlacement,
    Placement,
    count_out_axons,
    find_destinations,
    measure_demand,
)
from neuro.energy.synapses import compose
from neuro.graph import Graph
from neuro.graph.paths import Route

Cores = Mapping[str, Sequence[int] | np.ndarray]  # by population, of each neuron in C order


@dataclass(frozen=True, kw_only=True, eq=False)
class _Numbered:
    """The cores of a population. core_of: as given. where: the same, counted from 0."""

    core_of: np.ndarray
    where: np.ndarray


def place_as_given(
    graph: Graph, chip: Chip, cores: Cores, composed: Sequence[Route] | None = None
) -> Placement:
    """Return a placement in which each neuron lies where ``cores`` says.

    Cores are counted through all chips. A layer whose fullest core breaks a limit says so in
    its ``problem``.

    cores: for each population of the graph, the core of each of its neurons, in C order.
    composed: :func:`neuro.energy.synapses.compose` of the graph, where it is at hand.

    Raises:
        TypeError: a core is no number.
        ValueError: lists populations that are missing or unknown, cores that are no whole
            numbers >= 0, and cores that two populations share.
    """
    composed = compose(graph) if composed is None else composed
    numbered = _number(graph, cores)
    where = {name: n.where for name, n in numbered.items()}
    layers = {n: LayerPlacement(neurons=graph.size(n), use={}) for n in graph.inputs}
    for name, x in numbered.items():
        into = [r for r in composed if r.target == name]
        need = measure_demand(graph, into, x.where, chip.limits)
        axons = count_out_axons(graph, name, composed, where)
        need["out_axons"] = np.bincount(x.where, axons)
        most = {limit: getattr(chip.limits, limit).value for limit in need}
        layers[name] = LayerPlacement(
            neurons=len(x.where),
            first_core=int(x.core_of.min()),
            cores=int(x.where.max()) + 1,
            per_core=int(need["neurons"].max()),
            given=tuple(x.core_of.tolist()),
            use={limit: float(n.max()) / most[limit] for limit, n in need.items()},
            problem="; ".join(
                f"core {x.core_of[x.where == n.argmax()][0]} needs {n.max():g} {limit} of the "
                f"{most[limit]:g} of a core; spread the layer over more cores"
                for limit, n in need.items()
                if n.max() > most[limit]
            ),
        )
    used = [x.core_of for x in numbered.values()]
    return Placement(
        layers=layers,
        destinations=find_destinations(graph, composed),
        cores=sum(layer.cores for layer in layers.values()),
        chips=1 + math.floor(max(int(c.max()) for c in used) / chip.limits.cores.value),
    )


def _number(graph: Graph, cores: Cores) -> dict[str, _Numbered]:
    """Return the cores of each population, checked."""
    numbered, owner, problems = {}, dict[int, str](), list[str]()
    problems += [
        f"{name}: no population of the chip's part; there are {', '.join(graph.populations)}"
        for name in cores
        if name not in graph.populations
    ]
    for name in graph.populations:
        core_of = as_numbers(f"cores of {name}", cores.get(name, ())).ravel()
        if len(core_of) != graph.size(name):
            problems.append(
                f"{name}: has {graph.size(name)} neurons, got {len(core_of)} cores; give one "
                "for each neuron, in C order"
            )
            continue
        if not ((core_of >= 0) & (core_of < 2**31) & (core_of == np.floor(core_of))).all():
            problems.append(f"{name}: cores are whole numbers >= 0; count them from 0")
            continue
        used, where = np.unique(core_of.astype(np.int64), return_inverse=True)
        numbered[name] = _Numbered(core_of=used[where], where=where)
        shared = [int(core) for core in used if core in owner]
        if shared:
            problems.append(
                f"{name}: shares core {shared[0]} with {owner[shared[0]]}; a core holds one "
                "population here, give it another core"
            )
        owner |= dict.fromkeys(used.tolist(), name)
    if problems:
        raise ValueError("\n".join(["the placement does not suit this graph:", *problems]))
    return numbered
