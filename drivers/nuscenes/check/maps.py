"""Checks of maps: their images, their expansions, and whether the car drives on the roads."""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import shapely
from jaxtyping import Float64

from drivers.nuscenes.check.sensors import list_ego_poses
from drivers.nuscenes.expansion import expansion_file
from drivers.nuscenes.fields import Content, Row
from drivers.nuscenes.hd_map import load_road_map
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import describe_escape, require_file
from drivers.nuscenes.road_map import RoadMap

PNG = b"\x89PNG\r\n\x1a\n"
ON_ROAD = 0.5  # smallest allowed share of samples with the car on the road
LINKED = 0.5  # smallest allowed share of lanes with incoming, and with outgoing, lanes


def find_map_problems(content: Content, root: Path) -> Iterator[Problem]:
    """Yield the mistakes in the maps of the locations that have scenes."""
    for row in content.rows("map", "filename"):
        what = describe_escape(row["filename"]) or _describe_image(root / row["filename"])
        if what:
            said = f"{row['filename']} {what}"
            yield _problem("map", row["token"], "filename", said, "unpack the maps again")
    logs = content.by_token("log", "location")
    scenes = defaultdict(list)
    for row in content.rows("scene", "log_token", "name"):
        if row["log_token"] in logs:
            scenes[logs[row["log_token"]]["location"]].append(row)
    poses = list_ego_poses(content)
    for location, rows in scenes.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                road_map = load_road_map(root, location)
            except NuScenesError as error:
                yield from error.problems
                continue
        for warning in caught:
            name, _, what = str(warning.message).partition(": ")
            cure = "mend these records, or expect their loss"
            yield Problem(table=name, what=what, cure=cure)
        pathless = [n for n, lane in road_map.lanes.items() if len(lane.centreline) < 2]
        if pathless:
            name, what = str(expansion_file(location)), f"{len(pathless)} lanes have no path"
            yield _problem(name, pathless[0], "arcline_path_3", what, "give each lane its path")
        yield from find_unlinked_lanes(road_map)
        for row in rows:
            yield from _find_off_road(road_map, row, poses.get(row["token"], []))


def _describe_image(path: Path) -> str:
    """Describe the fault of a map's image; returns "" if there is none."""
    try:
        require_file(path)
        with path.open("rb") as file:
            return "" if file.read(len(PNG)) == PNG else "is no PNG image"
    except FileNotFoundError:
        return "is missing"
    except (ValueError, OSError) as error:
        return str(error)


def find_unlinked_lanes(road_map: RoadMap) -> Iterator[Problem]:
    """Yield a problem where most lanes of a map have no predecessor, or no successor."""
    lanes, name = road_map.lanes.values(), str(expansion_file(road_map.location))
    for way in ("incoming", "outgoing"):
        lost = [lane.token for lane in lanes if not getattr(lane, way)]
        if len(lost) > (1 - LINKED) * len(lanes):
            what = f"{len(lost)} of {len(lanes)} lanes have no {way} lane"
            cure = "name the lanes before and behind each lane"
            yield _problem(name, lost[0], "connectivity", what, cure)


def _find_off_road(
    road_map: RoadMap, scene: Row, poses: Sequence[tuple[int, Float64[np.ndarray, "3"]]]
) -> Iterator[Problem]:
    if not poses:  # other checks report missing poses
        return
    places = shapely.points([pose[:2] for _, pose in poses])
    roads = shapely.STRtree(road_map.drivable)
    # Count each place once, because areas may overlap.
    on_road = np.unique(roads.query(places, predicate="within")[0])
    if len(on_road) < ON_ROAD * len(poses):
        share = len(on_road) / len(poses)
        what = f"the car of {scene['name']} is on the road in {share:.0%} of its samples"
        cure = f"check the location of its log, {road_map.location}, and its poses"
        yield _problem("scene", scene["token"], "log_token", what, cure)


def _problem(table: str, token: str, field: str, what: str, cure: str) -> Problem:
    return Problem(table=table, token=token, field=field, what=what, cure=cure)
