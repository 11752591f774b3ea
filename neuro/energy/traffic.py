"""Messages from core to core, and their way across the mesh.

A spike is one message to each core that has a target of it. It moves along the mesh first in x,
then in y. Tiles are numbered column by column, and chips form a row. Spikes of an Input enter
at core 0. Axes: S cores of a source, K cores of a target.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from neuro.energy.chip import Chip
from neuro.energy.mapping import Placement
from neuro.energy.synapses import count_reached_cores, iterate_reached_cores
from neuro.graph.paths import Route


class Traffic(NamedTuple):
    """Messages, one per spike and core it goes to, and their hops.

    hops_x, hops_y: hops of all messages together.
    crossings: messages times chip borders.
    """

    messages: int = 0
    hops_x: int = 0
    hops_y: int = 0
    crossings: int = 0


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a source sends to a target over a whole run, by their cores.

    home, cores: numbers of the source's and target's cores, counted through all chips.
    fired: spikes of each core of the source.
    led: spikes of neurons that have a synapse to any target.
    messages: spikes that reach a neuron on a core of the target.
    """

    home: Int[np.ndarray, " S"]
    cores: Int[np.ndarray, " K"]
    fired: Int[np.ndarray, " S"]
    led: Int[np.ndarray, " S"]
    messages: Int[np.ndarray, "S K"]

    def cross_mesh(self, chip: Chip) -> tuple[Traffic, Traffic]:
        """Return the traffic, and an upper bound: every spike goes to all target cores."""
        away = locate_cores(self.home, chip)[:, None] - locate_cores(self.cores, chip)
        steps = np.insert(np.abs(away), 0, 1, axis=2)  # the message itself, then its hops
        sent = np.einsum("sk,skx->x", self.messages, steps)
        most = np.einsum("s,skx->x", self.fired, steps)
        return Traffic(*map(int, sent)), Traffic(*map(int, most))


def count_sent(
    spikes: Mapping[str, Int[np.ndarray, " _"]],
    composed: tuple[Route, ...],
    placement: Placement,
) -> dict[tuple[str, str], Sent]:
    """Return what each spiking source sends to each target, by (source, target).

    spikes: number of spikes of each neuron over the run, by Input and spiking population.
    """
    sent = {}
    for source, targets in placement.destinations.items():
        if source not in spikes:
            continue
        routes = {
            n: [r for r in composed if (r.source, r.target) == (source, n)] for n in targets
        }
        leads = np.zeros(len(spikes[source]), bool)
        for name, between in routes.items():
            one_core = np.zeros(placement.layers[name].neurons, np.int64)
            leads |= count_reached_cores(between, len(leads), one_core) > 0
        for name, between in routes.items():
            sent[source, name] = count_messages(
                spikes[source],
                leads,
                between,
                placement.layers[source].core_of,
                placement.layers[name].core_of,
            )
    return sent


def count_messages(
    spikes: Int[np.ndarray, " N"],
    leads: Bool[np.ndarray, " N"],
    routes: list[Route],
    home: Int[np.ndarray, " N"],
    core_of: Int[np.ndarray, " M"],
) -> Sent:
    """Return what one source sends to one target.

    leads: whether a neuron has a synapse to any target.
    routes: the connections between source and target.
    home, core_of: the core of each neuron of source and target.
    """
    own, group = np.unique(home, return_inverse=True)
    order = np.argsort(group, kind="stable")
    together = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)  # neurons by core
    cores, where = np.unique(core_of, return_inverse=True)
    messages = np.zeros((len(own), len(cores)), np.int64)
    for first, reached in iterate_reached_cores(routes, len(spikes), where):
        messages[:, first : first + reached.shape[1]] = [
            spikes[neurons] @ reached[neurons] for neurons in together
        ]
    fired, led = (
        np.array([x[neurons].sum() for neurons in together]) for x in (spikes, spikes * leads)
    )
    return Sent(home=own, cores=cores, fired=fired, led=led, messages=messages)


def add_traffic(parts: Iterable[Traffic]) -> Traffic:
    """Return the sum of several traffics."""
    return Traffic(*np.sum([Traffic(), *parts], axis=0).tolist())


def locate_cores(cores: Int[np.ndarray, " K"], chip: Chip) -> Int[np.ndarray, "K 3"]:
    """Return (x of its tile, y of its tile, chip) of every core.

    A chip starts in a new column, even after a chip whose last column is not full.
    """
    limits = chip.limits
    rows, per_chip = int(limits.tile_rows.value), int(limits.cores.value)
    columns = math.ceil(per_chip / (int(limits.tile_cores.value) * rows))
    which, core = np.divmod(cores, per_chip)
    tile = core // int(limits.tile_cores.value)
    return np.stack([which * columns + tile // rows, tile % rows, which], 1)
