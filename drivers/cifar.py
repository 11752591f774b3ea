"""CIFAR-10 and CIFAR-100: colour images in the official binary files.

A file is a sequence of records: the label (CIFAR-100: two, coarse and fine), then the red,
green and blue plane, 32 x 32 bytes each (Krizhevsky 2009). The driver reads no pickles and
downloads nothing.
Axes: N images, C colours, H height, W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt8

from drivers.folders import find_neuro_data, found_in, in_neuro_data

Part = Literal["train", "test"]
Name = Literal["cifar10", "cifar100"]

SIDE = 32
PIXELS = 3 * SIDE * SIDE
COARSE = 20  # classes of CIFAR-100's first label
CURE = "unpack the official binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz)"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Layout of a data set on disk.

    folder: name of the official archive's folder.
    files: file names of each part.
    labels: number of label bytes before the pixels; the last one is the class.
    """

    folder: str
    files: Mapping[Part, tuple[str, ...]]
    labels: int
    classes: int


LAYOUTS: Mapping[Name, Layout] = {
    "cifar10": Layout(
        folder="cifar-10-batches-bin",
        files={
            "train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        labels=1,
        classes=10,
    ),
    "cifar100": Layout(
        folder="cifar-100-binary",
        files={"train": ("train.bin",), "test": ("test.bin",)},
        labels=2,
        classes=100,
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Colour images. labels: the (fine) class of each image. source: origin, for reports."""

    images: UInt8[np.ndarray, "N 3 H W"]
    labels: Int64[np.ndarray, " N"]
    source: str
    classes: int


def load(folder: Path, part: Part = "train", name: Name = "cifar10") -> Images:
    """Return one part of a data set from ``folder``, or from the archive's folder inside it.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is empty or truncated, or has a label outside the classes; the
            message names the offset.
    """
    layout = LAYOUTS[name]
    inside = folder / layout.folder
    root = inside if inside.is_dir() else folder
    missing = [file for file in layout.files[part] if not (root / file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{root}: no {', '.join(missing)}; found {found_in(root)}; "
            f"{_holds_other(root, name)}{CURE}"
        )
    records = np.concatenate([_records(root / f, name) for f in layout.files[part]])
    images = records[:, layout.labels :].reshape(-1, 3, SIDE, SIDE)
    labels = records[:, layout.labels - 1].astype(np.int64)
    source = f"{name}, {part} part in {root}, {len(images)} images"
    return Images(images=images, labels=labels, source=source, classes=layout.classes)


def official(
    part: Part = "train", name: Name = "cifar10", environ: Mapping[str, str] | None = None
) -> Images:
    """Return a part of the data set from ``$NEURO_DATA/<name>/``; the package embeds none.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not a folder, or does not contain the data set.
        ValueError: a file is damaged.
    """
    folder = in_neuro_data((name, LAYOUTS[name].folder), environ)
    if folder is None:
        root = find_neuro_data(environ) or "(not set)"
        raise FileNotFoundError(
            f"{name} is not embedded, and NEURO_DATA={root} holds none of it; "
            f"{CURE} into $NEURO_DATA/{name}/"
        )
    return load(folder, part, name)


def generated(part: Part = "train", n: int = 1000, seed: int = 0) -> Images:
    """Return coloured gratings with noise, a stand-in for CIFAR-10 that needs no files.

    The class determines the angle (one of five) and the pair of colours (one of two). The
    gratings test code; accuracies on them say nothing about natural images.
    """
    rng = np.random.default_rng([seed, part == "test"])
    labels = np.arange(n) % 10
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angle = (np.pi / 5 * (labels % 5))[:, None, None]
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    wave = 0.5 + 0.5 * np.sin(8 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    pairs = np.array([[[220, 90, 60], [40, 50, 90]], [[70, 160, 220], [90, 60, 30]]])
    bright, dark = (pairs[labels // 5][:, k, :, None, None] for k in (0, 1))
    clean = dark + (bright - dark) * wave[:, None]
    images = (clean + rng.normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
    return Images(images=images, labels=labels, source=f"{n:,} generated gratings", classes=10)


def _records(path: Path, name: Name) -> UInt8[np.ndarray, "N _"]:
    layout = LAYOUTS[name]
    size = layout.labels + PIXELS
    data = np.fromfile(path, np.uint8)
    if data.size % size or data.size == 0:
        raise ValueError(
            f"{path}: found {data.size} bytes, expected records of {size}: the one at offset "
            f"{data.size // size * size} has {data.size % size} bytes; "
            f"{_fits_other(data.size, name)}{CURE}"
        )
    records = data.reshape(-1, size)
    limits = (COARSE, layout.classes)[-layout.labels :]
    for place, classes in enumerate(limits):
        label = records[:, place]
        bad = np.flatnonzero(label >= classes)
        if bad.size:
            raise ValueError(
                f"{path}: label {label[bad[0]]} at offset {int(bad[0]) * size + place} is not "
                f"one of 0..{classes - 1} ({bad.size} such images), as if of another data set; "
                f"{CURE}"
            )
    return records


def _holds_other(root: Path, name: Name) -> str:
    """Name the other data set that the files in a folder belong to, if any."""
    others = [
        other
        for other, layout in LAYOUTS.items()
        if other != name and all((root / f).is_file() for f in layout.files["test"])
    ]
    return f"these are files of {others[0]}, not of {name}; " if others else ""


def _fits_other(size: int, name: Name) -> str:
    """Name the other data set that fits a file of ``size`` bytes, if any."""
    for other, layout in LAYOUTS.items():
        record = layout.labels + PIXELS
        if other != name and size and size % record == 0:
            return f"these would be {size // record} images of {other}; "
    return ""
