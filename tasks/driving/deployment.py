"""The decoder of the driver on a chip: its stimuli, and the work of the host.

The chip runs the bird's-eye decoder, which takes and returns spikes with one tick per frame,
and the spiking parts of :mod:`tasks.driving.chip`. The host computes the rest. Axes: T frames
(ticks), B windows, C channels, X and Y cells of the grid, U and V cells of the drivable area.
"""

from collections.abc import Iterator, Mapping
from math import prod

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from neuro.nn import Stack
from tasks.driving.batch import Observation, make_blank
from tasks.driving.config import DrivingConfig
from tasks.driving.data import count_windows, read_spread
from tasks.driving.metrics import Overlap, count_overlap
from tasks.driving.model import Driver, DrivingOutputs, require_driver
from tasks.runs.task import Split, Stimulus

CLASSES = ("vehicle", "lane", "drivable")  # classes whose present maps are decoded
COMPARED = 8  # windows on which executors are compared


def chip_part(_: DrivingConfig, model: nn.Module) -> Stack:
    """Return the decoder."""
    return require_driver(model).decoder.body


def explain_only_torch(config: DrivingConfig) -> str:
    """Explain why the decoder cannot be a Graph; returns "" if it can."""
    if config.sees == "maps":
        return (
            "driving:maps sees true maps, which only neuro eval has; use a run of driving:small"
        )
    if not config.decoder.carries:
        return (
            "the decoder of driving:small_reset starts each frame from rest, but the membranes "
            "of a Graph keep their state; use a run of driving:small"
        )
    if config.cells.kind != "lif":
        return "the twin without spikes has no Graph; use a run of driving:small"
    return ""


def stimuli(config: DrivingConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield stimuli: spikes of windows' states (T B C X Y), true masks of CLASSES (B 3 U V)."""
    driver, device = require_driver(model), next(model.parameters()).device
    for seen, truth in read_spread(config, split, COMPARED, device):
        with torch.no_grad():
            states, _ = driver.prediction(driver.perceive(seen).states, config.future)
            spikes, _ = driver.decoder.see(states)
        masks = {"vehicle": truth.vehicle[:, 0], "lane": truth.lane, "drivable": truth.drivable}
        targets = stack_masks(masks, config.road_cells)
        drawn = f"spread at random over {count_windows(config, split):,}"
        yield Stimulus({"input": spikes.cpu()}, targets, drawn)


def decode(config: DrivingConfig, model: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:
    """Return masks of CLASSES, B 3 U V, from the decoder's spikes."""
    driver = require_driver(model)
    (spikes,) = outputs.values()
    now = spikes[config.past - 1 : config.past].to(next(driver.heads.parameters()))
    with torch.no_grad():
        maps = driver.read_maps(now, CLASSES)
    masks = {name: maps[name][:, 0].cpu() > 0 for name in CLASSES}
    return stack_masks(masks, config.road_cells)


def stack_masks(
    masks: Mapping[str, Bool[Tensor, "B _ _"]], road_cells: int
) -> Bool[Tensor, "B 3 U V"]:
    """Stack the masks of CLASSES on the finer grid of the drivable area.

    road_cells: cells of the drivable area along an edge of a cell of the other masks.
    """
    divided = {
        name: mask.repeat_interleave(road_cells, 1).repeat_interleave(road_cells, 2)
        for name, mask in masks.items()
        if name != "drivable"
    }
    return torch.stack([divided.get(name, masks[name]) for name in CLASSES], 1)


def measure(config: DrivingConfig, answers: Tensor, targets: Tensor) -> dict[str, float]:  # noqa: ARG001
    """Return the IoU of each class."""
    pairs = zip(answers.unbind(1), targets.unbind(1), strict=True)
    overlaps: list[Overlap] = [count_overlap(a.numpy(), t.numpy()) for a, t in pairs]
    return {f"iou_{name}": o.iou for name, o in zip(CLASSES, overlaps, strict=True)}


HOST: Mapping[str, tuple[str, ...]] = {
    "stem": ("encoder.stem",),
    "ends of features and depth": tuple(
        f"encoder.{head}.{end}"
        for head in ("features", "depth")
        for end in ("pyramid.end.widen", "end")
    ),
    "uncertainty": ("prediction.uncertainty.end",),
    "refinement of states": ("prediction.project", "prediction.refine"),
    "motion of cells": ("prediction.motion",),
    "heads": ("heads",),
    "path": ("planner.refinement.end",),
}  # modules that the host runs
OPTIONAL = {"uncertainty": "uncertainty", "motion of cells": "motion"}  # in the prediction


def host(config: DrivingConfig, model: nn.Module) -> dict[str, int]:  # noqa: ARG001
    """Return the multiply-accumulates of the host per window, by part.

    The count covers modules and lifting (the products of features and depth). It leaves out
    soft-max, sampling, the bilinear shares of moved cells and the sums of the cost.

    Raises:
        RuntimeError: HOST names a module that the model does not run.
    """
    with torch.device("meta"):
        driver = Driver(config).eval()
    _, macs = run_counted(driver, make_blank(config, "meta"))
    out = {}
    for name, paths in HOST.items():
        if getattr(driver.prediction, OPTIONAL.get(name, "pathways")) is None:
            continue
        missing = [path for path in paths if path not in macs]
        if missing:
            raise RuntimeError(f"host: the driver ran no {', '.join(missing)}; correct HOST")
        out[name] = sum(macs[path] for path in paths)
    return out | {"lift": macs["lift"]}


def run_counted(model: Driver, seen: Observation) -> tuple[DrivingOutputs, dict[str, int]]:
    """Return (outputs, multiply-accumulates by module path; those of lifting are "lift")."""
    config = model.config
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = model(seen)
    macs = {
        path.removeprefix("Driver."): sum(counts.values()) // 2
        for path, counts in counter.get_flop_counts().items()
    }
    lifted = seen.images.shape[:3].numel() * config.depth.bins * config.channels
    return outputs, macs | {"lift": lifted * prod(config.feature_size)}
