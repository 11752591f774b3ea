"""From a trained run to narrow ones: the cuts, their widths, and what crosses them.

Axes: T ticks, B samples.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.energy import (
    AER,
    BITMAP,
    Chip,
    Division,
    LinkCode,
    Partition,
    choose_cuts,
    list_units,
    price_partition,
)
from neuro.graph import Graph
from neuro.io.run_folder import RunError
from neuro.nn import replay
from neuro.nn.trace import trace
from neuro.spikes import to_events
from neuro.spikes.record import Record, concatenate
from tasks.bottlenecks import task
from tasks.bottlenecks.boundary import copy_original, initialise_boundaries
from tasks.bottlenecks.config import (
    VALUE_BITS,
    BottleneckConfig,
    BoundaryConfig,
    Link,
    count_bits_of_channel,
    count_channels,
    find_side,
)
from tasks.bottlenecks.network import list_boundaries, name_boundary
from tasks.images.classification.classifier import Answers, count_confusion
from tasks.images.classification.network import scores
from tasks.runs.provenance import describe_trained
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import TrainedRun

MOST = 64  # validation samples whose spikes at the cuts are recorded, at most
LINKS: tuple[Link, ...] = ("float", "8bit", "4bit", "spikes")
CLASS_BITS = math.log2(len(task.CLASSES))  # bits of an answer; a cut with fewer would lose it


@dataclass(frozen=True, kw_only=True)
class ChosenCuts:
    """The cuts of a trained network.

    partition: of the original, whose cuts have full width. code: of the partition's links.
    after: number of blocks in front of each cut.
    """

    partition: Partition
    code: LinkCode
    after: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CutFigures:
    """The figures of one cut of a narrow network, per sample.

    channels, width: number of channels in the original, and of those that cross.
    bits: as the link sends them; spikes as a bitmap.
    spikes, aer_bits: spikes and bits of address events on a spike link; None for other links.
    """

    after: int
    channels: int
    width: int
    bits: int
    spikes: float | None
    aer_bits: float | None


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A narrow network.

    link: name of the link. how: "pca" (closed form, without training) or "trained".
    accuracy: on ``n`` test samples. folder: of the run; "": none.
    """

    link: str
    how: str
    cuts: tuple[CutFigures, ...]
    accuracy: float
    n: int
    folder: str = ""

    @property
    def bits(self) -> int:
        """Bits per sample over all cuts."""
        return sum(cut.bits for cut in self.cuts)

    def as_json(self) -> dict[str, Any]:
        """Return the fields and the bits as plain values."""
        return {**asdict(self), "bits": self.bits}


def require_original(run: TaskRun) -> None:
    """Raise a RunError unless a run can be narrowed."""
    if not isinstance(run.config, BottleneckConfig):
        raise RunError(
            f"{run.folder}: a run of {run.task}, and only networks of bottlenecks have blocks "
            "with room for narrow layers between them; train one: neuro train bottlenecks:tiny"
        )
    if run.config.narrow.after:
        raise RunError(
            f"{run.folder}: is narrow already; give the run of the original, "
            f"{run.config.narrow.teacher or 'one without narrow layers'}"
        )


def list_blocks(names: Iterable[str], config: BottleneckConfig) -> list[list[str]]:
    """Return the populations of each block; the read-out belongs to the last one."""
    every, last = list(names), sum(config.blocks)
    blocks = [[n for n in every if n.startswith(f"block{k}_")] for k in range(1, last + 1)]
    return [*blocks[:-1], [*blocks[-1], "readout"]]


def build_graph(config: BottleneckConfig) -> Graph:
    """Return the graph of the spiking twin of a network, with random weights."""
    twin = replace(config, cells="lif", narrow=BoundaryConfig())
    with seeded(0):
        return trace(task.build(twin).eval(), task.find_image(config))


