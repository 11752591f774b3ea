"""Runs a network that neuro wrote in NEST. This file needs only NumPy and NEST.

    python run_nest.py --threads 4            one machine
    mpirun -n 64 python run_nest.py           many; NEST must have been built with MPI

It reads network.npz in its own folder and writes what each rank recorded to spikes-RANK.npz:
for every population ``NAME/time`` [ms] and ``NAME/neuron``, unordered. NEST's wheel on PyPI has
no MPI; NEST built from source can have it. Units are those of NEST: ms, mV, pF, pA.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SAME = 1e-9  # relative difference between times that are equal up to rounding


class NestPopulation(NamedTuple):
    """A population. model: NEST's. parameters: (N,) each. start: initial V_m and I_e (N,)."""

    model: str
    parameters: dict[str, np.ndarray]
    start: dict[str, np.ndarray]


class NestStimulus(NamedTuple):
    """The spikes of an Input. size: number of its neurons. neuron, time [ms], value: (E,)."""

    size: int
    neuron: np.ndarray
    time: np.ndarray
    value: np.ndarray


class NestSynapses(NamedTuple):
    """Synapses from one node to another. pre, post, weight [mV or pA], delay [ms]: (E,)."""

    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    weight: np.ndarray
    delay: np.ndarray


class NestNetwork(NamedTuple):
    """A network in NEST's terms.

    dt: NEST's resolution [ms].
    ticks: length of the run.
    precise: whether spike times are not rounded to ticks.
    poisson: rates of the neurons of each Poisson node [Hz].
    seed: NEST's seed, 1 to 2^32 - 1.
    synapses: delays of an Input's or Poisson node's spikes count from the first tick, see
        :func:`build`.
    """

    dt: float
    ticks: int
    precise: bool
    populations: dict[str, NestPopulation]
    stimuli: dict[str, NestStimulus]
    poisson: dict[str, np.ndarray]
    seed: int
    synapses: tuple[NestSynapses, ...]


class NestSpikes(NamedTuple):
    """Spikes of a population, unordered. time [ms], neuron: (E,)."""

    time: np.ndarray
    neuron: np.ndarray


class Recorded(NamedTuple):
    """NEST's nodes for a population, and the recorder of their spikes."""

    nodes: Any
    recorder: Any


def simulate(network: NestNetwork, threads: int = 1) -> dict[str, NestSpikes]:
    """Run a network; return the spikes of each population on this rank.

    NEST holds one network per process, and may crash if other code in the process uses OpenMP.

    Raises:
        ValueError: NEST let neurons fire in their refractory period; lists the populations.
    """
    nest, recorders = build(network, threads)
    nest.Simulate(network.ticks * network.dt)
    spikes = {name: read_spikes(r, network) for name, r in recorders.items()}
    early = [find_early_spike(n, network.populations[n], s) for n, s in spikes.items()]
    if any(early):
        raise ValueError("\n".join(["NEST went wrong:", *filter(None, early)]))
    return spikes


def find_early_spike(name: str, population: NestPopulation, spikes: NestSpikes) -> str:
    """Describe where a neuron first fires in its refractory period, with a cure; "" if never.

    iaf_psc_exp_ps_lossless does so (NEST 3.10): it also looks for crossings of refractory
    membranes, and finds one if the current would lift the membrane to the threshold within a
    step.
    """
    order = np.lexsort((spikes.time, spikes.neuron))
    neuron, time = spikes.neuron[order], spikes.time[order]
    wait = population.parameters["t_ref"][neuron[1:]]
    early = (np.diff(neuron) == 0) & (np.diff(time) < (1 - SAME) * wait)
    if not early.any():
        return ""
    k = int(np.argmax(early))
    return (
        f"{name}: neuron {neuron[k]} fires at {time[k]:.12g} and {time[k + 1]:.12g} ms, its "
        f"refractory period is {wait[k]:g} ms; a fault of {population.model}, which tests the "
        "membrane then too: weaken its input, or take precise=False"
    )


def build(network: NestNetwork, threads: int = 1) -> tuple[Any, dict[str, Recorded]]:
    """Build the network in NEST, ready to simulate; return NEST and a recorder per population.

    NEST is late by :func:`count_late_ticks`, because its synapses need a delay. It first runs
    these ticks without input; then the populations get their initial states. The input is
    delayed by the same number of ticks.
    """
    import nest

    late = count_late_ticks(network) * network.dt
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.resolution = network.dt
    nest.local_num_threads = threads
    nest.rng_seed = network.seed
    numbers, recorders = {}, {}
    for name, population in network.populations.items():
        size = population.start["V_m"].size
        silent = {"E_L": 0.0, "V_reset": 0.0, "V_m": 0.0, "I_e": 0.0}
        nodes = nest.Create(population.model, size)
        nodes.set(**silent | population.parameters)
        recorder = nest.Create("spike_recorder", params={"time_in_steps": True})
        nest.Connect(nodes, recorder)
        numbers[name], recorders[name] = _list_ids(nodes), Recorded(nodes, recorder)
    for name, stimulus in network.stimuli.items():
        numbers[name] = _list_ids(_make_generators(nest, stimulus, precise=network.precise))
    more = {name: late for name in network.stimuli}
    for name, rate in network.poisson.items():
        rates, which = np.unique(rate, return_inverse=True)
        nodes = nest.Create("poisson_generator", rates.size)
        nodes.set(rate=rates)
        numbers[name] = _list_ids(nodes)[which]
        more[name] = late
        mine = [s.pre for s in network.synapses if s.source == name]
        used = [np.bincount(pre, minlength=rate.size) for pre in mine]
        if np.any(sum(used) > 1):  # NEST's generator sends a different train over each synapse
            parrots = nest.Create("parrot_neuron", rate.size)
            wait = {"delay": np.full(rate.size, network.dt)}
            nest.Connect(numbers[name], _list_ids(parrots), "one_to_one", wait)
            numbers[name] = _list_ids(parrots)
            more[name] = late - network.dt
    for s in network.synapses:
        if s.pre.size:
            nest.Connect(
                numbers[s.source][s.pre],
                numbers[s.target][s.post],
                "one_to_one",
                {
                    "weight": s.weight.astype(np.float64),
                    "delay": s.delay + more.get(s.source, 0.0),
                },
            )
    nest.Simulate(late)
    for name, population in network.populations.items():
        recorders[name].nodes.set(**population.start)
    return nest, recorders


