"""How well the planner drives with true maps instead of predicted ones, without any training.

The sampler and the cost are those of the network, with weights set by hand. Vehicles and
pedestrians go on with constant velocity. What such a planner does not complete, no better
perception alone can. Axes: B windows (1), F future frames, X and Y cells, U and V of the ground.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from drivers.nuscenes.box import Box
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.hd_map import cover_areas, rasterise
from drivers.nuscenes.labels import draw_labels
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.window import FRAME
from drivers.nuscenes.world.instant import WorldInstant
from tasks.driving.batch import Observation
from tasks.driving.config import DrivingConfig
from tasks.driving.cost import Surroundings
from tasks.driving.model import Planner

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
FASTEST = 8.0  # [m/s]; the way beyond costs as much per metre as SPEEDING
SPEEDING = 1.0  # [1 / m]


def move_on(box: Box, time: float) -> Box:
    """Return a box after a time [s] at constant velocity."""
    return replace(box, x=box.x + time * box.vx, y=box.y + time * box.vy)


def draw_surroundings(
    config: DrivingConfig, instant: WorldInstant, road_map: RoadMap
) -> Surroundings:
    """Return the true maps; others go on with constant velocity. B is 1."""
    ego = instant.ego
    pose = np.array([ego.x, ego.y, ego.yaw])
    frames = [
        [move_on(box, FRAME * k) for box in instant.boxes] for k in range(1 + config.future)
    ]
    labels = draw_labels(frames, 1, pose, config.grid)
    occupied = torch.from_numpy((labels.vehicle | labels.pedestrian)[1:])[None].float()
    lanes = rasterise(road_map, config.ground, pose, ["lane_dividers"])["lane_dividers"]
    road = cover_areas(road_map.drivable, config.ground, pose)
    drivable, lane = (torch.from_numpy(mask)[None].float() for mask in (road, lanes))
    return Surroundings(occupied, drivable, lane, limit_speed(config.grid, config.future)[None])


def limit_speed(grid: GroundGrid, frames: int) -> Float[Tensor, "F X Y"]:
    """Return a cost of cells that only a speed above FASTEST reaches in time."""
    away = torch.from_numpy(np.linalg.norm(grid.centres(), axis=-1)).float()
    reached = FASTEST * FRAME * torch.arange(1, frames + 1)[:, None, None]
    return SPEEDING * (away - reached).clamp(min=0)


class CeilingPlanner:
    """Plans with true maps and weights set by hand."""

    def __init__(self, config: DrivingConfig) -> None:
        how = replace(config.planner, weights="constant", caution=1.0)
        self.config = replace(config, planner=how)
        self.planner = Planner(self.config).eval()
        weights = [WEIGHTS[name] for name in self.planner.cost.parts]
        self.planner.cost.log_weight.data = torch.tensor(weights).log()

    @torch.no_grad()
    def __call__(
        self, seen: Observation, instant: WorldInstant, road_map: RoadMap
    ) -> Float[Tensor, "1 F 3"]:
        """Return the path."""
        around = draw_surroundings(self.config, instant, road_map)
        front = torch.zeros(1, self.config.channels, *self.config.feature_size)
        path: Tensor = self.planner(seen.ego, around, front).path
        return path
