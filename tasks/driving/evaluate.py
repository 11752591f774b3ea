"""Measure a trained driver on a split: present maps, future maps and paths, with baselines.

Baselines:
"static": the predicted present vehicles stay where they are.
"static truth": the true present vehicles stay where they are.
"constant velocity": the car keeps its speed and heading.
``neuro bench driving`` measures further baselines. Axes: B windows, T = 1 + F frames, X and Y
cells.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from drivers.nuscenes.devkit import require_devkit
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import FRAME
from neuro.io.run_folder import Run
from tasks.driving.batch import DrivingBatch, Truth
from tasks.driving.config import PRESENT_MAPS, DrivingConfig
from tasks.driving.data import list_dropped, open_split, read_batches
from tasks.driving.instances import decode_window
from tasks.driving.metrics import (
    Overlap,
    Panoptic,
    PathErrors,
    add_counts,
    count_overlap,
    count_segments,
    find_still,
    join_errors,
    measure_paths,
    summarise_paths,
)
from tasks.driving.model import DrivingOutputs
from tasks.driving.planners import KeepVelocity
from tasks.runs.samples import Judge, estimate_errors
from tasks.runs.share import track_test
from tasks.runs.task import Findings, Metric, Picture, Split, Table

if TYPE_CHECKING:
    from drivers.nuscenes.windows import Skipped
    from tasks.driving.challenge import Submission

DRAWN = 8  # windows of a scene in the GIF
FILMED = 20.0  # [s] of a drive in the film
CAPTIONS = {"cameras": "Cameras with the true boxes; ", "maps": ""}

NEAR = 24.0  # [m] from the car along both axes: the region of a second IoU
SHORT = 4  # future frames that prediction metrics cover: 2 s, as published
SCORE = Metric(name="score", format=".4f", meaning="mean of overlaps and 1 / (1 + path error)")
CLASSES = ("vehicle", "pedestrian", "lane", "drivable")
WHEN = {"mean": "mean up to that time", "at": "at that time"}
TIMES = {f"{kind}_{s}s": at for kind, at in WHEN.items() for s in (1, 2, 3)}
FAR = "distance of plan and recorded path"
HIT = "share of the planned positions that touch a road user"
OF_VEHICLES = {
    "future_iou": "overlap of predicted and true vehicles over the next 2 s",
    "future_iou_moving": "the same, of the vehicles that move",
    "pq": "panoptic quality of vehicles up to 2 s ahead: sq times rq",
    "sq": "overlap of the vehicles that were found",
    "rq": "share of the vehicles that were found (F1 score)",
    "pq_moving": "panoptic quality of the vehicles that move",
}
METRICS = (
    SCORE,
    *(
        Metric(name=f"{near}iou_{k}", format=".2%", meaning=f"overlap of {k} cells{within}")
        for near, within in (("", ""), ("near_", f", within {NEAR:g} m"))
        for k in CLASSES
    ),
    *(Metric(name=k, format=".2%", meaning=meaning) for k, meaning in OF_VEHICLES.items()),
    *(
        Metric(name=f"l2_{k}", better="lower", unit="m", format=".3f", meaning=f"{FAR}, {when}")
        for k, when in TIMES.items()
    ),
    *(
        Metric(name=f"collision_{at}", better="lower", format=".2%", meaning=f"{HIT}, {when}")
        for at, when in TIMES.items()
    ),
)


class MetricCounts(NamedTuple):
    """Counts by metric; each is a list with one entry per window or batch."""

    overlaps: defaultdict[str, list[Overlap]]
    segments: defaultdict[str, list[Panoptic]]


class Forecast(NamedTuple):
    """Masks of vehicles, and masks of instances if the forecast has instances."""

    vehicle: Bool[np.ndarray, "T X Y"]
    instance: Int[np.ndarray, "T X Y"] | None = None


def make_counts() -> MetricCounts:
    """Return empty counts."""
    return MetricCounts(defaultdict(list), defaultdict(list))


def take_present(name: str, masks: Any, now: int = 0) -> Any:
    """Return the present masks of a class from its masks of all frames."""
    return masks if name in PRESENT_MAPS else masks[..., now, :, :]


def count_class(
    grid: GroundGrid,
    counts: MetricCounts,
    name: str,
    predicted: Bool[np.ndarray, "*B X Y"],
    true: Bool[np.ndarray, "*B X Y"],
) -> None:
    """Add the overlaps of a class to ``counts``, for the whole grid and within :data:`NEAR`."""
    far = np.broadcast_to(np.abs(grid.centres()).max(-1) > NEAR, true.shape)
    counts.overlaps[f"iou_{name}"].append(count_overlap(predicted, true))
    counts.overlaps[f"near_iou_{name}"].append(count_overlap(predicted, true, far))


def count_classes(
    config: DrivingConfig, counts: MetricCounts, maps: Mapping[str, Tensor], truth: Truth
) -> None:
    """Add the overlaps of a batch's present maps to ``counts``, by class."""
    for name in CLASSES:
        true = take_present(name, getattr(truth, name)).cpu().numpy()
        grid = config.find_grid(name)
        count_class(grid, counts, name, (maps[name][:, 0] > 0).cpu().numpy(), true)


