"""A hand-made place: a straight road of two lanes each way, with a few cars, for tests."""

from dataclasses import replace
from math import cos, sin
from types import SimpleNamespace
from typing import Any

import numpy as np
from shapely.geometry import LineString, box as rectangle

from drivers.nuscenes.box import Box
from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.world.instant import Ego, WorldInstant, WorldScene
from drivers.nuscenes.world.signals import Light

LENGTH, LANE = 200.0, 3.5  # [m]


def make_straight_road() -> RoadMap:
    """Return a road along x, its middle at y = 100, from x = 0 to 200, driven on the right."""
    lanes = {}
    for k, (y, yaw) in enumerate(
        ((94.75, 0.0), (98.25, 0.0), (101.75, np.pi), (105.25, np.pi))
    ):
        x = np.linspace(0, LENGTH, 101)
        xs = x if yaw == 0 else x[::-1]
        for half, (first, last) in enumerate(((0, 51), (50, 101))):
            part = np.stack([xs[first:last], np.full(51, y), np.full(51, yaw)], 1)
            low, high = sorted((part[0, 0], part[-1, 0]))
            token = f"lane-{k}-{half}"
            lanes[token] = Lane(
                token=token,
                polygon=rectangle(low, y - LANE / 2, high, y + LANE / 2),
                centreline=part,
                incoming=(f"lane-{k}-0",) if half else (),
                outgoing=() if half else (f"lane-{k}-1",),
                speed_limit=13.0,
            )
    return RoadMap(
        location="boston-seaport",
        size=(LENGTH, 200.0),
        drivable=[rectangle(0, 93, LENGTH, 107)],
        lanes=lanes,
        lane_dividers=[LineString([(0, y), (LENGTH, y)]) for y in (96.5, 103.5)],
        road_dividers=[LineString([(0, 100), (LENGTH, 100)])],
        crossings=[rectangle(60, 93, 64, 107)],
        walkways=[rectangle(0, 89, LENGTH, 93), rectangle(0, 107, LENGTH, 111)],
        stop_lines=[rectangle(57.5, 93, 58, 100)],
    )


def make_box(instance: str, category: str, x: float, y: float, **changes: float) -> Box:
    """Return a box of usual size that stands on the ground."""
    sizes = {
        "vehicle.car": (1.9, 4.6, 1.6),
        "vehicle.truck": (2.5, 8.0, 3.2),
        "vehicle.bus.rigid": (2.8, 11.0, 3.4),
        "vehicle.bicycle": (0.6, 1.8, 1.7),
        "vehicle.motorcycle": (0.8, 2.1, 1.6),
        "human.pedestrian.adult": (0.7, 0.7, 1.75),
        "movable_object.trafficcone": (0.4, 0.4, 0.9),
        "movable_object.barrier": (2.4, 0.5, 1.0),
    }
    width, length, height = sizes[category]
    made = Box(
        instance=instance,
        category=category,
        x=x,
        y=y,
        z=height / 2,
        yaw=0.0,
        width=width,
        length=length,
        height=height,
        vx=0.0,
        vy=0.0,
    )
    return replace(made, **changes)


def move(box: Box, seconds: float) -> Box:
    """Return a box where its velocity takes it."""
    return replace(box, x=box.x + box.vx * seconds, y=box.y + box.vy * seconds)


def head(box: Box, speed: float, yaw: float) -> Box:
    """Return a box that moves along a heading."""
    return replace(box, yaw=yaw, vx=speed * cos(yaw), vy=speed * sin(yaw))


START = (
    head(make_box("lead", "vehicle.car", 48.0, 98.25), 7.0, 0.0),
    head(make_box("right", "vehicle.truck", 14.0, 94.75), 6.0, 0.0),
    head(make_box("oncoming", "vehicle.bus.rigid", 70.0, 101.75), 8.0, np.pi),
    head(make_box("behind", "vehicle.car", 16.0, 98.25), 8.0, 0.0),
    head(make_box("cycle", "vehicle.bicycle", 46.0, 93.8), 4.0, 0.0),
    head(make_box("walker", "human.pedestrian.adult", 61.0, 95.0), 1.3, np.pi / 2),
    head(make_box("stander", "human.pedestrian.adult", 38.0, 91.0), 0.0, 0.0),
    make_box("cone", "movable_object.trafficcone", 40.0, 97.0),
    make_box("far", "vehicle.car", 195.0, 94.75),
)


def make_scene(keyframes: int = 2) -> WorldScene:
    """Return a drive along the straight road at 8 m/s behind a car of 7 m/s."""
    instants = []
    for k in range(5 * (keyframes - 1) + 1):
        time = 0.1 * k
        instants.append(
            WorldInstant(
                time=time,
                ego=Ego(x=30.0 + 8.0 * time, y=98.25, yaw=0.0, speed=8.0),
                boxes=[move(box, time) for box in START],
                braking=frozenset({"lead"}),
                lights=[
                    Light(x=68.0, y=92.5, z=3.4, yaw=np.pi, colour="red", lanes=("lane-0-0",))
                ],
            )
        )
    return WorldScene(
        road_map=make_straight_road(), instants=instants, description="straight on"
    )


def plan_scene(scene: WorldScene) -> Any:
    """Return a scene as it is written, which takes no simulation."""
    from drivers.nuscenes.world.write import PlannedScene  # needs the devkit

    return PlannedScene(road_map=scene.road_map, simulate=lambda: scene)


def pretend_to_make_roads(_: object) -> SimpleNamespace:
    """Return roads of which only the map is there: the straight one, anew each time."""
    return SimpleNamespace(map=make_straight_road())


def pretend_to_simulate(_: object, keyframes: int, roads: SimpleNamespace) -> WorldScene:
    """Return a drive that takes no simulation."""
    return replace(make_scene(keyframes), road_map=roads.map)
