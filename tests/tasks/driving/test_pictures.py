"""What is drawn lies where it is: left is left, boxes on their vehicles, colours as said."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from driving_windows import YAWS, make_camera, make_window, small_config
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from shapely.geometry import LineString
from small_world import LEFT, RIGHT, Car, make_small_world

from drivers.nuscenes.box import Box
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import ImageSize
from drivers.nuscenes.world.drive import PlannedDrive
from neuro.base.seeds import seeded
from neuro.io.run_folder import Run
from tasks.driving import closed_loop, evaluate, film, pictures
from tasks.driving.config import DrivingConfig, Source
from tasks.driving.model import Driver
from tasks.driving.pictures import (
    DIVIDER,
    EGO,
    FAINT,
    FAR,
    GROUND,
    PEDESTRIAN,
    ROAD,
    VEHICLE,
    as_png,
    choose_scene,
    draw_windows,
    join_as_gif,
    list_lines,
    name_colour,
    paint_maps,
    project,
    spread_path,
)
from tasks.runs.task import Split

SMALL = small_config()
K = np.array([[32.0, 0, 31.5], [0, 32.0, 15.5], [0, 0, 1]])
FRONT = make_camera(0.0).astype(np.float64)  # at (1, 0, 1.5), looks along x
CAR = Box(
    instance="a", category="vehicle.car", x=11.0, y=2.0, z=1.5, yaw=0.0,
    width=2.0, length=4.0, height=1.0,
)  # fmt: skip


def test_what_is_left_of_the_car_is_left_in_the_image() -> None:
    pixels, depth = project(np.array([[11.0, 2.0, 1.5], [11.0, -2.0, 0.5]]), K, FRONT)
    assert depth.tolist() == pytest.approx([10.0, 10.0])
    assert pixels[0].tolist() == pytest.approx([31.5 - 6.4, 15.5], abs=1e-5)
    assert pixels[1].tolist() == pytest.approx([31.5 + 6.4, 15.5 + 3.2], abs=1e-5)
    behind, depth = project(np.array([[-5.0, 0.0, 1.5]]), K, FRONT)
    assert depth[0] == pytest.approx(-6.0)
    assert np.isnan(behind).all()


def test_each_camera_sees_what_stands_in_its_direction() -> None:
    sides = dict(zip(CAMERAS, YAWS, strict=True))
    assert sides["CAM_FRONT_LEFT"] > 0 > sides["CAM_FRONT_RIGHT"]
    for yaw in YAWS:
        place = np.array([[1 + 10 * np.cos(yaw), 10 * np.sin(yaw), 1.5]])
        pixels, depth = project(place, K, make_camera(yaw).astype(np.float64))
        assert depth[0] == pytest.approx(10, rel=1e-5)
        assert pixels[0].tolist() == pytest.approx([31.5, 15.5], abs=1e-4)


def test_the_lines_of_a_box_surround_it() -> None:
    lines = list_lines(CAR, K, FRONT)
    assert lines.shape == (12, 2, 2)
    # The near face, 8 m ahead, from y = 3 to 1 and from z = 2 to 1.
    assert lines[..., 0].min() == pytest.approx(31.5 - 32 * 3 / 8, abs=1e-4)
    assert lines[..., 0].max() == pytest.approx(31.5 - 32 * 1 / 12, abs=1e-4)
    assert lines[..., 1].min() == pytest.approx(15.5 - 32 * 0.5 / 8, abs=1e-4)


def test_lines_end_where_they_would_go_behind_the_camera() -> None:
    beside = replace(CAR, x=1.0)  # from 2 m behind the camera to 2 m before it
    lines = list_lines(beside, K, FRONT)
    assert len(lines) == 8  # those of the rear face are not seen
    assert np.isfinite(lines).all()
    assert lines[..., 0].min() == pytest.approx(31.5 - 32 * 3 / 0.3, rel=1e-4)
    assert len(list_lines(replace(CAR, x=-9.0), K, FRONT)) == 0


def test_a_path_is_as_wide_as_the_car_and_begins_at_its_front() -> None:
    path = np.zeros((2, 3))
    path[:, 0] = 5.0, 10.0
    sides = spread_path(path)
    assert sides[0].tolist() == pytest.approx(np.array([[3.482, 0.925], [3.482, -0.925]]))
    assert sides[-1].tolist() == pytest.approx(np.array([[13.482, 0.925], [13.482, -0.925]]))


def paint(**maps: tuple[int, int, int]) -> np.ndarray:
    """Return the image of maps that hold a cell each, of 4 x 6 cells on drivable ground."""
    empty = {"drivable": np.ones((4, 6), bool), "lane": np.zeros((4, 6), bool)}
    empty |= {name: np.zeros((3, 4, 6), bool) for name in ("vehicle", "pedestrian")}
    for name, (frame, x, y) in maps.items():
        empty[name][frame, x, y] = True
    return np.asarray(paint_maps(empty))


def test_ahead_is_up_and_left_is_left() -> None:
    image = paint(vehicle=(0, 3, 5), pedestrian=(0, 0, 0))
    assert image[0, 0] == pytest.approx(to_rgb(VEHICLE))  # foremost, leftmost
    assert image[-1, -1] == pytest.approx(to_rgb(PEDESTRIAN))
    assert image[1, 1] == pytest.approx(to_rgb(ROAD))


def test_the_future_is_fainter() -> None:
    first, last = paint(vehicle=(1, 3, 5))[0, 0], paint(vehicle=(2, 3, 5))[0, 0]
    mixed = (1 - FAINT) * np.array(to_rgb(ROAD)) + FAINT * np.array(to_rgb(VEHICLE))
    assert first == pytest.approx(mixed)
    assert np.linalg.norm(last - to_rgb(ROAD)) < np.linalg.norm(first - to_rgb(ROAD))
    off = paint_maps(
        {
            "drivable": np.zeros((2, 2), bool), "lane": np.zeros((2, 2), bool),
            "vehicle": np.zeros((1, 2, 2), bool), "pedestrian": np.zeros((1, 2, 2), bool),
        }
    )  # fmt: skip
    assert off[0, 0] == pytest.approx(to_rgb(GROUND))


def test_boxes_have_the_colours_of_the_maps() -> None:
    assert name_colour(CAR) == VEHICLE
    assert name_colour(replace(CAR, category="human.pedestrian.adult")) == PEDESTRIAN
    assert name_colour(replace(CAR, category="movable_object.barrier")) not in (
        VEHICLE,
        PEDESTRIAN,
    )


def test_the_windows_of_the_first_scene_are_chosen() -> None:
    assert choose_scene(["b", "b", "a", "b"]) == [0, 1, 3]


class Few(list):
    """Windows with a car ahead in each."""

    spans = (SimpleNamespace(scene="one"),)

    def read_boxes(self, number: int) -> tuple[Box, ...]:
        return (CAR, replace(CAR, x=FAR + 1)) if number == 0 else ()


@pytest.mark.slow
def test_a_window_is_drawn_and_some_make_a_film() -> None:
    with seeded(0):
        model = Driver(SMALL).eval()
    drawn = list(draw_windows(SMALL, model, Few([make_window(SMALL)]), [0]))
    (image,) = (Image.open(io.BytesIO(png)) for png in drawn)
    assert (image.format, image.width) == ("PNG", 920)
    file = io.BytesIO()
    ImageOps.invert(image.convert("RGB")).save(file, "PNG")
    film = Image.open(io.BytesIO(join_as_gif([*drawn, file.getvalue()], 0.5)))
    assert (film.format, film.size, film.info["duration"]) == ("GIF", image.size, 500)
    frame = np.asarray(film.convert("RGB"))
    for colour in (ROAD, DIVIDER, VEHICLE, PEDESTRIAN, EGO):  # of the legend, some are rare
        rgb = np.round(255 * np.array(to_rgb(colour)))
        assert (frame == rgb).all(-1).any(), colour
    with pytest.raises(ValueError, match="no pictures"):
        join_as_gif([])


@pytest.mark.slow
def test_a_drive_is_filmed_with_a_picture_each_half_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, state = make_small_world([Car(RIGHT, 20.0, 5.0), Car(LEFT, 30.0, 5.0)])
    course = PlannedDrive(
        world=world,
        state=state,
        route=frozenset({"right"}),
        line=LineString([(20, 0), (120, 0)]),
        seconds=10.0,
    )
    monkeypatch.setattr(closed_loop, "start", lambda *_: course)
    size = ImageSize(height=16, width=40, scale=0.25, crop=6)
    trial = closed_loop.Trial(planner=None, size=size, blanked=True)
    around = GroundGrid(x=(-16.0, 16.0), y=(-16.0, 16.0), step=1.0)
    gif, outcome = film.film_course(trial, around, limit=1.0)
    assert (outcome.end, outcome.seconds) == ("time", 1.0)
    picture = Image.open(io.BytesIO(gif))
    assert (picture.size, picture.n_frames, picture.info["duration"]) == ((920, 430), 2, 500)
    ground = np.asarray(picture.convert("RGB"))[25:365, 560:900]
    car, ego = (
        np.argwhere((ground == np.round(255 * np.array(to_rgb(colour)))).all(-1)).mean(0)
        for colour in (VEHICLE, EGO)
    )
    up, left = ego - car  # 10 m ahead on the lane to the left
    assert up > 0
    assert up / left == pytest.approx(10 / 3.5, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained", "panels", "files"),
    [
        (SMALL, (6, 3), ["scene.png", "scene.gif", "drive.gif"]),
        (replace(SMALL, source=Source(data="nuscenes")), (6, 3), ["scene.png", "scene.gif"]),
        (replace(SMALL, phases=SMALL.phases[:1]), (6, 2), ["scene.png", "scene.gif"]),
        (
            replace(
                SMALL,
                sees="maps",
                road_cells=1,
                depth_loss=False,
                phases=(replace(SMALL.phases[1], frozen=()),),
            ),
            (0, 2),
            ["scene.png", "scene.gif"],
        ),
    ],
    ids=["planner", "recorded", "perception", "maps"],
)
def test_what_was_not_seen_or_planned_is_not_drawn(
    trained: DrivingConfig,
    panels: tuple[int, int],
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_split(config: DrivingConfig, split: Split) -> Few:  # noqa: ARG001
        window = make_window(config)
        if config.sees == "maps":  # as of a split that is read without images
            cameras = ("images", "sweeps", "intrinsic", "to_ego", "depth")
            window = replace(window, **{k: getattr(window, k)[:, :0] for k in cameras})
        return Few([window])

    drawn: list[tuple[int, int]] = []

    def save(figure: Figure) -> bytes:
        titles = [ax.get_title() for ax in figure.axes]
        cameras = [t for t in titles if t.split(" ")[0] in ("front", "back")]
        maps = [t for t in titles if "predicted" in t or t == "true"]
        drawn.append((len(cameras), len(maps)))
        return as_png(figure)

    outcome = SimpleNamespace(end="time", seconds=20.0, share=0.5)
    monkeypatch.setattr(film, "write_film", lambda *_: outcome)
    monkeypatch.setattr(evaluate, "open_split", open_split)
    monkeypatch.setattr(pictures, "as_png", save)
    run = Run(folder=tmp_path, task="driving", name="small", seed=0, config=trained)
    with seeded(0):
        model = Driver(trained).eval()
    found = evaluate.draw_pictures(run, model)
    assert drawn == [panels]
    assert [picture.file for picture in found] == files
    assert ("Cameras" in found[0].caption, "plan" in found[0].caption) == (
        panels[0] == 6,
        panels[1] == 3,
    )
    assert (tmp_path / "scene.png").stat().st_size > 0
