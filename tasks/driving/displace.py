"""Training windows that are mirrored, or start beside the recorded pose or at another speed.

A mirrored window shows a world mirrored along y: images are flipped and cameras on both sides
trade places; principal points, camera poses, maps, route and path change accordingly. This
doubles the number of scenes.

Displaced starts teach a planner to return to its path. A displaced window starts beside the
recorded pose with another heading. The images stay: the model lifts their features into the
frame of the new start, which is exact. The start may also have another speed, which approaches
the recorded one at the acceleration of candidates. The path returns to the recorded one over
the distance driven in 3 s; after a share u of that distance it is

    e(u) = e0 (1 - 10 u^3 + 15 u^4 - 6 u^5) + s0 (u - 6 u^3 + 8 u^4 - 3 u^5)

to the left of the recorded path. e0 is the lateral offset of the start, s0 its slope. True maps
stay those of the recorded pose. (ChauffeurNet, Bansal et al. 2018, displaces the middle of
paths.)
Axes: B windows, S frames, F future frames, N cameras, X and Y cells. Poses are (x, y, yaw)
[m, rad] in the recorded frame.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.utils._pytree import tree_map

from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import FORESIGHT, FRAME, LEAST, ROUTE_LENGTH, ROUTE_STEP
from tasks.driving.batch import DrivingBatch, Observation
from tasks.driving.sampler import BRAKING, THRUST, EgoState, find_moves, find_reach


def _exchange(name: str) -> str:
    left, right = "LEFT", "RIGHT"
    return name.replace(left, right) if left in name else name.replace(right, left)


TRADED = [CAMERAS.index(_exchange(name)) for name in CAMERAS]  # each camera's mirror image
MASKS = ("vehicle", "pedestrian", "instance", "drivable", "lane")


def mirror_windows(batch: DrivingBatch, chosen: Bool[Tensor, " B"]) -> DrivingBatch:
    """Mirror the chosen windows of a batch; the grid must be symmetric along y."""

    def choose(plain: Tensor, mirrored: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (plain.dim() - 1)), mirrored, plain)

    out: DrivingBatch = tree_map(choose, batch, mirror(batch))
    return out


def mirror(batch: DrivingBatch) -> DrivingBatch:
    """Mirror all windows of a batch."""
    seen, truth = batch
    intrinsic = _trade(seen.intrinsic).clone()
    intrinsic[..., 0, 2] = seen.images.shape[-1] - intrinsic[..., 0, 2]
    ego = seen.ego
    mirrored = Observation(
        images=_trade(seen.images).flip(-1),
        sweeps=_trade(seen.sweeps).flip(-1),
        intrinsic=intrinsic,
        # The lateral axis of a camera points to the right, that of the car to the left.
        to_ego=_negate(_trade(seen.to_ego), 1, 0),
        to_present=_negate(seen.to_present, 1, 1),
        maps=seen.maps.flip(-1),
        ego=ego._replace(yaw_rate=-ego.yaw_rate, target=_flip(ego.target)),
    )
    truth = truth._replace(
        depth=_trade(truth.depth).flip(-1),
        path=truth.path * truth.path.new_tensor([1.0, -1.0, -1.0]),
        route=_flip(truth.route),
        **{name: getattr(truth, name).flip(-1) for name in MASKS},
    )
    return DrivingBatch(mirrored, truth)


def _flip(points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """Return points mirrored along y."""
    return points * points.new_tensor([1.0, -1.0])


def _trade(cameras: Shaped[Tensor, "B S N ..."]) -> Shaped[Tensor, "B S N ..."]:
    """Exchange the values of left and right cameras; N is 0 or 6."""
    return cameras[:, :, TRADED] if cameras.shape[2] else cameras


def _negate(pose: Float[Tensor, "*B 4 4"], row: int, column: int) -> Float[Tensor, "*B 4 4"]:
    """Return poses with a row and a column negated."""
    signs = pose.new_ones(2, 4)
    signs[0, row] = signs[1, column] = -1
    return pose * signs[0, :, None] * signs[1]


SIDE, TURN = 1.5, 0.15  # largest lateral offset [m] and turn [rad] of a displaced start
FASTER = 3.0  # [m/s] by which a start may exceed the recorded speed


def draw_starts(draws: Float[Tensor, "B 3"], share: float) -> Float[Tensor, "B 3"]:
    """Return poses of starts, from uniform draws between 0 and 1.

    share: share of windows that are displaced; the others start at the origin.
    """
    aside, turned = SIDE * (2 * draws[:, 1] - 1), TURN * (2 * draws[:, 2] - 1)
    poses = torch.stack([torch.zeros_like(aside), aside, turned], 1)
    return torch.where(draws[:, :1] < share, poses, 0.0)


def draw_speeds(
    draws: Float[Tensor, "B 2"], share: float, speed: Float[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """Return speeds of starts, between 0 and 3 m/s above the recorded speed.

    draws: uniform between 0 and 1. share: share of windows that get another speed; the others
    keep theirs. speed: recorded speed [m/s].
    """
    return torch.where(draws[:, 0] < share, draws[:, 1] * (speed + FASTER), speed)


def displace_starts(
    batch: DrivingBatch, start: Float[Tensor, "B 3"], speed: Float[Tensor, " B"]
) -> DrivingBatch:
    """Return a batch with displaced starts, whose paths return to the recorded ones.

    start: poses of the starts, with x = 0. speed: speed at the start [m/s]; the curvature
    stays, and the target lies on the route at the distance for the new speed. Windows with
    unchanged pose and speed stay the same.
    """
    seen, truth = batch
    turned, faster = (start != 0).any(1), speed != seen.ego.speed
    moved = turned | faster
    path = come_back(change_speed(truth.path, speed), start, speed)
    path = torch.where(moved[:, None, None], path, truth.path)
    to_present = torch.linalg.solve(make_poses(start)[:, None], seen.to_present)
    route = enter_starts(truth.route, start)
    target = find_targets(route, speed)
    ego = EgoState(
        speed=speed,
        yaw_rate=torch.where(faster, seen.ego.curvature * speed, seen.ego.yaw_rate),
        target=torch.where(moved[:, None], target, seen.ego.target),
    )
    return DrivingBatch(
        seen._replace(to_present=to_present, ego=ego),
        truth._replace(path=path, route=route, shown=truth.shown & ~turned),
    )


def enter_starts(
    points: Float[Tensor, "B R 2"], start: Float[Tensor, "B 3"]
) -> Float[Tensor, "B R 2"]:
    """Transform points from the recorded frames to the frames of starts."""
    x, y = (points - start[:, None, :2]).unbind(-1)
    c, s = start[:, 2:].cos(), start[:, 2:].sin()
    return torch.stack([c * x + s * y, c * y - s * x], -1)


def find_targets(
    route: Float[Tensor, "B R 2"], speed: Float[Tensor, " B"]
) -> Float[Tensor, "B 2"]:
    """Return the targets of routes at speeds [m/s], as ``find_target`` does for one window."""
    way = (FORESIGHT * speed).clamp(LEAST, ROUTE_LENGTH) / ROUTE_STEP
    before = way.floor().clamp(max=route.shape[1] - 2)
    low, high = (
        route.gather(1, k.long()[:, None, None].expand(-1, -1, 2))[:, 0]
        for k in (before, before + 1)
    )
    return low + (way - before)[:, None] * (high - low)


def change_speed(
    path: Float[Tensor, "B F 3"], speed: Float[Tensor, " B"]
) -> Float[Tensor, "B F 3"]:
    """Return paths along the same lines, driven with another initial ``speed`` [m/s].

    The speed approaches the original one at -4 to 2 m/s^2, the acceleration of candidates.
    """
    target = find_moves(path[..., :2]).norm(dim=-1) / FRAME
    driven, now, time = [], speed, FRAME / 2  # the first frame's speed is that in its middle
    for k in range(path.shape[1]):
        now = target[:, k].clamp(now + BRAKING * time, now + THRUST * time).clamp(min=0)
        driven.append(now)
        time = FRAME
    return go_along(path, FRAME * torch.stack(driven, 1).cumsum(1))


def go_along(path: Float[Tensor, "B F 3"], way: Float[Tensor, "B F"]) -> Float[Tensor, "B F 3"]:
    """Return the poses after driven distances [m] along paths, which then go straight on."""
    poses = F.pad(path, (0, 0, 1, 0))  # from the origin
    ends = F.pad(find_moves(path[..., :2]).norm(dim=-1).cumsum(1), (1, 0))
    after = torch.searchsorted(ends, way, right=True).clamp(max=path.shape[1])
    low, high = ends.gather(1, after - 1), ends.gather(1, after)
    share = ((way - low) / (high - low).clamp(min=1e-6)).clamp(max=1)[..., None]
    before, then = (poses.gather(1, k[..., None].expand(-1, -1, 3)) for k in (after - 1, after))
    x, y, yaw = (before + share * (then - before)).unbind(-1)
    beyond = (way - ends[:, -1:]).clamp(min=0)
    return torch.stack([x + beyond * yaw.cos(), y + beyond * yaw.sin(), yaw], -1)


def make_poses(flat: Float[Tensor, "B 3"]) -> Float[Tensor, "B 4 4"]:
    """Return flat poses as matrices that transform from the frame of the pose."""
    x, y, yaw = flat.unbind(1)
    poses = torch.eye(4).to(flat).repeat(len(flat), 1, 1)
    poses[:, 0, 0], poses[:, 0, 1], poses[:, 0, 3] = yaw.cos(), -yaw.sin(), x
    poses[:, 1, 0], poses[:, 1, 1], poses[:, 1, 3] = yaw.sin(), yaw.cos(), y
    return poses


def come_back(
    path: Float[Tensor, "B F 3"], start: Float[Tensor, "B 3"], speed: Float[Tensor, " B"]
) -> Float[Tensor, "B F 3"]:
    """Return paths that lead from the starts back to ``path``, in the frames of the starts.

    start: poses with x = 0. speed: speed at the start [m/s].
    """
    reach = find_reach(speed)[:, None]
    u = (find_moves(path[..., :2]).norm(dim=-1).cumsum(1) / reach).clamp(max=1)
    side, slope = start[:, 1:2], start[:, 2:].tan() * reach
    aside = side * (1 - 10 * u**3 + 15 * u**4 - 6 * u**5)
    aside = aside + slope * (u - 6 * u**3 + 8 * u**4 - 3 * u**5)
    change = -30 * side * u**2 * (1 - u) ** 2
    change = change + slope * (1 - 18 * u**2 + 32 * u**3 - 15 * u**4)
    x, y, yaw = path.unbind(-1)
    x, y, yaw = x - aside * yaw.sin(), y + aside * yaw.cos(), yaw + (change / reach).atan()
    _, y0, yaw0 = start[:, None].unbind(-1)
    c, s = yaw0.cos(), yaw0.sin()
    return torch.stack([c * x + s * (y - y0), c * (y - y0) - s * x, yaw - yaw0], -1)
