"""CIFAR10-DVS: moving CIFAR-10 images that an event camera saw on a screen.

Li et al. 2017 (doi 10.3389/fnins.2017.00309): 1,000 clips of each of ten classes, DVS128,
128 x 128 pixels, some 1.3 s each, as AEDAT 2.0. The files are read from a folder of the
user's, which holds one folder a class; nothing is downloaded.

There is no official split. Here the numbers 0 to 99 of each class are the test part, the
others are to train, as Duan et al. 2022 (TEBN) split it, and many after them. Accuracies on
this split are higher than on a random one: compare only what was split alike.
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
        ValueError: a class has no folder or no file, a folder is of no class, a file has no
            number, or the part is empty. A damaged file is told when its clip is read.
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

    Of the address it takes (x, y) = (127 - y, 127 - x), and ON where the polarity bit is 0, as
    SpikingJelly and events-tfds do, and so most published results. (dat2mat.m, which the
    description of the set names, gives x = 127 - x and y from below: the image transposed.)

    Raises:
        ValueError: the file is damaged; says at which byte.
    """
    raw = read_aedat2(path, SIDE)
    upright = raw._replace(x=SIDE - 1 - raw.y, y=SIDE - 1 - raw.x, polarity=1 - raw.polarity)
    return whole(upright, SIDE, label, path)


def default(part: Part = "train", environ: Mapping[str, str] | None = None) -> Clips:
    """Return a part of ``$NEURO_DATA/cifar10-dvs/``, else moving bars of ten directions.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is no folder.
        ValueError: as :func:`load`.
    """
    folder = in_neuro_data(("cifar10-dvs", "CIFAR10DVS"), environ)
    if folder is None:
        return moving_bars.generate(part, SIDE, len(CLASSES))
    return load(folder, part)


def _number(path: Path) -> int:
    found = re.fullmatch(r"cifar10_[a-z]+_(\d+)\.aedat", path.name)
    if found is None:
        raise ValueError(
            f"{path}: the name has no number, expected cifar10_{path.parent.name}_N.aedat: the "
            "split goes by N; keep the official names"
        )
    return int(found[1])
