"""The experiment of ``neuro bench delays``: learned delays beside fixed random ones and none.

A network without delays solves many tasks whose data are spike times, and one with random
delays solves more. So both are controls here, with the same number of steps.
"""

from collections.abc import Mapping
from dataclasses import replace

from tasks.bench.experiment import Experiment, Variants
from tasks.delays import intervals
from tasks.measures.verify import verify_run
from tasks.runs.task import ACCURACY, TaskRun

FIXED = "fixed random delays"


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiment. quick: one seed of short trainings."""
    arms = {
        "no delays": intervals.none(),
        FIXED: intervals.fixed(),
        "learned delays": intervals.learned(),
    }
    if quick:
        arms = {name: replace(config, epochs=2) for name, config in arms.items()}
    return {
        "intervals": Experiment(
            title="intervals between two spikes",
            run="intervals:learned",
            arms=arms,
            seeds=(0,) if quick else (0, 1, 2, 3, 4),
            metrics=(ACCURACY,),
            baseline=FIXED,
            measures=measure_executors,
        )
    }


def measure_executors(run: TaskRun) -> Variants:
    """Return the accuracy of the event engine and of the chip's integers, on the whole test."""
    accuracy = verify_run(run, lava_samples=0)["metrics"]["accuracy"]
    return {
        "event engine": {"accuracy": accuracy["events"]},
        "chip integers": {"accuracy": accuracy["integers"]},
    }
