"""Test windows as planners see them: the paths that they plan, and the maps that runs predict.

Each run sees all windows once; what came out is kept, and not computed again. Planners without
cameras, and forecasts that need no learning, are counted on the windows' truth alone.
Axes: N windows, B of a batch, F future frames, T = 1 + F, X and Y cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from drivers.nuscenes.window import Window
from neuro.io.pytree import digest
from neuro.io.schema import convert
from neuro.training.threads import limit_threads
from tasks.bench.results import append_result, make_key, read_results, read_value
from tasks.driving.batch import DrivingBatch, Seen, make_batch
from tasks.driving.config import DrivingConfig, Source
from tasks.driving.contest.contest import Entrant, Trained, describe_windows
from tasks.driving.contest.forecasts import (
    Forecast,
    as_json,
    copy_present,
    count_forecast,
    find_prior,
    make_counts,
    warp_instances,
)
from tasks.driving.data import count_windows, find_data, open_split, open_truth
from tasks.driving.evaluate import CLASSES, MetricCounts, count_class, measure_plan
from tasks.driving.instances import InstanceMaps, decode_instances
from tasks.driving.metrics import PathErrors
from tasks.driving.model import Driver, DrivingOutputs
from tasks.driving.planners import Blanked, Planner
from tasks.runs.results import Number

FILE = "driving-windows.jsonl"  # beside the figures
OF_INSTANCES = ("vehicle", "centre", "offset", "flow")  # maps that instances are read off
OWN = ""
OWN_COPY, OWN_WARP = "own present, copied", "own present, warped"
EMPTY, PRIOR = "empty", "prior map"
TRUE_COPY, TRUE_WARP = "true present, copied", "true present, warped"
AS_JSON = dict[str, dict[str, list[Number]]]  # sums of counts


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What a planner made of all windows.

    token, scene: of each window. path: N F 3. distance, hits, vehicle_hits: N F, as of
    :class:`tasks.driving.metrics.PathErrors`. counts: by forecast, its own is "".
    """

    token: tuple[str, ...] = ()
    scene: tuple[str, ...] = ()
    path: tuple[tuple[tuple[float, ...], ...], ...] = ()
    distance: tuple[tuple[float, ...], ...] = ()
    hits: tuple[tuple[bool, ...], ...] = ()
    vehicle_hits: tuple[tuple[bool, ...], ...] = ()
    counts: dict[str, AS_JSON] = field(default_factory=dict)

    @property
    def errors(self) -> PathErrors:
        """The errors of the paths."""
        return PathErrors(*(torch.tensor(getattr(self, name)) for name in PathErrors._fields))


def observe_all(
    entrants: Sequence[Entrant], config: DrivingConfig, folder: Path
) -> dict[str, dict[int, Observed]]:
    """Return what planners made of the test windows, by name and seed; known ones are read.

    Raises:
        StoreError: a result in the folder's file is damaged.
    """
    path = folder / FILE
    known = read_results(path)
    common = {"windows": digest(describe_windows(config)), "data": digest_tables(config.source)}
    about = {
        (e.name, e.seed): {
            "planner": e.name,
            "seed": e.seed,
            "digest": e.digest,
            **common,
        }
        for e in entrants
    }
    keys = {who: make_key(told) for who, told in about.items()}
    missing = [e for e in entrants if keys[e.name, e.seed] not in known]
    with limit_threads(1):
        for entrant, found in _observe(missing, config):
            who = entrant.name, entrant.seed
            known[keys[who]] = append_result(path, keys[who], about[who], asdict(found))
    found_all: dict[str, dict[int, Observed]] = {}
    for name, seed in keys:
        value = known[keys[name, seed]]
        found_all.setdefault(name, {})[seed] = read_value(path, value, Observed)
    return found_all