def record_network(trained: TrainedRun) -> tuple[Graph, Record | None]:
    """Return the graph of a network and its activity on validation samples.

    A network without spikes has no graph: it gets its spiking twin's graph, and no activity.
    """
    config = trained.run.config
    if config.cells == "relu":
        return build_graph(config), None
    network, left, records = trained.network, MOST, []
    for stimulus in network.stimuli("val"):
        inputs = {
            k: to_events(x[:, :left].flatten(2).numpy()) for k, x in stimulus.inputs.items()
        }
        records.append(replay(network.graph, inputs))
        left -= records[-1].samples
        if left <= 0:
            break
    return network.graph, concatenate(records)


def choose_boundaries(
    graph: Graph,
    record: Record | None,
    config: BottleneckConfig,
    chip: Chip,
    chips: int,
) -> ChosenCuts:
    """Return the cheapest cuts between blocks.

    Raises:
        CutError: there are too few blocks for the chips, or the network does not fit.
    """
    values = LinkCode(kind="values", bits=VALUE_BITS["float"])
    division = Division(code=BITMAP if record else values)
    blocks, ticks = list_blocks(graph.populations, config), Ticks(config.ticks)
    chosen = choose_cuts(graph, record, chip, chips, division, blocks, ticks)
    return ChosenCuts(
        partition=chosen,
        code=division.code,
        after=tuple(find_last_block(part) for part in chosen.chips[:-1]),
    )


def find_last_block(populations: Sequence[str]) -> int:
    """Return the number of the last block among populations; 0 if all are of the stem."""
    numbers = [
        int(n.split("_")[0].removeprefix("block")) for n in populations if n[:5] == "block"
    ]
    return max(numbers, default=0)


def read_width(text: str, config: BottleneckConfig, after: Sequence[int]) -> tuple[int, ...]:
    """Return the width of each cut. text: "8" channels, or a share "1/4" of the cut's channels.

    Raises:
        ValueError: ``text`` is neither, or a cut has fewer channels.
    """
    channels = [count_channels(config, k) for k in after]
    top, slash, bottom = text.partition("/")
    if not top.isdigit() or (slash and not bottom.isdigit()) or not int(bottom or 1):
        raise ValueError(
            f"--width: {text!r} is no width; write channels as 4, a share as 1/8, or learned"
        )
    if slash:
        widths = [max(1, round(n * int(top) / int(bottom))) for n in channels]
    else:
        widths = [int(top)] * len(channels)
    wrong = [f"{w} of {n}" for w, n in zip(widths, channels, strict=True) if not 1 <= w <= n]
    if wrong:
        raise ValueError(
            f"--width: {text} asks for {', '.join(wrong)} channels of a cut; give at least 1 "
            "and at most all of them"
        )
    return tuple(widths)


