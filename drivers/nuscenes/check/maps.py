"""Maps: their images, their expansions, and whether the car drives on their roads."""

import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely

from drivers.nuscenes.check.fields import Content
from drivers.nuscenes.check.sensors import list_ego_poses
from drivers.nuscenes.expansion import expansion_file
from drivers.nuscenes.hd_map import load_road_map
from drivers.nuscenes.problem import NuScenesError, Problem

PNG = b"\x89PNG\r\n\x1a\n"


def find_map_problems(content: Content, root: Path) -> Iterator[Problem]:
    """Yield what is wrong in the maps of the locations that have scenes."""
    for row in content.rows("map", "filename"):
        path = root / row["filename"]
        if not path.is_file() or path.read_bytes()[: len(PNG)] != PNG:
            what = f"{row['filename']} is {'no PNG image' if path.is_file() else 'missing'}"
            cure = "unpack the maps of the metadata again"
            yield Problem(table="map", token=row["token"], field="filename", what=what, cure=cure)
    logs = content.by_token("log", "location")
    scenes = defaultdict(list)
    for row in content.rows("scene", "log_token", "name"):
        if row["log_token"] in logs:
            scenes[logs[row["log_token"]]["location"]].append(row)
    poses = list_ego_poses(content)
    for location, rows in scenes.items():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                road_map = load_road_map(root, location)
            except NuScenesError as error:
                yield from error.problems
                continue
        for warning in told:
            name, _, what = str(warning.message).partition(": ")
            yield Problem(table=name, what=what, cure="mend these records, or expect their loss")
        name = str(expansion_file(location))
        lost = [k for k, lane in road_map.lanes.items() if len(lane.centreline) < 2]
        if lost:
            what = f"{len(lost)} lanes have no centreline"
            cure = "give each lane its path"
            yield Problem(table=name, token=lost[0], field="arcline_path_3", what=what, cure=cure)
        roads = shapely.union_all(list(road_map.drivable))
        shapely.prepare(roads)
        for row in rows:
            places = np.array([pose[:2] for _, pose in poses.get(row["token"], [])]).reshape(-1, 2)
            on_road = shapely.contains_xy(roads, places)
            if on_road.size and on_road.mean() < 0.5:
                what = f"the car of {row['name']} is on the road in {on_road.mean():.0%} of samples"
                cure = f"check the location of its log, {location}, and its poses"
                yield Problem(
                    table="scene", token=row["token"], field="log_token", what=what, cure=cure
                )
