"""Draw the input, the predictions and the plan of a driver: a window as PNG, a scene as GIF.

Maps show the view from above: the top is ahead of the car, the left is to its left. All panels
use the same colours. Figures are matplotlib objects, made without pyplot.
Axes: N cameras, X and Y cells, M candidates, F frames.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from drivers.nuscenes.box import Box
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import FRAME
from neuro.io.store import write_bytes
from tasks.driving.batch import MAPS, Observation, Truth, make_batch
from tasks.driving.config import PRESENT_MAPS, DrivingConfig
from tasks.driving.cost import AHEAD, LENGTH, WIDTH
from tasks.driving.model import DrivingOutputs
from tasks.driving.sampler import COMMANDS

GROUND, ROAD, DIVIDER = "#f4f5f6", "#d3d8de", "#e69f00"
VEHICLE, PEDESTRIAN, OTHER, EGO = "#0072b2", "#d55e00", "#56606b", "#111418"
PLAN, TRUE_PATH = "#00a878", "#cc2f8f"
TARGET, TARGET_MARK = "#7b3294", "X"
COLOURS = (
    GROUND,
    ROAD,
    DIVIDER,
    VEHICLE,
    PEDESTRIAN,
    OTHER,
    EGO,
    PLAN,
    TRUE_PATH,
    TARGET,
    "white",
)
FAINT, FAINTEST = 0.45, 0.12  # opacity of the first and of the last future frame
NEAR = 0.3  # [m] least distance of drawn points from a camera
FAR = 45.0  # [m] largest distance of drawn boxes
DPI = 100
STYLE: Any = {"font.size": 8, "axes.titlesize": 8.5, "axes.titlepad": 3.0}
EDGES = [(k, (k + 1) % 4) for k in range(4)]
EDGES = [*EDGES, *((a + 4, b + 4) for a, b in EDGES), *((k, k + 4) for k in range(4))]


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowView:
    """The contents of a picture, in the present ego frame.

    images, intrinsic, to_ego: cameras of the present frame; N = 0 without cameras.
    boxes: true boxes, with z over the ground.
    maps: present "drivable", "lane" and "pedestrian" maps; present and future "vehicle" maps.
    path: the planned (x, y, yaw); None without a plan. target: navigation target (x, y).
    """

    images: UInt8[np.ndarray, "N 3 H W"]
    intrinsic: Float[np.ndarray, "N 3 3"]
    to_ego: Float[np.ndarray, "N 4 4"]
    boxes: Sequence[Box]
    maps: Mapping[str, np.ndarray]
    path: Float[np.ndarray, "F 3"] | None
    target: Float[np.ndarray, "2"]


def project(
    points: Float[np.ndarray, "*P 3"],
    intrinsic: Float[np.ndarray, "3 3"],
    to_ego: Float[np.ndarray, "4 4"],
) -> tuple[Float[np.ndarray, "*P 2"], Float[np.ndarray, "*P"]]:
    """Return (pixels u, v; depth [m]) of points in the ego frame; ahead, the depth is > 0.

    Pixel (0, 0) is the middle of the first pixel; u points to the right, v down.
    """
    turn, place = to_ego[:3, :3], to_ego[:3, 3]
    in_camera = (np.asarray(points, np.float64) - place) @ turn
    depth = in_camera[..., 2]
    safe = np.where(depth > 0, depth, np.nan)
    return (in_camera @ intrinsic.T)[..., :2] / safe[..., None], depth


def list_lines(
    box: Box, intrinsic: Float[np.ndarray, "3 3"], to_ego: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "L 2 2"]:
    """Return the visible parts of a box's edges in an image, as (from, to) in pixels."""
    from drivers.nuscenes.geometry import box_corners

    corners = box_corners(box)
    ends = np.array([(corners[a], corners[b]) for a, b in EDGES])
    ahead = (ends - to_ego[:3, 3]) @ to_ego[:3, 2]
    # Clip edges that begin behind the camera, where the projection is undefined.
    step = ahead[:, 1] - ahead[:, 0]
    share = (NEAR - ahead[:, 0]) / np.where(step == 0, 1.0, step)
    cut = ends[:, 0] + share[:, None] * (ends[:, 1] - ends[:, 0])
    ends[:, 0][ahead[:, 0] < NEAR] = cut[ahead[:, 0] < NEAR]
    ends[:, 1][ahead[:, 1] < NEAR] = cut[ahead[:, 1] < NEAR]
    pixels, _ = project(ends[(ahead >= NEAR).any(1)], intrinsic, to_ego)
    return np.asarray(pixels)


