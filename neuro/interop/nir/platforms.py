"""Why platforms differ on one NIR file: what each choice that NIR leaves open changes.

Each platform chooses a step, a reset, a test and the width of its numbers. The choices of each
are run on our clock, on one network and one stimulus, and its spikes compared with those of
NIR's equations under an Euler step. Sources: the imports of snnTorch 1.0, Norse 1.1 and
SpikingJelly 2.0; nir_to_lava.py and the CubaLIF reference of the NIR paper (Pedersen et al.
2024). The state of lava-dl is rounded as well, which is left out here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.base.units import Ticks
from neuro.graph import Graph
from neuro.graph.connections import Weighted
from neuro.interop.imported import run_clock
from neuro.interop.nir.reader import read
from neuro.neurons import DiscreteLIF
from neuro.neurons.normal_form import as_array


@dataclass(frozen=True, kw_only=True)
class NirPlatform:
    """The choices of a platform.

    name: of the choice, and who makes it. read: arguments of :func:`neuro.interop.nir.read`.
    change: what it changes of the Graph.
    """

    name: str
    read: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Graph], Graph] = lambda graph: graph


@dataclass(frozen=True, kw_only=True)
class PlatformSpikes:
    """What a platform does to a network.

    spikes: of all populations. different: places (tick, sample, neuron) where a spike is
    missing or added. recounted: sum over samples and neurons of the difference of the number of
    spikes, whatever their ticks. changed: samples whose most active output is another one, of
    ``samples``.
    """

    platform: str
    spikes: int
    different: int
    recounted: int
    changed: int
    samples: int


def compare_platforms(
    source: str | Path | Any, ticks: int = 256, samples: int = 64, seed: int = 0
) -> tuple[PlatformSpikes, ...]:
    """Return what the choices of each platform change of a network's spikes; the first is NIR.

    The stimulus is drawn: every input of a sample spikes with a rate of its own, 0 to 20 % of
    ticks. The last population of the Graph is the output.
    """
    rng, graph = np.random.default_rng(seed), read(source).graph
    inputs = {}
    for name in graph.inputs:
        rate = rng.random((samples, *graph.shapes[name])) * 0.2
        inputs[name] = (rng.random((ticks, *rate.shape)) < rate).astype(np.float64)
    rows: list[PlatformSpikes] = []
    reference: dict[str, np.ndarray] = {}
    for platform in PLATFORMS:
        run = run_clock(platform.change(read(source, **platform.read).graph), inputs).outputs
        counts = {name: run[name].sum(0) for name in graph.firing}
        if not reference:
            reference = {name: run[name] for name in graph.firing}
        theirs = {name: x.sum(0) for name, x in reference.items()}
        last = graph.firing[-1]
        rows.append(
            PlatformSpikes(
                platform=platform.name,
                spikes=sum(int(x.sum()) for x in counts.values()),
                different=sum(int((run[n] != x).sum()) for n, x in reference.items()),
                recounted=sum(int(np.abs(counts[n] - x).sum()) for n, x in theirs.items()),
                changed=int((_pick(counts[last]) != _pick(theirs[last])).sum()),
                samples=samples,
            )
        )
    return tuple(rows)


def _pick(counts: np.ndarray) -> np.ndarray:
    """Return the most active neuron of each sample."""
    return np.asarray(counts.reshape(len(counts), -1).argmax(1))


def _change_cells(graph: Graph, change: Callable[[DiscreteLIF], DiscreteLIF]) -> Graph:
    nodes = {n: change(k) if isinstance(k, DiscreteLIF) else k for n, k in graph.nodes.items()}
    return replace(graph, nodes=nodes)


def fire_at_threshold(graph: Graph) -> Graph:
    """Return the Graph with the test v >= v_threshold."""
    return _change_cells(graph, lambda cell: replace(cell, strict=False))


def take_old_currents(graph: Graph) -> Graph:
    """Return the Graph with v charged by the current of the tick before: inputs a tick late."""
    cells = {
        n
        for n, k in graph.nodes.items()
        if isinstance(k, DiscreteLIF) and k.decay_syn is not None
    }
    edges = [e._replace(delay=Ticks(e.delay + (e.target in cells))) for e in graph.edges]
    return replace(graph, edges=tuple(edges))


def delay_loops(graph: Graph) -> Graph:
    """Return the Graph with every edge that is late acting one more tick late."""
    late = (e._replace(delay=Ticks(e.delay + 1)) if e.delay else e for e in graph.edges)
    return replace(graph, edges=tuple(late))


def round_to_integers(graph: Graph) -> Graph:
    """Return the Graph with weights in 1/64 and decays in 1/4096, the widths of lava-dl."""

    def round_decay(decay: Any) -> Any:
        return None if decay is None else 1 - np.rint((1 - as_array(decay)) * 4096) / 4096

    rounded = _change_cells(
        graph,
        lambda cell: replace(
            cell, decay=round_decay(cell.decay), decay_syn=round_decay(cell.decay_syn)
        ),
    )
    return _round_weights(rounded, lambda w: np.rint(w * 64) / 64)


def round_to_bytes(graph: Graph) -> Graph:
    """Return the Graph with weights of 8 bits, the largest of each connection 127."""

    def to_bytes(weight: np.ndarray) -> np.ndarray:
        unit = np.abs(weight).max() / 127 or 1.0
        return np.asarray(np.rint(weight / unit) * unit)

    return _round_weights(graph, to_bytes)


def _round_weights(graph: Graph, change: Callable[[np.ndarray], np.ndarray]) -> Graph:
    nodes = {
        n: k.with_weight(change(k.weight), k.bias) if isinstance(k, Weighted) else k
        for n, k in graph.nodes.items()
    }
    return replace(graph, nodes=nodes)


PLATFORMS = (
    NirPlatform(name="NIR, Euler, hard reset: snnTorch's and Norse's import"),
    NirPlatform(name="v >= v_threshold: SpikingJelly's import", change=fire_at_threshold),
    NirPlatform(name="soft reset at once", read={"reset": "soft"}),
    NirPlatform(name="soft reset a tick late: snnTorch's default", read={"reset": "delayed"}),
    NirPlatform(name="exponential step", read={"discretisation": "exponential"}),
    NirPlatform(name="v takes the old current: NIR's reference", change=take_old_currents),
    NirPlatform(name="recurrent edges one more tick late", change=delay_loops),
    NirPlatform(name="weights of 8 bits", change=round_to_bytes),
    NirPlatform(name="weights in 1/64, decays in 1/4096: lava-dl", change=round_to_integers),
)