def count_forecast(
    counts: MetricCounts,
    forecast: Forecast,
    instance: Int[np.ndarray, "T X Y"],
    vehicle: Bool[np.ndarray, "T X Y"],
    grid: GroundGrid,
    way: str = "",
) -> None:
    """Add a window's forecast to ``counts``, once for all and once for moving vehicles.

    The counts give the IoU of future frames, and PQ over present and future frames.
    instance, vehicle: the true masks. way: suffix of the names of these metrics.
    """
    frames = min(SHORT + 1, len(forecast.vehicle))
    numbers, true = instance[:frames], vehicle[:frames]
    still = find_still(numbers, grid)
    ignored = np.isin(numbers, list(still))
    predicted, future = forecast.vehicle[1:frames], true[1:]
    moving = count_overlap(predicted, future, ignored[1:])
    counts.overlaps[f"future_iou{way}"].append(count_overlap(predicted, future))
    counts.overlaps[f"future_iou_moving{way}"].append(moving)
    if forecast.instance is not None:
        segments = forecast.instance[:frames]
        counts.segments[f"pq{way}"].append(count_segments(segments, numbers))
        counts.segments[f"pq_moving{way}"].append(count_segments(segments, numbers, still))


def count_maps(
    config: DrivingConfig, maps: Mapping[str, Tensor], truth: Truth, counts: MetricCounts
) -> None:
    """Add the maps of a batch to ``counts``, with the future if the maps have future frames."""
    count_classes(config, counts, maps, truth)
    if maps["vehicle"].shape[1] == 1:
        return
    maps = {name: y[:, : SHORT + 1].cpu() for name, y in maps.items()}
    predicted, frames = maps["vehicle"].numpy() > 0, maps["vehicle"].shape[1]
    vehicle, instance = truth.vehicle.cpu().numpy(), truth.instance.cpu().numpy()
    for b, mask in enumerate(predicted):
        ways = {
            "": Forecast(mask, decode_window(maps, b) if "centre" in maps else None),
            "_static": Forecast(np.repeat(mask[:1], frames, 0)),
            "_static_truth": Forecast(np.repeat(vehicle[b, :1], frames, 0)),
        }
        for way, forecast in ways.items():
            count_forecast(counts, forecast, instance[b], vehicle[b], config.grid, way)


def summarise_counts(counts: MetricCounts) -> dict[str, float]:
    """Return the metrics that follow from counts, by name."""
    values: dict[str, float] = {}
    for name, parts in counts.overlaps.items():
        values[name] = add_counts(parts).iou
    for name, segments in counts.segments.items():
        end = name.removeprefix("pq")
        names = (f"pq{end}", f"sq{end}", f"rq{end}")
        values |= zip(names, add_counts(segments).quality, strict=True)
    return values


def measure_plan(config: DrivingConfig, path: Tensor, truth: Truth) -> PathErrors:
    """Return the errors of planned paths."""
    moving = truth.vehicle[:, 1:], truth.pedestrian[:, 1:]
    return measure_paths(path, truth.path, *moving, config.grid)


@torch.no_grad()
def measure_model(
    config: DrivingConfig,
    model: nn.Module,
    batches: Iterable[DrivingBatch],
    submission: "Submission | None" = None,
) -> tuple[dict[str, float], int, dict[str, float]]:
    """Measure in evaluation mode; return (values with baselines, window count, errors).

    errors: standard errors of the differences to the paths at constant velocity.

    submission: object that collects the predictions of all batches.
    """
    counts = make_counts()
    paths: defaultdict[str, list[PathErrors]] = defaultdict(list)
    device, n = next(model.parameters()).device, 0
    for batch in batches:
        seen, truth = tree_map_only(Tensor, lambda x: x.to(device), batch)
        outputs: DrivingOutputs = model(seen)
        count_maps(config, outputs.maps, truth, counts)
        if submission is not None:
            submission.add(outputs)
        if outputs.plan is not None:
            paths[""].append(measure_plan(config, outputs.plan.path, truth))
        straight = KeepVelocity(config.future)(seen)
        paths["_constant_velocity"].append(measure_plan(config, straight, truth))
        n += len(truth.path)
    values = summarise_counts(counts)
    joined = {way: join_errors(parts) for way, parts in paths.items()}
    for way, own in joined.items():
        values |= {f"{name}{way}": value for name, value in summarise_paths(own).items()}
    values["score"] = score(values)
    judge = Judge(dict, lambda answers, _: summarise_paths(answers))
    pair = joined.get("", ()), joined["_constant_velocity"]
    return values, n, estimate_errors(judge, *pair, ())


