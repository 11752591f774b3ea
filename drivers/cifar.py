"""CIFAR-10 and CIFAR-100: colour images in the official binary files.

A file is a row of records: the label (CIFAR-100: two, coarse and fine), then the red, green and
blue plane, 32 x 32 bytes each (Krizhevsky 2009). No pickle is read. Nothing is downloaded.
Axes: N images, C colours, H height, W width.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt8

Part = Literal["train", "test"]
Name = Literal["cifar10", "cifar100"]

SIDE = 32
PIXELS = 3 * SIDE * SIDE
CURE = "unpack the official binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz)"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a data set lies on disk.

    folder: that the official archive makes. files: of each part. labels: bytes before the
    pixels, the last of which is the class.
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
    """Labelled colour images; labels: the (fine) class of each. source: for reports."""

    images: UInt8[np.ndarray, "N 3 H W"]
    labels: Int64[np.ndarray, " N"]
    source: str
    classes: int


def load(folder: Path, part: Part = "train", name: Name = "cifar10") -> Images:
    """Return one part of a data set in ``folder``, or in the folder that its archive makes.

    Raises:
        FileNotFoundError: a file is missing; says which, and what is there.
        ValueError: a file is no whole number of records, is empty, or holds a label that is no
            class; says at which byte.
    """
    layout = LAYOUTS[name]
    inside = folder / layout.folder
    root = inside if inside.is_dir() else folder
    missing = [file for file in layout.files[part] if not (root / file).is_file()]
    if missing:
        there = sorted(p.name for p in root.iterdir()) if root.is_dir() else []
        found = ", ".join(there[:8]) or "nothing"
        raise FileNotFoundError(f"{root}: no {', '.join(missing)}; found {found}; {CURE}")
    records = np.concatenate([_records(root / f, layout) for f in layout.files[part]])
    images = records[:, layout.labels :].reshape(-1, 3, SIDE, SIDE)
    labels = records[:, layout.labels - 1].astype(np.int64)
    source = f"{name}, {part} part in {root}, {len(images)} images"
    return Images(images=images, labels=labels, source=source, classes=layout.classes)


def official(
    part: Part = "train", name: Name = "cifar10", environ: Mapping[str, str] = os.environ
) -> Images:
    """Return a part of the data set in ``$NEURO_DATA/<name>/``; there is no embedded one.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not set or no folder, or holds none of it.
        ValueError: a file is damaged.
    """
    root, layout = environ.get("NEURO_DATA", ""), LAYOUTS[name]
    places = [Path(root) / name, Path(root) / layout.folder]
    found = [p for p in places if root and p.is_dir()]
    if not found:
        raise FileNotFoundError(
            f"{name} is not embedded, and NEURO_DATA={root or '(not set)'} holds none of it; "
            f"{CURE} into $NEURO_DATA/{name}/"
        )
    return load(found[0], part, name)


def generated(part: Part = "train", n: int = 1000, seed: int = 0) -> Images:
    """Return stand-ins for CIFAR-10 that need no file: coloured gratings with noise.

    The class says how a grating is turned (five ways) and which of two pairs of colours it has.
    They show that things work, and nothing about natural images.
    """
    rng = np.random.default_rng([seed, part == "test"])
    labels = np.arange(n) % 10
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angle = (np.pi / 5 * (labels % 5))[:, None, None]
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    wave = 0.5 + 0.5 * np.sin(8 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    pairs = np.array([[[220, 90, 60], [40, 50, 90]], [[70, 160, 220], [90, 60, 30]]])
    one, other = (pairs[labels // 5][:, k, :, None, None] for k in (0, 1))
    clean = other + (one - other) * wave[:, None]
    images = (clean + rng.normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
    source = f"{n:,} generated gratings"
    return Images(images=images, labels=labels, source=source, classes=10)


def fake(folder: Path, name: Name = "cifar10", n: int = 20, seed: int = 0) -> None:
    """Write a data set in the true format: ``n`` images of noise a file, classes in turn."""
    rng, layout = np.random.default_rng(seed), LAYOUTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    for file in (f for files in layout.files.values() for f in files):
        records = rng.integers(0, 256, (n, layout.labels + PIXELS), np.uint8)
        records[:, : layout.labels] = (np.arange(n) % layout.classes)[:, None]
        records.tofile(folder / file)


def _records(path: Path, layout: Layout) -> UInt8[np.ndarray, "N _"]:
    size = layout.labels + PIXELS
    data = np.fromfile(path, np.uint8)
    if data.size % size or data.size == 0:
        raise ValueError(
            f"{path}: found {data.size} bytes, expected records of {size}: the one at offset "
            f"{data.size // size * size} has {data.size % size} bytes; {CURE}"
        )
    records = data.reshape(-1, size)
    label = records[:, layout.labels - 1]
    bad = np.flatnonzero(label >= layout.classes)
    if bad.size:
        offset = int(bad[0]) * size + layout.labels - 1
        raise ValueError(
            f"{path}: label {label[bad[0]]} at offset {offset} is not one of "
            f"0..{layout.classes - 1} ({bad.size} such images), as if of another data set; "
            f"{CURE}"
        )
    return records
