"""Disturbed drives show states that recordings lack, and what the rules do from there."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, count, pairwise

import numpy as np
import pytest
import torch
from driving_runs import SMALL, plan_off_the_way, put_small
from driving_windows import make_window
from torch.utils._pytree import tree_leaves

pytest.importorskip("nuscenes")

from drivers.nuscenes.world.drive import plan_by_rules
from neuro.base.units import Ticks
from tasks.driving import drives
from tasks.driving.batch import DrivingBatch, Observation, join_ticks, make_batch
from tasks.driving.config import DrivingConfig
from tasks.driving.data import read_batches, read_batches_from
from tasks.driving.drives import (
    DROPPED,
    DisturbedWindow,
    disturb_path,
    drive_disturbed,
    replace_windows,
    stream_windows,
)
from tasks.driving.presets import small

SEED = [5, 0, 0, 3]


@pytest.fixture(scope="module")
def windows() -> list[DisturbedWindow]:
    """Return the windows of five seconds of a drive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drives, "LIMIT", 5.0)
        return drive_disturbed(SMALL, SEED)


def straight(speed: float) -> np.ndarray:
    path = np.zeros((6, 3))
    path[:, 0] = 0.5 * speed * np.arange(1, 7)
    return path


def test_a_disturbed_path_is_driven_at_another_pace_and_moved_to_a_side() -> None:
    path = straight(8.0)
    np.testing.assert_allclose(disturb_path(path, 8.0, 0.0, 1.0), path, atol=1e-9)
    slow = disturb_path(path, 8.0, 0.0, 0.5)
    np.testing.assert_allclose(slow, straight(4.0), atol=1e-9)
    np.testing.assert_allclose(disturb_path(path, 8.0, 0.0, 1.5)[:, 0], 6.0 * np.arange(1, 7))
    np.testing.assert_allclose(disturb_path(path, 8.0, 2.0, 0.0), 0, atol=1e-9)
    aside = disturb_path(path, 8.0, 2.0, 1.0)
    np.testing.assert_allclose(aside[-1], [24, 2, 0], atol=1e-9)  # the way of 3 s
    np.testing.assert_allclose(aside[2, :2], [12, 1], atol=1e-9)  # half of it
    assert aside[2, 2] > 0.1
    np.testing.assert_allclose(disturb_path(path, 8.0, -2.0, 1.0)[-1], [24, -2, 0], atol=1e-9)
    # A slower start has to move aside on a shorter way.
    np.testing.assert_allclose(disturb_path(path, 4.0, 2.0, 1.0)[2], [12, 2, 0], atol=1e-9)


@pytest.mark.slow
def test_a_window_shows_where_the_disturbed_car_is(windows: list[DisturbedWindow]) -> None:
    assert len(windows) == 10 - (SMALL.past - 1)
    for before, now in pairwise(windows):
        s = now.seen
        assert s.images.shape == (1, SMALL.past, 6, 3, 32, 64)
        assert s.images[:, :-1].equal(before.seen.images[:, 1:])
        # Half the sum of both speeds is that of the way between, up to changes within it.
        way = float(s.to_present[0, -2, :2, 3].norm())
        mean = float(before.seen.ego.speed + s.ego.speed) / 2
        assert way / 0.5 == pytest.approx(mean, abs=0.3)
    assert s.to_present[0, -1].equal(torch.eye(4))