def spread_path(path: Float[np.ndarray, "F 3"]) -> Float[np.ndarray, "K 2 2"]:
    """Return the left and right borders of the ground that the car covers along a path."""
    whole = np.concatenate([np.zeros((1, 3)), path])
    fine = np.linspace(0, len(path), 8 * len(path) + 1)
    x, y = (np.interp(fine, np.arange(len(whole)), whole[:, k]) for k in (0, 1))
    yaw = np.interp(fine, np.arange(len(whole)), np.unwrap(whole[:, 2]))
    ahead = AHEAD + LENGTH / 2
    x, y = x + ahead * np.cos(yaw), y + ahead * np.sin(yaw)
    aside = WIDTH / 2 * np.stack([-np.sin(yaw), np.cos(yaw)], -1)
    middle = np.stack([x, y], -1)
    return np.stack([middle + aside, middle - aside], 1)


def draw_camera(ax: Axes, view: WindowView, number: int) -> None:
    """Draw the image of a camera, the boxes, and the path if there is one."""
    image = view.images[number]
    intrinsic, to_ego = view.intrinsic[number], view.to_ego[number]
    height, width = image.shape[1:]
    ax.imshow(image.transpose(1, 2, 0), interpolation="bilinear")
    if view.path is not None:
        sides = spread_path(view.path)
        ground = np.concatenate([sides, np.zeros((*sides.shape[:2], 1))], -1)
        pixels, depth = project(ground, intrinsic, to_ego)
        quads = [
            np.array([pixels[k, 0], pixels[k, 1], pixels[k + 1, 1], pixels[k + 1, 0]])
            for k in range(len(pixels) - 1)
            if (depth[k : k + 2] > NEAR).all()
        ]
        ax.add_collection(PolyCollection(quads, facecolor=PLAN, alpha=0.45, linewidth=0))
    for box in view.boxes:
        if np.hypot(box.x, box.y) < FAR:
            lines = list_lines(box, intrinsic, to_ego)
            ax.add_collection(
                LineCollection(list(lines), colors=name_colour(box), linewidths=0.9)
            )
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    ax.set_title(CAMERAS[number].removeprefix("CAM_").replace("_", " ").lower())


def name_colour(box: Box) -> str:
    """Return the colour of a box, which depends on its category."""
    return VEHICLE if box.is_vehicle else PEDESTRIAN if box.is_pedestrian else OTHER


def paint_maps(maps: Mapping[str, np.ndarray]) -> Float[np.ndarray, "U V 3"]:
    """Return maps as a colour image, in which vehicles of later frames are fainter."""
    road = maps["drivable"]
    times = len(road) // len(maps["lane"])  # cells of the drivable area along an edge of a cell
    lane, now, people = (
        maps[name].repeat(times, -1).repeat(times, -2)
        for name in ("lane", "vehicle", "pedestrian")
    )
    out = np.tile(np.array(to_rgb(GROUND)), (*road.shape, 1))

    def paint(mask: Bool[np.ndarray, "U V"], colour: str, share: float = 1.0) -> None:
        out[mask] = (1 - share) * out[mask] + share * np.array(to_rgb(colour))

    paint(road, ROAD)
    paint(lane, DIVIDER)
    free = np.ones_like(road)
    shares = np.linspace(FAINT, FAINTEST, max(1, len(now) - 1))
    for mask, share in zip(now[1:], shares, strict=False):
        paint(mask & free & ~now[0], VEHICLE, float(share))
        free &= ~mask
    paint(now[0], VEHICLE)
    paint(people[0], PEDESTRIAN)
    return out[::-1, ::-1]  # ahead at the top, left at the left


def draw_ground(ax: Axes, grid: GroundGrid, image: Float[np.ndarray, "X Y 3"]) -> None:
    """Draw an image of cells, and the car, in metres; x points up and y to the left."""
    extent = (grid.y[1], grid.y[0], grid.x[0], grid.x[1])
    ax.imshow(image, extent=extent, interpolation="nearest", aspect="equal")
    x0, x1, half = AHEAD - LENGTH / 2, AHEAD + LENGTH / 2, WIDTH / 2
    car = [(half, x0), (half, x1), (-half, x1), (-half, x0)]
    arrow = [(0.6 * half, x1 - 1.6), (0, x1 - 0.4), (-0.6 * half, x1 - 1.6)]
    ax.add_patch(Polygon(car, color=EGO, zorder=5))
    ax.add_patch(Polygon(arrow, color="white", zorder=6))
    ax.set(xlim=(grid.y[1], grid.y[0]), ylim=grid.x)
    ax.tick_params(length=2, labelsize=7, color=OTHER, labelcolor=OTHER)
    for side in ax.spines.values():
        side.set_visible(False)


