"""N-MNIST: recordings of handwritten digits by an event camera in three quick movements.

Orchard et al. 2015 (doi 10.3389/fnins.2015.00437): MNIST on a screen before a moving ATIS;
60,000 clips to train, 10,000 to test, 34 x 34 pixels, about 0.3 s each. The driver reads the
files from a folder and downloads nothing. Folders ``Train`` and ``Test`` hold ten folders ``0``
to ``9`` of ``.bin`` files.
"""

from collections.abc import Mapping
from pathlib import Path

from drivers.event_camera import Clip, Clips, from_files, moving_bars
from drivers.event_camera.files import read_records, whole
from drivers.event_camera.moving_bars import Part
from drivers.folders import by_class, in_neuro_data

FOLDERS: Mapping[Part, str] = {"train": "Train", "test": "Test"}
CLASSES = tuple("0123456789")
SIDE = 34
CURE = "unpack Train.zip and Test.zip of N-MNIST there"


def load(folder: Path, part: Part = "train") -> Clips:
    """Return one part of the data set in ``folder``: by class, then by name of the file.

    Raises:
        FileNotFoundError: the folder of the part is missing.
        ValueError: a class has no folder or no file, or a folder has no class. Reading a clip
            reports a damaged file.
    """
    entries = by_class(folder / FOLDERS[part], CLASSES, ".bin", CURE)
    return from_files(entries, read, len(CLASSES), f"N-MNIST, {part} part in {folder}")


def read(path: Path, label: int) -> Clip:
    """Return the clip in a file.

    Raises:
        ValueError: the file is damaged; the message names the offset.
    """
    return whole(read_records(path, SIDE), SIDE, label, path)


def default(part: Part = "train", environ: Mapping[str, str] | None = None) -> Clips:
    """Return a part of the set in ``$NEURO_DATA/nmnist/``, else moving bars of ten directions.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not a folder, or the part is missing.
        ValueError: as :func:`load`.
    """
    folder = in_neuro_data(("nmnist", "N-MNIST"), environ)
    return load(folder, part) if folder else moving_bars.generate(part, SIDE, len(CLASSES))