def list_widths(config: BottleneckConfig, after: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the widths of a curve: all channels of each cut, halved down to 1."""
    widths = [tuple(count_channels(config, k) for k in after)]
    while max(widths[-1]) > 1:
        widths.append(tuple(max(1, width // 2) for width in widths[-1]))
    return widths


def narrow_config(
    run: TaskRun, after: tuple[int, ...], widths: tuple[int, ...], link: Link, **more: Any
) -> BottleneckConfig:
    """Return the configuration of a narrow network that imitates a run."""
    config: BottleneckConfig = run.config
    narrow = replace(config.narrow, after=after, widths=widths, link=link, **more)
    return replace(config, narrow=imitate(run, narrow))


def imitate(run: TaskRun, narrow: BoundaryConfig) -> BoundaryConfig:
    """Return the fields of narrow layers, with a trained run as their teacher."""
    weights = describe_trained(run.folder)["weights"]
    return replace(narrow, teacher=str(run.folder.resolve()), teacher_weights=weights)


def make_narrow_run(run: TaskRun, config: BottleneckConfig, folder: Path) -> TaskRun:
    """Return the run of a narrow network, without writing anything."""
    return replace(run, folder=folder, config=config)


def build_in_closed_form(config: BottleneckConfig, original: nn.Module) -> nn.Module:
    """Return a narrow network with the original's weights and narrow layers in closed form."""
    with seeded(0):
        model = task.build(config)
    copy_original(model, original)
    begin = config.narrow.begin
    if begin == "random":
        raise ValueError('narrow.begin "random" has no closed form; take "pca" or "channels"')
    stimuli = [x for x, _ in islice(task.batches(config, "train", 0), task.CALIBRATED)]
    initialise_boundaries(model, stimuli, begin)
    return model.eval()


@torch.no_grad()
def measure_point(
    config: BottleneckConfig, model: nn.Module, how: str, folder: str = ""
) -> CurvePoint:
    """Return the figures of a narrow network on the test split."""
    narrow, spikes = config.narrow, dict[str, float]()
    links = {
        name: dict(boundary.named_children())["link"]
        for name, boundary in list_boundaries(model).items()
    }

    def count(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
            spikes[name] = spikes.get(name, 0.0) + float(torch.count_nonzero(output[0]))

        return hook

    handles = [
        link.register_forward_hook(count(name))
        for name, link in links.items()
        if narrow.link == "spikes"
    ]
    answers = Answers(classes=task.CLASSES, scores=scores)
    confusion, _ = count_confusion(model, task.batches(config, "test", 0), answers)
    for handle in handles:
        handle.remove()
    n = int(confusion.sum())
    mean = {name: count / n for name, count in spikes.items()}
    return CurvePoint(
        link=narrow.link,
        how=how,
        cuts=describe_cuts(config, mean),
        accuracy=float(np.trace(confusion)) / n,
        n=n,
        folder=folder,
    )


def describe_cuts(
    config: BottleneckConfig, spikes: Mapping[str, float] | None = None
) -> tuple[CutFigures, ...]:
    """Return the figures of each cut. spikes: spikes per sample, by narrow layer."""
    side, figures = task.find_image(config)[1], []
    for after, width in zip(config.narrow.after, config.narrow.widths, strict=True):
        fired = (spikes or {}).get(name_boundary(after))
        neurons = width * find_side(config, side, after) ** 2
        figures.append(
            CutFigures(
                after=after,
                channels=count_channels(config, after),
                width=width,
                bits=width * count_bits_of_channel(config, side, after),
                spikes=fired,
                aer_bits=None
                if fired is None
                else AER.count_bits(neurons, config.ticks, fired),
            )
        )
    return tuple(figures)


def require_only_links(config: BottleneckConfig, chip: Chip) -> Partition:
    """Return the partition of a narrow spiking network along its cuts, for any weights.

    Raises:
        CutError: a part does not fit a chip.
        RunError: something other than the links crosses a cut, or the bits differ.
    """
    with seeded(0):
        model = task.build(config).eval()
    part, shape = task.TASK.deployment.part(config, model), task.find_image(config)
    graph = part if isinstance(part, Graph) else trace(part, shape)
    parts, ticks = assign_to_chips(graph, config), Ticks(config.ticks)
    partition = price_partition(graph, None, chip, parts, Division(), ticks)
    bits = task.count_bits(config)
    links = {f"{name_boundary(after)}_link" for after in config.narrow.after}
    if {c.source for c in partition.crossings} != links or partition.bits != bits:
        crossing = ", ".join(f"{c.source} {c.count_bits():g} bits" for c in partition.crossings)
        raise RunError(
            f"the cuts let through {crossing}, and not only their links of {bits} bits; put "
            "the narrow layers where all paths cross"
        )
    return partition


def assign_to_chips(graph: Graph, config: BottleneckConfig) -> tuple[tuple[str, ...], ...]:
    """Return the populations of each chip; a link is on the sending chip."""
    parts: list[list[str]] = [[] for _ in range(len(config.narrow.after) + 1)]
    last = sum(config.blocks) + 1
    for unit in list_units(graph):
        for name in unit:
            head = name.split("_")[0]
            if head.startswith("narrow"):
                at = int(head.removeprefix("narrow"))
            elif head == "readout":
                at = last
            else:
                at = int(head.removeprefix("block")) if head.startswith("block") else 0
            parts[sum(at > after for after in config.narrow.after)].append(name)
    return tuple(tuple(part) for part in parts)
