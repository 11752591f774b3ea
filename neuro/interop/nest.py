"""Runs a Graph in NEST: on this machine, or exported for machines with MPI.

NEST simulates networks that are too large for one machine (extra ``peers``; its wheel has
threads but no MPI). If NEST has a model with precise spike times for the Graph's model, spike
times agree with the exact clock:

    LIF, hard reset to any value     iaf_psc_delta_ps
    LIF with synaptic currents       iaf_psc_exp_ps, or iaf_psc_exp_ps_lossless if all
                                     currents of a neuron decay alike

iaf_psc_exp_ps tests the membrane only at the ends of ticks: it misses a membrane that crosses
the threshold and falls back within a tick (Krishnan et al. 2018); the exact clock does not miss
it. iaf_psc_exp_ps_lossless (NEST 3.10) lets a refractory membrane fire if the current would
lift it from rest to the threshold within a tick; a run in which that happens is refused.

A synaptic current is the LIF's own (tau_syn) or an LI that feeds it. A NEST neuron has two, one
for each sign of the weight. ``precise=False`` selects the models with spikes at ticks,
iaf_psc_delta and iaf_psc_exp; their spikes fall into the ticks of the torch clock. On that
clock a spike raises the current before the membrane of its tick is computed, in iaf_psc_exp
after it. Delays into currents are therefore one tick shorter in NEST, and must be >= 2 ticks
from a population. A Poisson node becomes one poisson_generator per rate. If one of its neurons
has several synapses, a parrot_neuron passes the same spikes to all of them. NEST draws its own
random numbers: rates are equal, spikes are not, and the Record lacks those of Poisson nodes.
Everything else is refused with a list of all reasons. A refractory period ends as in neuro: the
precise models accept an arrival at its exact end, as the exact clock does; the models at ticks
accept the tick after it, as the grid clock does.
Axes: T ticks, B samples, N neurons of a node, E synapses or spikes.
"""

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float

from neuro.base.extras import describe_cure
from neuro.graph import Graph
from neuro.graph.inputs import find_span, require_inputs
from neuro.interop import nest_script
from neuro.interop.nest_plan import MS, NestError, plan
from neuro.io.graph_digest import digest_graph
from neuro.spikes import Events, Times, of_sample, to_ticks, to_times
from neuro.spikes.record import Record, concatenate

Inputs = Mapping[str, Events | Times]
Membranes = Mapping[str, Float[np.ndarray, "..."]]


def run(  # noqa: PLR0913 - the run, and its length
    graph: Graph,
    inputs: Inputs,
    *,
    membranes: Membranes | None = None,
    precise: bool = True,
    threads: int = 1,
    ticks: int | None = None,
    samples: int | None = None,
) -> Record:
    """Run a network in NEST, one sample after the other, each in its own process.

    NEST shares OpenMP with torch: in the same process, changing torch's threads crashes NEST.

    Args:
        graph: the network.
        inputs: the spikes of every Input, all with the same T and B.
        membranes: initial values by population [weight units]; other populations start at 0.
        precise: whether to use NEST's models with exact spike times. False uses those with
            spikes at ticks, where delays from a population to a current must be >= 2 ticks.
        threads: number of NEST's threads.
        ticks, samples: size of a run without Inputs, as in :func:`neuro.events.simulate`.

    Returns:
        The Record; its ``times`` hold the spikes in continuous time.

    Raises:
        NestError: NEST cannot run this graph; lists every reason with its cure.
        ValueError: the inputs do not fit the graph; lists every problem by node.
        RuntimeError: NEST failed, or let a neuron fire in its refractory period; says what.
        ImportError: NEST is not installed.
    """
    if find_spec("nest") is None:
        raise ImportError(
            f"NEST is not installed; {describe_cure('peers')}, or export the network and run "
            "it elsewhere"
        )
    stimuli = _convert_inputs(graph, inputs, precise=precise)
    length, number = find_span((t.shape[:2] for t in stimuli.values()), ticks, samples)
    records = []
    for sample in range(number):
        one = {name: of_sample(times, sample) for name, times in stimuli.items()}
        own, drawn = membranes or {}, {"ticks": length, "sample": sample}
        network = plan(graph, one, own, precise=precise, **drawn)
        records.append(_record(graph, one, network, _simulate(network, threads)))
    return concatenate(records)


def export(
    graph: Graph,
    inputs: Inputs,
    folder: str | Path,
    *,
    membranes: Membranes | None = None,
    precise: bool = True,
    ticks: int | None = None,
) -> Path:
    """Write a network and a script that runs it in NEST, on any number of machines.

    The script ``run_nest.py`` needs only NumPy and NEST; its first lines say how to run it.
    Exporting does not need NEST.

    inputs: the spikes of one sample.
    ticks: length of a run without Inputs.

    Returns:
        The path of the script.

    Raises:
        NestError, ValueError: as in :func:`run`.
    """
    stimuli = _convert_inputs(graph, inputs, precise=precise)
    network = plan(graph, stimuli, membranes or {}, precise=precise, ticks=ticks)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return _write(network, folder)


def _write(network: nest_script.NestNetwork, folder: Path) -> Path:
    """Write a network and the script that runs it; return the script's path."""
    nest_script.save(network, folder / "network.npz")
    script = folder / "run_nest.py"
    script.write_bytes(Path(nest_script.__file__).read_bytes())
    return script


def _simulate(
    network: nest_script.NestNetwork, threads: int
) -> dict[str, nest_script.NestSpikes]:
    """Run a network in its own process; return the spikes of each population."""
    with TemporaryDirectory(prefix="neuro-nest-") as folder:
        script = _write(network, Path(folder))
        command = [sys.executable, str(script), "--threads", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(
                f"NEST stopped with status {done.returncode}: {done.stderr[-2000:]}"
            )
        return nest_script.load_spikes(Path(folder), 0)


def _convert_inputs(graph: Graph, inputs: Inputs, *, precise: bool) -> dict[str, Times]:
    """Return the checked inputs in continuous time [s], at ends of ticks unless ``precise``."""
    require_inputs(graph, inputs)
    stimuli = {}
    for name, train in inputs.items():
        if isinstance(train, Times) and not precise:
            train = to_ticks(train, graph.dt)
        stimuli[name] = train if isinstance(train, Times) else to_times(train, graph.dt)
    return stimuli


def _record(
    graph: Graph,
    inputs: Mapping[str, Times],
    network: nest_script.NestNetwork,
    spikes_of: Mapping[str, nest_script.NestSpikes],
) -> Record:
    times = dict(inputs)
    for name, spikes in spikes_of.items():
        time, shape = spikes.time / MS, (network.ticks, 1, graph.size(name))
        order = np.lexsort((spikes.neuron, time))
        none, ones = np.zeros(order.size, np.int32), np.ones(order.size)
        times[name] = Times(none, time[order], spikes.neuron[order], ones, shape)
    return Record(
        executor="nest",
        ticks=network.ticks,
        samples=1,
        spikes={name: to_ticks(t, graph.dt) for name, t in times.items()},
        values={},
        times=times,
        digest=digest_graph(graph),
    )


__all__ = ["Inputs", "Membranes", "NestError", "export", "run"]
