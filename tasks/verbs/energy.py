"""``neuro energy``: joules per inference, from the operations of the test split."""

from typing import Any

from neuro.energy import as_json, estimates
from neuro.events import simulate
from neuro.io.run_folder import Run
from neuro.record import concatenate
from tasks.find import task_of
from tasks.verbs.trained_run import graph_of, samples, trained_model


def estimate_energy(run: Run) -> dict[str, Any]:
    """Estimate joules per inference from the test split's spikes; write ``energy.json``.

    What a host computes before or behind the chip is counted in MACs, by the task's word.
    """
    graph = graph_of(run)
    record = concatenate([simulate(graph, some.inputs)[0] for some in samples(run, graph)])
    beside = task_of(run).deployment.host(run.config, trained_model(run))
    result = as_json(*estimates(graph, record), beside=beside)
    run.write("energy.json", result)
    return result
