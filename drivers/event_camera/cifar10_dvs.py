"""CIFAR10-DVS: recordings of moving CIFAR-10 images on a screen by an event camera.

Li et al. 2017 (doi 10.3389/fnins.2017.00309): 1,000 clips of each of ten classes, DVS128,
128 x 128 pixels, about 1.3 s each, as AEDAT 2.0. The driver reads the files from a folder with
one folder per class, and downloads nothing.

There is no official split. Here the numbers 0 to 99 of each class are the test part, the others
the training part, as in Duan et al. 2022 (TEBN) and many later papers. Accuracies on this split
are higher than on a random one: compare only results on the same split.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from drivers.event_camera import Clip, Clips, from_files, moving_bars
from drivers.event_camera.files import read_aedat2, whole
from drivers.event_camera.moving_bars import Part
from drivers.folders import Entry, by_class, in_neuro_data

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SIDE = 128
TEST = 100  # clips of each class
CURE = (
    "unpack the ten zip files of CIFAR10-DVS there: airplane/cifar10_airplane_0.aedat and so on"
)


def load(folder: Path, part: Part = "train") -> Clips:
    """Return one part of the data set in ``folder``: by class, then by number of the file.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a class has no folder or no file, a folder has no class, a file has no
            number, or the part is empty. Reading a clip reports a damaged file.
    """
    files = by_class(folder, CLASSES, ".aedat", CURE)
    numbered = sorted((label, _number(path), path) for path, label in files)
    entries: list[Entry] = [
        (path, label) for label, number, path in numbered if (number < TEST) == (part == "test")
    ]
    if not entries:
        raise ValueError(
            f"{folder}: no clip of the {part} part among {len(numbered)}; numbers 0 to "
            f"{TEST - 1} are the test part, {TEST} to 999 to train; {CURE}"
        )
    return from_files(entries, read, len(CLASSES), f"CIFAR10-DVS, {part} part in {folder}")


def read(path: Path, label: int) -> Clip:
    """Return the clip in a file.

    The address gives (x, y) = (127 - y, 127 - x), and ON for a polarity bit of 0, as in
    SpikingJelly and events-tfds, and so in most published results. (dat2mat.m, from the
    description of the data set, gives x = 127 - x and y from below: the transposed image.)

    Raises:
        ValueError: the file is damaged; the message names the offset.
    """
    raw = read_aedat2(path, SIDE)
    upright = raw._replace(x=SIDE - 1 - raw.y, y=SIDE - 1 - raw.x, polarity=1 - raw.polarity)
    return whole(upright, SIDE, label, path)


def default(part: Part = "train", environ: Mapping[str, str] | None = None) -> Clips:
    """Return a part of ``$NEURO_DATA/cifar10-dvs/``, else moving bars of ten directions.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not a folder.
        ValueError: as :func:`load`.
    """
    folder = in_neuro_data(("cifar10-dvs", "CIFAR10DVS"), environ)
    return load(folder, part) if folder else moving_bars.generate(part, SIDE, len(CLASSES))


def _number(path: Path) -> int:
    match = re.fullmatch(r"cifar10_[a-z]+_(\d+)\.aedat", path.name)
    if match is None:
        raise ValueError(
            f"{path}: the name has no number, expected cifar10_{path.parent.name}_N.aedat: the "
            "split depends on N; keep the official names"
        )
    return int(match[1])
