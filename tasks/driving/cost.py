"""The cost of a path: a weighted sum of eight parts; without a target, of seven.

    safety    occupancy under the car's box, and v / (10 m/s) times that under one 1 m larger
    headway   occupancy on the road under the box, 10 m ahead
    lane      (1 - d)^2 where d < 1 m is the distance to the nearest divider
    rule      share of road missing under a box 0.25 m larger, or by the planner's verge
    learned   the cost volume at the car's middle, between cells
    comfort   (|a_lat| - 3)+^2 + (|a_lon| - 3)+^2 + (|jerk| - 1)+^2, the largest of the path
    progress  - way driven [m]
    target    distance of the target from the path, prolonged straight ahead [m], at most 10

Safety and headway use the highest occupancy at a point of the box: 0 to 1, for any cell size.
(SAD sums over cells, enlarges the box by 1 m / cell [m], and measures progress along x, which
is 0 in a turn.) Maps of classes are probabilities, read at the nearest cell. Road is
interpolated, because lanes are only slightly wider than the car. Outside the grid nothing is
occupied or painted, and road continues from the edge.
Axes: B windows, M paths, F frames, P points of a box, X and Y cells, U and V cells of the
drivable area, which may be smaller.
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

# [m] the car, and its middle ahead of its rear axle, equal to drivers.nuscenes.world.instant,
# which needs the extra "driving".
LENGTH, WIDTH, AHEAD = 4.084, 1.85, 1.44
MARGIN = 1.0  # [m] of the larger box, on each side
VERGE = PlannerConfig.verge  # [m] margin of the box that must be on the road, in training
GAP = 10.0  # [m] headway
NEAR = 1.0  # [m] least distance to a divider
PROLONGED, FARTHEST = 30.0, 10.0  # [m] of a path towards a target; largest distance from it
FAST = 10.0  # [m/s] at which both boxes have equal weight
LIMITS = (3.0, 3.0, 1.0)  # comfortable: lateral, longitudinal [m/s^2], jerk [m/s^3]

FACTORS: Mapping[str, float] = {  # published, but that of the target
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
    """The maps that determine costs, in the present ego frame; all but ``learned`` from 0 to 1.

    occupied: by vehicles and pedestrians in each future frame. lane: painted dividers.
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
    """Return points, at most a step apart, that fill the box of the car along a path [m].

    margin: enlarges the box on each side. ahead: moves it forward.
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
    """Return the values of maps (one per frame, or one for all) at the cells of points.

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
    """Interpolate maps (one per frame, or one for all) at points.

    Bilinear between the middles of cells; the edge continues outside the grid.
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
    """The motion along a path; a_lat, a_lon [m/s^2], jerk [m/s^3] between its frames."""

    speed: Float[Tensor, "B M F"]
    lateral: Float[Tensor, "B M F"]
    longitudinal: Float[Tensor, "B M F"]
    jerk: Float[Tensor, "B M F-1"]
    way: Float[Tensor, "B M"]


def derive_motion(path: Float[Tensor, "B M F 3"], speed: Float[Tensor, " B"]) -> Motion:
    """Return the motion along paths from the origin with an initial speed.

    Speeds are those in the middle of frames, the first half a frame after the start.
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
    """Return the distance of the target from paths, prolonged along their last heading [m]."""
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

    road: the grid of the drivable area. grid: of the other maps. verge: margin of the box that
    must be on the road [m].
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
    """Weights the parts; trains the logarithms of the weights, or keeps the published ones.

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
        """Return the costs of paths; others: factor on ``safety``."""
        verge = VERGE if self.training else self.verge
        parts = compute_parts(path, around, ego, self.grid, self.road, verge)
        weights = dict(zip(self.parts, self.log_weight.exp(), strict=True))
        weights["safety"] = others * weights["safety"]
        if not self.training:
            weights["rule"] = self.caution * weights["rule"]
        frames = sum(weights[k] * parts[k].clamp(max=MOST) for k in PER_FRAME)
        whole = sum(weights[k] * parts[k] for k in self.parts if k not in PER_FRAME)
        return Costs(torch.as_tensor(frames), torch.as_tensor(whole))
