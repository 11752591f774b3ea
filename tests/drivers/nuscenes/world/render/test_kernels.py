"""The compiled pictures against a slow twin: every ray with every face, in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jaxtyping import Float64

from drivers.nuscenes.world.render import kernels
from drivers.nuscenes.world.render.faces import Faces, make_faces
from drivers.nuscenes.world.render.kernels import Look

HEIGHT, WIDTH = 9, 13
LENS = np.array([8.0, 7.0, 6.0, 4.0])  # no symmetry: no axis can be mistaken for another


def make_view(yaw: float, pitch: float) -> kernels.CameraView:
    c, s = np.cos(yaw), np.sin(yaw)
    level = np.array([[s, 0, c], [-c, 0, s], [0, -1, 0.0]])
    c, s = np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return kernels.CameraView(np.array([1.0, 2.0, 1.5]), level @ tilt, LENS)


def list_rays(view: kernels.CameraView) -> Float64[np.ndarray, "P 3"]:
    column, row = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    fx, fy, cx, cy = view.lens
    rays = np.stack([(column - cx) / fx, (row - cy) / fy, np.ones_like(row)], -1)
    return rays.reshape(-1, 3) @ view.turn.T


def find_first(
    eye: Float64[np.ndarray, "3"], rays: Float64[np.ndarray, "P 3"], faces: Faces, near: float
) -> tuple[Float64[np.ndarray, " P"], np.ndarray]:
    """Solve corner + s u + t v = eye + depth ray for each pair."""
    depth = np.where(rays[:, 2] < 0, -eye[2] / np.minimum(rays[:, 2], -1e-12), kernels.FAR)
    hit = np.where(rays[:, 2] < 0, kernels.GROUND, kernels.SKY)
    for p in range(len(faces)):
        sides = np.broadcast_to([faces.u[p], faces.v[p]], (len(rays), 2, 3))
        system = np.concatenate([sides, -rays[:, None]], 1).swapaxes(1, 2)
        right = np.broadcast_to((eye - faces.corner[p])[:, None], (len(rays), 3, 1))
        s, t, d = np.linalg.solve(system, right)[..., 0].T
        inside = (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
        if faces.look[p] == Look.DISC:
            inside = (s - 0.5) ** 2 + (t - 0.5) ** 2 <= 0.25
        seen = rays @ np.cross(faces.u[p], faces.v[p]) < 0
        first = inside & seen & (d >= near) & (d <= depth)
        depth[first], hit[first] = d[first], p
    return depth, hit


def draw_faces(seed: int, number: int) -> Faces:
    """Return faces of all sizes around the eye, some behind it, some through it."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=(number, 3, 3)) * rng.choice([3.0, 0.4], (number, 1, 1))
    shape[:, 0] += [1.0, 2.0, 1.5]
    return make_faces(
        shape,
        rng.uniform(0, 255, (number, 3)),
        rng.choice([int(Look.PLAIN), int(Look.DISC)], number),
        np.zeros(number, np.int64),
    )


def paint(view: kernels.CameraView, faces: Faces) -> kernels.Painting:
    picture = kernels.Painting(np.zeros((HEIGHT, WIDTH, 3)), np.zeros((HEIGHT, WIDTH)))
    levels = (np.full((4, 4, 3), 90, np.uint8),)
    ground = kernels.Texture(np.zeros(2), 0.2, levels, np.full((2, 3), 200.0))
    kernels.paint_ground(view, ground, picture)
    kernels.paint_faces(view, faces.solids, picture)
    return picture


@pytest.mark.slow
@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(-0.5, 0.5))
@settings(max_examples=10)
def test_each_pixel_shows_the_nearest_face_on_its_ray(
    seed: int, yaw: float, pitch: float
) -> None:
    view, faces = make_view(yaw, pitch), draw_faces(seed, 20)
    picture = paint(view, faces)
    depth, hit = find_first(view.eye, list_rays(view), faces, kernels.NEAR)
    assert picture.depth.ravel() == pytest.approx(depth, rel=1e-6)
    shown = picture.colour.reshape(-1, 3)[hit >= 0]
    assert shown == pytest.approx(faces.colour[hit[hit >= 0]])


@pytest.mark.slow
@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_each_beam_meets_the_nearest_face_on_its_way(seed: int) -> None:
    faces, eye = draw_faces(seed, 20), np.array([1.0, 2.0, 1.5])
    rays = np.random.default_rng([seed, 1]).normal(size=(300, 3))
    depth, hit = np.empty(300), np.empty(300, np.int64)
    kernels.cast_rays(eye, rays, faces.solids, depth, hit)
    expected, first = find_first(eye, rays, faces, 0.0)
    assert depth == pytest.approx(expected, rel=1e-6)
    assert hit.tolist() == first.tolist()


