"""Checks of the challenges' files: labels of lidar points, and prediction questions."""

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np

from drivers.nuscenes.check.chains import name_channels
from drivers.nuscenes.fields import Content
from drivers.nuscenes.images import COLUMNS
from drivers.nuscenes.problem import Problem
from drivers.nuscenes.reading import (
    LARGEST_FILE,
    LARGEST_TABLE,
    are_strings,
    describe_escape,
    read_bytes,
    read_json,
)
from drivers.nuscenes.schema import CATEGORIES, LIDAR

PER_CATEGORY = 1000  # a panoptic label is 1000 * category + number of the instance
PREDICTION = Path("maps") / "prediction" / "prediction_scenes.json"
CURE = "label each point of each keyframe of the lidar"
DAMAGES = (  # errors that a damaged archive raises
    OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def find_challenge_problems(content: Content, root: Path, version: str) -> Iterator[Problem]:
    """Yield the mistakes in lidarseg, panoptic and prediction files, if there are any files."""
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
    try:
        rows = read_json(root / version / f"{kind}.json", LARGEST_TABLE)
        if not isinstance(rows, list) or not all(map(_is_label, rows)):
            raise ValueError("is no list of token, sample_data_token and filename")
    except ValueError as error:
        yield Problem(table=kind, what=str(error), cure="fetch it again")
        return
    for row in rows:
        scan = scans.pop(row["sample_data_token"], None)
        if scan is None:
            what = f"{row['sample_data_token']} is no keyframe of {LIDAR}, or stands twice"
            yield _problem(kind, row["token"], "sample_data_token", what)
        else:
            what = describe_escape(row["filename"]) or _describe_fault(
                root / row["filename"], root / scan["filename"], kind
            )
            if what:
                yield _problem(kind, row["token"], "filename", f"{row['filename']} {what}")
    for token in scans:
        what = f"this keyframe of {LIDAR} has no label"
        yield _problem(kind, token, "sample_data_token", what)
    label_files = [p for p in (root / kind / version).glob("*") if p.suffix in (".bin", ".npz")]
    if len(label_files) != len(rows):
        what = f"{kind}/{version} holds {len(label_files)} files, the table {len(rows)} records"
        yield _problem(kind, "", "filename", what)


def _is_label(row: object) -> bool:
    fields = ("token", "sample_data_token", "filename")
    return isinstance(row, dict) and all(isinstance(row.get(field), str) for field in fields)


def _describe_fault(path: Path, scan: Path, kind: str) -> str:
    """Describe the fault of a file of labels; returns "" if there is none."""
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return "is missing"
    except ValueError as error:
        return str(error)
    try:
        labels = np.frombuffer(data, np.uint8) if kind == "lidarseg" else _unpack(data)
    except DAMAGES as error:
        return f"is damaged: {error}"
    points = scan.stat().st_size // (4 * COLUMNS) if scan.is_file() else labels.size
    if labels.shape != (points,):
        return f"has labels of shape {labels.shape}, the scan {points} points"
    per = 1 if kind == "lidarseg" else PER_CATEGORY
    known = labels.min(initial=0) >= 0 and labels.max(initial=0) // per < len(CATEGORIES)
    if labels.dtype.kind not in "iu" or not known:
        return f"has labels that are none: a category is below {len(CATEGORIES)}"
    return ""


def _unpack(data: bytes) -> np.ndarray:
    """Return the labels in a NumPy archive."""
    with zipfile.ZipFile(BytesIO(data)) as file:
        size = file.getinfo("data.npy").file_size
        if size > LARGEST_FILE:
            raise ValueError(f"unpacks to {size:,} bytes, more than {LARGEST_FILE:,}")
        labels: np.ndarray = np.lib.format.read_array(file.open("data.npy"))  # type: ignore[no-untyped-call]
    return labels


def _find_bad_questions(content: Content, root: Path) -> Iterator[Problem]:
    """Yield questions about the data set's scenes whose instance or sample is missing."""
    try:
        questions = read_json(root / PREDICTION)
        if not isinstance(questions, dict) or not all(map(are_strings, questions.values())):
            raise ValueError("is no object with a list of questions for each scene")
    except ValueError as error:
        cure = "unpack the map expansion again"
        yield Problem(table=str(PREDICTION), what=str(error), cure=cure)
        return
    instances, samples = content.by_token("instance"), content.by_token("sample")
    for row in content.rows("scene", "name"):
        for question in questions.get(row["name"], []):
            instance, _, sample = question.rpartition("_")
            if instance not in instances or sample not in samples:
                what = f"{question} names no instance and sample"
                cure = "write instance and sample, joined by _"
                yield Problem(table=str(PREDICTION), token=row["name"], what=what, cure=cure)


def _problem(kind: str, token: str, field: str, what: str) -> Problem:
    return Problem(table=kind, token=token, field=field, what=what, cure=CURE)
