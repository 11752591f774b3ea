"""Results on test windows: the paths of planners, and the maps of trained runs.

Each run sees all windows once; a file stores the results for later benchmarks. Planners without
cameras and forecasts without learning need only the true data of the windows.

Copy: all vehicles stay where they are.
Warp: each instance repeats the motion of its middle in the last half second, in whole cells.
Prior: the cells of the ego frame that vehicles often cover in training; for each frame, the set
of cells with the best intersection over union in training.
Axes: N windows, B of a batch, F future frames, T = 1 + F, X and Y cells, M kinds of maps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64, Shaped
from torch import Tensor

from drivers.nuscenes.window import Window
from neuro.io.pytree import digest
from neuro.io.schema import convert
from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results
from tasks.driving.batch import DrivingBatch, Observation, blank_images, make_batch
from tasks.driving.bench.entrants import Entrant, describe_windows
from tasks.driving.config import PRESENT_MAPS, DrivingConfig, Source
from tasks.driving.data import count_windows, find_data, open_split, open_truth
from tasks.driving.evaluate import (
    CLASSES,
    Forecast,
    MetricCounts,
    count_class,
    count_classes,
    count_forecast,
    make_counts,
    measure_plan,
    take_present,
)
from tasks.driving.instances import OF_INSTANCES, decode_window
from tasks.driving.metrics import Overlap, Panoptic, PathErrors, add_counts
from tasks.driving.model import Driver, DrivingOutputs, require_driver
from tasks.driving.planners import Blanked, ModelPlanner, Planner
from tasks.runs.results import Number

Counted = dict[str, dict[str, list[Number]]]  # sums of counts, by kind and metric


def copy_present(present: Shaped[np.ndarray, "X Y"], frames: int) -> np.ndarray:
    """Repeat the present mask in every frame."""
    return np.repeat(present[None], frames, 0)


def warp_instances(
    before: Int[np.ndarray, "X Y"], now: Int[np.ndarray, "X Y"], frames: int
) -> Int[np.ndarray, "T X Y"]:
    """Move present instances on by their last motion; return ``frames`` frames from now on.

    Instances that the previous frame lacks stay. Where two overlap, the larger number wins.
    """
    out = np.zeros((frames, *now.shape), np.int64)
    for number in np.unique(now[now > 0]).tolist():
        cells = np.argwhere(now == number)
        past = np.argwhere(before == number)
        step = cells.mean(0) - past.mean(0) if len(past) else np.zeros(2)
        for t in range(frames):
            moved = cells + np.round(t * step).astype(np.int64)
            inside = ((moved >= 0) & (moved < now.shape)).all(1)
            out[t][tuple(moved[inside].T)] = number
    return out


def warp(
    before: Int[np.ndarray, "X Y"],
    now: Int[np.ndarray, "X Y"],
    vehicle: Bool[np.ndarray, "X Y"],
    frames: int,
) -> Forecast:
    """Move instances on as :func:`warp_instances` does; return the forecast.

    vehicle: the present mask; its cells outside instances stay.
    """
    moved = warp_instances(before, now, frames)
    return Forecast((moved > 0) | (vehicle & (now == 0)), moved)


def find_prior(counts: Int64[np.ndarray, "*S"], total: int) -> Bool[np.ndarray, "*S"]:
    """Return the mask with the best IoU with ``total`` masks that sum up to ``counts``.

    The mask has the most frequently covered cells; their number maximises the IoU.
    """
    flat = counts.ravel()
    order = np.argsort(-flat, kind="stable")
    hits = np.cumsum(flat[order])
    size = np.arange(1, len(flat) + 1)
    iou = hits / np.maximum(flat.sum() + size * total - hits, 1)
    mask = np.zeros(len(flat), bool)
    if hits[-1]:
        mask[order[: int(iou.argmax()) + 1]] = True
    return mask.reshape(counts.shape)


def as_json(counts: MetricCounts) -> Counted:
    """Return the sums of counts, for JSON."""
    return {
        kind: {name: list(add_counts(parts)) for name, parts in by_name.items()}
        for kind, by_name in counts._asdict().items()
    }


def from_json(value: Mapping[str, Mapping[str, Sequence[Any]]]) -> MetricCounts:
    """Return the counts of :func:`as_json`."""
    counts = make_counts()
    for name, parts in value["overlaps"].items():
        counts.overlaps[name].append(Overlap(*parts))
    for name, parts in value["segments"].items():
        counts.segments[name].append(Panoptic(*parts))
    return counts


FILE = "driving-windows.jsonl"  # results, in the folder of the figures
OWN = ""
OWN_COPY, OWN_WARP = "own present, copied", "own present, warped"
EMPTY, PRIOR = "empty", "prior map"
TRUE_COPY, TRUE_WARP = "true present, copied", "true present, warped"


@dataclass(frozen=True, kw_only=True)
class WindowResults:
    """Results of a planner on all windows.

    token, scene: present sample and scene of each window. path: N F 3.
    distance, hits, vehicle_hits: N F, as in :class:`tasks.driving.metrics.PathErrors`.
    counts: counts by forecast; "" stands for the planner's own forecast.
    """

    token: tuple[str, ...] = ()
    scene: tuple[str, ...] = ()
    path: tuple[tuple[tuple[float, ...], ...], ...] = ()
    distance: tuple[tuple[float, ...], ...] = ()
    hits: tuple[tuple[bool, ...], ...] = ()
    vehicle_hits: tuple[tuple[bool, ...], ...] = ()
    counts: dict[str, Counted] = field(default_factory=dict)

    @property
    def errors(self) -> PathErrors:
        """The errors of the paths."""
        return PathErrors(*(torch.tensor(getattr(self, name)) for name in PathErrors._fields))


def evaluate_windows(
    entrants: Sequence[Entrant], config: DrivingConfig, folder: Path
) -> dict[str, dict[int, WindowResults]]:
    """Return results on the test windows by planner and seed; reuse those in ``folder``.

    Raises:
        StoreError: a result in the file of the folder is damaged.
    """
    common = describe_data(config)
    about = {entrant: entrant.identity | common for entrant in entrants}
    evaluate = partial(_evaluate, config)
    by_name: dict[str, dict[int, WindowResults]] = {}
    for e, results in complete_results(folder / FILE, about, WindowResults, evaluate).items():
        by_name.setdefault(e.name, {})[e.seed] = results
    return by_name


def describe_data(config: DrivingConfig) -> dict[str, str]:
    """Return the digests of a configuration's windows and of their data."""
    return {"windows": digest(describe_windows(config)), "data": digest_tables(config.source)}