@pytest.mark.slow
def test_sweeps_are_of_the_instants_between_frames(
    windows: list[DisturbedWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drives, "LIMIT", 2.0)
    encoder = replace(SMALL.encoder, ticks=Ticks(3))
    config = replace(SMALL, encoder=encoder, source=replace(SMALL.source, sweeps=2))
    found, blind = (drive_disturbed(config, SEED, looks=looks) for looks in (True, False))
    for one, plain in zip(found, windows[:2], strict=True):
        pairs = zip(one.seen, plain.seen, Observation._fields, strict=True)
        assert all(a.equal(b) for a, b, name in pairs if name not in ("sweeps", "ego"))
        assert one.path.equal(plain.path)
    first, second = (window.seen for window in found)
    assert first.sweeps.shape == (1, SMALL.past, 6, 2, 3, 32, 64)
    assert first.sweeps[:, 1:].equal(second.sweeps[:, :-1])
    # Nothing comes before the first frame; the car moves in all others.
    ticks = join_ticks(first)[:, 0, :, 1]  # of the front camera
    assert [len({x.numpy().tobytes() for x in frame}) for frame in ticks.unbind(1)] == [1, 3, 3]
    assert blind[0].seen.sweeps.shape == (1, SMALL.past, 0, 2, 3, 1, 1)


@pytest.mark.slow
def test_a_drive_is_that_of_its_seed(
    windows: list[DisturbedWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drives, "LIMIT", 2.0)
    again, other = drive_disturbed(SMALL, SEED), drive_disturbed(SMALL, [*SEED[:3], 4])
    assert len(again) == 2
    pairs = zip(tree_leaves(again), tree_leaves(windows[:2]), strict=True)
    assert all(a.equal(b) for a, b in pairs)
    assert not other[0].path.equal(again[0].path)
    blind = drive_disturbed(SMALL, SEED, looks=False)
    assert all(a.path.equal(b.path) for a, b in zip(blind, again, strict=True))
    assert all(
        torch.equal(a.seen.ego.speed, b.seen.ego.speed)
        for a, b in zip(blind, again, strict=True)
    )
    assert blind[0].seen.images.shape == (1, SMALL.past, 0, 3, 1, 1)


@pytest.mark.slow
def test_what_is_learned_is_what_the_rules_plan_and_not_what_is_driven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned, disturbed = [], []

    def plan(*args: object) -> np.ndarray:
        planned.append(plan_by_rules(*args))
        return planned[-1]

    def stand(path: np.ndarray, speed: float, side: float, pace: float) -> np.ndarray:
        disturbed.append((speed, side, pace))
        return np.zeros_like(path)

    monkeypatch.setattr(drives, "plan_by_rules", plan)
    monkeypatch.setattr(drives, "disturb_path", stand)
    monkeypatch.setattr(drives, "LIMIT", 10.0)
    found = drive_disturbed(SMALL, SEED, looks=False)
    for window, path in zip(found, planned[SMALL.past - 1 :], strict=True):
        np.testing.assert_allclose(window.path[0], path, atol=1e-4)
    assert float(found[-1].seen.ego.speed) < 1e-6 < 1 < float(found[0].seen.ego.speed)
    # Each disturbance lasts for two to seven frames.
    changes = [k for k in range(1, len(disturbed)) if disturbed[k][1:] != disturbed[k - 1][1:]]
    assert changes
    assert min(np.diff(changes), default=2) >= 2
    sides = [side for _, side, _ in disturbed]
    assert min(sides) < 0 < max(sides) or len(set(sides)) == 2
    assert max(map(abs, sides)) <= drives.SIDE
    assert {pace for *_, pace in disturbed} <= {1.0, *drives.PACES}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "lost"), [("collision", DROPPED), ("off road", DROPPED), ("completed", 0)]
)
def test_windows_before_a_bad_end_are_left_out(
    end: str, lost: int, windows: list[DisturbedWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = iter(["", "", "", "", "", "", "", end])

    def find_end(*_: object, tolerance: float) -> str:
        assert tolerance == 0.0
        return next(ends)

    monkeypatch.setattr(drives, "find_end", find_end)
    found = drive_disturbed(SMALL, SEED, looks=False)
    assert len(found) == 8 - (SMALL.past - 1) - lost
    assert found[0].path.equal(windows[0].path)


def test_windows_of_several_drives_are_mixed_and_each_comes_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds: list[Sequence[int]] = []

    def drive(_: DrivingConfig, seed: Sequence[int], looks: bool) -> list[int]:
        assert looks
        seeds.append(seed)
        return [3 * (len(seeds) - 1) + k for k in range(3)]

    monkeypatch.setattr(drives, "drive_disturbed", drive)
    monkeypatch.setattr(drives, "POOL", 20)
    found = list(stream_windows(SMALL, 2, 1, 100))
    assert len(found) == len(set(found)) == 100
    assert found != sorted(found)
    assert found[0] < 21  # of the first seven drives
    assert seeds[:2] == [[5, 0, 2, 1, 0], [5, 0, 2, 1, 1]]
    assert len(seeds) == len({tuple(s) for s in seeds}) == 34  # no drive more than are needed
    seeds.clear()
    assert list(stream_windows(SMALL, 2, 1, 100)) == found
    for other in ((3, 1), (2, 0)):
        seeds.clear()
        assert list(stream_windows(SMALL, *other, 100)) != found
    seeds.clear()
    assert not list(stream_windows(SMALL, 2, 1, 0))
    assert not seeds


def make_driven(number: int, config: DrivingConfig = SMALL) -> DisturbedWindow:
    seen = make_batch([make_window(config, 100 + number)]).seen
    return DisturbedWindow(seen, torch.full((1, SMALL.future, 3), float(number)))


def test_chosen_windows_are_replaced_and_no_others() -> None:
    config = replace(SMALL, source=replace(SMALL.source, sweeps=1))
    make = partial(make_driven, config=config)
    batch = make_batch([make_window(config, k) for k in range(3)])
    batch = batch._replace(truth=batch.truth._replace(shown=torch.zeros(3, dtype=torch.bool)))
    numbers = [count(10 * row) for row in range(3)]
    streams = [map(make, n) for n in numbers]
    made = replace_windows(batch, torch.tensor([True, False, True]), streams)
    for row, number in ((0, 0), (2, 20)):
        want = make(number)
        got = (x[row : row + 1] for x in tree_leaves(made.seen) if x.numel())
        wanted = (x for x in tree_leaves(want.seen) if x.numel())
        assert all(a.equal(b) for a, b in zip(got, wanted, strict=True))
        assert made.truth.path[row].equal(want.path[0])
    kept = zip(tree_leaves(made), tree_leaves(batch), strict=True)
    assert all(a[1].equal(b[1]) for a, b in kept)
    assert made.truth.shown.tolist() == [True, False, True]
    assert [next(n) for n in numbers] == [1, 10, 21]
    assert replace_windows(batch, torch.zeros(3, dtype=torch.bool), streams) is batch


def test_windows_are_driven_in_training_and_in_their_phase_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_small(monkeypatch)

    def stream(
        _: DrivingConfig, epoch: int, row: int, many: int, looks: bool
    ) -> Iterator[DisturbedWindow]:
        assert looks
        first = 1000 * epoch + 100 * row
        return map(make_driven, range(first, first + many))

    monkeypatch.setattr(drives, "stream_windows", stream)
    driving = plan_off_the_way(driven=0.7)
    last = driving.epochs - 1

    def list_numbers(batches: Iterator[DrivingBatch]) -> list[list[int]]:
        """Return the numbers of the driven windows of each batch."""
        return [
            [round(float(p[0, 0])) for p in batch.truth.path if bool((p == p[0, 0]).all())]
            for batch in batches
        ]

    whole = list_numbers(read_batches(driving, "train", last))
    many = sum(map(len, whole))
    assert 0 < many < driving.batch * len(whole)
    assert all(whole)  # so that who begins at a later step has some to pass over
    for row in range(driving.batch):
        own = [n for n in chain(*whole) if n // 100 == 10 * last + row]
        first = 1000 * last + 100 * row
        assert own == list(range(first, first + len(own)))
    for step in range(len(whole)):
        rest = list_numbers(read_batches_from(driving, "train", last, step))
        assert rest == whole[step:]
    for readers in (1, 2):
        ahead = replace(driving, source=replace(driving.source, readers=readers))
        assert list_numbers(read_batches_from(ahead, "train", last, 1)) == whole[1:]
    for split, epoch in (("train", 0), ("val", last), ("test", last)):
        assert not any(list_numbers(read_batches(driving, split, epoch)))  # type: ignore[arg-type]


def test_half_of_the_windows_that_tiny_plans_from_are_driven() -> None:
    assert [p.driven for p in small().phases] == [0.0, 0.0, 0.0, 0.5]
