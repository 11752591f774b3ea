"""What challenges add to a data set: labels of lidar points, and whose future is asked for."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from drivers.nuscenes.check.chains import name_channels
from drivers.nuscenes.fields import Content
from drivers.nuscenes.images import COLUMNS
from drivers.nuscenes.problem import Problem
from drivers.nuscenes.schema import CATEGORIES, LIDAR

PER_CATEGORY = 1000  # a panoptic label is 1000 * category + number of the instance
PREDICTION = Path("maps") / "prediction" / "prediction_scenes.json"
CURE = "label each point of each keyframe of the lidar"


def find_challenge_problems(content: Content, root: Path, version: str) -> Iterator[Problem]:
    """Yield what is wrong in lidarseg, panoptic and prediction, where a data set has them."""
    for kind in ("lidarseg", "panoptic"):
        if (root / version / f"{kind}.json").exists():
            yield from _find_bad_labels(content, root, version, kind)
    if (root / PREDICTION).exists():
        yield from _find_bad_questions(content, root)


def _find_bad_labels(
    content: Content, root: Path, version: str, kind: str
) -> Iterator[Problem]:
    channels = name_channels(content)
    needed = ("calibrated_sensor_token", "is_key_frame", "filename")
    scans = {
        row["token"]: row
        for row in content.rows("sample_data", *needed)
        if row["is_key_frame"] and channels.get(row["calibrated_sensor_token"]) == LIDAR
    }
    rows = _read(root / version / f"{kind}.json")
    if not isinstance(rows, list) or not all(map(_is_label, rows)):
        what, cure = "is no list of token, sample_data_token and filename", "fetch it again"
        yield Problem(table=kind, what=what, cure=cure)
        return
    for row in rows:
        scan = scans.pop(row["sample_data_token"], None)
        if scan is None:
            what = f"{row['sample_data_token']} is no keyframe of {LIDAR}, or stands twice"
            yield _problem(kind, row["token"], "sample_data_token", what)
        else:
            what = _describe_fault(root / row["filename"], root / scan["filename"], kind)
            if what:
                yield _problem(kind, row["token"], "filename", f"{row['filename']} {what}")
    for token in scans:
        what = f"this keyframe of {LIDAR} has no label"
        yield _problem(kind, token, "sample_data_token", what)
    there = [p for p in (root / kind / version).glob("*") if p.suffix in (".bin", ".npz")]
    if len(there) != len(rows):
        what = f"{kind}/{version} holds {len(there)} files, the table {len(rows)} records"
        yield _problem(kind, "", "filename", what)


def _is_label(row: object) -> bool:
    fields = ("token", "sample_data_token", "filename")
    return isinstance(row, dict) and all(isinstance(row.get(field), str) for field in fields)


def _describe_fault(path: Path, scan: Path, kind: str) -> str:
    """Return what is wrong with a file of labels, "" if nothing."""
    if not path.is_file():
        return "is missing"
    try:
        labels = _read_labels(path, kind)
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        return f"is damaged: {error}"
    points = scan.stat().st_size // (4 * COLUMNS) if scan.is_file() else labels.size
    if labels.shape != (points,):
        return f"has labels of shape {labels.shape}, the scan {points} points"
    per = 1 if kind == "lidarseg" else PER_CATEGORY
    if labels.dtype.kind not in "iu" or not (labels // per < len(CATEGORIES)).all():
        return f"has labels that are none: a category is below {len(CATEGORIES)}"
    return ""


def _read_labels(path: Path, kind: str) -> np.ndarray:
    if kind == "lidarseg":
        return np.fromfile(path, np.uint8)
    with np.load(path) as file:
        labels: np.ndarray = file["data"]
    return labels


def _find_bad_questions(content: Content, root: Path) -> Iterator[Problem]:
    """Yield questions about instances or samples that are not there, of scenes that are."""
    questions = _read(root / PREDICTION)
    if not isinstance(questions, dict):
        what, cure = "is no object of scenes", "unpack the map expansion again"
        yield Problem(table=str(PREDICTION), what=what, cure=cure)
        return
    instances, samples = content.by_token("instance"), content.by_token("sample")
    for row in content.rows("scene", "name"):
        for question in questions.get(row["name"], []):
            instance, _, sample = str(question).rpartition("_")
            if instance not in instances or sample not in samples:
                what = f"{question} names no instance and sample"
                cure = "write instance and sample, joined by _"
                yield Problem(table=str(PREDICTION), token=row["name"], what=what, cure=cure)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, OSError):
        return None


def _problem(kind: str, token: str, field: str, what: str) -> Problem:
    return Problem(table=kind, token=token, field=field, what=what, cure=CURE)