def place_middles(paths: Float[np.ndarray, "*M F 3"]) -> Float[np.ndarray, "*M F2 2"]:
    """Return positions (left, ahead) of the car's middle along paths, including the start."""
    x, y, yaw = np.moveaxis(np.insert(paths, 0, 0, axis=-2), -1, 0)
    return np.stack([y + AHEAD * np.sin(yaw), x + AHEAD * np.cos(yaw)], -1)


def draw_path(ax: Axes, path: Float[np.ndarray, "F 3"], colour: str, style: str = "-") -> None:
    """Draw the path of the middle of the car, with a mark per frame."""
    ax.plot(
        *place_middles(path).T,
        style,
        color=colour,
        linewidth=1.6,
        marker="o",
        markersize=2.5,
        zorder=7,
    )


def draw_target(ax: Axes, target: Float[np.ndarray, "2"]) -> None:
    """Draw a point (x, y) of the route, unless it lies outside the drawn ground."""
    ax.plot(target[1], target[0], TARGET_MARK, color=TARGET, markersize=7, zorder=8)


def draw_candidates(
    ax: Axes, paths: Float[np.ndarray, "M F 3"], cost: Float[np.ndarray, " M"]
) -> LineCollection:
    """Draw candidates with the cheapest on top; return the lines for a colour bar.

    The colour scale ends at the 90 % quantile of the costs.
    """
    norm = Normalize(float(cost.min()), float(np.quantile(cost, 0.9)))
    order = np.argsort(-cost, kind="stable")
    lines = LineCollection(
        list(place_middles(paths[order])), array=cost[order], norm=norm, cmap="viridis",
        linewidths=0.8,
    )  # fmt: skip
    ax.add_collection(lines)
    return lines


LEGEND = (
    Patch(color=ROAD, label="drivable"),
    Patch(color=DIVIDER, label="lane divider"),
    Patch(color=VEHICLE, label="vehicle"),
    Patch(color=VEHICLE, alpha=FAINT, label="vehicle, later"),
    Patch(color=PEDESTRIAN, label="pedestrian"),
    Patch(color=EGO, label="this car"),
    Line2D([], [], color=TRUE_PATH, linestyle="--", label="recorded path"),
)
PLANNED = Line2D([], [], color=PLAN, marker="o", markersize=3, label="plan")
AIMED = Line2D([], [], color=TARGET, marker=TARGET_MARK, linestyle="", label="target")
CAMERA_ROWS, MAP_ROW = 2.5, 3.8  # heights in inches


@mpl.rc_context(STYLE)
def draw_window(
    config: DrivingConfig, view: WindowView, truth: Truth, outputs: DrivingOutputs, title: str
) -> bytes:
    """Return a PNG: six cameras with boxes and plan; true and predicted maps; candidates.

    truth, outputs: data of one window (B = 1). The picture omits the cameras if there are no
    images, and the candidates if there is no plan.
    """
    rows = (CAMERA_ROWS, MAP_ROW) if len(view.images) else (MAP_ROW,)
    figure = Figure((9.2, sum(rows)), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10)
    *above, below = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=rows).flat
    for part in above:
        for number, ax in enumerate(part.subplots(2, 3, squeeze=False).flat):
            draw_camera(ax, view, number)
    panels = below.subplots(1, 3 if outputs.plan else 2, sharey=True, squeeze=False).flat
    true_maps = {name: getattr(truth, name)[0].cpu().numpy() for name in MAPS}
    true_path = truth.path[0].cpu().numpy()
    for ax, maps in zip(panels, (true_maps, view.maps), strict=False):
        draw_ground(ax, config.grid, paint_maps(maps))
        draw_path(ax, true_path, TRUE_PATH, "--")
        ax.set(xlabel="left [m]")
    panels[0].set(title="true", ylabel="ahead [m]")
    panels[1].set(title="predicted")
    legend = list(LEGEND)
    if outputs.plan is not None and view.path is not None:
        legend += [PLANNED, AIMED]
        draw_target(panels[1], view.target)
        draw_path(panels[1], view.path, PLAN)
        panels[1].set(title="predicted, with the plan")
        cost = outputs.plan.costs.total[0].detach().cpu().numpy()
        road = {k: v & (k == "drivable") for k, v in view.maps.items()}
        draw_ground(panels[2], config.grid, paint_maps(road))
        candidates = outputs.plan.candidates[0].detach().cpu().numpy()
        lines = draw_candidates(panels[2], candidates, cost)
        draw_path(panels[2], view.path, PLAN)
        panels[2].set(title=f"{len(cost)} candidates, predicted road", xlabel="left [m]")
        below.colorbar(lines, ax=panels[2], label="cost", shrink=0.75, extend="max")
    add_legend(below, legend)
    return as_png(figure)


