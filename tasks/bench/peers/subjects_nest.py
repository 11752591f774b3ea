"""NEST as a subject; only its ``Simulate`` is timed."""

from neuro.interop import nest_script
from neuro.interop.nest_plan import plan
from neuro.spikes import of_sample, to_times
from tasks.bench.harness import Run, RunTiming
from tasks.bench.peers.subjects_neuro import Make
from tasks.bench.stopwatch import Stopwatch


def nest(make: Make, threads: int, *, precise: bool) -> Run:
    """Return a run of NEST. precise: spikes between the ticks, else on the network's grid."""
    problem = make()
    settings = {
        name: of_sample(to_times(events, problem.graph.dt), 0)
        for name, events in problem.inputs.items()
    }
    network = plan(problem.graph, settings, problem.membranes, precise=precise)
    faster = {  # by a quarter, and never firing while refractory
        name: own._replace(model=own.model.removesuffix("_lossless"))
        for name, own in network.populations.items()
    }
    network = network._replace(populations=faster)

    ready = [nest_script.build(network, threads)]  # NEST and the model are available

    def run() -> RunTiming:
        kernel, recorders = ready.pop() if ready else nest_script.build(network, threads)
        watch = Stopwatch()
        kernel.Simulate(network.ticks * network.dt)
        timing = watch.timing(0)
        spikes = sum(int(own.recorder.n_events) for own in recorders.values())
        return timing._replace(counted=spikes)

    return run