def test_a_shadow_darkens_the_ground_and_hides_nothing() -> None:
    view = make_view(0.0, 0.3)
    shape = np.array([[[3.0, -3.0, 0.0], [20, 0, 0], [0, 20, 0]]])
    shadow = make_faces(
        shape, np.zeros((1, 3)), np.array([int(Look.SHADOW)]), np.zeros(1, np.int64)
    )
    bare, shaded = paint(view, draw_faces(0, 0)), paint(view, shadow)
    assert np.array_equal(bare.depth, shaded.depth)
    ratio = shaded.colour / bare.colour
    assert set(np.unique(ratio.round(9))) == {kernels.DARK, 1.0}
    above = replace(shadow, corner=shadow.corner + np.array([0, 0, 0.5]))
    hit = np.empty(1, np.int64)
    ray = np.array([[2.0, 0.0, -0.5]])
    kernels.cast_rays(view.eye, ray, above.solids, np.empty(1), hit)
    assert hit.tolist() == [kernels.GROUND]
    wall = make_faces(
        np.array([[[2.5, 15.0, 0.0], [0, -20, 0], [0, 0, 9]]]),
        np.full((1, 3), 50.0),
        np.array([int(Look.PLAIN)]),
        np.zeros(1, np.int64),
    )
    hidden = paint(view, wall)
    kernels.paint_faces(view, shadow.solids, hidden)
    assert (hidden.colour == 50.0).mean() > 0.8


def test_a_wall_has_its_windows_side_by_side_and_one_above_the_other() -> None:
    """Of 13 m in 13 pixels, 8 m ahead; the lower rows show the ground before it."""
    wall = make_faces(
        np.array([[[9.0, 8.0, 0.0], [0, -13, 0], [0, 0, 1.5 + 32 / 7]]]),
        np.full((1, 3), 200.0),
        np.array([int(Look.WINDOWS)]),
        np.zeros(1, np.int64),
    )
    for cells, rows in (((2.0, 1.0), (1, 2, 3)), ((2.0, 2.0), (1, 3, 4))):
        picture = paint(make_view(0.0, 0.0), replace(wall, cells=np.array([cells])))
        panes = picture.colour[:5, :, 0] < 0.7 * 200
        assert panes.any(1).nonzero()[0].tolist() == list(rows)
        for row in rows:
            assert panes[row].nonzero()[0].tolist() == [1, 2, 3, 4, 8, 9, 10, 11]


def test_the_ground_is_interpolated_between_the_middles_of_texels() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, 2) * 10
    ground = kernels.Texture(np.array([5.0, 7.0]), 2.0, (image,), np.full((2, 3), 100.0))
    out = np.empty(3)
    kernels.sample_ground(ground, 6.0, 8.0, 0.1, out)
    assert out.tolist() == [0, 0, 0]  # the middle of the first texel
    kernels.sample_ground(ground, 8.0, 8.0, 0.1, out)
    assert out.tolist() == [10, 10, 10]  # one column on
    kernels.sample_ground(ground, 6.0, 9.0, 0.1, out)
    assert out.tolist() == [20, 20, 20]  # half a row of 40 on
    kernels.sample_ground(ground, 40.0, 8.0, 0.1, out)
    assert out.tolist() == [60, 60, 60]  # beyond: a dark horizon


def test_far_ground_is_taken_from_a_coarse_level() -> None:
    levels = tuple(np.full((8 >> k, 8 >> k, 3), 50 * (k + 1), np.uint8) for k in range(3))
    ground = kernels.Texture(np.zeros(2), 1.0, levels, np.zeros((2, 3)))
    found = []
    for patch in (0.1, 1.3, 1.5, 2.7, 2.9, 100.0):
        out = np.empty(3)
        kernels.sample_ground(ground, 4.0, 4.0, patch, out)
        found.append(out[0])
    assert found == [50, 50, 100, 100, 150, 150]


def test_samples_are_averaged_and_fade_into_the_haze() -> None:
    colour, depth = np.zeros((2, 4, 3)), np.full((2, 4), 1e-9)
    colour[:, :2] = [[[10, 20, 30], [20, 20, 30]], [[30, 20, 30], [41, 20, 30]]]
    colour[:, 2:], depth[:, 2:] = 200.0, [[100.0, 100.0], [kernels.FAR, kernels.FAR]]
    image = np.empty((1, 2, 3), np.uint8)
    kernels.develop(kernels.Painting(colour, depth), np.array([0.0, 0, 100]), 100.0, image)
    assert image[0, 0].tolist() == [25, 20, 30]
    half = (200 + 200 * np.exp(-1)) / 2
    assert image[0, 1].tolist() == [
        round(half),
        round(half),
        round(half + 50 * (1 - np.exp(-1))),
    ]


def test_an_outline_is_cut_where_it_comes_too_near() -> None:
    """A wall to the right, from 0.1 m to 1 m ahead: its near end counts from 0.2 m on."""
    wall = (0.2, 0.1, 0.1), (0.0, 0.0, 0.9), (0.0, 1.0, 0.0)
    extent = kernels.find_extent(*wall, LENS)
    assert extent == pytest.approx((8 * 0.2 + 6, 8 * 1 + 6, 7 * 0.1 + 4, 7 * 1.1 / 0.2 + 4))
    behind = (0.2, 0.1, -3.0), (0.0, 0.0, 0.9), (0.0, 1.0, 0.0)
    assert kernels.find_extent(*behind, LENS) == (np.inf, -np.inf, np.inf, -np.inf)
