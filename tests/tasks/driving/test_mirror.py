"""What is mirrored is what the cameras of a mirrored world would see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from driving_runs import MANY, SMALL, put_small
from driving_windows import make_window
from torch import Tensor
from torch.utils._pytree import tree_leaves

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.rig import CAMERAS
from tasks.driving.batch import DrivingBatch, make_batch
from tasks.driving.config import DrivingConfig
from tasks.driving.data import read_batches, read_batches_from
from tasks.driving.displace import TRADED, mirror, mirror_windows
from tasks.driving.lift_splat import compute_motion, find_cells, lift_points, pool_features
from tasks.driving.losses import make_instance_targets
from tasks.driving.presets import small


def turning(seed: int = 0) -> DrivingBatch:
    """Return windows of cameras and ways that are not symmetric."""
    rng = np.random.default_rng(seed)
    config = replace(SMALL, road_cells=1, source=replace(SMALL.source, sweeps=1))
    windows = []
    for k in range(3):
        window = make_window(config, k)
        to_ego = window.to_ego.copy()
        to_ego[..., :3, 3] += rng.normal(0, 1, to_ego[..., :3, 3].shape)
        intrinsic = window.intrinsic.copy()
        intrinsic[..., 0, 2] += rng.normal(0, 3, intrinsic.shape[:2])
        c, s = np.cos(0.3), np.sin(0.3)
        to_present = window.to_present.copy()
        to_present[0, :2, :2] = [[c, -s], [s, c]]
        to_present[0, 1, 3] = 1.5
        path = rng.normal(0, 2, window.path.shape).astype(np.float32)
        windows.append(
            replace(
                window,
                to_ego=to_ego,
                intrinsic=intrinsic,
                to_present=to_present,
                path=path,
                yaw_rate=np.full(SMALL.past, 0.2, np.float32),
                target=np.array([9.0, 3.0], np.float32),
                route=rng.normal(0, 9, window.route.shape).astype(np.float32),
                command="left",
                drivable=rng.random(window.drivable.shape) < 0.5,
                depth=rng.uniform(2, 20, window.depth.shape).astype(np.float32),
            )
        )
    return make_batch(windows, maps=True)


def test_cameras_trade_places_with_those_of_the_other_side() -> None:
    assert [CAMERAS[k] for k in TRADED] == [
        "CAM_FRONT_RIGHT",
        "CAM_FRONT",
        "CAM_FRONT_LEFT",
        "CAM_BACK_RIGHT",
        "CAM_BACK",
        "CAM_BACK_LEFT",
    ]


def test_twice_mirrored_is_as_before() -> None:
    batch = turning()
    for plain, twice in zip(
        tree_leaves(batch), tree_leaves(mirror(mirror(batch))), strict=True
    ):
        torch.testing.assert_close(twice, plain)


def lift(batch: DrivingBatch) -> Tensor:
    seen = batch.seen
    pose = seen.intrinsic, seen.to_ego, seen.to_present
    return lift_points(*pose, SMALL.depth, SMALL.feature_size)


def test_every_pixel_lies_at_the_mirrored_place() -> None:
    batch = turning()
    there = lift(batch)[:, :, TRADED].flip(-2) * torch.tensor([1.0, -1.0, 1.0])
    torch.testing.assert_close(lift(mirror(batch)), there, atol=1e-4, rtol=1e-5)


def test_images_of_all_times_are_flipped_and_trade_places() -> None:
    plain, other = turning().seen, mirror(turning()).seen
    for n, across in enumerate((2, 1, 0, 5, 4, 3)):
        assert torch.equal(other.images[:, :, n], plain.images[:, :, across].flip(-1))
        assert torch.equal(other.sweeps[:, :, n], plain.sweeps[:, :, across].flip(-1))


def test_what_is_pooled_on_the_ground_is_flipped() -> None:
    batch, rng = turning(), torch.Generator().manual_seed(0)
    h, w = SMALL.feature_size
    features = torch.randn(3, SMALL.past, 6, 2, h, w, generator=rng)
    depth = torch.randn(3, SMALL.past, 6, SMALL.depth.bins, h, w, generator=rng)

    def pool(seen: DrivingBatch, features: Tensor, depth: Tensor) -> Tensor:
        cells = find_cells(lift(seen), SMALL.grid)
        return pool_features(features, depth, cells, SMALL.grid)

    plain = pool(batch, features, depth)
    other = pool(mirror(batch), features[:, :, TRADED].flip(-1), depth[:, :, TRADED].flip(-1))
    assert plain.abs().sum() > 100
    torch.testing.assert_close(other, plain.flip(-1), atol=1e-4, rtol=1e-4)


def test_the_car_moves_the_other_way() -> None:
    batch = turning()
    plain, other = (compute_motion(b.seen.to_present) for b in (batch, mirror(batch)))
    assert plain[0, 1, 1].abs() > 1  # to the side
    assert plain[0, 1, 5].abs() > 0.2
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])  # x, y, z, roll, pitch, yaw
    torch.testing.assert_close(other, plain * signs, atol=1e-5, rtol=1e-5)
    ego = mirror(batch).seen.ego
    assert ego.command.tolist() == [2, 2, 2]  # left is right
    assert ego.target.tolist() == [[9.0, -3.0]] * 3
    torch.testing.assert_close(ego.yaw_rate, -batch.seen.ego.yaw_rate)
    torch.testing.assert_close(ego.speed, batch.seen.ego.speed)


def test_the_truth_is_flipped_about_the_way_ahead() -> None:
    batch = turning()
    plain, other = batch.truth, mirror(batch).truth
    for name in ("vehicle", "pedestrian", "instance", "drivable", "lane"):
        assert torch.equal(getattr(other, name), getattr(plain, name).flip(-1)), name
    assert torch.equal(other.path[..., 0], plain.path[..., 0])
    assert torch.equal(other.path[..., 1:], -plain.path[..., 1:])
    assert torch.equal(other.route, plain.route * torch.tensor([1.0, -1.0]))
    assert torch.equal(other.depth[:, :, 0], plain.depth[:, :, 2].flip(-1))
    flows = [make_instance_targets(t.instance).flow for t in (plain, other)]
    torch.testing.assert_close(flows[1][:, :, 0], flows[0][:, :, 0].flip(-1), equal_nan=True)
    torch.testing.assert_close(flows[1][:, :, 1], -flows[0][:, :, 1].flip(-1), equal_nan=True)
    assert torch.equal(mirror(batch).seen.maps, batch.seen.maps.flip(-1))


def test_only_chosen_windows_are_mirrored() -> None:
    batch = turning()
    some = mirror_windows(batch, torch.tensor([False, True, False]))
    leaves = (tree_leaves(b) for b in (some, batch, mirror(batch)))
    for mixed, plain, other in zip(*leaves, strict=True):
        assert torch.equal(mixed[0], plain[0])
        assert torch.equal(mixed[1], other[1])
        assert torch.equal(mixed[2], plain[2])


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    put_small(monkeypatch)


def mirror_phases(config: DrivingConfig, share: float) -> DrivingConfig:
    return replace(config, phases=tuple(replace(p, mirrored=share) for p in config.phases))


@pytest.mark.slow
@pytest.mark.usefixtures("_small")
def test_a_share_of_the_training_is_mirrored_anew_in_each_epoch_and_nothing_else() -> None:
    config, never = (mirror_phases(SMALL, share) for share in (0.5, 0.0))

    def mirrored(split: str, epoch: int) -> list[bool]:
        pairs = zip(
            read_batches(config, split, epoch),  # type: ignore[arg-type]
            read_batches(never, split, epoch),  # type: ignore[arg-type]
            strict=True,
        )
        return [
            not torch.equal(made[k], plain[k])
            for made, plain in ((a.seen.images, b.seen.images) for a, b in pairs)
            for k in range(len(made))
        ]

    epochs = [mirrored("train", epoch) for epoch in range(20)]
    assert 0.3 < np.mean(epochs) < 0.7
    assert len({tuple(e) for e in epochs}) > 3
    assert epochs[3] == mirrored("train", 3)
    assert not any(mirrored("val", 0) + mirrored("test", 0))
    (last,) = read_batches_from(config, "train", 3, MANY["train"] // config.batch - 1)
    whole = list(read_batches(config, "train", 3))
    assert torch.equal(last.seen.images, whole[-1].seen.images)


def test_traffic_keeps_to_its_side_while_the_path_is_learned() -> None:
    assert [p.mirrored for p in small().phases] == [0.5, 0.5, 0.5, 0.0]


@pytest.mark.usefixtures("_small")
def test_phases_are_mirrored_each_by_its_own_share() -> None:
    never = mirror_phases(SMALL, 0.0)
    first, *others = never.phases
    config = replace(never, phases=(replace(first, mirrored=1.0), *others))
    images = []
    for epoch in (0, config.epochs - 1):
        plain, made = (
            next(read_batches(c, "train", epoch)).seen.images for c in (never, config)
        )
        images.append(torch.equal(plain, made))
    assert images == [False, True]


def test_a_grid_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"symmetric in y, got y=\(-8"):
        replace(small(), grid=GroundGrid(x=(-16.0, 32.0), y=(-8.0, 40.0), step=1.0))
    with pytest.raises(
        ValueError, match=r"phases\[0\].mirrored is 2.0; it must be .* Use 0.0, the"
    ):
        mirror_phases(small(), 2.0)


def test_windows_without_images_are_mirrored_too() -> None:
    batch = turning()
    none = {
        name: getattr(batch.seen, name)[:, :, :0]
        for name in ("images", "sweeps", "intrinsic", "to_ego")
    }
    blind = DrivingBatch(
        batch.seen._replace(**none), batch.truth._replace(depth=batch.truth.depth[:, :, :0])
    )
    other, seeing = mirror(blind), mirror(batch)
    assert torch.equal(other.seen.maps, seeing.seen.maps)
    assert torch.equal(other.truth.path, seeing.truth.path)
    assert other.seen.images.shape == blind.seen.images.shape
    assert other.seen.sweeps.shape == blind.seen.sweeps.shape
