"""DVS-Gesture: recordings of eleven hand and arm gestures by an event camera.

Amir et al. 2017 (CVPR, "A Low Power, Fully Event-Based Gesture Recognition System"): 29 people,
three kinds of light, DVS128, 128 x 128 pixels, AEDAT 3.1. A recording holds many gestures; a
table beside it lists class, start and end. The driver reads the files from a folder, downloads
nothing, and cuts clips at the times of the table: 1,176 to train, 288 to test.

Some gestures in the official tables overlap (the end of class 9 in user22_led_labels.csv is
too late); the clips follow the table.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from drivers.event_camera import Clip, Clips, moving_bars
from drivers.event_camera.files import cut, read_aedat3
from drivers.event_camera.moving_bars import Part
from drivers.folders import found_in, in_neuro_data, read_text

CLASSES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise",
    "right arm counter clockwise", "left arm clockwise", "left arm counter clockwise",
    "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
SIDE = 128
TRIALS: Mapping[Part, str] = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
TITLE = "class,startTime_usec,endTime_usec"
ARCHIVE = "DvsGesture"
CURE = "unpack DvsGesture.tar.gz there"


class Gesture(NamedTuple):
    """A gesture in a recording. label: its class. span: [us], in the time of the recording."""

    recording: Path
    label: int
    span: tuple[int, int]
    line: int


def load(folder: Path, part: Part = "train") -> Clips:
    """Return the gestures of one part in ``folder``, or in the folder of the archive there.

    Their order is that of the list of recordings, then of the table.

    Raises:
        FileNotFoundError: the list of recordings, a recording or its table is missing.
        ValueError: a list is empty, or a table is damaged; the message names the line. Reading
            a clip reports a damaged recording.
    """
    root = folder / ARCHIVE if (folder / ARCHIVE).is_dir() else folder
    listed = root / TRIALS[part]
    if not listed.is_file():
        raise FileNotFoundError(f"{root}: no {listed.name}; found {found_in(root)}; {CURE}")
    recordings = [root / name for name in read_text(listed, CURE).split()]
    tables = [_table(p) for p in recordings]
    missing = [p.name for p in (*recordings, *tables) if not p.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root}: {len(missing)} files of {listed.name} are missing: "
            f"{', '.join(missing[:8])}; {CURE}"
        )
    gestures = [g for r, t in zip(recordings, tables, strict=True) for g in _gestures(r, t)]
    if not gestures:
        raise ValueError(f"{listed}: names no recording with a gesture; {CURE}")
    return Clips(
        read=partial(_clip, gestures),
        labels=np.array([g.label for g in gestures], np.int64),
        classes=len(CLASSES),
        source=f"DVS-Gesture, {part} part in {root}, {len(gestures)} clips",
    )


def default(part: Part = "train", environ: Mapping[str, str] | None = None) -> Clips:
    """Return a part of ``$NEURO_DATA/dvs-gesture/``, else moving bars of eleven directions.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not a folder, or a file of the set is missing.
        ValueError: as :func:`load`.
    """
    folder = in_neuro_data(("dvs-gesture", ARCHIVE), environ)
    return load(folder, part) if folder else moving_bars.generate(part, SIDE, len(CLASSES))


def _clip(gestures: list[Gesture], number: int) -> Clip:
    gesture = gestures[number]
    path, source = gesture.recording, f"{gesture.recording}, gesture {gesture.line - 1}"
    columns = read_aedat3(path, SIDE, gesture.span)
    clip = cut(columns, gesture.span, SIDE, gesture.label, source)
    if clip.time.size == 0:
        raise ValueError(
            f"{path}: no event from {clip.start} to {clip.stop} us, where line {gesture.line} "
            f"of {_table(path).name} has a gesture; {CURE} again"
        )
    return clip


def _gestures(recording: Path, table: Path) -> list[Gesture]:
    """Return the rows of a table, or raise with all of its problems."""
    title, *rows = read_text(table, f"{CURE} again").splitlines() or [""]
    if title.strip() != TITLE:
        raise ValueError(
            f"{table}: begins with {title[:40]!r}, expected {TITLE!r}; {CURE} again"
        )
    gestures, problems = [], []
    for line, row in enumerate(rows, start=2):
        if not row.strip():
            continue
        try:
            label, start, stop = (int(word) for word in row.split(","))
        except ValueError:
            problems.append(f"line {line} is {row!r}, expected three whole numbers")
            continue
        if not 1 <= label <= len(CLASSES):
            problems.append(f"line {line}: class {label} is not one of 1..{len(CLASSES)}")
        elif stop <= start:
            problems.append(f"line {line}: ends at {stop} us, begins at {start} us")
        else:
            gestures.append(Gesture(recording, label - 1, (start, stop), line))
    if problems:
        raise ValueError(f"{table}: {'; '.join(problems[:8])}; {CURE} again")
    return gestures


def _table(recording: Path) -> Path:
    return recording.with_name(f"{recording.stem}_labels.csv")
