"""The labels of SAD and ST-P3 beside ours, and what separates them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from nuscenes_files import DRIVES, open_windows, write_data_set
from rich.console import Console

from drivers.nuscenes.geometry import flatten, lift
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.labels import draw_labels
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.tables import Keyframe, Shot
from drivers.nuscenes.window import ImageSize, Window
from drivers.nuscenes.windows import Windows, WindowSettings
from tasks.bench.options import BenchOptions
from tasks.driving.bench import label_rows
from tasks.driving.bench.draw import draw_planners, tabulate
from tasks.driving.bench.label_rows import (
    CELLS,
    GRID,
    IOU,
    PROCEDURES,
    compare_labels,
    compare_masks,
    make_differences,
    measure_middles,
)
from tasks.driving.bench.published_labels import (
    NOTHING,
    LabelProcedure,
    PublishedLabels,
    make_targets,
    name_published_command,
    read_published_path,
)
from tasks.driving.losses import make_instance_targets

PUBLISHED = LabelProcedure(grid=GRID)
TRUE_CELLS = LabelProcedure(grid=GRID, true_cells=True)
TRUE = LabelProcedure(grid=GRID, true_cells=True, true_motion=True)
SETTINGS = WindowSettings(
    grid=GRID, image=ImageSize(height=64, width=160, scale=1.0, crop=26), looks=False
)
STRAIGHT, TURN = DRIVES  # scenes: straight ahead at 8 m/s, and a circle of 20 m at 5 m/s


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """Two windows of each scene."""
    found: Windows = open_windows(write_data_set(tmp_path_factory.mktemp("labels")), SETTINGS)
    assert [span.scene for span in found.spans] == [STRAIGHT] * 2 + [TURN] * 2
    return found


def draw_half_a_cell_back(windows: Windows, number: int) -> np.ndarray:
    """Return our masks of vehicles on a grid that begins half a cell further back and right."""
    span = windows.spans[number]
    boxes = [windows.tables.read_boxes(token) for token in span.tokens]
    shifted = GroundGrid(x=(-50.25, 49.75), y=(-50.25, 49.75), step=0.5)
    return draw_labels(boxes, 3, span.poses[2], shifted).vehicle


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_present_labels_are_ours_half_a_cell_ahead_and_to_the_left(
    windows: Windows, number: int
) -> None:
    window, tokens = windows[number], windows.spans[number].tokens
    published = PUBLISHED.draw(windows.tables, tokens, 3)
    assert window.vehicle[2].sum() > 50
    np.testing.assert_array_equal(
        published.vehicle[2], draw_half_a_cell_back(windows, number)[2]
    )
    same = TRUE_CELLS.draw(windows.tables, tokens, 3)
    for name in ("vehicle", "pedestrian", "instance"):
        np.testing.assert_array_equal(getattr(same, name)[2], getattr(window, name)[2])
    assert same.pedestrian[2].any()


def test_on_a_straight_way_of_whole_cells_all_frames_are_ours(windows: Windows) -> None:
    """At 8 m/s the car moves eight cells a frame: the warp does not round."""
    window = windows[0]
    for procedure in (TRUE_CELLS, TRUE):
        same = procedure.draw(windows.tables, windows.spans[0].tokens, 3)
        for name in ("vehicle", "pedestrian", "instance"):
            np.testing.assert_array_equal(getattr(same, name), getattr(window, name))
    published = PUBLISHED.draw(windows.tables, windows.spans[0].tokens, 3)
    np.testing.assert_array_equal(published.vehicle, draw_half_a_cell_back(windows, 0))


def test_the_same_boxes_are_left_out(windows: Windows) -> None:
    """Hidden ones, and in the future those that were never seen."""
    for number in range(len(windows)):
        window = windows[number]
        published = TRUE.draw(windows.tables, windows.spans[number].tokens, 3)
        for mine, theirs in zip(window.instance, published.instance, strict=True):
            assert set(np.unique(theirs)) <= set(np.unique(mine)) | {0}
        assert published.instance.max() == window.instance.max() == 2  # ahead, parked


motions = st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(-1.5, 1.5))


@given(motions)
@settings(max_examples=10)
def test_the_published_warp_is_fierys_affine_grid(
    motion: tuple[float, float, float],
) -> None:
    mask = np.random.default_rng(0).integers(0, 9, GRID.shape)
    (tx, ty, yaw), half = motion, GRID.x[1]
    c, s = np.cos(yaw), np.sin(yaw)
    theta = torch.tensor([[[c, -s, ty / half], [s, c, -tx / half]]], dtype=torch.float64)
    places = F.affine_grid(theta, [1, 1, *mask.shape], align_corners=False)
    source = torch.from_numpy(mask)[None, None].double()
    found = F.grid_sample(source, places, "nearest", "zeros", align_corners=False)[0, 0]
    same = found.numpy() == PUBLISHED.warp(mask, np.array(motion))
    assert same.mean() > 0.999  # ties between two cells


@given(motions)
@settings(max_examples=10)
def test_the_true_warp_moves_points_with_the_car(motion: tuple[float, float, float]) -> None:
    """A cell of the present frame shows the cell of the other frame at the same place."""
    numbers = np.arange(200 * 200).reshape(GRID.shape) + 1
    found = TRUE.warp(numbers, np.array(motion))
    middles = np.concatenate([GRID.centres(), np.zeros((*GRID.shape, 1))], -1)
    for i, j in [(100, 100), (130, 90), (60, 150), (199, 0)]:
        x, y, _ = np.linalg.solve(lift(np.array(motion)), [*middles[i, j, :2], 0, 1])[:3]
        a, b = GRID.cells(np.array([x, y]))
        inside = 0 <= a < 200 and 0 <= b < 200
        assert found[i, j] == (numbers[a, b] if inside else 0)


@given(st.floats(5, 60), st.floats(-1.2, 1.2))
@settings(max_examples=10)
def test_both_warps_agree_on_a_circular_arc(radius: float, angle: float) -> None:
    if abs(angle) < 0.01:
        return
    side = np.copysign(radius, angle)
    pose = lift(np.array([side * np.sin(angle), side * (1 - np.cos(angle)), angle]))
    mask = np.random.default_rng(1).integers(0, 9, GRID.shape)
    for motion in (flatten(np.linalg.inv(pose)), flatten(pose)):  # past, future
        same = PUBLISHED.warp(mask, motion) == TRUE.warp(mask, motion)
        assert same.mean() > 0.999


def test_published_motions_of_the_past_multiply_the_steps_in_reverse_order() -> None:
    """The car turns left on the spot, and then drives 10 m ahead."""

    def stand(x: float, y: float, yaw: float) -> Keyframe:
        shot = Shot(
            channel=LIDAR, path=Path(), timestamp=0, to_ego=np.eye(4),
            ego=lift(np.array([x, y, yaw])), intrinsic=None, width=0, height=0,
        )  # fmt: skip
        return Keyframe(token="", scene="", timestamp=0, shots={LIDAR: shot})

    frames = [stand(0.0, 0.0, 0.0), stand(0.0, 0.0, np.pi / 2), stand(0.0, 10.0, np.pi / 2)]
    true, published = TRUE.find_motions(frames, 3), PUBLISHED.find_motions(frames, 3)
    np.testing.assert_allclose(true[0], [-10, 0, -np.pi / 2], atol=1e-9)
    np.testing.assert_allclose(published[0], [0, 10, -np.pi / 2], atol=1e-9)
    for motions in (true, published):
        np.testing.assert_allclose(motions[1:], [[-10, 0, 0], [0, 0, 0]], atol=1e-9)
    later = PUBLISHED.find_motions(frames, 1)
    np.testing.assert_allclose(later[2], [0, 10, np.pi / 2], atol=1e-9)
    np.testing.assert_allclose(later, TRUE.find_motions(frames, 1), atol=1e-9)


def test_after_a_change_of_lanes_the_published_warp_is_twice_its_width_off() -> None:
    mask = np.zeros(GRID.shape, np.int64)
    mask[100, 100] = 1
    moved = np.array([30.0, 3.5, 0.0])  # the present frame sees a later one, in the left lane
    assert np.argwhere(TRUE.warp(mask, moved)).tolist() == [[160, 107]]
    assert np.argwhere(PUBLISHED.warp(mask, moved)).tolist() == [[160, 93]]


def test_published_targets_have_whole_middles(windows: Windows) -> None:
    """Of a car that drives 0.5 m a frame faster than the ego: by one cell."""
    window = windows[0]
    theirs = TRUE.draw(windows.tables, windows.spans[0].tokens, 3)
    ours = make_instance_targets(torch.from_numpy(window.instance[None, 2:4]))
    ahead = window.instance[2] == 1
    for axis, name in ((0, "offset"), (1, "offset"), (0, "flow"), (1, "flow")):
        away = getattr(theirs, name)[axis] - getattr(ours, name)[0, 0, axis].numpy()
        assert np.abs(away[ahead]).max() <= (0.5 if name == "offset" else 1.0)
    assert (theirs.offset % 1 == 0).all()
    assert (theirs.flow[:, ~ahead & (window.instance[2] == 0)] == NOTHING).all()
    (i, j), *others = np.argwhere((theirs.centre == 1) & ahead)
    assert not others
    assert theirs.offset[:, i, j].tolist() == [0, 0]
    assert theirs.centre[i + 3, j] == pytest.approx(np.exp(-1))
    alone = np.array([[0, 1, 1], [0, 0, 2]], np.int32)
    found = make_targets(alone, np.array([[0, 0, 1], [0, 0, 0]], np.int32))
    assert found["flow"][:, 0, 1].tolist() == [0, 0]  # from round(1.5) = 2 to 2
    assert found["flow"][:, 1, 2].tolist() == [NOTHING, NOTHING]  # leaves
    assert found["offset"][:, 0, 1].tolist() == [0, 1]


def test_the_published_path_is_that_of_the_lidar(windows: Windows) -> None:
    straight = read_published_path(windows.tables, windows.spans[0].tokens, 3)
    np.testing.assert_allclose(straight, [[0, 4 * k] for k in range(1, 7)], atol=1e-9)
    assert name_published_command(straight) == "forward"
    turn = read_published_path(windows.tables, windows.spans[2].tokens, 3)
    yaw = 0.25 * 0.5 * np.arange(1, 7)
    ahead = 20 * np.sin(yaw) + 0.9 * (np.cos(yaw) - 1)  # the lidar is 0.9 m ahead of the axle
    left = 20 * (1 - np.cos(yaw)) + 0.9 * np.sin(yaw)
    np.testing.assert_allclose(turn, np.stack([-left, ahead], -1), atol=1e-6)
    assert name_published_command(turn) == "left"
    assert name_published_command(-turn) == "right"
    assert name_published_command(np.array([[1.99, 20.0]])) == "forward"
    assert name_published_command(np.array([[2.0, 20.0]])) == "right"


def test_middles_of_instances_are_compared_by_number() -> None:
    theirs, ours = np.zeros((2, 8, 8), np.int32)
    theirs[1:3, 1], ours[1:3, 4] = 7, 7
    theirs[5, 5], ours[6, 6] = 2, 3
    assert measure_middles(theirs, ours) == [3.0]


def publish_ours(window: Window) -> PublishedLabels:
    """Return our own labels and targets as if they were published."""
    own = make_instance_targets(torch.from_numpy(window.instance[None, 2:4]))
    centre, offset, flow = (part[0, 0].double().numpy() for part in own)
    return PublishedLabels(
        vehicle=window.vehicle,
        pedestrian=window.pedestrian,
        instance=window.instance,
        centre=centre,
        offset=offset,
        flow=flow,
    )


def test_our_own_labels_do_not_differ_from_ours(windows: Windows) -> None:
    """Targets are those of the present frame; the car ahead moves by a cell a frame."""
    window, differences = windows[0], make_differences()
    compare_masks(differences, window, publish_ours(window), 3)
    for (case, unit), value in differences.summarise().items():
        assert value == (100.0 if unit == IOU else 0.0), case


def test_each_time_compares_its_own_frames(windows: Windows) -> None:
    window = windows[0]
    times = {"past": [0, 1], "now": [2], "in 1 s": [4], "in 2 s": [6], "in 3 s": [8]}
    for time, frames in times.items():
        vehicle, differences = window.vehicle.copy(), make_differences()
        vehicle[frames] = False
        theirs = replace(publish_ours(window), vehicle=vehicle)
        compare_masks(differences, window, theirs, 3)
        found = differences.summarise()
        iou = {other: found[f"vehicle, {other}", IOU] for other in times}
        assert iou == dict.fromkeys(times, 100.0) | {time: 0.0}


def test_published_labels_need_a_square_grid_around_the_car() -> None:
    with pytest.raises(ValueError, match="need a square grid around the car, got x from -16"):
        LabelProcedure(grid=GroundGrid(x=(-16.0, 32.0), y=(-24.0, 24.0), step=1.0))


def test_rows_hold_the_differences_and_their_causes(
    windows: Windows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[WindowSettings] = []

    def find_split(_: object, chosen: WindowSettings, split: str) -> Windows:
        asked.append(chosen)
        assert split == "test"
        return windows

    monkeypatch.setattr(label_rows, "find_split", find_split)
    rows = list(compare_labels(BenchOptions()))
    assert [(s.grid, s.looks, s.past, s.future) for s in asked] == [(GRID, False, 3, 6)]
    cells = {(row.case, row.unit, row.peer): row.theirs for row in rows}
    published, true_cells, true = PROCEDURES
    assert cells["labels: vehicle, now", IOU, true_cells] == 100.0
    assert cells["labels: vehicle, now", IOU, published] == pytest.approx(70, abs=10)
    assert cells["labels: middle of a vehicle, now", CELLS, true] == 0.0
    assert cells["labels: middle of a vehicle, now", CELLS, published] == pytest.approx(
        np.hypot(0.5, 0.5), abs=0.25
    )
    # Scenes without a change of lanes: the published motion is the true one.
    for time in ("past", "in 1 s", "in 2 s", "in 3 s"):
        case = f"labels: vehicle, {time}", IOU
        assert cells[*case, true] == pytest.approx(cells[*case, true_cells], abs=1)
        assert 60 < cells[*case, published] < cells[*case, true] < 100
    assert cells["labels: lane, now", IOU, published] == 100.0
    assert 90 < (cells["labels: drivable, now", IOU, published] or 0) < 100
    assert cells["labels: command", "% other than ours", published] == 0.0
    path = cells["labels: path, in 3 s", "m from ours", published]
    assert path == pytest.approx(0.9 * np.hypot(1 - np.cos(0.75), np.sin(0.75)) / 2, abs=1e-3)
    assert {row.conditions["windows"] for row in rows} == {4}
    assert not any(row.note for row in rows)
    draw_planners(rows, tmp_path / "labels.png")
    assert (tmp_path / "labels.png").read_bytes().startswith(b"\x89PNG")
    console = Console(width=200, record=True, markup=False)  # as ours
    for table in tabulate("labels", rows):
        console.print(table)
    text = console.export_text()
    assert "vehicle, in 3 s [% IoU with ours]" in text
    assert "path, in 3 s [m from ours]" in text
    assert "seeds" not in text


def test_windows_whose_dividers_the_devkit_fails_on_are_counted(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> np.ndarray:
        raise TypeError("'MultiLineString' object is not iterable")

    monkeypatch.setattr(label_rows, "find_split", lambda *_: windows)
    monkeypatch.setattr(label_rows, "draw_published_map", fail)
    rows = list(compare_labels(replace(BenchOptions(), quick=True)))
    assert {row.note for row in rows} == {"the devkit fails on the dividers of 2 of 2 windows"}
