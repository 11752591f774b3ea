"""The task: residual classifiers that are narrow where they cross from chip to chip.

Chips are cut by :mod:`neuro.energy.cuts`; ``neuro bottleneck`` narrows a trained run. The
method is that of Lin et al. 2024 (arXiv 2410.09650), with spikes as one of the links.
Axes: T ticks, B batch, C channels.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from drivers import augment, cifar, mnist
from neuro.io.run_folder import Run, RunError
from neuro.nn.layers import Stack
from tasks.bottlenecks import config as configs, network, teaching
from tasks.bottlenecks.config import (
    BottleneckConfig,
    Link,
    count_bits_of_channel,
    count_channels,
    find_side,
)
from tasks.bottlenecks.curve import show_curve, show_narrowing
from tasks.images.classification import data as image_data, network as image_net
from tasks.images.classification.cifar10 import read_colours
from tasks.images.classification.classifier import Answers, make_classifier
from tasks.images.classification.data import SEED_CHANGES, Labelled, take_split
from tasks.images.classification.mnist import read_digits
from tasks.report import html as page
from tasks.report.summary import state_value
from tasks.runs.configuration import make_plan
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.task import ACCURACY, Findings, Html, Pair, Split, Table, Task

Measure = Callable[[Run, nn.Module], Findings]
COLOURS = ("cifar10", "generated")
CLASSES = tuple("0123456789")  # of every source
ORIGINAL = "the original, not narrowed"
CALIBRATED = 4  # training batches from which the closed form is computed


def find_image(config: BottleneckConfig) -> tuple[int, int, int]:
    """Return the shape C H W of an image."""
    if config.source in COLOURS:
        return (3, cifar.SIDE, cifar.SIDE)
    return (1, mnist.SIDE, mnist.SIDE)


def count_bits(config: BottleneckConfig) -> int:
    """Return the bits per sample over all cuts, as the links send them."""
    side, narrow = find_image(config)[1], config.narrow
    pairs = zip(narrow.after, narrow.widths, strict=True)
    return sum(width * count_bits_of_channel(config, side, after) for after, width in pairs)


def build(config: BottleneckConfig) -> Stack:
    """Return a new network. Input T B C H W, output T B classes."""
    return network.build(config, find_image(config), len(CLASSES))


def read_images(config: BottleneckConfig, split: Split) -> Labelled:
    """Return a split; "val" is the held-out end of the training part."""
    read = read_colours if config.source in COLOURS else read_digits
    return take_split(partial(read, config.source), config, split, "bottlenecks:tiny")


def batches(config: BottleneckConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (stimulus T B C H W, labels B); the epoch seeds the augmentation in training."""

    def distort(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        moved = augment.shifted(images, config.shift, rng)
        return augment.flipped(moved, rng) if config.source in COLOURS else moved

    return image_data.batches(read_images(config, split), config, distort, split, epoch)


def loss(config: BottleneckConfig, model: nn.Module, batch: Pair, at: float) -> Tensor:  # noqa: ARG001
    """Return the mean loss of a batch."""
    x, labels = batch
    return teaching.compute_loss(config, find_image(config)[1], model, x, labels)


def begin(config: BottleneckConfig, model: nn.Module) -> None:
    """Put the original's weights and the closed form into a network that has narrow layers."""
    stimuli = [x for x, _ in islice(batches(config, "train", 0), CALIBRATED)]
    teaching.begin_training(config, model, stimuli)


def explain_only_torch(config: BottleneckConfig) -> str:
    """Explain why no chip here can run the network. Returns "" if one can."""
    if config.cells == "relu":
        return "the twin without spikes has no Graph; use a run of bottlenecks:tiny"
    if config.narrow.after and config.narrow.link != "spikes":
        return (
            f"a link of {config.narrow.link} values has no node in a Graph: no chip here sends "
            "them, and composed with its neighbours it would let all channels cross; narrow "
            "the network with --link spikes"
        )
    if config.narrow.gated:
        return "channels still have gates; neuro bottleneck RUN --width learned keeps the open"
    return ""


def tabulate_blocks(config: BottleneckConfig) -> Table:
    """Return what each block and each narrow layer sends, and its bits per sample."""
    side, narrow, rows = find_image(config)[1], config.narrow, list[tuple[str, str, str]]()
    code: Link = "spikes" if config.cells == "lif" else "float"
    full = replace(config, narrow=replace(narrow, link=code))
    widths = dict(zip(narrow.after, narrow.widths, strict=True))
    for k in range(sum(config.blocks) + 1):
        sent = [(f"block {k}" if k else "stem", count_channels(config, k), full)]
        if k in widths:
            sent.append((f"⇒ narrow layer to the next chip ({narrow.link})", widths[k], config))
        size = find_side(config, side, k)
        for name, channels, own in sent:
            bits = channels * count_bits_of_channel(own, side, k)
            rows.append((name, f"{channels} x {size} x {size}", f"{bits:,}"))
    cuts = "No layer is narrow: a cut would send all channels; neuro bottleneck narrows it."
    if widths:
        cuts = (
            "Chips are cut at narrow layers (⇒): only their channels travel from chip to chip."
        )
    return Table(
        title="The network, block by block",
        head=("part", "sends (channels x height x width)", "bits per sample"),
        rows=rows,
        caption=f"Bits over all ticks, as {code} where all channels are sent. {cuts}",
        example=True,
    )


def _evaluate(measure: Measure, run: Run, model: nn.Module) -> Findings:
    """Return the findings of a classifier with its blocks, and beside the original."""
    narrow, beside = run.config.narrow, dict[str, Mapping[str, float]]()
    if narrow.teacher:
        with suppress(RunError):  # the original is elsewhere, or has other weights now
            original = teaching.load_run_model(narrow.teacher, narrow.teacher_weights)
            beside[ORIGINAL] = measure(run, original).values
    found = measure(run, model)  # last: what it writes into the folder is of this network
    tables = (tabulate_blocks(run.config), *found.tables)
    return replace(found, tables=tables, beside={**found.beside, **beside})


def tell_narrowing(run: Run, evaluation: Mapping[str, Any]) -> list[Html]:
    """Return what narrowing saves and costs, beside the original; nothing of an original."""
    config: BottleneckConfig = run.config
    original = evaluation.get("beside", {}).get(ORIGINAL, {}).get(ACCURACY.name)
    if not config.narrow.after or original is None:
        return []
    widths = tuple(count_channels(config, k) for k in config.narrow.after)
    code: Link = "spikes" if config.cells == "lif" else "float"
    whole = replace(config, narrow=replace(config.narrow, widths=widths, link=code))
    own, full = count_bits(config), count_bits(whole)
    ours, n = evaluation[ACCURACY.name], evaluation["n"]
    values = [state_value(ACCURACY, x, n) for x in (ours, original)]
    told = (
        f"Narrowed, it sends {own:,} instead of {full:,} bits per sample from chip to chip "
        f"({own / full:.3g} of them). Accuracy {values[0]}, of the original {values[1]} on the "
        f"same samples: {ACCURACY.difference(ours - original)}."
    )
    return [page.paragraph(told, "verdict"), *show_curve(run)]


def list_controls(config: BottleneckConfig) -> dict[str, dict[str, Any]]:
    """Return the twin without spikes of an original; a narrowed one stands beside its own."""
    if config.cells != "lif" or config.narrow.after:
        return {}
    return {"the same layers without spikes": {"cells": "relu", "ticks": 1, "code": "direct"}}


def _make_task() -> Task[BottleneckConfig]:
    names = CONFIGURATIONS["bottlenecks"]
    task = make_classifier(
        summary=SUMMARIES["bottlenecks"],
        configs={name: getattr(configs, name) for name in names},
        build=build,
        plan=make_plan,
        steps=lambda config: len(read_images(config, "train").labels) // config.batch,
        batches=batches,
        loss=lambda _, y, labels: F.cross_entropy(image_net.scores(y), labels),
        answers=Answers(classes=CLASSES, scores=image_net.scores),
        unit=image_data.find_unit,
        compared=lambda config: config.compared,
        dummy_batch=lambda config: image_data.make_dummy_batch(config, find_image(config)),
        seed_changes=SEED_CHANGES,
        controls=list_controls,
    )
    training = replace(task.training, loss=loss, begin=begin, eventprop=None)
    measure = partial(_evaluate, task.evaluation.evaluate)
    return replace(
        task,
        about=lambda config: (
            f"A residual network {'of' if config.cells == 'lif' else 'without'} spiking "
            "neurons names the class of an image. neuro bottleneck cuts it over several chips, "
            "with a narrow layer at each cut, which sends few channels from chip to chip."
        ),
        training=training,
        deployment=replace(task.deployment, only_torch=explain_only_torch),
        evaluation=replace(
            task.evaluation, evaluate=measure, headline=tell_narrowing, sections=show_narrowing
        ),
    )


TASK = _make_task()
