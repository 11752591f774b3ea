"""How long a tick takes on a chip: its slowest core, and the barrier at the end.

A core updates its neurons while it serves its synapses; the slower of the two counts. Transport
along the mesh runs meanwhile. Axes: T ticks, B samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neuro.energy.chip import Barrier, Chip
from neuro.energy.constants import Interval
from neuro.energy.mapping import Placement
from neuro.energy.operations import Workload, locate_cores
from neuro.graph import Graph


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time [s] of one inference, and of its average tick. bottleneck: the slowest layer."""

    inference: Interval
    tick: Interval
    bottleneck: str


def estimate_latency(graph: Graph, work: Workload, placement: Placement, chip: Chip) -> Latency:
    """Return the time of one inference: the sum over its ticks, averaged over samples.

    Spikes of the host that arrive late, or results that it fetches late, are not in it: a
    measured run can be far slower (keyword spotting on Loihi 1: 0.3 ms a tick).
    """
    low, nominal, high = (
        {n: _time_fullest_core(n, work, placement, chip, bound) for n in graph.populations}
        for bound in ("low", "value", "high")
    )
    used = np.concatenate([placement.layers[n].core_of for n in graph.populations])
    tiles = len(np.unique(locate_cores(np.unique(used), chip), axis=0))
    sync = replace(chip.time.sync.interval, nominal=_interpolate_barrier(chip.barrier, tiles))
    seconds = Interval(
        *(
            float(np.max(list(layers.values()), axis=0).sum(0).mean())
            for layers in (low, nominal, high)
        )
    ) + sync * float(work.ticks)
    slowest = max(nominal, key=lambda n: float(nominal[n].sum()))
    return Latency(inference=seconds, tick=seconds * (1 / work.ticks), bottleneck=slowest)


def _interpolate_barrier(barriers: Sequence[Barrier], tiles: int) -> float:
    """Return the nominal seconds of the barrier among so many tiles."""
    seconds = [b.time.value for b in barriers]
    return float(np.interp(tiles, [b.tiles for b in barriers], seconds))


def _time_fullest_core(
    name: str, work: Workload, placement: Placement, chip: Chip, bound: str
) -> np.ndarray:
    """Return the seconds (T, B) of the fullest core of a population."""
    cost = {k: getattr(v, bound) for k, v in vars(chip.time).items()}
    layer, into = placement.layers[name], [s for s in work.served if s.target == name]
    active, fired = work.active(chip)[name], work.fired.get(name, 0)
    busy = {"low": active.least, "value": active.neurons, "high": active.most}[bound]
    update = busy * cost["active"] + (layer.neurons - busy) * cost["inactive"]
    served = sum(
        (s.events_all if bound == "high" else s.events)
        * cost["synapse_conv" if s.shared_kernel else "synapse"]
        for s in into
    )
    messages = sum(work.fired[n] for n in sorted({s.source for s in into}))
    share = layer.per_core / layer.neurons
    neurons = share * (update + fired * cost["spike"])
    return np.asarray(np.maximum(neurons, share * served + messages * cost["message"]))
