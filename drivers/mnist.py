"""Handwritten digits: the four files of MNIST or Fashion-MNIST, or 5,000 embedded digits.

The driver reads the files from a folder and downloads nothing. The embedded digits ship with
the package: see ``data/README.md`` for provenance and licence (CC BY-SA 3.0).
Axes: N images, H height, W width.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt8

from drivers import idx
from drivers.folders import find_neuro_data, found_in, in_neuro_data

Part = Literal["train", "test"]
Name = Literal["mnist", "fashion"]

FILES: Mapping[Part, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FOLDERS: Mapping[Name, tuple[str, ...]] = {
    "mnist": ("mnist",),
    "fashion": ("fashion-mnist", "fashion"),
}
CLASSES = 10
SIDE = 28
EMBEDDED = "digits.npz"
EMBEDDED_SHA256 = "ec56671eedea578fe38198d455616f721540adb79079f21462763a80602814a0"
EMBEDDED_TRAIN = 4000  # the rest is the test part


@dataclass(frozen=True, kw_only=True, eq=False)
class Digits:
    """Labelled grey images.

    images: 0 is background, 255 full ink.
    labels: the class of each image, 0 <= label < classes.
    source: origin, for reports.
    """

    images: UInt8[np.ndarray, "N H W"]
    labels: Int64[np.ndarray, " N"]
    source: str
    classes: int = CLASSES


def load(folder: Path, part: Part = "train") -> Digits:
    """Return one part of the official data set in ``folder``, plain or gzip-compressed.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or images and labels do not match.
    """
    image_file, label_file = (_find(folder, name) for name in FILES[part])
    images, labels = idx.read(image_file, axes=3), idx.read(label_file, axes=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{image_file} holds {len(images)} images, but {label_file} {len(labels)} labels; "
            "put both files of one part of one data set there"
        )
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(
            f"{image_file}: images of {images.shape[1]} x {images.shape[2]} pixels, expected "
            f"{SIDE} x {SIDE}; check that it is MNIST's or Fashion-MNIST's"
        )
    if len(images) == 0:
        raise ValueError(f"{image_file} contains no image; fetch the file again")
    if labels.max() >= CLASSES:
        at = int(np.argmax(labels >= CLASSES))
        raise ValueError(
            f"{label_file}: label {labels[at]} of image {at} is not one of 0..{CLASSES - 1}; "
            "fetch the file again, or check that it is MNIST's or Fashion-MNIST's"
        )
    source = f"{part} part in {folder}, {len(images)} images"
    return Digits(images=images, labels=labels.astype(np.int64), source=source)


def embedded() -> Digits:
    """Return the 5,000 digits of the package, classes in turn: 0, 1, ..., 9, 0, ...

    They are the first 500 of each class in the training part of MNIST.

    Raises:
        ValueError: the file is damaged.
    """
    data = (files("drivers") / "data" / EMBEDDED).read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    if sha != EMBEDDED_SHA256:
        raise ValueError(
            f"drivers/data/{EMBEDDED}: damaged: found {len(data)} bytes with SHA-256 {sha}, "
            f"expected {EMBEDDED_SHA256}; install the package again"
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"].astype(np.int64)
    source = "5,000 embedded digits of MNIST's training part"
    return Digits(images=images, labels=labels, source=source)


def default(
    part: Part = "train", name: Name = "mnist", environ: Mapping[str, str] | None = None
) -> Digits:
    """Return a part of the set in ``$NEURO_DATA/<name>/``; without it, of the embedded digits.

    The embedded "train" part has the first 4,000 digits, "test" the last 1,000, both with equal
    numbers per class. Fashion-MNIST has no embedded form; its folder is ``fashion-mnist`` or
    ``fashion``.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not a folder, a file of the set is missing, or
            Fashion-MNIST is not there.
        ValueError: a file is damaged.
    """
    folder = in_neuro_data(FOLDERS[name], environ)
    if folder is None and name == "mnist":
        return _embedded_part(part)
    return official(part, name, environ)


def official(
    part: Part = "train", name: Name = "mnist", environ: Mapping[str, str] | None = None
) -> Digits:
    """Return a part of the full set in ``$NEURO_DATA/<name>/``.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not a folder, or the set or one of its files is
            missing.
        ValueError: a file is damaged.
    """
    folder = in_neuro_data(FOLDERS[name], environ)
    if folder is None:
        where = " or ".join(f"$NEURO_DATA/{f}/" for f in FOLDERS[name])
        root = find_neuro_data(environ) or "(not set)"
        raise FileNotFoundError(
            f"{name} is not embedded in full, and NEURO_DATA={root} holds none of it; "
            f"put {_official_names()} into {where}"
        )
    return load(folder, part)


def _embedded_part(part: Part) -> Digits:
    digits = embedded()
    first, which = (
        (slice(None, EMBEDDED_TRAIN), "the first 4,000")
        if part == "train"
        else (slice(EMBEDDED_TRAIN, None), "the last 1,000, held out,")
    )
    return Digits(
        images=digits.images[first],
        labels=digits.labels[first],
        source=f"{which} of {digits.source}",
    )


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder}: no file {name} or {name}.gz; found {found_in(folder)}; "
        f"put the four files of the data set there: {_official_names()}, each plain or .gz"
    )


def _official_names() -> str:
    return ", ".join(name for pair in FILES.values() for name in pair)