def digest_tables(source: Source) -> str:
    """Return the digest of a data set's tables, maps and CAN bus; images do not count."""
    root, sha = find_data(source), sha256()
    for folder in (source.version, "maps/expansion", "can_bus"):
        for path in sorted((root / folder).glob("*.json")):
            sha.update(path.name.encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


def _evaluate(
    config: DrivingConfig, entrants: Sequence[Entrant]
) -> Iterator[tuple[Entrant, dict[str, Any]]]:
    """Yield the results of each planner: first those with cameras, then the others."""
    with limit_threads(1):
        for entrant in entrants:
            if entrant.size is not None:
                yield entrant, asdict(evaluate_run(config, entrant.make()))
        plain = [e for e in entrants if e.size is None]
        if plain:
            results = evaluate_plain(config, [e.make() for e in plain])
            yield from zip(plain, map(asdict, results), strict=True)


def iterate_windows(
    config: DrivingConfig, windows: Any
) -> Iterator[tuple[list[Window], DrivingBatch]]:
    """Yield the test windows in order, by batch."""
    count = count_windows(config, "test")
    for first in range(0, count, config.batch):
        last = min(first + config.batch, count)
        batch = [windows[k] for k in range(first, last)]
        yield batch, make_batch(batch)


class _Collector:
    """Collects the results of one planner, window by window."""

    def __init__(self) -> None:
        names = ("token", "scene", "path", *PathErrors._fields)
        self.columns: dict[str, list[Any]] = {name: [] for name in names}

    def add(
        self,
        config: DrivingConfig,
        windows: Sequence[Window],
        batch: DrivingBatch,
        path: Float[Tensor, "B F 3"],
    ) -> None:
        errors = measure_plan(config, path, batch.truth)
        for name in ("token", "scene"):
            self.columns[name] += [getattr(window, name) for window in windows]
        for name, values in {"path": path, **errors._asdict()}.items():
            self.columns[name] += values.tolist()

    def close(self, counts: Mapping[str, MetricCounts]) -> WindowResults:
        columns = {**self.columns, "counts": {k: as_json(c) for k, c in counts.items()}}
        results: WindowResults = convert(columns, WindowResults)
        return results


def evaluate_plain(config: DrivingConfig, planners: Sequence[Any]) -> list[WindowResults]:
    """Return the results of planners without cameras."""
    collectors = [_Collector() for _ in planners]
    for windows, batch in iterate_windows(config, open_truth(config, "test")):
        for planner, collector in zip(planners, collectors, strict=True):
            with torch.no_grad():
                collector.add(config, windows, batch, planner(batch.seen))
    return [collector.close({}) for collector in collectors]


def evaluate_run(config: DrivingConfig, planner: Any) -> WindowResults:
    """Return the results of a trained network, on black images if the planner is Blanked."""
    blanked = isinstance(planner, Blanked)
    driver, collector = find_driver(planner), _Collector()
    counts = {way: make_counts() for way in (OWN, OWN_COPY, OWN_WARP)}
    for windows, batch in iterate_windows(config, open_split(config, "test")):
        seen = batch.seen
        if blanked:
            seen = blank_images(seen)
        outputs, before = look(driver, seen)
        if outputs.plan is None:
            raise TypeError("expected a plan of the whole network")
        collector.add(config, windows, batch, outputs.plan.path)
        count_classes(config, counts[OWN], outputs.maps, batch.truth)
        for b in range(len(windows)):
            _count_own(config, counts, outputs, before, batch, b)
    return collector.close(counts)


def find_driver(planner: Planner) -> Driver:
    """Return the network of a trained planner, or of the planner inside a Blanked."""
    inner = planner.planner if isinstance(planner, Blanked) else planner
    if not isinstance(inner, ModelPlanner):
        raise TypeError(f"expected a trained planner, got {type(inner).__name__}")
    return require_driver(inner.model)


@torch.no_grad()
def look(driver: Driver, seen: Observation) -> tuple[DrivingOutputs, dict[str, Tensor]]:
    """Return the outputs of a network, and its instance maps one frame before the present.

    Heads are trained on present and future frames; the same weights read the earlier frame.
    """
    spikes: list[Tensor] = []
    hook = driver.decoder.register_forward_hook(lambda *call: spikes.append(call[2]))
    try:
        outputs: DrivingOutputs = driver(seen)
    finally:
        hook.remove()
    now = seen.images.shape[1] - 1
    before = driver.read_maps(spikes[0][now - 1 : now], OF_INSTANCES) if now else {}
    return outputs, before


def _count_own(
    config: DrivingConfig,
    counts: Mapping[str, MetricCounts],
    outputs: DrivingOutputs,
    before: Mapping[str, Tensor],
    batch: DrivingBatch,
    b: int,
) -> None:
    """Count a window's forecasts that start from the network's own perception."""
    now = decode_window(outputs.maps, b)
    frames = len(now)
    recent = now[:1]
    if before:
        joined = {k: torch.cat([before[k], outputs.maps[k][:, :1]], 1) for k in OF_INSTANCES}
        recent = decode_window(joined, b)
    vehicle = outputs.maps["vehicle"][b].numpy() > 0
    ways = {
        OWN: Forecast(vehicle, now),
        OWN_COPY: Forecast(*(copy_present(x[0], frames) for x in (vehicle, now))),
        OWN_WARP: warp(recent[0], recent[-1], vehicle[0], frames),
    }
    true = batch.truth.instance[b].numpy(), batch.truth.vehicle[b].numpy()
    for way, forecast in ways.items():
        count_forecast(counts[way], forecast, *true, config.grid)


def count_priors(config: DrivingConfig) -> dict[str, Bool[np.ndarray, "..."]]:
    """Return the constant masks with the best IoU in training by class; vehicles T X Y."""
    sums: dict[str, Any] = {}
    windows, count = open_truth(config, "train"), count_windows(config, "train")
    for k in range(count):
        window = windows[k]
        for name in CLASSES:
            mask = getattr(window, name)
            mask = mask if name in PRESENT_MAPS else mask[config.past - 1 :]
            sums[name] = sums.get(name, 0) + mask.astype(np.int64)
    return {
        name: np.stack([find_prior(frame, count) for frame in total])
        if total.ndim == 3
        else find_prior(total, count)
        for name, total in sums.items()
    }


def count_truth(config: DrivingConfig) -> dict[str, MetricCounts]:
    """Return the counts of the forecasts without learning, by forecast."""
    priors = count_priors(config)
    counts = {way: make_counts() for way in (EMPTY, PRIOR, TRUE_COPY, TRUE_WARP)}
    for windows, _ in iterate_windows(config, open_truth(config, "test")):
        for window in windows:
            _count_window(config, counts, priors, window)
    return counts


def _count_window(
    config: DrivingConfig,
    counts: Mapping[str, MetricCounts],
    priors: Mapping[str, np.ndarray],
    window: Window,
) -> None:
    now = config.past - 1
    for name in CLASSES:
        own = take_present(name, getattr(window, name), now)
        prior = take_present(name, priors[name])
        for way, mask in ((EMPTY, np.zeros_like(own)), (PRIOR, prior)):
            count_class(config.find_grid(name), counts[way], name, mask, own)
    vehicle, instance = window.vehicle[now:], window.instance[now:]
    frames, before = len(vehicle), window.instance[max(0, now - 1)]
    nothing = np.zeros_like(vehicle)
    ways = {
        EMPTY: Forecast(nothing, nothing.astype(np.int64)),
        PRIOR: Forecast(priors["vehicle"]),
        TRUE_COPY: Forecast(*(copy_present(x[0], frames) for x in (vehicle, instance))),
        TRUE_WARP: warp(before, instance[0], vehicle[0], frames),
    }
    for way, forecast in ways.items():
        count_forecast(counts[way], forecast, instance, vehicle, config.grid)
