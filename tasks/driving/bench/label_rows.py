"""``neuro bench driving --only labels``: our labels beside those of SAD and ST-P3.

Both label the same windows on the paper's grid. Rows hold how much the published labels differ
from ours. Two further columns mend the published procedure step by step, which separates the
causes: corners in their true cells, then also the true motion of the car.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from nuscenes.map_expansion.map_api import NuScenesMap

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.hd_map import cover_areas, rasterise
from drivers.nuscenes.window import FRAME, Window
from drivers.nuscenes.windows import Windows, WindowSpan
from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, list_versions
from tasks.driving.bench.entrants import open_comparison
from tasks.driving.bench.published_labels import (
    NOTHING,
    LabelProcedure,
    PublishedLabels,
    name_published_command,
    read_published_path,
)
from tasks.driving.data import find_split, make_settings
from tasks.driving.losses import make_instance_targets
from tasks.driving.metrics import Overlap, add_counts, count_overlap
from tasks.driving.presets import tiny

GRID = GroundGrid(x=(-50.0, 50.0), y=(-50.0, 50.0), step=0.5)  # the paper's
WINDOWS, FEW = 100, 2
LABELS, OURS, PUBLISHED = "labels", "neuro", "SAD, ST-P3"
PROCEDURES = {
    PUBLISHED: LabelProcedure(grid=GRID),
    "the same, true cells": LabelProcedure(grid=GRID, true_cells=True),
    "and true motion": LabelProcedure(grid=GRID, true_cells=True, true_motion=True),
}
IOU, CELLS = "% IoU with ours", "cells from ours"


class Differences(NamedTuple):
    """Differences of one procedure from ours.

    overlaps: by case. values: by case and unit.
    """

    overlaps: defaultdict[str, list[Overlap]]
    values: defaultdict[tuple[str, str], list[float]]

    def summarise(self) -> dict[tuple[str, str], float]:
        """Return IoU of all cells [%] and means of values, by case and unit."""
        iou = {(k, IOU): 100 * add_counts(parts).iou for k, parts in self.overlaps.items()}
        return iou | {k: float(np.mean(v)) for k, v in self.values.items() if v}


def make_differences() -> Differences:
    """Return no differences."""
    return Differences(defaultdict(list), defaultdict(list))


def compare_labels(options: BenchOptions) -> Iterator[Row]:
    """Labels: yield rows of the published labels beside ours, on windows of the test split.

    The windows are those of the runs; without any, of driving:tiny.
    """
    config = open_comparison(options.runs).config if options.runs else tiny()
    settings = replace(make_settings(config), grid=GRID, road=GRID, looks=False)
    windows = find_split(config.source, settings, "test")
    number = min(FEW if options.quick else WINDOWS, len(windows))
    found = {name: make_differences() for name in PROCEDURES}
    undrawn = 0
    for k in np.linspace(0, len(windows) - 1, number).round().astype(int).tolist():
        span, window = windows.spans[k], windows[k]
        for name, procedure in PROCEDURES.items():
            theirs = procedure.draw(windows.tables, span.tokens, settings.past)
            compare_masks(found[name], window, theirs, settings.past)
        compare_paths(found[PUBLISHED], windows, span, window)
        undrawn += not compare_maps(found[PUBLISHED], windows, span)
    summaries = {name: differences.summarise() for name, differences in found.items()}
    note = f"the devkit fails on the dividers of {undrawn} of {number} windows"
    about = {
        "windows": number,
        "grid": {"x": GRID.x, "y": GRID.y, "step": GRID.step},
        "data": config.source.data,
        "versions": list_versions("nuscenes-devkit", "opencv-python-headless"),
    }
    for case, unit in summaries[PUBLISHED]:
        for peer, summary in summaries.items():
            if (case, unit) in summary:
                yield Row(
                    case=f"{LABELS}: {case}",
                    subject=OURS,
                    peer=peer,
                    unit=unit,
                    ours=100.0 if unit == IOU else 0.0,
                    theirs=summary[case, unit],
                    ratio=None,
                    note=note if undrawn else "",
                    conditions=about,
                )


def compare_masks(
    differences: Differences, window: Window, theirs: PublishedLabels, past: int
) -> None:
    """Add the differences of the masks and targets of a window.

    past: number of past and present frames.
    """
    now = past - 1
    times = {"past": slice(0, now), "now": slice(now, past)}
    for frame in range(now + round(1 / FRAME), len(window.vehicle), round(1 / FRAME)):
        times[f"in {FRAME * (frame - now):.0f} s"] = slice(frame, frame + 1)
    for time, frames in times.items():
        for name in ("vehicle", "pedestrian"):
            masks = getattr(theirs, name)[frames], getattr(window, name)[frames]
            differences.overlaps[f"{name}, {time}"].append(count_overlap(*masks))
        pairs = zip(theirs.instance[frames], window.instance[frames], strict=True)
        away = [distance for pair in pairs for distance in measure_middles(*pair)]
        differences.values[f"middle of a vehicle, {time}", CELLS] += away
    targets = make_instance_targets(torch.from_numpy(window.instance[None, now : now + 2]))
    covered = (theirs.instance[now] > 0) & (window.instance[now] > 0)
    for name in ("offset", "flow"):
        ours, published = getattr(targets, name)[0, 0].numpy(), getattr(theirs, name)
        known = covered & ~np.isnan(ours[0]) & (published[0] != NOTHING)
        away = np.linalg.norm(published - ours, axis=0)[known].tolist()
        differences.values[f"{name}, now", CELLS] += away
    heat = np.abs(theirs.centre - targets.centre[0, 0].numpy())[covered]
    differences.values["heat of centres, now", "from ours"] += heat.tolist()


def measure_middles(
    theirs: Int[np.ndarray, "X Y"], ours: Int[np.ndarray, "X Y"]
) -> list[float]:
    """Return the distance [cells] between the middles of each instance that both hold."""
    numbers = np.intersect1d(theirs[theirs > 0], ours[ours > 0])
    middles = [[np.argwhere(m == n).mean(0) for m in (theirs, ours)] for n in numbers]
    return [float(np.linalg.norm(a - b)) for a, b in middles]


def compare_paths(
    differences: Differences, windows: Windows, span: WindowSpan, window: Window
) -> None:
    """Add the distance between the ends of both paths, and whether commands differ."""
    path = read_published_path(windows.tables, span.tokens, windows.settings.past)
    right, ahead = path[-1]
    away = float(np.hypot(*(window.path[-1, :2] - [ahead, -right])))
    differences.values[f"path, in {FRAME * len(path):.0f} s", "m from ours"].append(away)
    differs = name_published_command(path) != window.command
    differences.values["command", "% other than ours"].append(100.0 * differs)


def compare_maps(differences: Differences, windows: Windows, span: WindowSpan) -> bool:
    """Add the differences of the maps of the present frame.

    Returns whether the devkit draws the dividers; it fails where one leaves and returns.
    """
    pose, road_map = span.poses[windows.settings.past - 1], windows.maps[span.location]
    ours = {
        "drivable": cover_areas(road_map.drivable, GRID, pose),
        "lane": rasterise(road_map, GRID, pose, ["lane_dividers"])["lane_dividers"],
    }
    for name, layer in (("drivable", "drivable_area"), ("lane", "lane_divider")):
        try:
            theirs = draw_published_map(windows.tables.root, span.location, pose, layer)
        except TypeError:
            return False
        differences.overlaps[f"{name}, now"].append(count_overlap(theirs, ours[name]))
    return True


def draw_published_map(
    root: Path, location: str, pose: Float[np.ndarray, "3"], layer: str
) -> Bool[np.ndarray, "X Y"]:
    """Return the devkit's mask of a layer around an ego, with the axes of the grid.

    Raises:
        TypeError: the devkit fails on a line that leaves the ground and returns.
    """
    x, y, yaw = (float(v) for v in pose)
    patch = (x, y, GRID.y[1] - GRID.y[0], GRID.x[1] - GRID.x[0])
    devkit = _open_map(root, location)
    found = devkit.get_map_mask(patch, float(np.degrees(yaw)), [layer], GRID.shape[::-1])
    return np.asarray(found[0]).T.astype(bool)


@lru_cache
def _open_map(root: Path, location: str) -> Any:
    return NuScenesMap(str(root), location)