def count_late_ticks(network: NestNetwork) -> int:
    """Return by how many ticks NEST is late.

    Models at ticks need two ticks, because input to a current must arrive one tick earlier. A
    Poisson node needs another, because its trains may go through parrot neurons.
    """
    return (1 if network.precise else 2) + bool(network.poisson)


def read_spikes(recorded: Recorded, network: NestNetwork) -> NestSpikes:
    """Return a population's spikes after :func:`build`, without NEST's late ticks."""
    events = recorded.recorder.events
    # NEST counts whole steps minus an offset; only this order of operations keeps all digits.
    time = (events["times"] - count_late_ticks(network)) * network.dt - events["offsets"]
    first = _list_ids(recorded.nodes)[0]
    return NestSpikes(time, np.asarray(events["senders"] - first, np.int32))


def _list_ids(nodes: Any) -> np.ndarray:
    """Return NEST's numbers of the nodes, which are consecutive."""
    return np.atleast_1d(np.asarray(nodes.global_id, np.int64))


def _make_generators(nest: Any, stimulus: NestStimulus, *, precise: bool) -> Any:
    """Return NEST's spike generators, one per neuron of an Input."""
    nodes = nest.Create("spike_generator", stimulus.size, params={"precise_times": precise})
    order = np.lexsort((stimulus.time, stimulus.neuron))
    at = np.searchsorted(stimulus.neuron[order], np.arange(stimulus.size + 1))
    time, value = stimulus.time[order], stimulus.value[order].astype(np.float64)
    trains = [slice(a, b) for a, b in pairwise(at)]
    nodes.set([{"spike_times": time[t], "spike_weights": value[t]} for t in trains])
    return nodes


def save(network: NestNetwork, path: Path) -> None:
    """Write a network as an npz file of plain arrays."""
    np.savez(path, **dict(_list_arrays(network, "")))


def _list_arrays(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a nested value with their paths, such as "stimuli/input/time"."""
    if isinstance(value, tuple):
        value = value._asdict() if hasattr(value, "_asdict") else dict(enumerate(value))
    if not isinstance(value, dict):
        yield name, value
        return
    for key, part in value.items():
        yield from _list_arrays(part, f"{name}/{key}" if name else str(key))


def load(path: Path) -> NestNetwork:
    """Return what :func:`save` wrote."""
    tree: dict[str, Any] = {"populations": {}, "stimuli": {}, "poisson": {}, "synapses": {}}
    with np.load(path) as arrays:
        for key in arrays.files:
            *folders, leaf = key.split("/")
            at = tree
            for folder in folders:
                at = at.setdefault(folder, {})
            at[leaf] = arrays[key] if arrays[key].ndim else arrays[key].item()
    return NestNetwork(
        dt=tree["dt"],
        ticks=tree["ticks"],
        precise=tree["precise"],
        populations={name: NestPopulation(**p) for name, p in tree["populations"].items()},
        stimuli={name: NestStimulus(**s) for name, s in tree["stimuli"].items()},
        poisson=tree["poisson"],
        seed=tree["seed"],
        synapses=tuple(NestSynapses(**s) for s in tree["synapses"].values()),
    )


def save_spikes(spikes: dict[str, NestSpikes], folder: Path, rank: int) -> None:
    """Write the spikes of each population on a rank."""
    np.savez(folder / f"spikes-{rank}.npz", **dict(_list_arrays(spikes, "")))


def load_spikes(folder: Path, rank: int) -> dict[str, NestSpikes]:
    """Return what :func:`save_spikes` wrote."""
    with np.load(folder / f"spikes-{rank}.npz") as arrays:
        names = dict.fromkeys(key.rpartition("/")[0] for key in arrays.files)
        return {n: NestSpikes(arrays[f"{n}/time"], arrays[f"{n}/neuron"]) for n in names}


def main() -> None:
    """Run the file network.npz that is in the folder of this file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    here = Path(__file__).parent
    try:
        spikes = simulate(load(here / "network.npz"), parser.parse_args().threads)
    except ValueError as error:
        sys.exit(str(error))
    import nest

    save_spikes(spikes, here, nest.Rank())


if __name__ == "__main__":
    main()
