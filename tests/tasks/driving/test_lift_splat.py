import numpy as np
import pytest
import torch
from driving_windows import AXES, make_camera

from drivers.nuscenes.grid import GroundGrid
from tasks.driving.config import Depth
from tasks.driving.lift_splat import (
    compute_motion,
    find_cells,
    fuse_frames,
    lift_points,
    pool_features,
)

GRID = GroundGrid(x=(-4.0, 12.0), y=(-8.0, 8.0), step=2.0)
DEPTH = Depth(first=1.0, last=9.0, step=2.0)


def intrinsic() -> torch.Tensor:
    return torch.tensor([[16.0, 0.0, 16.0], [0.0, 16.0, 8.0], [0.0, 0.0, 1.0]])


def pose(x: float, y: float, yaw: float) -> torch.Tensor:
    out = torch.eye(4)
    c, s = np.cos(yaw), np.sin(yaw)
    out[:2, :2] = torch.tensor([[c, -s], [s, c]])
    out[0, 3], out[1, 3] = x, y
    return out


def lift(to_ego: torch.Tensor, to_present: torch.Tensor) -> torch.Tensor:
    k = intrinsic()[None, None, None]
    points = lift_points(k, to_ego[None, None, None], to_present[None, None], DEPTH, (2, 4))
    return points[0, 0, 0]


def test_a_point_lies_where_its_pixel_and_depth_put_it() -> None:
    camera = torch.from_numpy(make_camera(0.0))
    points = lift(camera, torch.eye(4))
    assert points.shape == (4, 2, 4, 3)
    # Bin 1 is 4 m; feature (0, 3) has its middle at (28, 4): 12 pixels to the right.
    right, down = 4 * 12 / 16, 4 * (4 - 8) / 16
    expected = torch.tensor([1.0 + 4.0, -right, 1.5 - down])
    torch.testing.assert_close(points[1, 0, 3], expected)


def test_each_point_projects_back_to_the_middle_of_its_pixels() -> None:
    camera = torch.from_numpy(make_camera(0.7))
    there = pose(-3.0, 1.0, 0.2)
    points = lift(camera, there).double()
    back = torch.linalg.inv((there @ camera).double())
    seen = points @ back[:3, :3].T + back[:3, 3]
    pixels = seen @ intrinsic().double().T
    # Points are float32: their rounding is of a millionth of the 10 m from the origin.
    depths = pixels[..., 2].mean((1, 2))
    torch.testing.assert_close(depths, torch.tensor([2.0, 4, 6, 8]).double(), rtol=0, atol=1e-5)
    u, v = (pixels[..., k] / pixels[..., 2] for k in (0, 1))
    columns, rows = torch.tensor([4.0, 12.0, 20.0, 28.0]), torch.tensor([4.0, 12.0])
    torch.testing.assert_close(u[2, 1], columns.double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(v[3, :, 0], rows.double(), rtol=0, atol=1e-4)


def test_a_still_thing_of_a_past_frame_falls_into_the_cell_of_the_present_one() -> None:
    # Seen 8 m ahead while the car was 4 m behind where it is now, which is 4 m ahead now.
    camera = torch.eye(4)
    camera[:3, :3] = torch.from_numpy(AXES).float()
    k = torch.eye(3)
    k[0, 2] = k[1, 2] = 4.0  # the optical axis goes through the only feature
    points = lift_points(
        k[None, None, None].expand(1, 2, 1, 3, 3),
        camera.expand(1, 2, 1, 4, 4),
        torch.stack([pose(-4.0, 0.0, 0.0), pose(0.0, 0.0, 0.0)])[None],
        DEPTH,
        (1, 1),
    )
    then, now = points[0, 0, 0, 3, 0, 0], points[0, 1, 0, 1, 0, 0]
    torch.testing.assert_close(then, torch.tensor([4.0, 0.0, 0.0]))
    torch.testing.assert_close(now, then)


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((-4.0, -8.0, 0.0), 0),
        ((-3.9, 7.9, 0.0), 7),
        ((11.9, 7.9, 0.0), 63),
        ((1.0, -1.0, 0.0), 2 * 8 + 3),
        ((12.0, 0.0, 0.0), 64),
        ((-4.1, 0.0, 0.0), 64),
        ((0.0, 8.0, 0.0), 64),
        ((0.0, -8.1, 0.0), 64),
        ((0.0, 0.0, 10.0), 64),
        ((0.0, 0.0, -10.1), 64),
        ((0.0, 0.0, -10.0), 2 * 8 + 4),
    ],
)
def test_cells_are_those_of_the_grid_and_the_last_one_is_outside(
    point: tuple[float, float, float], cell: int
) -> None:
    assert int(find_cells(torch.tensor(point), GRID)) == cell
    inside = GRID.cells(np.array(point))
    if cell < 64:
        assert cell == inside[0] * 8 + inside[1]


def test_pooling_is_the_sum_written_out() -> None:
    rng = torch.Generator().manual_seed(0)
    b, s, n, c, d, h, w = 2, 2, 2, 3, 4, 2, 3
    features = torch.randn(b, s, n, c, h, w, generator=rng, dtype=torch.float64)
    depth = torch.randn(b, s, n, d, h, w, generator=rng, dtype=torch.float64)
    cells = torch.randint(65, (b, s, n, d, h, w), generator=rng)
    pooled = pool_features(features, depth, cells, GRID)
    expected = torch.zeros(b, s, c, 65, dtype=torch.float64)
    p = depth.softmax(3)
    for index in np.ndindex(b, s, n, d, h, w):
        i, j, k, _, y, x = index
        expected[i, j, :, cells[index]] += p[index] * features[i, j, k, :, y, x]
    torch.testing.assert_close(pooled, expected[..., :64].reshape(b, s, c, 8, 8))


def test_frames_are_discounted_one_by_one() -> None:
    pooled = torch.tensor([1.0, 10.0, 100.0])[None, :, None, None, None]
    fused = fuse_frames(pooled, 0.5)
    assert fused.flatten().tolist() == [1.0, 10.5, 105.25]


def test_motion_is_the_step_since_the_frame_before_in_its_own_frame() -> None:
    # It drove 2 m forward, and turned left by 0.1 rad, twice; the last pose is the present.
    step = pose(2.0, 0.0, 0.1)
    back = torch.linalg.inv(step)
    motion = compute_motion(torch.stack([back @ back, back, torch.eye(4)])[None])
    expected = torch.tensor([0.0] * 6 + 2 * [2.0, 0.0, 0.0, 0.0, 0.0, 0.1])
    torch.testing.assert_close(motion.flatten(), expected, atol=1e-6, rtol=1e-5)


def test_motion_knows_roll_and_pitch() -> None:
    turn = torch.eye(4)
    turn[1:3, 1:3] = torch.tensor([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    rolled = compute_motion(torch.stack([torch.eye(4), turn])[None])
    torch.testing.assert_close(rolled[0, 1], torch.tensor([0, 0, 0, 0.3, 0, 0]))
    turn = torch.eye(4)
    turn[0, 0] = turn[2, 2] = np.cos(0.2)
    turn[0, 2], turn[2, 0] = np.sin(0.2), -np.sin(0.2)
    pitched = compute_motion(torch.stack([torch.eye(4), turn])[None])
    torch.testing.assert_close(pitched[0, 1], torch.tensor([0, 0, 0, 0, 0.2, 0]))