def add_legend(figure: FigureBase, handles: Sequence[Artist]) -> None:
    """Draw a legend in a row below a figure."""
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False,
        fontsize=7, columnspacing=1.0, handlelength=1.4,
    )  # fmt: skip


def as_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white")
    return file.getvalue()


def make_view(seen: Observation, outputs: DrivingOutputs, boxes: Sequence[Box]) -> WindowView:
    """Return the view of the present frame of a batch's first window."""
    plan = outputs.plan
    masks = {name: outputs.maps[name][0].detach().cpu().numpy() > 0 for name in MAPS}
    return WindowView(
        images=seen.images[0, -1].cpu().numpy(),
        intrinsic=seen.intrinsic[0, -1].cpu().numpy().astype(np.float64),
        to_ego=seen.to_ego[0, -1].cpu().numpy().astype(np.float64),
        boxes=boxes,
        maps=masks | {name: masks[name][0] for name in PRESENT_MAPS},
        path=None if plan is None else plan.path[0].detach().cpu().numpy().astype(np.float64),
        target=seen.ego.target[0].cpu().numpy().astype(np.float64),
    )


@torch.no_grad()
def draw_windows(
    config: DrivingConfig, model: nn.Module, windows: Any, numbers: Sequence[int]
) -> Iterator[bytes]:
    """Yield a PNG per window ``numbers`` of :func:`tasks.driving.data.open_split`."""
    device = next(model.parameters()).device
    for number in numbers:
        window = windows[number]
        batch = make_batch([window], config.sees == "maps")
        seen, truth = tree_map_only(Tensor, lambda x: x.to(device), batch)
        outputs: DrivingOutputs = model(seen)
        view = make_view(seen, outputs, windows.read_boxes(number))
        speed, command = float(seen.ego.speed[0]), COMMANDS[int(seen.ego.command[0])]
        title = f"{window.scene}, {speed:.1f} m/s, command: {command}"
        yield draw_window(config, view, truth, outputs, title)


def choose_scene(scenes: Sequence[str]) -> list[int]:
    """Return the indices of the first scene's windows; ``scenes`` has the scene per window."""
    return [number for number, scene in enumerate(scenes) if scene == scenes[0]]


def join_as_gif(pictures: Sequence[bytes], seconds: float = FRAME) -> bytes:
    """Join PNG files into an animated GIF that repeats; the last picture is shown longer.

    Raises:
        ValueError: there is no picture.
    """
    if not pictures:
        raise ValueError("join_as_gif: no pictures; draw at least one")
    frames = [_reduce_colours(Image.open(io.BytesIO(png)).convert("RGB")) for png in pictures]
    milliseconds = [round(1000 * seconds)] * (len(frames) - 1) + [round(1000 * seconds) + 1000]
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0
    )
    return file.getvalue()


def _reduce_colours(image: Image.Image) -> Image.Image:
    """Reduce an image to 256 colours; all of :data:`COLOURS` stay, even those that are rare."""
    fixed = [round(255 * part) for colour in COLOURS for part in to_rgb(colour)]
    free = 256 - len(COLOURS)
    palette = (image.quantize(free).getpalette() or [])[: 3 * free]
    colours = Image.new("P", (1, 1))
    colours.putpalette([*fixed, *palette])
    return image.quantize(palette=colours, dither=Image.Dither.NONE)


def write_scene(
    folder: Path, config: DrivingConfig, model: nn.Module, windows: Any, most: int
) -> int:
    """Write scene.png and scene.gif of the first scene of a split; return the window count.

    scene.png shows the window in the middle. most: largest number of windows in the GIF.
    """
    numbers = choose_scene([span.scene for span in windows.spans])[:most]
    pictures = list(draw_windows(config, model, windows, numbers))
    write_bytes(folder / "scene.png", pictures[len(pictures) // 2])
    write_bytes(folder / "scene.gif", join_as_gif(pictures))
    return len(pictures)
