"""Film a drive in closed loop: the front cameras, the car, its plan, and other road users.

One picture per plan, every half second, shows the planner's input. Other road users are drawn
at their true positions.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from torch import nn

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import box_footprint, box_into_frame, enter_frame
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.hd_map import cover_areas, rasterise
from neuro.io.store import write_bytes
from tasks.driving.closed_loop import FilmedPlan, Outcome, Trial, run_course
from tasks.driving.config import DrivingConfig
from tasks.driving.pictures import (
    AIMED,
    DIVIDER,
    DPI,
    EGO,
    OTHER,
    PEDESTRIAN,
    PLAN,
    PLANNED,
    ROAD,
    STYLE,
    VEHICLE,
    WindowView,
    add_legend,
    as_png,
    draw_camera,
    draw_ground,
    draw_path,
    draw_target,
    join_as_gif,
    name_colour,
    paint_maps,
)
from tasks.driving.planners import ModelPlanner

FRONT = (0, 1, 2)  # front left, front, front right
STEP = 0.5  # [m] edge of a cell of the drawn map
SEED = 4242  # seed of the course; training uses no courses
LONGEST = 20.0  # [s] longest film
LEGEND = (
    Patch(color=ROAD, label="drivable"),
    Patch(color=DIVIDER, label="lane divider"),
    Patch(color=VEHICLE, label="vehicle"),
    Patch(color=PEDESTRIAN, label="pedestrian"),
    Patch(color=OTHER, label="thing"),
    Patch(color=EGO, label="this car"),
    PLANNED,
    AIMED,
    Line2D([], [], color=OTHER, linestyle=":", label="route"),
)


def draw_others(ax: Axes, boxes: Sequence[Box]) -> None:
    """Draw the footprints of boxes; a short line marks the heading of each vehicle."""
    for box in boxes:
        corners = box_footprint(box)
        ax.add_patch(Polygon(corners[:, ::-1], color=name_colour(box), linewidth=0, zorder=4))
        if box.is_vehicle:
            tip = (corners[0] + corners[3]) / 2
            ax.plot([box.y, tip[1]], [box.x, tip[0]], color="white", linewidth=0.8, zorder=4.5)


@mpl.rc_context(STYLE)
def draw_plan(plan: FilmedPlan, grid: GroundGrid, title: str) -> bytes:
    """Return a PNG of a plan: three cameras, and the surrounding ground.

    Raises:
        ValueError: the drive had no cameras.
    """
    if plan.images is None or plan.cameras is None:
        raise ValueError("draw_plan: there are no images; set Trial.size")
    road, pose = plan.course.world.roads.map, plan.pose
    empty = np.zeros((1, *grid.shape), bool)
    lanes = rasterise(road, grid, pose, ["lane_dividers"])["lane_dividers"]
    maps = {"drivable": cover_areas(road.drivable, grid, pose), "lane": lanes}
    view = WindowView(
        images=plan.images,
        intrinsic=plan.cameras.intrinsic(),
        to_ego=np.stack([camera.to_ego for camera in plan.cameras.rig]),
        boxes=(),
        maps=maps | {"vehicle": empty, "pedestrian": empty},
        path=plan.path,
        target=np.array(plan.target),
    )
    figure = Figure((9.2, 4.3), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(5.0, 4.2)).flat
    front, sides = left.subfigures(2, 1, squeeze=False, height_ratios=(2.2, 1.2)).flat
    draw_camera(front.subplots(), view, FRONT[1])
    for number, ax in zip(
        (FRONT[0], FRONT[2]), sides.subplots(1, 2, squeeze=False).flat, strict=True
    ):
        draw_camera(ax, view, number)
    ax = right.subplots()
    draw_ground(ax, grid, paint_maps(view.maps))
    line = np.insert(np.asarray(plan.course.line.coords)[:, :2], 2, 0, axis=1)
    route = enter_frame(line, pose)
    ax.plot(route[:, 1], route[:, 0], ":", color=OTHER, linewidth=1.2, zorder=3)
    draw_others(ax, [box_into_frame(box, pose) for box in plan.instant.boxes])
    draw_path(ax, plan.path, PLAN)
    draw_target(ax, view.target)
    ax.set(xlabel="left [m]", ylabel="ahead [m]")
    add_legend(figure, LEGEND)
    return as_png(figure)


def film_course(
    trial: Trial, grid: GroundGrid, seed: int = SEED, limit: float = LONGEST
) -> tuple[bytes, Outcome]:
    """Drive a course; return a GIF with one picture per plan, and the outcome.

    trial: a planner whose image size is set. grid: region of the ground to draw.
    """
    plans: list[FilmedPlan] = []
    outcome = run_course(trial, seed, limit=limit, watch=plans.append)
    fine = GroundGrid(x=grid.x, y=grid.y, step=STEP)
    pictures = []
    for plan in plans:
        driver = "rules" if plan.by_rules else "planner"
        ego = plan.instant.ego
        title = (
            f"{plan.instant.time - plans[0].instant.time:.1f} s, {ego.speed:.1f} m/s, "
            f"command: {plan.command}, driven by the {driver}"
        )
        pictures.append(draw_plan(plan, fine, title))
    return join_as_gif(pictures), outcome


def write_film(
    folder: Path, config: DrivingConfig, model: nn.Module, limit: float = LONGEST
) -> Outcome:
    """Write drive.gif, a film of a model on course :data:`SEED`; return the outcome."""
    trial = Trial(
        planner=ModelPlanner(model),
        size=config.image,
        past=config.past,
        sweeps=config.source.sweeps,
    )
    film, outcome = film_course(trial, config.grid, limit=limit)
    write_bytes(folder / "drive.gif", film)
    return outcome