def score(values: Mapping[str, float]) -> float:
    """Return the validation score of a training, from 0 to 1.

    The score is the mean of these terms: the IoU of vehicles, lanes and road; the IoU of future
    vehicles, if the model predicts them; and 1 / (1 + mean distance to the true path over 3 s
    [m]), if the model plans.
    """
    names = ("iou_vehicle", "iou_lane", "iou_drivable", "future_iou")
    parts = [values[name] for name in names if name in values]
    paths = [values[name] for s in (3, 2, 1) if (name := f"l2_mean_{s}s") in values]
    parts += [1 / (1 + error) for error in paths[:1]]
    return float(np.mean(np.nan_to_num(parts)))


def validate(config: DrivingConfig, model: nn.Module) -> float:
    """Return the score on the validation split."""
    return measure_model(config, model, read_batches(config, "val", 0))[0]["score"]


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the metrics of the test split; write its predictions into the run folder."""
    config: DrivingConfig = run.config
    submission = open_submission(config)
    batches = track_test(read_batches(config, "test", 0))
    values, n, errors = measure_model(config, model, batches, submission)
    challenge: dict[str, Any] = {}
    if submission is not None:
        challenge = submission.measure()
        submission.write(run.folder)
    names = {m.name for m in METRICS}
    dropped = list_dropped(config) if config.source.skip_bad else []
    compared = [k for m in METRICS if "_mean_" in (k := m.name) and k in values]
    straight = {name: values[f"{name}_constant_velocity"] for name in compared}
    return Findings(
        values={k: v for k, v in values.items() if k in names},
        n=n,
        facts={
            "baselines": {k: v for k, v in values.items() if k not in names},
            "skipped": sum(scene.windows for _, scene in dropped),
            **({} if submission is None else {"challenge": challenge}),
        },
        tables=(
            *([_tabulate_future(values)] if config.last.futures else []),
            *([] if submission is None else [submission.tabulate(run.folder, challenge)]),
            *([tabulate_dropped(dropped)] if config.source.skip_bad else []),
        ),
        pictures=draw_pictures(run, model),
        beside={"constant velocity": straight} if config.plans else {},
        errors={"constant velocity": errors} if config.plans else {},
    )


def open_submission(config: DrivingConfig) -> "Submission | None":
    """Return a collector of predictions for the devkit, or None if no future is predicted."""
    if not config.last.futures:
        return None
    with require_devkit():
        from tasks.driving.challenge import Submission
    return Submission(config, open_split(config, "test"))


def draw_pictures(run: Run, model: nn.Module) -> list[Picture]:
    """Write scene.png and scene.gif; for a planner in the generated world also drive.gif."""
    from tasks.driving.film import SEED, write_film
    from tasks.driving.pictures import write_scene

    config: DrivingConfig = run.config
    shown = write_scene(run.folder, config, model, open_split(config, "test"), DRAWN)
    out = [
        Picture(
            file="scene.png",
            title="Input, predictions and plan",
            caption=f"{CAPTIONS[config.sees]}the true and the predicted map"
            f"{'; the plan and all candidates' if config.plans else ''}. Left is left.",
            example=True,
        ),
        Picture(
            file="scene.gif",
            title="The same, over time",
            caption=f"{shown} windows of the first scene of the test split, half a second "
            "apart.",
        ),
    ]
    if config.plans and config.source.data == "generated":
        outcome = write_film(run.folder, config, model, FILMED)
        caption = (
            f"Course {SEED}, with its own roads and traffic: {outcome.end} after "
            f"{outcome.seconds:.1f} s, {outcome.share:.0%} of the route"
            f"{f' (filmed for {FILMED:g} s)' if outcome.end == 'time' else ''}. Others are "
            "at their true positions, and react. The rules drive the first second."
        )
        out.append(Picture(file="drive.gif", title="A drive in closed loop", caption=caption))
    return out


def tabulate_dropped(dropped: Sequence[tuple[Split, "Skipped"]]) -> Table:
    """Return a table of the windows that --skip-bad dropped."""
    windows = sum(scene.windows for _, scene in dropped)
    rows = []
    for split, scene in dropped:
        first, *others = scene.problems
        more = f" (and {len(others)} more)" if others else ""
        rows.append([split, scene.scene, scene.windows, f"{first}{more}"])
    return Table(
        title="Dropped as damaged",
        head=("split", "scene", "windows", "why"),
        rows=rows,
        caption=f"{windows} windows of {len(dropped)} scenes (--skip-bad).",
    )


def _tabulate_future(values: Mapping[str, float]) -> Table:
    ways = {"ours": "", "own present, static": "_static", "true present": "_static_truth"}
    names = ("future_iou", "future_iou_moving")
    return Table(
        title=f"Vehicles in the next {SHORT * FRAME:.0f} s",
        head=("from", "IoU", "IoU of moving vehicles"),
        rows=[[k, *(f"{values[n + way]:.1%}" for n in names)] for k, way in ways.items()],
        caption="Static: predicted vehicles stay; true present: true vehicles stay.",
    )
