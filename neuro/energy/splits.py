"""Ways to split the layers of a network over cores, and a search for the best combination.

A layer may be split over more cores than it needs: its slowest core then takes less time, and
chips leak for less time, but a spike is sent to more cores. A layer of channels and pixels may
also be split by rows and columns of its image: a spike through a convolution then reaches only
the cores near its pixel. Axes: T ticks, B samples, K cores of a layer, N neurons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from neuro.energy.chip import Chip
from neuro.energy.latency import (
    CoreShares,
    LayerWork,
    interpolate_barrier,
    time_layer,
    weigh_layer,
)
from neuro.energy.mapping import Placement, measure_demand
from neuro.energy.operations import Workload
from neuro.energy.synapses import count_reached_cores
from neuro.energy.traffic import count_messages, locate_cores
from neuro.graph import Graph
from neuro.graph.paths import Route

Goal = Literal["energy", "time"]
GOALS: tuple[Goal, ...] = ("energy", "time")
FINER = 1.25  # factor between successive numbers of cores that are tried
MOST_TICKS = 4096  # ticks x samples used to compare splits; the result is priced by all of them
MOST_THRESHOLDS = 64
MOST_BLOCKS = 200  # most splits of a layer by rows and columns
ROUNDS = 10


@dataclass(frozen=True, eq=False)
class Split:
    """A layer on its own K cores: the core of each neuron, in C order, counted from 0.

    parts: number of parts of its channels, rows and columns; () if neurons are split in C
        order.
    """

    where: Int[np.ndarray, " N"]
    parts: tuple[int, ...] = ()

    @cached_property
    def cores(self) -> int:
        """Number of cores."""
        return int(self.where.max()) + 1


@dataclass(frozen=True, eq=False)
class SplitCost:
    """The cost of a split of one layer, whatever the splits of other layers.

    messages: messages to each of its cores, by source.
    axons: number of cores that each neuron of a source reaches, by source.
    serve: seconds for synapses and arriving messages on its slowest core.
    update: seconds for the neurons on its fullest core.
    sending: seconds for the spikes of its fullest core if each were one message.
    """

    split: Split
    messages: Mapping[str, Int[np.ndarray, " K"]]
    axons: Mapping[str, Int[np.ndarray, " _"]]
    serve: Float[np.ndarray, "T B"]
    update: Float[np.ndarray, "T B"]
    sending: Float[np.ndarray, "T B"]


def list_splits(shape: Sequence[int], fewest: Split, most: int) -> list[Split]:
    """Return the splits of a layer that are worth trying, over up to ``most`` cores.

    fewest: the split to start from, which is part of the list.
    """
    size, cores = math.prod(shape), fewest.cores
    smallest, per_core = min(most, size), [-(-size // cores)]
    while cores < smallest:
        cores = min(max(cores + 1, math.floor(cores * FINER)), smallest)
        per_core.append(-(-size // cores))
    in_order = [Split(np.arange(size) // each) for each in dict.fromkeys(per_core[1:])]
    blocks = _list_blocks(shape, fewest.cores, most) if len(shape) == 3 else []
    return [
        fewest,
        *(split for split in in_order if split.cores > fewest.cores),
        *(Split(_deal_blocks(shape, parts), parts) for parts in blocks),
    ]


def _list_blocks(shape: Sequence[int], fewest: int, most: int) -> list[tuple[int, int, int]]:
    """Return numbers of parts of channels, rows and columns: a sample of all such splits."""
    channels, rows, columns = shape
    halved = dict.fromkeys(
        min(channels, 2**power) for power in range(channels.bit_length() + 1)
    )
    every = [
        (k, r, c)
        for r in range(1, rows + 1)
        for c in (r, r + 1)
        for k in halved
        if c <= columns and r * c > 1 and fewest <= k * r * c <= most
    ]
    every.sort(key=lambda parts: (math.prod(parts), parts))
    kept = np.linspace(0, len(every) - 1, min(len(every), MOST_BLOCKS)).round().astype(int)
    return [every[k] for k in kept]


def _deal_blocks(shape: Sequence[int], parts: Sequence[int]) -> Int[np.ndarray, " N"]:
    """Return the core of each neuron if each axis is cut into equal parts."""
    along = [np.arange(n) * p // n for n, p in zip(shape, parts, strict=True)]
    (k, r, c), (_, rows, columns) = np.meshgrid(*along, indexing="ij"), parts
    return np.asarray(((k * rows + r) * columns + c).ravel())


@dataclass(frozen=True, eq=False)
class SplitSearch:
    """A search over the splits of all layers of a network on one kind of chip.

    start: the placement to start from.
    chips: number of chips whose cores may be used.
    """

    graph: Graph
    work: Workload
    chip: Chip
    start: Placement
    chips: int
    options: Mapping[str, Sequence[SplitCost]] = field(init=False)

    def __post_init__(self) -> None:
        options = {name: self._list_options(name) for name in self.graph.populations}
        object.__setattr__(self, "options", options)

    @property
    def most_cores(self) -> int:
        """Number of cores of all chips."""
        return self.chips * int(self.chip.limits.cores.value)

    def _list_options(self, name: str) -> list[SplitCost]:
        """Return the splits of a layer that fit its cores, the split of the start first."""
        layer = self.start.layers[name]
        where = np.unique(layer.core_of, return_inverse=True)[1]
        into = [r for r in self.work.composed if r.target == name]
        others = sum(x.cores for n, x in self.start.layers.items() if n != name)
        most = self.most_cores - others
        splits = list_splits(self.graph.shapes[name], Split(where), most)
        if layer.problem:
            splits = splits[:1]
        work = _thin(weigh_layer(name, self.work, self.chip, "value"))
        return [
            self._price(name, split, work)
            for k, split in enumerate(splits)
            if k == 0 or self._fits(into, split)
        ]

    def _fits(self, into: Sequence[Route], split: Split) -> bool:
        need = measure_demand(self.graph, into, split.where, self.chip.limits)
        return all(x.max() <= getattr(self.chip.limits, k).value for k, x in need.items())

    def _price(self, name: str, split: Split, work: LayerWork) -> SplitCost:
        messages, axons, shares = {}, {}, []
        for source in work.arriving:
            routes = [r for r in self.work.composed if (r.source, r.target) == (source, name)]
            spikes = self.work.by_neuron[source]
            together = np.zeros(len(spikes), np.int64)
            every = np.ones(len(spikes), bool)
            sent = count_messages(spikes, every, routes, together, split.where)
            messages[source] = sent.messages[0]
            shares.append(messages[source] / max(int(spikes.sum()), 1))
            if source not in self.graph.inputs and np.isfinite(
                self.chip.limits.out_axons.value
            ):
                axons[source] = count_reached_cores(routes, len(spikes), split.where)
        neurons = np.bincount(split.where) / len(split.where)
        of_cores = CoreShares(
            neurons=neurons,
            sent=np.zeros(len(neurons)),
            messages=np.array(shares).reshape(len(shares), len(neurons)),
        )
        at_rest = work._replace(update=np.zeros(work.serve.shape))
        share = 0.0
        if name in self.work.by_neuron and self.work.by_neuron[name].any():
            fired = np.bincount(split.where, self.work.by_neuron[name])
            share = float(fired.max() / fired.sum())
        return SplitCost(
            split=split,
            messages=messages,
            axons=axons,
            serve=time_layer(at_rest, of_cores).total,
            update=neurons.max() * work.update,
            sending=share * work.sending,
        )

    def time_ticks(
        self, chosen: Mapping[str, SplitCost]
    ) -> dict[str, Float[np.ndarray, "T B"]]:
        """Return the seconds of each layer in each tick.

        Each spike is assumed to go to as many cores as the average spike of its layer.
        """
        sent = dict.fromkeys(chosen, 0.0)
        for cost in chosen.values():
            for source, messages in cost.messages.items():
                if source in sent:
                    spikes = int(self.work.by_neuron[source].sum())
                    sent[source] += float(messages.sum()) / max(spikes, 1)
        return {
            name: np.maximum(x.serve, x.update + sent[name] * x.sending)
            for name, x in chosen.items()
        }

    def judge(self, chosen: Mapping[str, SplitCost]) -> tuple[float, float]:
        """Return (those joules that splits change, seconds) per inference, cores in order."""
        times = np.max(list(self.time_ticks(chosen).values()), axis=0)
        busy = float(times.sum(0).mean())
        energy, first, firsts = self.chip.energy, 0, {}
        for name, cost in chosen.items():
            firsts[name], first = first, first + cost.split.cores
        places = locate_cores(np.arange(first), self.chip)
        tiles = -(-first // int(self.chip.limits.tile_cores.value))
        seconds = busy + interpolate_barrier(self.chip.barrier, tiles) * self.work.ticks
        step = np.array([energy.hop_x.value, energy.hop_y.value, energy.crossing.value])
        joules = 0.0
        for name, cost in chosen.items():
            own = places[firsts[name] : firsts[name] + cost.split.cores]
            for source, messages in cost.messages.items():
                if source in chosen:
                    begin = firsts[source]
                    home = places[begin : begin + chosen[source].split.cores]
                else:
                    home = places[:1]
                away = np.abs(home[:, None] - own).mean(0) @ step
                joules += float(messages @ (away + energy.message.value))
        chips = -(-first // int(self.chip.limits.cores.value))
        leak = self.chip.power.static.value * chips * seconds
        return joules / self.work.samples + leak, seconds

    def fits_together(self, chosen: Mapping[str, SplitCost]) -> bool:
        """Say whether the cores suffice, and their out-axons too if they did at the start."""
        if sum(x.split.cores for x in chosen.values()) > self.most_cores:
            return False
        limit = self.chip.limits.out_axons.value
        if not np.isfinite(limit):
            return True
        for name, cost in chosen.items():
            leaving = [x.axons[name] for x in chosen.values() if name in x.axons]
            if leaving and not self.start.layers[name].problem:
                axons = np.bincount(cost.split.where, np.sum(leaving, 0))
                if axons.max() > limit:
                    return False
        return True

    def search(self, goal: Goal) -> dict[str, Split]:
        """Return the split of each layer.

        First every layer takes the fewest cores whose time is below a threshold, for many
        thresholds; then each layer in turn takes the split that is best given the other layers.
        """

        def weigh(judged: tuple[float, float]) -> tuple[float, float]:
            return judged if goal == "energy" else judged[::-1]

        best = {name: options[0] for name, options in self.options.items()}
        least = weigh(self.judge(best))
        for chosen in self._list_by_threshold():
            if self.fits_together(chosen) and (found := weigh(self.judge(chosen))) < least:
                best, least = chosen, found
        for _ in range(ROUNDS):
            before = least
            for name, options in self.options.items():
                for option in options:
                    chosen = {**best, name: option}
                    found = weigh(self.judge(chosen))
                    if found < least and self.fits_together(chosen):
                        best, least = chosen, found
            if least == before:
                break
        return {name: cost.split for name, cost in best.items()}

    def _list_by_threshold(self) -> list[dict[str, SplitCost]]:
        mean = {
            n: [float(np.maximum(x.serve, x.update).mean()) for x in o]
            for n, o in self.options.items()
        }
        every = np.unique([t for times in mean.values() for t in times])
        some = np.unique(np.linspace(0, len(every) - 1, MOST_THRESHOLDS).round().astype(int))
        order = {
            n: sorted(
                range(len(o)),
                key=lambda k: (o[k].split.cores, sum(m.sum() for m in o[k].messages.values())),
            )
            for n, o in self.options.items()
        }
        return [
            {
                n: o[
                    next(
                        (k for k in order[n] if mean[n][k] <= threshold),
                        int(np.argmin(mean[n])),
                    )
                ]
                for n, o in self.options.items()
            }
            for threshold in every[some]
        ]


def _thin(work: LayerWork) -> LayerWork:
    """Return the work of evenly spaced samples only, which keeps comparisons fast."""
    ticks, samples = work.serve.shape
    few = max(1, MOST_TICKS // max(ticks, 1))
    kept = np.unique(np.linspace(0, samples - 1, min(few, samples)).round().astype(int))
    return LayerWork(
        update=work.update[:, kept],
        serve=work.serve[:, kept],
        sending=work.sending[:, kept],
        arriving={n: x[:, kept] for n, x in work.arriving.items()},
    )
