"""The experiments of ``neuro bench integers``: training on a chip's integers beside a control.

From one training in floats, two others begin that take the same steps: on integers, and in
floats with a lowering at the end.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.bench.experiment import Experiment, Variants
from tasks.images.classification import mnist
from tasks.measures.train import launch_fabric
from tasks.measures.train_on_integers import FLOATS, tune
from tasks.runs.task import ACCURACY, TaskRun

LARGEST = (254, 14, 6, 2)  # largest weights; even integers up to 6 are 7 levels


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: one seed of a short training."""
    dense = replace(mnist.demo(), blocks=(), hidden=(48,), ticks=12)
    if quick:
        dense = replace(dense, ticks=4, train=300, held=100, test=100, epochs=1)
    return {
        "dense": Experiment(
            title="784-48-10 on digits",
            run="mnist:demo",
            arms={"floats": dense},
            seeds=(0,) if quick else (0, 1, 2),
            metrics=(ACCURACY,),
            measures=measure_levels,
        )
    }


def measure_levels(run: TaskRun) -> Variants:
    """Return the accuracies by largest weight: lowered, tuned on integers, and the control."""
    found = {}
    for largest in LARGEST:
        with TemporaryDirectory() as folder:
            fabric = launch_fabric(run, "cpu", 1)
            tuned, _ = tune(run, fabric, Path(folder), largest)
        for who, values in tuned.metrics.items():
            if who != FLOATS:
                found[f"{who}, up to {largest}"] = dict(values)
    return found
