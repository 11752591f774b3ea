"""How long an inference takes, what it waits for, and how busy each core is.

A tick takes as long as its slowest core, plus the barrier at its end. A core updates its
neurons and sends their spikes while it receives messages and serves its synapses:

    t_core = max(compute + sending, memory + arriving)

    compute  updates of its neurons
    memory   synaptic events, whose weights it reads
    traffic  messages: those it sends, one per destination core, or those that arrive

The work of a layer in a tick is assumed to be spread evenly over its neurons, and the messages
of a source to be spread over cores as in the whole run. Axes: T ticks, B samples, K cores of a
layer, R sources of a layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.energy.chip import Barrier, Chip, Interval
from neuro.energy.mapping import Placement
from neuro.energy.operations import Workload
from neuro.energy.traffic import Sent, locate_cores
from neuro.graph import Graph

STATES = ("memory", "compute", "traffic", "barrier")  # what a tick waits for
SentBy = Mapping[tuple[str, str], Sent]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time [s] of one inference, and of its average tick.

    bottleneck: the slowest layer.
    states: nominal time of an inference by what the slowest core of each tick waits for, one of
        :data:`STATES`.
    """

    inference: Interval
    tick: Interval
    bottleneck: str
    states: Mapping[str, float]

    @property
    def binds(self) -> str:
        """The state that takes most of the nominal time."""
        return max(self.states, key=lambda state: self.states[state])


class CoreLoad(NamedTuple):
    """Nominal seconds per inference for which a core is busy, by what takes them.

    core: its number, counted through all chips.
    layer: the population on it.
    sending, arriving: messages.
    """

    core: int
    layer: str
    memory: float
    compute: float
    sending: float
    arriving: float

    @property
    def seconds(self) -> float:
        """How long the core is busy."""
        return max(self.compute + self.sending, self.memory + self.arriving)

    @property
    def binds(self) -> str:
        """What takes most of the core's time: "memory", "compute" or "traffic"."""
        if self.compute + self.sending >= self.memory + self.arriving:
            return "compute" if self.compute >= self.sending else "traffic"
        return "memory" if self.memory >= self.arriving else "traffic"


class LayerTimes(NamedTuple):
    """Seconds of a layer's slowest core in each tick, by what takes them."""

    memory: Float[np.ndarray, "T B"]
    compute: Float[np.ndarray, "T B"]
    sending: Float[np.ndarray, "T B"]
    arriving: Float[np.ndarray, "T B"]

    @property
    def total(self) -> Float[np.ndarray, "T B"]:
        """Total time of the core."""
        return np.asarray(np.maximum(self.compute + self.sending, self.memory + self.arriving))


class LayerWork(NamedTuple):
    """Seconds that a whole layer would take on one core.

    sending: if each of its spikes were one message.
    arriving: for the messages from each of its sources.
    """

    update: Float[np.ndarray, "T B"]
    serve: Float[np.ndarray, "T B"]
    sending: Float[np.ndarray, "T B"]
    arriving: Mapping[str, Float[np.ndarray, "T B"]]


class CoreShares(NamedTuple):
    """A core's share of a layer: of its neurons, and in messages per spike.

    neurons: share of the layer's neurons.
    sent: messages of the core per spike of the layer.
    messages: messages that reach the core per spike of a source.
    """

    neurons: Float[np.ndarray, " K"]
    sent: Float[np.ndarray, " K"]
    messages: Float[np.ndarray, "R K"]


def estimate_latency(
    graph: Graph, work: Workload, placement: Placement, chip: Chip, sent: SentBy
) -> Latency:
    """Return the time of one inference: the sum over its ticks, averaged over samples.

    The low end sends each spike that has a target once; the high end sends it to all cores of
    the layers it leads to, as in :func:`neuro.energy.operations.price_operations`. Spikes that
    the host sends late, and results that it fetches late, are not included: a measured run can
    be far slower (keyword spotting on Loihi 1: 0.3 ms per tick).

    sent: result of :func:`neuro.energy.traffic.count_sent` for the placement.
    """
    low, nominal, high = (
        {
            n: time_layer(
                weigh_layer(n, work, chip, bound), share_layer(n, placement, sent, bound)
            )
            for n in graph.populations
        }
        for bound in ("low", "value", "high")
    )
    used = np.concatenate([x.core_of for x in placement.layers.values() if x.cores])
    tiles = len(np.unique(locate_cores(np.unique(used), chip), axis=0))
    barrier = interpolate_barrier(chip.barrier, tiles)
    sync = replace(chip.time.sync.interval, nominal=barrier)
    seconds = Interval(
        *(
            float(np.max([t.total for t in layers.values()], axis=0).sum(0).mean())
            for layers in (low, nominal, high)
        )
    ) + sync * float(work.ticks)
    return Latency(
        inference=seconds,
        tick=seconds * (1 / work.ticks),
        bottleneck=max(nominal, key=lambda n: float(nominal[n].total.sum())),
        states={**divide_time(list(nominal.values())), "barrier": sync.nominal * work.ticks},
    )


