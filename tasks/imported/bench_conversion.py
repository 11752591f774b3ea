"""The experiments of ``neuro bench conversion``: ANNs as spiking networks, beside ann2snn.

A trained ANN is converted by neuro and, where its ReLUs are plain, by SpikingJelly: with its
defaults, and with its channel-wise scales from half the threshold on. All see the same test
images and the same images for their scales.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from neuro.graph.convert import convert
from neuro.nn.layers import Residual, Spiking, list_steps
from neuro.nn.scales import By, find_scales, measure_conversion
from tasks.bench.experiment import Experiment, Variants
from tasks.images.classification import cifar10, mnist
from tasks.imported.convert import measure_ann, read_split
from tasks.imported.images import LabelledImages
from tasks.runs.task import ACCURACY, TaskRun
from tasks.runs.trained_run import TrainedRun, open_trained_run

TICKS = (1, 2, 4, 8, 16, 32)
CALIBRATED, TESTED = 500, 1000  # images
SPIKINGJELLY: Mapping[str, Mapping[str, Any]] = {
    "SpikingJelly": {},
    "SpikingJelly by channel": {
        "channel_wise": True, "half_threshold": True, "mode": "99.9%",
    },
}  # fmt: skip


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: one seed of short trainings."""
    digits = {"relu": mnist.relu(), "counted": mnist.counted()}
    colours = {"relu": cifar10.relu(), "counted": cifar10.counted()}
    residual = replace(cifar10.residual(), epochs=4)
    deep = {"relu": replace(residual, neuron="relu"), "counted": residual}
    if quick:
        small: dict[str, Any] = {"train": 300, "epochs": 1, "test": 100}
        digits = {name: replace(config, **small) for name, config in digits.items()}
        tiny = replace(cifar10.tiny(), ticks=1, code="direct", epochs=1)
        colours = {name: replace(tiny, neuron=name) for name in colours}  # type: ignore[arg-type]
        deep = {
            name: replace(config, blocks=(4, 4, 0), residual=True)
            for name, config in colours.items()
        }
    seeds = (0,) if quick else (0, 1, 2)
    parts: dict[str, tuple[Any, ...]] = {
        "digits": ("convolutions on digits", "mnist:relu", digits, seeds),
        "cifar10": ("a small VGG on CIFAR-10", "cifar10:relu", colours, (0,)),
        "residual": ("a residual network on CIFAR-10", "cifar10:residual", deep, (0,)),
    }
    make = partial(Experiment, metrics=(ACCURACY,), measures=measure_conversions)
    return {
        part: make(title=title, run=run, arms=arms, seeds=own)
        for part, (title, run, arms, own) in parts.items()
    }


def measure_conversions(run: TaskRun) -> Variants:
    """Return the accuracy of each conversion, by its name and its number of ticks.

    Conversions see ``TESTED`` images of the test split; "ANN, same samples" is the ANN's own
    accuracy on these.
    """
    trained = open_trained_run(run)
    graph = trained.network.graph
    read = partial(read_split, str(run.folder), trained.network)
    known, test = read("val", CALIBRATED), read("test", TESTED)
    (name,) = graph.inputs
    accuracies = {"ANN, same samples": measure_ann(graph, test)}
    logits = dict[str, np.ndarray]()
    plain = run.config.neuron == "relu"
    for by in get_args(By) if plain else ("layer",):
        converted = convert(graph, find_scales(graph, {name: known.images}, by=by))
        found = measure_conversion(graph, converted, {name: test.images}, TICKS[-1], TICKS)
        title = f"scales by {by}" if plain else "scales learned"
        logits |= {f"{title}, {t} ticks": x for t, x in found.logits.items()}
    if plain:
        for title, options in SPIKINGJELLY.items():
            for t, x in run_spikingjelly(make_plain(trained), known, test, options):
                logits[f"{title}, {t} ticks"] = x
    for variant, x in logits.items():
        accuracies[variant] = float((x.argmax(1) == test.labels).mean())
    return {variant: {"accuracy": value} for variant, value in accuracies.items()}


class _Add(nn.Module):
    """A Residual as other libraries take it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + x
        return y


def make_plain(trained: TrainedRun) -> nn.Sequential:
    """Return the layers of a trained ANN as a module of torch alone, without its read-out."""

    def unwrap(part: nn.Module) -> nn.Module:
        if isinstance(part, Residual):
            return _Add(nn.Sequential(*(m for _, m in list_steps(part.body))))  # type: ignore[arg-type]
        return part

    steps = list_steps(trained.model)  # type: ignore[arg-type]
    return nn.Sequential(*(unwrap(m) for _, m in steps if not isinstance(m, Spiking))).eval()


@torch.no_grad()
def run_spikingjelly(
    module: nn.Module,
    known: LabelledImages,
    test: LabelledImages,
    options: Mapping[str, Any],
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (ticks, mean logits B K) of a network that SpikingJelly's ann2snn converted."""
    from spikingjelly.activation_based import ann2snn, functional

    def batches(found: LabelledImages) -> list[Tensor]:
        return list(torch.split(torch.from_numpy(found.images).float() / 255, 100))

    recipe = ann2snn.RateCodingRecipe(batches(known), **options)
    converted = ann2snn.Converter(recipe).convert(module)
    sums: dict[int, list[Tensor]] = {t: [] for t in TICKS}
    for x in batches(test):
        functional.reset_net(converted)
        total: Any = 0.0
        for t in range(1, TICKS[-1] + 1):
            total = total + converted(x)
            if t in sums:
                sums[t].append(total / t)
    for t, parts in sums.items():
        yield t, torch.cat(parts).numpy()