def digest_tables(source: Source) -> str:
    """Return the digest of a data set's tables, maps and CAN bus; images are not read."""
    root, sha = find_data(source), sha256()
    for folder in (source.version, "maps/expansion", "can_bus"):
        for path in sorted((root / folder).glob("*.json")):
            sha.update(path.name.encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


def _observe(
    entrants: Sequence[Entrant], config: DrivingConfig
) -> Iterator[tuple[Entrant, Observed]]:
    """Yield what each made of all windows: those with cameras one by one, the others last."""
    for entrant in entrants:
        if entrant.size is not None:
            yield entrant, observe_run(config, entrant.make())
    plain = [e for e in entrants if e.size is None]
    if plain:
        yield from zip(plain, observe_plain(config, [e.make() for e in plain]), strict=True)


def iterate_windows(
    config: DrivingConfig, windows: Any
) -> Iterator[tuple[list[Window], DrivingBatch]]:
    """Yield the test windows in order, by batch."""
    many = count_windows(config, "test")
    for first in range(0, many, config.batch):
        some = [windows[k] for k in range(first, min(first + config.batch, many))]
        yield some, make_batch(some)


class _Observing:
    """Windows so far."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.columns: dict[str, list[Any]] = {k: [] for k in ("path", *PathErrors._fields)}

    def add(
        self, config: DrivingConfig, batch: DrivingBatch, path: Float[Tensor, "B F 3"]
    ) -> None:
        errors = measure_plan(config, path, batch.truth)
        self.columns["path"] += path.tolist()
        for name, values in errors._asdict().items():
            self.columns[name] += values.tolist()

    def close(
        self, names: Sequence[tuple[str, str]], counts: Mapping[str, MetricCounts]
    ) -> Observed:
        made = {
            "token": [token for token, _ in names],
            "scene": [scene for _, scene in names],
            **self.columns,
            "counts": {k: as_json(c) for k, c in counts.items()},
        }
        found: Observed = convert(made, Observed)
        return found


def observe_plain(config: DrivingConfig, planners: Sequence[Any]) -> list[Observed]:
    """Return what planners without cameras made of the windows."""
    found, names = [_Observing() for _ in planners], []
    for windows, batch in iterate_windows(config, open_truth(config, "test")):
        names += [(w.token, w.scene) for w in windows]
        for planner, one in zip(planners, found, strict=True):
            with torch.no_grad():
                one.add(config, batch, planner(batch.seen))
    return [one.close(names, {}) for one in found]


def observe_run(config: DrivingConfig, planner: Any) -> Observed:
    """Return what a trained network made of the windows; black ones where it is blanked."""
    blanked = isinstance(planner, Blanked)
    driver = find_driver(planner)
    found, names = _Observing(), []
    counts = {way: make_counts() for way in (OWN, OWN_COPY, OWN_WARP)}
    for windows, batch in iterate_windows(config, open_split(config, "test")):
        names += [(w.token, w.scene) for w in windows]
        seen = batch.seen
        if blanked:
            seen = seen._replace(images=torch.zeros_like(seen.images))
        outputs, before = look(driver, seen)
        if outputs.plan is None:
            raise TypeError("expected a plan of the whole network")
        found.add(config, batch, outputs.plan.path)
        count_classes(config, counts[OWN], outputs.maps, batch)
        for b in range(len(windows)):
            _count_own(config, counts, outputs, before, batch, b)
    return found.close(names, counts)


def find_driver(planner: Planner) -> Driver:
    """Return the network of a planner of :func:`tasks.driving.contest.contest.list_trained`."""
    inner = planner.planner if isinstance(planner, Blanked) else planner
    if not isinstance(inner, Trained):
        raise TypeError(f"expected a trained planner, got {type(inner).__name__}")
    return inner.model


@torch.no_grad()
def look(driver: Driver, seen: Seen) -> tuple[DrivingOutputs, dict[str, Tensor]]:
    """Return what a network says, and its maps of instances in the frame before the present.

    Heads are trained from the present frame on: the frame before is read by the same weights.
    """
    spikes: list[Tensor] = []
    hook = driver.decoder.register_forward_hook(lambda *given: spikes.append(given[2]))
    try:
        outputs: DrivingOutputs = driver(seen)
    finally:
        hook.remove()
    now = seen.images.shape[1] - 1
    before = driver.read_maps(spikes[0][now - 1 : now], OF_INSTANCES) if now else {}
    return outputs, before


def count_classes(
    config: DrivingConfig, counts: MetricCounts, maps: Mapping[str, Tensor], batch: DrivingBatch
) -> None:
    """Add how the maps of the present overlap with the truth, by class."""
    for name in CLASSES:
        true = getattr(batch.truth, name)
        true = true if name in ("lane", "drivable") else true[:, 0]
        made = maps[name][:, 0] > 0
        count_class(config.grid, counts, name, made.numpy(), true.numpy())


def _count_own(
    config: DrivingConfig,
    counts: Mapping[str, MetricCounts],
    outputs: DrivingOutputs,
    before: Mapping[str, Tensor],
    batch: DrivingBatch,
    b: int,
) -> None:
    """Add the forecasts of one window that come of what a network perceived."""
    now = read_instances(outputs.maps, b)
    frames = len(now)
    both = now[:1]
    if before:
        joined = {k: torch.cat([before[k], outputs.maps[k][:, :1]], 1) for k in OF_INSTANCES}
        both = read_instances(joined, b)
    vehicle = outputs.maps["vehicle"][b].numpy() > 0
    ways = {
        OWN: Forecast(vehicle, now),
        OWN_COPY: Forecast(np.repeat(vehicle[:1], frames, 0), copy_present(now[0], frames)),
        OWN_WARP: warp(both[0], both[-1], vehicle[0], frames),
    }
    true = batch.truth.instance[b].numpy(), batch.truth.vehicle[b].numpy()
    for way, forecast in ways.items():
        count_forecast(counts[way], forecast, *true, config.grid)


def warp(
    before: Int[np.ndarray, "X Y"],
    now: Int[np.ndarray, "X Y"],
    vehicle: Bool[np.ndarray, "X Y"],
    frames: int,
) -> Forecast:
    """Return instances moved on, and the cells that are covered then.

    vehicle: the present mask; cells of it that are of no instance stay.
    """
    moved = warp_instances(before, now, frames)
    return Forecast((moved > 0) | (vehicle & (now == 0)), moved)


def read_instances(maps: Mapping[str, Tensor], b: int) -> Int[np.ndarray, "T X Y"]:
    """Return the instances of a window by its maps."""
    vehicle, centre, offset, flow = (maps[k][b] for k in OF_INSTANCES)
    parts = (vehicle > 0, centre.sigmoid(), offset, flow)
    return decode_instances(InstanceMaps(*(part.numpy() for part in parts)))


def count_priors(config: DrivingConfig) -> dict[str, Bool[np.ndarray, "..."]]:
    """Return the best masks that know nothing but training: by class, vehicles T X Y."""
    sums: dict[str, Any] = {}
    windows, many = open_truth(config, "train"), count_windows(config, "train")
    for k in range(many):
        window = windows[k]
        for name in CLASSES:
            mask = getattr(window, name)
            mask = mask if name in ("lane", "drivable") else mask[config.past - 1 :]
            sums[name] = sums.get(name, 0) + mask.astype(np.int64)
    return {
        name: np.stack([find_prior(one, many) for one in found])
        if found.ndim == 3
        else find_prior(found, many)
        for name, found in sums.items()
    }


def count_truth(config: DrivingConfig) -> dict[str, MetricCounts]:
    """Return the counts of forecasts that need no learning, by name."""
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
        own = getattr(window, name)
        own = own if name in ("lane", "drivable") else own[now]
        prior = priors[name] if name in ("lane", "drivable") else priors[name][0]
        for way, mask in ((EMPTY, np.zeros_like(own)), (PRIOR, prior)):
            count_class(config.grid, counts[way], name, mask, own)
    vehicle, instance = window.vehicle[now:], window.instance[now:]
    frames, before = len(vehicle), window.instance[max(0, now - 1)]
    nothing = np.zeros_like(vehicle)
    ways = {
        EMPTY: Forecast(nothing, nothing.astype(np.int64)),
        PRIOR: Forecast(priors["vehicle"]),
        TRUE_COPY: Forecast(
            np.repeat(vehicle[:1], frames, 0), copy_present(instance[0], frames)
        ),
        TRUE_WARP: warp(before, instance[0], vehicle[0], frames),
    }
    for way, forecast in ways.items():
        count_forecast(counts[way], forecast, instance, vehicle, config.grid)
