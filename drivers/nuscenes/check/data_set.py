"""Check a nuScenes data set: report every mistake of schema and meaning."""

from pathlib import Path

from drivers.nuscenes.check.boxes import find_box_problems
from drivers.nuscenes.check.can import find_can_problems
from drivers.nuscenes.check.chains import find_chain_problems
from drivers.nuscenes.check.challenges import find_challenge_problems
from drivers.nuscenes.check.files import find_file_problems
from drivers.nuscenes.check.maps import find_map_problems
from drivers.nuscenes.check.names import find_name_problems
from drivers.nuscenes.check.sensors import find_sensor_problems
from drivers.nuscenes.fields import (
    Content,
    collect,
    find_field_problems,
    find_link_problems,
    read_tables,
)
from drivers.nuscenes.problem import Problem
from drivers.nuscenes.tables import find_version


def check_nuscenes(root: Path, version: str = "") -> tuple[Problem, ...]:
    """Return all problems of the data set in ``root``.

    The check covers tables, links, chains, times, calibrations, poses, boxes, splits, maps and
    CAN bus. It decodes the images and lidar points of all keyframes. It reads the labels of
    points and the prediction questions, if there are any. If a table is unreadable, only this
    is reported. version: a name such as "v1.0-mini"; "" for the only version in the folder.

    Raises:
        FileNotFoundError: there is no such folder or version.
    """
    version = find_version(root, version)
    tables, problems = read_tables(root / version)
    if problems:  # stop here: all links to unreadable tables would look wrong
        return tuple(problems)
    content, table_problems = check_tables(tables)
    problems += table_problems
    problems += find_name_problems(content, root, version)
    problems += find_map_problems(content, root)
    problems += find_can_problems(content, root)
    problems += find_file_problems(content, root)
    problems += find_challenge_problems(content, root, version)
    return tuple(problems)


def check_tables(tables: dict[str, list[dict[str, object]]]) -> tuple[Content, list[Problem]]:
    """Return the content of tables, and all problems that the tables alone show."""
    problems = find_field_problems(tables)
    content = collect(tables, problems)
    problems += find_link_problems(content)
    problems += find_chain_problems(content)
    problems += find_sensor_problems(content)
    problems += find_box_problems(content)
    return content, problems