def divide_time(layers: Sequence[LayerTimes]) -> dict[str, float]:
    """Return the seconds of an inference for which a tick waits for each state of a core."""
    totals = np.stack([t.total for t in layers])
    slowest = totals.argmax(0)[None]
    memory, compute, sending, arriving = (
        np.take_along_axis(np.stack(part), slowest, 0)[0] for part in zip(*layers, strict=True)
    )
    computes = compute + sending >= memory + arriving
    parts = {
        "memory": np.where(computes, 0, memory),
        "compute": np.where(computes, compute, 0),
        "traffic": np.where(computes, sending, arriving),
    }
    return {name: float(x.sum(0).mean()) for name, x in parts.items()}


def measure_loads(
    graph: Graph, work: Workload, placement: Placement, chip: Chip, sent: SentBy
) -> tuple[CoreLoad, ...]:
    """Return how busy each core is; the busiest core need not be the slowest in every tick."""
    loads = []
    for name in graph.populations:
        whole = weigh_layer(name, work, chip, "value")
        share = share_layer(name, placement, sent, "value")
        serve, update, sending = (
            x.sum(0).mean() for x in (whole.serve, whole.update, whole.sending)
        )
        arriving = np.array([x.sum(0).mean() for x in whole.arriving.values()])
        parts = (
            serve * share.neurons,
            update * share.neurons,
            sending * share.sent,
            arriving @ share.messages,
        )
        cores = np.unique(placement.layers[name].core_of).tolist()
        loads += [
            CoreLoad(core, name, *map(float, seconds))
            for core, *seconds in zip(cores, *parts, strict=True)
        ]
    return tuple(loads)


def weigh_layer(name: str, work: Workload, chip: Chip, bound: str) -> LayerWork:
    """Return the seconds of a population's work. bound: an end of the ranges, or "value"."""
    cost = {k: getattr(v, bound) for k, v in vars(chip.time).items()}
    into = [s for s in work.served if s.target == name]
    active, fired = work.active(chip)[name], work.fired.get(name, 0)
    busy = {"low": active.least, "value": active.neurons, "high": active.most}[bound]
    serve = np.zeros(busy.shape) + sum(
        (s.events_all if bound == "high" else s.events)
        * cost["synapse_conv" if s.shared_kernel else "synapse"]
        for s in into
    )
    neurons = work.sizes[name]
    return LayerWork(
        update=busy * cost["active"]
        + (neurons - busy) * cost["inactive"]
        + fired * cost["spike"],
        serve=serve,
        sending=np.zeros(busy.shape) + fired * cost["message"],
        arriving={s: work.fired[s] * cost["message"] for s in sorted({s.source for s in into})},
    )


def share_layer(name: str, placement: Placement, sent: SentBy, bound: str) -> CoreShares:
    """Return the shares of a population's cores. bound: an end of the traffic, or "value"."""
    _, neurons = np.unique(placement.layers[name].core_of, return_counts=True)
    leaving = [x for (source, _), x in sent.items() if source == name]
    into = [sent[source, name] for source in sorted(s for s, target in sent if target == name)]
    out = np.zeros(len(neurons))
    if leaving:
        fired = leaving[0].fired
        each = {
            "low": leaving[0].led,
            "value": sum(x.messages.sum(1) for x in leaving),
            "high": fired * sum(len(x.cores) for x in leaving),
        }[bound]
        out = each / max(int(fired.sum()), 1)
    messages = np.array([x.messages.sum(0) / max(int(x.fired.sum()), 1) for x in into]).reshape(
        len(into), len(neurons)
    )
    return CoreShares(
        neurons=neurons / neurons.sum(),
        sent=out,
        messages=np.ones_like(messages) if bound == "high" else messages,
    )


def time_layer(work: LayerWork, shares: CoreShares) -> LayerTimes:
    """Return the seconds of a layer's slowest core in each tick."""
    slowest = None
    for core in list_largest(np.column_stack([shares.neurons, shares.sent, *shares.messages])):
        neurons, sent, *messages = core
        each = zip(messages, work.arriving.values(), strict=True)
        arriving = sum((share * x for share, x in each), start=np.zeros(work.serve.shape))
        times = LayerTimes(
            neurons * work.serve, neurons * work.update, sent * work.sending, arriving
        )
        if slowest is None:
            slowest = times
        else:
            longer = times.total > slowest.total
            slowest = LayerTimes(
                *(np.where(longer, *x) for x in zip(times, slowest, strict=True))
            )
    if slowest is None:
        raise ValueError("a layer without a core; place it first")
    return slowest


def list_largest(shares: Float[np.ndarray, "K S"]) -> Float[np.ndarray, "L S"]:
    """Return the rows that no other row reaches in all columns; other cores are faster."""
    rows = np.unique(shares, axis=0)
    beaten = [((rows >= row).all(1) & (rows > row).any(1)).any() for row in rows]
    return np.asarray(rows[~np.array(beaten)])


def interpolate_barrier(barriers: Sequence[Barrier], tiles: int) -> float:
    """Return the nominal seconds of the barrier on ``tiles`` tiles."""
    seconds = [b.time.value for b in barriers]
    return float(np.interp(tiles, [b.tiles for b in barriers], seconds))
