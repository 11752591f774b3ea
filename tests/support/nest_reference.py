"""Spikes that NEST made of published networks, kept for machines without NEST.

    python tests/support/nest_reference.py

runs NEST and writes tests/data/nest.npz anew. Times are kept to the bit.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neuro.base.units import Seconds, ticks
from neuro.graph import Sparse
from neuro.spikes import Times
from tasks.bench.peers.networks import PeerNetwork, brette4, cuba, delta, silence, start

PATH = Path(__file__).parents[1] / "data" / "nest.npz"
SEED = 1


class Case(NamedTuple):
    """A network, how long it runs, and how close spikes must come [ms]."""

    network: PeerNetwork
    duration: Seconds
    within: float


def case(name: str) -> Case:
    """Return one of the networks that are kept."""
    build, duration, within = {
        "cuba": (cuba, 1.0, 1e-9),
        "delta": (delta, 0.1, 1e-10),
        "brette4": (brette4, 0.1, 1e-10),
    }[name]
    return Case(build(SEED), Seconds(duration), within)


NAMES = ("cuba", "delta", "brette4")


def of_nest(case: Case) -> Times:
    """Return the spikes of the cells, from NEST."""
    from neuro.interop.nest import run

    graph, membranes = case.network
    inputs = silence(graph, ticks(case.duration, graph.dt))
    return run(graph, inputs, membranes=membranes).times["cells"]


def of_the_engine(case: Case) -> Times:
    """Return the same spikes, from the event engine."""
    from neuro.events import Exact, simulate

    graph, membranes = case.network
    inputs = silence(graph, ticks(case.duration, graph.dt))
    record, _ = simulate(graph, inputs, Exact(), state=start(graph, membranes))
    return record.times["cells"]


def checksum(network: PeerNetwork) -> int:
    """Return a number that is another when the seed draws other synapses or membranes."""
    crc = zlib.crc32(network.membranes["cells"].tobytes())
    for node in network.graph.nodes.values():
        if isinstance(node, Sparse):
            for column in (node.indptr, node.indices, node.weight):
                crc = zlib.crc32(column.tobytes(), crc)
    return crc


def write() -> None:
    """Run NEST on every network and keep its spikes."""
    arrays: dict[str, np.ndarray | int] = {}
    for name in NAMES:
        this = case(name)
        times = of_nest(this)
        # Neighbours in time share their first bytes: by place of the byte they compress.
        arrays[f"{name}.time"] = times.time.view(np.uint8).reshape(-1, 8).T
        arrays[f"{name}.neuron"] = times.neuron.astype(np.uint16)
        arrays[f"{name}.checksum"] = checksum(this.network)
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, **arrays)


def read(name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (time [s], neuron, checksum) of a network."""
    with np.load(PATH) as kept:
        time = np.ascontiguousarray(kept[f"{name}.time"].T).view(np.float64)[:, 0]
        return time, kept[f"{name}.neuron"].astype(np.int32), int(kept[f"{name}.checksum"])


if __name__ == "__main__":
    write()
