"""The cost of a path: a weighted sum of eight parts, or seven if there is no target.

    safety    occupancy under the car's box + v / (10 m/s) x that under a box 1 m larger
    headway   occupancy on the road under the box moved 10 m ahead
    lane      (1 - d)^2 where d < 1 m is the distance to the nearest divider
    rule      share of a box 0.25 m (or the planner's verge) larger that is not on road
    learned   the cost volume at the car's middle, between cells
    comfort   (|a_lat| - 3)+^2 + (|a_lon| - 3)+^2 + (|jerk| - 1)+^2, the largest of the path
    progress  - driven distance [m]
    target    distance of the target from the path extended straight ahead [m], at most 10

Safety and headway use the highest occupancy at a point of the box, 0 to 1 for any cell size.
(SAD sums over cells, enlarges the box by 1 m / cell [m], and measures progress along x, which
is 0 in a turn.) Class maps are probabilities, read at the nearest cell. Road is interpolated,
because lanes are only slightly wider than the car. Outside the grid there is no occupancy and
no paint, and the road continues from the edge.
Axes: B windows, M paths, F frames, P points of a box, X and Y cells of the grid, U and V cells
of the drivable area, which may be smaller.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import FRAME
from tasks.driving.config import DrivingConfig, PlannerConfig
from tasks.driving.sampler import EgoState, find_moves

# [m] size of the car, and distance of its middle from its rear axle. The values equal those of
# drivers.nuscenes.world.instant, which needs the extra "driving" and so cannot be imported.
LENGTH, WIDTH, AHEAD = 4.084, 1.85, 1.44
MARGIN = 1.0  # [m] by which the larger box exceeds the car on each side
VERGE = PlannerConfig.verge  # [m] margin of the box that must be on the road, in training
GAP = 10.0  # [m] headway
NEAR = 1.0  # [m] distance to a divider from which the lane costs nothing
PROLONGED, FARTHEST = 30.0, 10.0  # [m] extension of a path; largest distance to the target
FAST = 10.0  # [m/s] at which both boxes have equal weight
LIMITS = (3.0, 3.0, 1.0)  # comfortable: lateral, longitudinal [m/s^2], jerk [m/s^3]

FACTORS: Mapping[str, float] = {  # as published, except that of the target
    "safety": 10.0,
    "headway": 1.0,
    "lane": 1.0,
    "rule": 5.0,
    "learned": 1.0,
    "comfort": 0.1,
    "progress": 0.5,
    "target": 1.0,
}
PER_FRAME = ("safety", "headway", "lane", "rule", "learned")
MOST = 100.0  # largest value of a part per frame


class Surroundings(NamedTuple):
    """The maps that determine costs, in the present ego frame.

    occupied: vehicles and pedestrians in each future frame (0 to 1).
    drivable, lane: drivable area and painted dividers (0 to 1).
    learned: the cost volume.
    """

    occupied: Float[Tensor, "B F X Y"]
    drivable: Float[Tensor, "B U V"]
    lane: Float[Tensor, "B X Y"]
    learned: Float[Tensor, "B F X Y"]


def place_box(
    path: Float[Tensor, "*B 3"],
    step: float,
    margin: float = 0.0,
    ahead: float = 0.0,
) -> Float[Tensor, "*B P 2"]:
    """Return points, at most ``step`` apart, that fill the box of the car along a path [m].

    margin: added to the box on each side [m]. ahead: forward shift of the box [m].
    """
    along, across = LENGTH / 2 + margin, WIDTH / 2 + margin
    forward, left = (
        torch.linspace(-half, half, int(2 * half / step) + 2).to(path)
        for half in (along, across)
    )
    u, v = torch.meshgrid(forward + AHEAD + ahead, left, indexing="ij")
    u, v = u.flatten(), v.flatten()
    x, y, yaw = (path[..., k, None] for k in range(3))
    return torch.stack(
        [x + u * yaw.cos() - v * yaw.sin(), y + u * yaw.sin() + v * yaw.cos()], -1
    )


def look_up(
    maps: Float[Tensor, "B _ X Y"],
    points: Float[Tensor, "B M F P 2"],
    grid: GroundGrid,
    beyond: float = 0.0,
) -> Float[Tensor, "B M F P"]:
    """Return the values of maps (one per frame, or one for all frames) at the cells of points.

    beyond: the value outside the grid.
    """
    nx, ny = grid.shape
    i = ((points[..., 0] - grid.x[0]) / grid.step).floor()
    j = ((points[..., 1] - grid.y[0]) / grid.step).floor()
    inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
    cell = (i.clamp(0, nx - 1) * ny + j.clamp(0, ny - 1)).long()
    b, m, f, p = cell.shape
    flat = maps.flatten(2).expand(-1, f, -1)
    index = cell.transpose(1, 2).flatten(2)
    values = flat.gather(2, index).view(b, f, m, p).transpose(1, 2)
    return torch.where(inside, values, beyond)


def interpolate(
    maps: Float[Tensor, "B _ X Y"], points: Float[Tensor, "B M F P 2"], grid: GroundGrid
) -> Float[Tensor, "B M F P"]:
    """Interpolate maps (one per frame, or one for all frames) at points.

    The interpolation between the middles of cells is bilinear. Outside the grid it returns the
    values at the edge.
    """
    b, m, f, p, _ = points.shape
    size = points.new_tensor(grid.shape) * grid.step
    low = points.new_tensor([grid.x[0], grid.y[0]])
    at = (2 * (points - low) / size - 1).flip(-1)  # grid_sample takes the last axis first
    each = maps.flatten(0, 1)[:, None]
    values = F.grid_sample(
        each,
        at.transpose(1, 2).reshape(len(each), 1, -1, 2),
        padding_mode="border",
        align_corners=False,
    )
    return values.view(b, f, m, p).transpose(1, 2)


def measure_distance(
    mask: Float[Tensor, "B X Y"], step: float, reach: float
) -> Float[Tensor, "B X Y"]:
    """Return the distance of each cell to the nearest cell > 0.5, at most ``reach`` [m]."""
    r = int(reach / step)
    marked = F.pad((mask > 0.5).to(mask), (r, r, r, r))
    nx, ny = mask.shape[-2:]
    nearest = torch.full_like(mask, reach)
    for dx in range(-r, r + 1):
        for dy in range(-r, r + 1):
            away = step * (dx**2 + dy**2) ** 0.5
            if away < reach:
                there = marked[:, r + dx : r + dx + nx, r + dy : r + dy + ny] > 0
                nearest = torch.where(there, nearest.clamp(max=away), nearest)
    return nearest


class Motion(NamedTuple):
    """The motion along a path: accelerations [m/s^2], jerk [m/s^3] and driven way [m]."""

    speed: Float[Tensor, "B M F"]
    lateral: Float[Tensor, "B M F"]
    longitudinal: Float[Tensor, "B M F"]
    jerk: Float[Tensor, "B M F-1"]
    way: Float[Tensor, "B M"]


def derive_motion(path: Float[Tensor, "B M F 3"], speed: Float[Tensor, " B"]) -> Motion:
    """Return the motion along paths that start at the origin with ``speed`` [m/s].

    A speed is the mean over a frame and applies to its middle; the first one therefore applies
    half a frame after the start.
    """
    moved = find_moves(path)
    steps = moved[..., :2].norm(dim=-1)
    v = steps / FRAME
    start = speed[:, None, None].expand_as(v[..., :1])
    dt = torch.full_like(v[0, 0], FRAME)
    dt[0] = FRAME / 2
    longitudinal = torch.diff(v, dim=-1, prepend=start) / dt
    lateral = v * moved[..., 2] / FRAME
    jerk = longitudinal.diff(dim=-1) / ((dt[1:] + dt[:-1]) / 2)
    return Motion(v, lateral, longitudinal, jerk, steps.sum(-1))


def measure_miss(
    path: Float[Tensor, "B M F 3"], target: Float[Tensor, "B 2"]
) -> Float[Tensor, "B M"]:
    """Return the distance [m] of the target from paths, extended along their last heading."""
    yaw = path[:, :, -1:, 2]
    end = path[:, :, -1:, :2] + PROLONGED * torch.stack([yaw.cos(), yaw.sin()], -1)
    points = F.pad(torch.cat([path[..., :2], end], 2), (0, 0, 1, 0))  # from the origin
    start, step = points[:, :, :-1], points.diff(dim=2)
    away = target[:, None, None] - start
    share = (away * step).sum(-1) / step.square().sum(-1).clamp(min=1e-6)
    distance = (away - share.clamp(0, 1)[..., None] * step).norm(dim=-1)
    nearest: Tensor = distance.amin(-1).clamp(max=FARTHEST)
    return nearest


def compute_parts(
    path: Float[Tensor, "B M F 3"],
    around: Surroundings,
    ego: EgoState,
    grid: GroundGrid,
    road: GroundGrid,
    verge: float = VERGE,
) -> dict[str, Float[Tensor, "B M ..."]]:
    """Return the parts of the cost of paths by name: B M F for PER_FRAME, otherwise B M.

    grid: grid of all maps except the drivable area. road: grid of the drivable area.
    verge: margin of the box that must be on the road [m].
    """
    motion = derive_motion(path, ego.speed)
    drivable = around.drivable[:, None]

    def under(margin: float = 0.0) -> Tensor:
        return look_up(around.occupied, place_box(path, grid.step, margin), grid).amax(-1)

    middle = place_middle(path)
    distance = measure_distance(around.lane, grid.step, NEAR)[:, None]
    d = look_up(distance, middle[..., None, :], grid, NEAR)[..., 0]
    before = place_box(path, grid.step, ahead=GAP)
    blocked = look_up(around.occupied, before, grid) * look_up(drivable, before, road)
    lateral, longitudinal, jerk = LIMITS
    return {
        "safety": under() + motion.speed * under(MARGIN) / FAST,
        "headway": blocked.amax(-1),
        "lane": (1 - d / NEAR).square(),
        "rule": interpolate(1 - drivable, place_box(path, road.step, verge), road).mean(-1),
        "learned": interpolate(around.learned, middle[..., None, :], grid)[..., 0],
        "comfort": F.relu(motion.lateral.abs().amax(-1) - lateral).square()
        + F.relu(motion.longitudinal.abs().amax(-1) - longitudinal).square()
        + F.relu(motion.jerk.abs().amax(-1) - jerk).square(),
        "progress": -motion.way,
        "target": measure_miss(path, ego.target),
    }


def place_middle(path: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 2"]:
    """Return the middle of the car along a path [m]."""
    x, y, yaw = path.unbind(-1)
    return torch.stack([x + AHEAD * yaw.cos(), y + AHEAD * yaw.sin()], -1)


class Costs(NamedTuple):
    """The weighted cost of paths: per frame, and of the whole path."""

    frames: Float[Tensor, "B M F"]
    whole: Float[Tensor, "B M"]

    @property
    def total(self) -> Float[Tensor, "B M"]:
        """The sum of all costs."""
        return self.frames.sum(-1) + self.whole


class Cost(nn.Module):
    """Weights the parts of the cost; the logarithms of the weights are trained or constant.

    In evaluation the planner's caution multiplies ``rule``, whose box has the planner's verge.
    """

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        self.grid, self.road = config.grid, config.road
        knows_target = config.planner.navigation == "target"
        self.parts = [name for name in FACTORS if name != "target" or knows_target]
        factors = torch.tensor([FACTORS[name] for name in self.parts])
        start = (config.planner.start * factors).log()
        self.log_weight = nn.Parameter(start, config.planner.weights == "learned")
        self.caution, self.verge = config.planner.caution, config.planner.verge

    def forward(
        self,
        path: Float[Tensor, "B M F 3"],
        around: Surroundings,
        ego: EgoState,
        others: float = 1.0,
    ) -> Costs:
        """Return the costs of paths; ``others`` is a factor on the weight of ``safety``."""
        verge = VERGE if self.training else self.verge
        parts = compute_parts(path, around, ego, self.grid, self.road, verge)
        weights = dict(zip(self.parts, self.log_weight.exp(), strict=True))
        weights["safety"] = others * weights["safety"]
        if not self.training:
            weights["rule"] = self.caution * weights["rule"]
        frames = sum(weights[k] * parts[k].clamp(max=MOST) for k in PER_FRAME)
        whole = sum(weights[k] * parts[k] for k in self.parts if k not in PER_FRAME)
        return Costs(torch.as_tensor(frames), torch.as_tensor(whole))
