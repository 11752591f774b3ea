"""Small random windows of a drive, and a network that is small enough for tests."""

from dataclasses import replace

import numpy as np

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import ImageSize, Window, find_target
from tasks.driving.config import (
    DecoderConfig,
    Depth,
    DrivingConfig,
    PlannerConfig,
    PredictionConfig,
    Source,
)
from tasks.driving.presets import small

YAWS = np.radians([55, 0, -55, 110, 180, -110])
AXES = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # of a camera that looks along x


def small_config() -> DrivingConfig:
    """Six images of 32 x 64, cells of 2 m, of 1 m for the road, 4 future frames, few channels.

    Of the planner the published choices, but it knows a target; its phase trains heads, too, of
    recorded windows. The encoder learns from several frames.
    """
    config = small()
    encoder = replace(
        config.encoder, channels=(4, 6), blocks=(1, 1), far=6, aspp=4, dilations=(2,)
    )
    last = config.phases[1:]  # without that of single frames
    phases = tuple(
        replace(
            p,
            epochs=1,
            futures=min(p.futures, 4),
            frozen=p.frozen[:3] if p.futures else (),
            displaced=0.0,
            driven=0.0,
        )
        for p in last
    )
    return replace(
        config,
        image=ImageSize(height=32, width=64, scale=1.0, crop=0),
        encoder=encoder,
        depth=Depth(first=2.0, last=26.0, step=4.0),
        decoder=DecoderConfig(channels=(6, 8), blocks=1),
        prediction=PredictionConfig(hidden=6, kernel=3, latent=2, refine=(6,), moves=True),
        planner=PlannerConfig(candidates=12, hidden=8, navigation="target"),
        grid=GroundGrid(x=(-8.0, 24.0), y=(-16.0, 16.0), step=2.0),
        road_cells=2,
        channels=6,
        heads=4,
        future=4,
        phases=phases,
        source=Source(),
        batch=2,
    )


def make_camera(yaw: float) -> np.ndarray:
    """Return the pose of a camera in the ego frame, 1.5 m up."""
    c, s = np.cos(yaw), np.sin(yaw)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ AXES
    pose[:3, 3] = 1.0, 0.0, 1.5
    return pose


def make_window(config: DrivingConfig, seed: int = 0) -> Window:
    """Return a window of noise on straight roads; a car drives ahead, another one stands."""
    rng = np.random.default_rng(seed)
    s, f, (nx, ny) = config.past, config.future, config.grid.shape
    height, width, sweeps = config.image.height, config.image.width, config.source.sweeps
    focal = width / 2
    k = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 3], [0, 0, 1]], np.float32)
    speed = 4 + 4 * rng.random()
    to_present = np.tile(np.eye(4, dtype=np.float32), (s, 1, 1))
    past = np.zeros((s, 3), np.float32)
    past[:, 0] = to_present[:, 0, 3] = -0.5 * speed * np.arange(s - 1, -1, -1)
    instance = np.zeros((s + f, nx, ny), np.int32)
    for t in range(s + f):
        instance[t, 4 + t : 6 + t, 8] = 1
        instance[t, 10:12, 3] = 2
    path = np.zeros((f, 3), np.float32)
    path[:, 0] = 0.5 * speed * np.arange(1, f + 1)
    route = np.zeros((61, 2), np.float32)
    route[:, 0] = np.arange(61)
    return Window(
        token=f"sample-{seed}",
        scene=f"scene-{seed:04}",
        images=rng.integers(0, 256, (s, 6, 3, height, width), dtype=np.uint8),
        sweeps=rng.integers(0, 256, (s, 6, sweeps, 3, height, width), dtype=np.uint8),
        intrinsic=np.tile(k, (s, 6, 1, 1)),
        to_ego=np.tile(np.stack([make_camera(yaw) for yaw in YAWS]), (s, 1, 1, 1)),
        to_present=to_present,
        speed=np.full(s, speed, np.float32),
        yaw_rate=np.zeros(s, np.float32),
        route=route,
        target=np.array(find_target(route, speed), np.float32),
        command="forward",
        vehicle=instance > 0,
        pedestrian=rng.random((s + f, nx, ny)) < 0.01,
        instance=instance,
        drivable=np.abs(config.road.centres()[..., 1]) < 8,
        lane=np.abs(config.grid.centres()[..., 1] - 1.75) < 1,
        depth=rng.uniform(1, 30, (s, 6, *config.feature_size)).astype(np.float32),
        path=path,
        past=past,
    )
