"""Rendering: camera images and lidar scans of the world from the ego."""

from drivers.nuscenes.world.render.cameras import (
    draw_instant,
    render_cameras,
    render_depth,
    render_image,
)
from drivers.nuscenes.world.render.lidar import Scan, scan_around
from drivers.nuscenes.world.render.scenery import Scenery, make_scenery
from drivers.nuscenes.world.render.visibility import measure_visibility

__all__ = [
    "Scan",
    "Scenery",
    "draw_instant",
    "make_scenery",
    "measure_visibility",
    "render_cameras",
    "render_depth",
    "render_image",
    "scan_around",
]
