"""From images to the ground: lift features by their depth and sum them per grid cell.

    point (s, n, d, i, j) of the ego frame of frame s = to_ego[s, n] (z_d K[s, n]^-1 (u, v, 1))
    pooled[s, cell] = sum over points that fall into the cell of p[d] feature
    bev[s] = discount bev[s - 1] + pooled[s]

p: soft-max of the depth logits. All points, including those of past frames, are first moved to
the present ego frame. Points outside the grid or its range of heights are dropped (Philion &
Fidler 2020, Hu et al. 2022: ST-P3). All values are real.
Axes: B windows, S frames, N cameras, D bins of depth, h and w of features, X and Y cells.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from drivers.nuscenes.grid import GroundGrid
from tasks.driving.config import STRIDE, Depth

HEIGHTS = (-10.0, 10.0)  # [m] heights over the ground of the points that count


def lift_points(
    intrinsic: Float[Tensor, "B S N 3 3"],
    to_ego: Float[Tensor, "B S N 4 4"],
    to_present: Float[Tensor, "B S 4 4"],
    depth: Depth,
    size: tuple[int, int],
) -> Float[Tensor, "B S N D h w 3"]:
    """Return the positions of features at each depth in the present ego frame [m].

    A feature lies in the middle of its block of pixels, a depth in the middle of its bin. The
    first pixel covers 0 to 1, as in :mod:`drivers.nuscenes.images`. size: h and w.
    """
    height, width = size
    u, v, z = (
        torch.arange(n, device=intrinsic.device).to(intrinsic) + 0.5
        for n in (width, height, depth.bins)
    )
    u, v, z = STRIDE * u, STRIDE * v, depth.first + depth.step * z
    pixels = torch.stack([*torch.meshgrid(u, v, indexing="xy"), u.new_ones(height, width)], -1)
    rays = torch.einsum("bsnij,hwj->bsnhwi", _invert_intrinsic(intrinsic), pixels)
    in_camera = rays[:, :, :, None] * z[:, None, None, None]
    pose = to_present[:, :, None] @ to_ego
    turned = torch.einsum("bsnij,bsndhwj->bsndhwi", pose[..., :3, :3], in_camera)
    points: Tensor = turned + pose[..., None, None, None, :3, 3]
    return points


def _invert_intrinsic(k: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3 3"]:
    """Return the inverse of a pinhole camera's matrix without skew, in closed form."""
    fx, fy, cx, cy = k[..., 0, 0], k[..., 1, 1], k[..., 0, 2], k[..., 1, 2]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = (1 / fx, zero, -cx / fx, zero, 1 / fy, -cy / fy, zero, zero, one)
    return torch.stack(rows, -1).reshape(*k.shape)


def find_cells(points: Float[Tensor, "... 3"], grid: GroundGrid) -> Int64[Tensor, "..."]:
    """Return the index in C order of each point's cell, or X Y for points outside the grid."""
    nx, ny = grid.shape
    x = ((points[..., 0] - grid.x[0]) / grid.step).floor()
    y = ((points[..., 1] - grid.y[0]) / grid.step).floor()
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    inside &= (points[..., 2] >= HEIGHTS[0]) & (points[..., 2] < HEIGHTS[1])
    return torch.where(inside, x * ny + y, nx * ny).long()


def pool_features(
    features: Float[Tensor, "B S N C h w"],
    depth: Float[Tensor, "B S N D h w"],
    cells: Int64[Tensor, "B S N D h w"],
    grid: GroundGrid,
) -> Float[Tensor, "B S C X Y"]:
    """Sum features per cell, weighted by the probability of their depth.

    depth: logits. cells: as :func:`find_cells` returns them.
    """
    b, s = features.shape[:2]
    nx, ny = grid.shape
    size = nx * ny + 1  # the last cell collects the points outside the grid
    p = depth.softmax(3)
    lifted = p[..., None] * features.permute(0, 1, 2, 4, 5, 3)[:, :, :, None]
    frame = torch.arange(b * s, device=cells.device).view(b, s, 1, 1, 1, 1)
    index = (frame * size + cells).flatten()
    pooled = lifted.new_zeros(b * s * size, features.shape[3])
    pooled = pooled.index_add(0, index, lifted.flatten(0, -2))
    kept = pooled.view(b, s, size, -1)[:, :, :-1]
    return kept.transpose(2, 3).reshape(b, s, -1, nx, ny)


def fuse_frames(
    pooled: Float[Tensor, "B S C X Y"], discount: float
) -> Float[Tensor, "B S C X Y"]:
    """Add to each frame's map the discounted sum of all earlier maps."""
    fused = [pooled[:, 0]]
    for frame in pooled[:, 1:].unbind(1):
        fused.append(discount * fused[-1] + frame)
    return torch.stack(fused, 1)


def compute_motion(to_present: Float[Tensor, "B S 4 4"]) -> Float[Tensor, "B S 6"]:
    """Return the ego motion since the previous frame: x, y, z [m] and roll, pitch, yaw [rad].

    The motion of the first frame is unknown and returned as zeros.
    """
    moved = torch.linalg.solve(to_present[:, :-1], to_present[:, 1:])
    turn = moved[..., :3, :3]
    roll = torch.atan2(turn[..., 2, 1], turn[..., 2, 2])
    pitch = torch.asin((-turn[..., 2, 0]).clamp(-1, 1))
    yaw = torch.atan2(turn[..., 1, 0], turn[..., 0, 0])
    motion = torch.cat([moved[..., :3, 3], torch.stack([roll, pitch, yaw], -1)], -1)
    return torch.cat([motion.new_zeros(len(motion), 1, 6), motion], 1)
