"""Checks that the keyframes' images and lidar points exist, decode, and fit the tables.

Sweeps between keyframes are not read, because there are millions of them. Windows check the
sweeps that they need (:mod:`drivers.nuscenes.sweeps`).
"""

from collections.abc import Iterator
from pathlib import Path

from drivers.nuscenes.check.chains import name_channels
from drivers.nuscenes.fields import Content, make_problem
from drivers.nuscenes.images import read_image, read_lidar
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import describe_escape
from drivers.nuscenes.schema import LIDAR


def find_file_problems(content: Content, root: Path) -> Iterator[Problem]:
    """Yield the files that are missing or damaged, or whose size differs from the table."""
    channels = name_channels(content)
    needed = ("filename", "width", "height", "calibrated_sensor_token", "is_key_frame")
    for row in content.rows("sample_data", *needed):
        channel = channels.get(row["calibrated_sensor_token"], "")
        if not row["is_key_frame"] or channel.startswith("RADAR"):
            continue
        path, what = root / row["filename"], ""
        field, cure = "filename", "fetch it again"
        if escapes := describe_escape(row["filename"]):
            what, cure = f"{row['filename']} {escapes}", f"write samples/{channel}/..."
            yield make_problem("sample_data", row, "filename", what, cure)
            continue
        try:
            if channel == LIDAR:
                read_lidar(path)
            else:
                size = read_image(path).size
                if size != (row["width"], row["height"]):
                    what = f"the image is {size[0]} x {size[1]} pixels"
                    field, cure = "width", "write width and height of the image"
        except NuScenesError as error:
            what = f"{row['filename']} {error.problems[0].what}"
        if what:
            yield make_problem("sample_data", row, field, what, cure)
        if f"/{channel}/" not in f"/{row['filename']}":
            what = f"{row['filename']} is not in a folder {channel}"
            cure = f"write samples/{channel}/..."
            yield make_problem("sample_data", row, "filename", what, cure)
