"""The experiment of ``neuro bench delays``: learned delays beside fixed random ones and none.

A network without delays solves many tasks whose data are spike times, and one with random
delays solves more. So both are controls here, with the same number of steps.
"""

from collections.abc import Mapping
from dataclasses import replace

from tasks.bench.experiment import Experiment, Variants
from tasks.delays import task
from tasks.measures.verify import verify_run
from tasks.runs.task import ACCURACY, TaskRun

FIXED = "fixed random delays"
TITLES = {
    task.learned: "intervals between two spikes",
    task.yinyang: "Yin-Yang in spike times",
    task.digits: "digits in spike times",
    task.vowels: "speakers of Japanese vowels",
}


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiment on each data set. quick: one seed of short trainings."""
    return {
        make().data: make_experiment(make(), title, quick) for make, title in TITLES.items()
    }


def make_experiment(config: task.DelayConfig, title: str, quick: bool) -> Experiment:
    """Return the experiment whose arms differ from a configuration in their delays."""
    if quick:
        config = replace(config, epochs=2)
    return Experiment(
        title=title,
        run="delays:learned",
        arms={
            "no delays": replace(config, delays="none"),
            FIXED: replace(config, delays="fixed"),
            "learned delays": config,
        },
        seeds=(0,) if quick else (0, 1, 2, 3, 4),
        metrics=(ACCURACY,),
        baseline=FIXED,
        measures=measure_executors,
    )


def measure_executors(run: TaskRun) -> Variants:
    """Return the accuracy of the event engine and of the chip's integers, on the whole test."""
    accuracy = verify_run(run, lava_samples=0)["metrics"]["accuracy"]
    return {
        "event engine": {"accuracy": accuracy["events"]},
        "chip integers": {"accuracy": accuracy["integers"]},
    }
