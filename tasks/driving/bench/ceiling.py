"""Closed loop with true maps instead of predicted ones: what better perception would gain.

Two kinds of planners know the world. One has the sampler and the cost of the network, with
weights set by hand, and needs no training. The other is a trained network, some or all of whose
maps are replaced by true ones. In true maps of the future, vehicles and pedestrians keep their
velocity.
Axes: F future frames, X and Y cells.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.hd_map import cover_areas, rasterise
from drivers.nuscenes.labels import draw_labels
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.window import FRAME
from drivers.nuscenes.world.instant import WorldInstant
from neuro.io.pytree import digest
from tasks.driving.batch import Observation
from tasks.driving.bench.entrants import (
    Comparison,
    Entrant,
    digest_trained,
    load_planner,
)
from tasks.driving.closed_loop import InformedPlanner
from tasks.driving.config import DrivingConfig, Navigation
from tasks.driving.cost import VERGE, Surroundings
from tasks.driving.model import Planner, require_driver

WEIGHTS: Mapping[str, float] = {
    "safety": 2.0,
    "headway": 0.2,
    "lane": 0.2,
    "rule": 10.0,
    "learned": 1.0,
    "comfort": 0.05,
    "progress": 0.35,
    "target": 1.0,
}
FASTEST, SPEEDING = 8.0, 1.0  # [m/s]; cost per metre beyond the reach of this speed
ARMS: tuple[tuple[Navigation, float], ...] = (  # navigation, edge of the road map's cells [m]
    ("command", 1.0),
    ("command", 0.5),
    ("target", 1.0),
    ("target", 0.5),
)
KNOWN: Mapping[str, tuple[str, ...]] = {
    "others": ("occupied",),
    "road": ("drivable", "lane"),
    "others and road": ("occupied", "drivable", "lane"),
}


def draw_surroundings(
    config: DrivingConfig, instant: WorldInstant, road_map: RoadMap
) -> Surroundings:
    """Return the true maps of one window, with a cost volume that limits the speed."""
    ego = instant.ego
    pose = np.array([ego.x, ego.y, ego.yaw])
    times = FRAME * np.arange(1 + config.future)
    frames = [  # at constant velocity
        [replace(box, x=box.x + t * box.vx, y=box.y + t * box.vy) for box in instant.boxes]
        for t in times.tolist()
    ]
    labels = draw_labels(frames, 1, pose, config.grid)
    masks = {
        "occupied": (labels.vehicle | labels.pedestrian)[1:],
        "drivable": cover_areas(road_map.drivable, config.road, pose),
        "lane": rasterise(road_map, config.grid, pose, ["lane_dividers"])["lane_dividers"],
    }
    maps = {name: torch.from_numpy(mask)[None].float() for name, mask in masks.items()}
    return Surroundings(**maps, learned=limit_speed(config.grid, config.future)[None])


def limit_speed(grid: GroundGrid, frames: int) -> Float[Tensor, "F X Y"]:
    """Return a cost volume that charges cells which only a speed above FASTEST reaches."""
    away = torch.from_numpy(np.linalg.norm(grid.centres(), axis=-1)).float()
    reached = FASTEST * FRAME * torch.arange(1, frames + 1)[:, None, None]
    return SPEEDING * (away - reached).clamp(min=0)


def make_ceiling_planner(config: DrivingConfig) -> InformedPlanner:
    """Return the planner with true maps and hand-set weights; it does not refine candidates."""
    by_hand = replace(config.planner, weights="constant", caution=1.0, verge=VERGE)
    config = replace(config, planner=by_hand)
    planner = Planner(config).eval()
    weights = [WEIGHTS[name] for name in planner.cost.parts]
    planner.cost.log_weight.data = torch.tensor(weights).log()
    # An untrained refinement changes nothing for any input, so zeros replace the features.
    front = torch.zeros(1, config.channels, *config.feature_size)

    @torch.no_grad()
    def plan(
        seen: Observation, instant: WorldInstant, road_map: RoadMap
    ) -> Float[Tensor, "1 F 3"]:
        around = draw_surroundings(config, instant, road_map)
        path: Tensor = planner(seen.ego, around, front).path
        return path

    return InformedPlanner(plan)


def inform_run(folder: Path, identity: str, names: tuple[str, ...]) -> InformedPlanner:
    """Return the planner of a run with true maps in the fields ``names`` of Surroundings."""
    driver = require_driver(load_planner(folder, identity).model)

    @torch.no_grad()
    def plan(
        seen: Observation, instant: WorldInstant, road_map: RoadMap
    ) -> Float[Tensor, "1 F 3"]:
        true = draw_surroundings(driver.config, instant, road_map)
        known = {name: getattr(true, name) for name in names}
        path: Tensor = driver(seen, known=known).plan.path
        return path

    return InformedPlanner(plan)


def list_ceiling(comparison: Comparison) -> list[Entrant]:
    """Return the planners with true maps: those of ARMS, and the subject's runs with KNOWN.

    An arm is left out if its road cells do not divide the cells of the grid.
    """
    entrants = []
    for navigation, step in ARMS:
        if not (comparison.config.grid.step / step).is_integer():
            continue
        config = set_arm(comparison.config, navigation, step)
        arm = Entrant(
            name=f"true maps, {navigation}, road in cells of {step:g} m",
            seed=0,
            digest=digest([config.planner, config.grid, config.road, config.future, WEIGHTS]),
            make=partial(make_ceiling_planner, config),
        )
        entrants.append(arm)
    for run in comparison.runs[comparison.subject]:
        identity = digest_trained(run.folder)
        entrants += [
            Entrant(
                name=f"{comparison.subject}, true {what}",
                seed=run.seed,
                digest=f"{identity} {what}",
                make=partial(inform_run, run.folder, identity, names),
                size=run.config.image,
            )
            for what, names in KNOWN.items()
        ]
    return entrants


def set_arm(config: DrivingConfig, navigation: Navigation, step: float) -> DrivingConfig:
    """Return a configuration with a kind of navigation and with road cells of ``step`` [m].

    Raises:
        ValueError: road cells of this size do not divide the cells of the grid.
    """
    cells = config.grid.step / step
    if not cells.is_integer():
        raise ValueError(
            f"cells of the road of {step:g} m do not divide those of the grid, "
            f"{config.grid.step:g} m; name a whole fraction of these"
        )
    planner = replace(config.planner, navigation=navigation)
    return replace(config, planner=planner, road_cells=int(cells))
