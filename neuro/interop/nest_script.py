"""Runs a network written by neuro in NEST. This file needs NumPy and NEST, and nothing else.

    python run_nest.py --threads 4            one machine
    mpirun -n 64 python run_nest.py           many; NEST must have been built with MPI

It reads network.npz in its own folder and writes what each rank recorded to spikes-RANK.npz:
for every population ``NAME/time`` [ms] and ``NAME/neuron``, in no order. NEST's wheel on PyPI
has no MPI; a build of one's own can have it. Units as in NEST: ms, mV, pF, pA.
"""

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Cells(NamedTuple):
    """A population. model: of NEST. parameters, start: (N,) each; start holds V_m and I_e."""

    model: str
    parameters: dict[str, np.ndarray]
    start: dict[str, np.ndarray]


class Stimulus(NamedTuple):
    """Input spikes by time. size: number of sources. neuron, time [ms], value: (E,)."""

    size: int
    neuron: np.ndarray
    time: np.ndarray
    value: np.ndarray


class Synapses(NamedTuple):
    """Connections one by one. pre, post, weight [mV or pA], delay [ms]: (E,)."""

    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    delay: np.ndarray


class Network(NamedTuple):
    """A whole network in NEST's terms. dt: NEST's resolution [ms]. ticks: length of the run.

    precise: spikes lie between the ticks.
    """

    dt: float
    ticks: int
    precise: bool
    cells: dict[str, Cells]
    stimuli: dict[str, Stimulus]
    synapses: tuple[Synapses, ...]


def simulate(network: Network, threads: int = 1) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (time [ms], neuron) of the spikes of each population on this rank.

    NEST has one network a process: the one that it holds is lost.
    """
    nest, recorders = build(network, threads)
    nest.Simulate(network.ticks * network.dt)
    return {name: spikes(nodes, r, network.dt) for name, (nodes, r) in recorders.items()}


def build(network: Network, threads: int = 1) -> tuple[Any, dict[str, tuple[Any, Any]]]:
    """Return NEST, ready to simulate, and the nodes and the recorder of each population.

    Everything in NEST is one tick late, because nothing arrives there without a delay: one tick
    passes in silence, then the cells start, and the input comes through one tick more.
    """
    import nest

    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.resolution = network.dt
    nest.local_num_threads = threads
    nodes, recorders = {}, {}
    for name, cells in network.cells.items():
        size = cells.start["V_m"].size
        silent = {"E_L": 0.0, "V_reset": 0.0, "V_m": 0.0, "I_e": 0.0}
        nodes[name] = nest.Create(cells.model, size)
        nodes[name].set(**silent, **cells.parameters)
        recorder = nest.Create("spike_recorder", params={"time_in_steps": True})
        nest.Connect(nodes[name], recorder)
        recorders[name] = (nodes[name], recorder)
    for name, stimulus in network.stimuli.items():
        nodes[name] = _generators(nest, stimulus, precise=network.precise)
    for s in network.synapses:
        late = network.dt * (s.source in network.stimuli)
        if s.pre.size:
            nest.Connect(
                _first(nodes[s.source]) + s.pre.astype(np.int64),
                _first(nodes[s.target]) + s.post.astype(np.int64),
                "one_to_one",
                {"weight": s.weight.astype(np.float64), "delay": s.delay + late},
            )
    nest.Simulate(network.dt)
    for name, cells in network.cells.items():
        nodes[name].set(**cells.start)
    return nest, recorders


def spikes(nodes: Any, recorder: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (time [ms], neuron) of what a recorder of ``build`` has, without its late tick."""
    events = recorder.events
    # Steps are whole: a time since the start keeps its last digits only in this form.
    time = (events["times"] - 1) * dt - events["offsets"]
    return time, np.asarray(events["senders"] - _first(nodes), np.int32)


def _first(nodes: Any) -> int:
    ids = nodes.global_id
    return int(ids if isinstance(ids, int) else ids[0])


def _generators(nest: Any, stimulus: Stimulus, *, precise: bool) -> Any:
    nodes = nest.Create("spike_generator", stimulus.size, params={"precise_times": precise})
    order = np.lexsort((stimulus.time, stimulus.neuron))
    at = np.searchsorted(stimulus.neuron[order], np.arange(stimulus.size + 1))
    time, value = stimulus.time[order], stimulus.value[order].astype(np.float64)
    trains = [slice(a, b) for a, b in pairwise(at)]
    nodes.set([{"spike_times": time[t], "spike_weights": value[t]} for t in trains])
    return nodes


def save(network: Network, path: Path) -> None:
    """Write a network as a compressed npz of plain arrays."""
    arrays: dict[str, Any] = {
        "dt": network.dt,
        "ticks": network.ticks,
        "precise": network.precise,
    }
    for name, cells in network.cells.items():
        arrays[f"cells/{name}/model"] = cells.model
        for part in ("parameters", "start"):
            for key, value in getattr(cells, part).items():
                arrays[f"cells/{name}/{part}/{key}"] = value
    for name, stimulus in network.stimuli.items():
        for key, value in stimulus._asdict().items():
            arrays[f"stimuli/{name}/{key}"] = value
    for i, synapses in enumerate(network.synapses):
        for key, value in synapses._asdict().items():
            arrays[f"synapses/{i}/{key}"] = value
    np.savez_compressed(path, **arrays)


def load(path: Path) -> Network:
    """Return what :func:`save` wrote."""
    tree: dict[str, Any] = {"cells": {}, "stimuli": {}, "synapses": {}}
    with np.load(path) as arrays:
        for key in arrays.files:
            *folders, leaf = key.split("/")
            at = tree
            for folder in folders:
                at = at.setdefault(folder, {})
            at[leaf] = arrays[key] if arrays[key].ndim else arrays[key].item()
    return Network(
        dt=tree["dt"],
        ticks=tree["ticks"],
        precise=tree["precise"],
        cells={name: Cells(**c) for name, c in tree["cells"].items()},
        stimuli={name: Stimulus(**s) for name, s in tree["stimuli"].items()},
        synapses=tuple(Synapses(**s) for s in tree["synapses"].values()),
    )


def main() -> None:
    """Run network.npz beside this file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    here = Path(__file__).parent
    found = simulate(load(here / "network.npz"), parser.parse_args().threads)
    import nest

    arrays: dict[str, np.ndarray] = {}
    for name, (time, neuron) in found.items():
        arrays |= {f"{name}/time": time, f"{name}/neuron": neuron}
    np.savez_compressed(here / f"spikes-{nest.Rank()}.npz", **arrays)


if __name__ == "__main__":
    main()
