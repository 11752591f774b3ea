"""Sweeps: the images that a camera of nuScenes takes between keyframes, at 12 Hz."""

from typing import Any

from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.tables import Shot, Tables

LONGEST = 250_000  # [us] from one image of a camera to the next; usual are 50,000 and 100,000
CURE = "fetch the sweeps, or use a data set that has them, or read fewer (sweeps=0: none)"


def read_sweeps(tables: Tables, sample: str, channel: str, number: int) -> tuple[Shot, ...]:
    """Return the ``number`` images of a camera before its keyframe image, oldest first.

    A scene of nuScenes begins with a keyframe, before which there are no images. For it, the
    earliest image (the keyframe's own if there is no other) replaces each missing image.

    sample: token of the keyframe.

    Raises:
        NuScenesError: there are fewer images between this keyframe and the previous one, or
            the chain of the camera's images is broken.
    """
    keyframe = tables.get("sample", sample)
    row = tables.get("sample_data", keyframe["data"][channel])
    tokens: list[str] = []
    for _ in range(number):
        if keyframe["prev"] or row["prev"]:
            row = _step_back(tables, row, channel, len(tokens), number)
        tokens.append(row["token"])
    return tuple(tables.read_shot(token) for token in reversed(tokens))


def _step_back(
    tables: Tables, row: dict[str, Any], channel: str, found: int, number: int
) -> dict[str, Any]:
    """Return the record before ``row``; ``found`` of ``number`` sweeps are known so far."""
    before = tables.get("sample_data", row["prev"]) if row["prev"] else {"is_key_frame": True}
    what = ""
    if before["is_key_frame"]:
        what = f"{channel} has {found} images between two keyframes, {number} are needed"
    elif before["channel"] != channel:
        what = f"leads from {channel} to {before['channel']}"
    elif not 0 < row["timestamp"] - before["timestamp"] <= LONGEST:
        seconds = (row["timestamp"] - before["timestamp"]) / 1e6
        what = f"the image of {channel} before this one is {seconds} s older"
    if what:
        token = row["token"]
        problem = Problem(table="sample_data", token=token, field="prev", what=what, cure=CURE)
        raise NuScenesError([problem])
    return before
