"""Class folders: ROOT/train/CLASS/FILE and ROOT/val/CLASS/FILE, of images or of latents.

Images are JPEG or PNG files of any size, as in ImageNet. Latents are the published cache of an
image encoder, one ``.npz`` per image: ``moments`` (of the image) and ``moments_flip`` (of its
mirror image) hold the mean and the log-variance of the latents, each 2 C x H x W.
Axes: C channels, H height, W width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from drivers.folders import found_in
from drivers.image_files import DAMAGE, open_image
from drivers.npz import read_npz
from neuro.base.text import shorten_list

Content = Literal["images", "latents"]
SUFFIXES: dict[Content, tuple[str, ...]] = {
    "images": (".jpeg", ".jpg", ".png"),
    "latents": (".npz",),
}
SCALE = 0.18215  # factor on latents, as published: their deviation becomes about 1
MOST_LOG_VARIANCE, LEAST_LOG_VARIANCE = 20.0, -30.0  # as published
NAMES = ("moments", "moments_flip")
LARGEST = 2**24  # largest array of moments [bytes]; published ones have 32 KiB
CURE = "write the cache again, or remove the file"


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassFiles:
    """Files in the order of ``classes``, then by name.

    labels: the class of each file, as an index into ``classes``. source: origin, for messages.
    """

    files: tuple[Path, ...]
    labels: Int64[np.ndarray, " N"]
    classes: tuple[str, ...]
    source: str


def list_class_files(
    root: Path, part: str, content: Content, classes: Sequence[str] | None = None
) -> ClassFiles:
    """Return the files of a part, such as "train".

    classes: names of the class folders; None: all folders, by name. Hidden ones are ignored.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a class has no folder or no file, a folder has no class, or no class exists.
    """
    folder = root / part
    cure = f"expected {folder}/CLASS/FILE with files of {', '.join(SUFFIXES[content])}"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder.absolute()} is no folder; found {found_in(root)} beside; {cure}"
        )
    there = {p.name: p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")}
    names = tuple(sorted(there) if classes is None else classes)
    files = {name: _list_files(there[name], content) for name in names if name in there}
    wrong = {
        "folders of no class": sorted(set(there) - set(names)),
        "missing classes": [name for name in names if name not in there],
        "classes without a file": [name for name, own in files.items() if not own],
    }
    problems = [
        f"{what}: {', '.join(shorten_list(own, 12))}" for what, own in wrong.items() if own
    ]
    if problems or not names:
        raise ValueError(f"{folder}: {'; '.join(problems or ['no class'])}; {cure}")
    labels = np.repeat(np.arange(len(names)), [len(files[name]) for name in names])
    return ClassFiles(
        files=tuple(path for name in names for path in files[name]),
        labels=labels.astype(np.int64),
        classes=names,
        source=f"{len(labels):,} {content} of {len(names)} classes in {folder}",
    )


def _list_files(folder: Path, content: Content) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES[content])


def read_square_image(path: Path, side: int) -> UInt8[np.ndarray, "3 side side"]:
    """Return the central square of an image, scaled to ``side`` x ``side`` pixels.

    Raises:
        ValueError: the file is not a JPEG or PNG image, or has too many pixels.
    """
    try:
        with open_image(path) as opened:
            image = opened.convert("RGB")
    except DAMAGE as error:
        raise ValueError(f"{path}: no image: {error}; fetch it again, or remove it") from error
    shorter = min(image.size)
    left, top = ((n - shorter) // 2 for n in image.size)
    square = image.crop((left, top, left + shorter, top + shorter))
    if shorter != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def read_moments(
    path: Path, channels: int, side: int
) -> dict[str, Float32[np.ndarray, "_ side side"]]:
    """Return ``moments`` and ``moments_flip`` of an image's latents, 2 C x side x side each.

    Raises:
        ValueError: the file is damaged, or an array is missing, has another shape, is far too
            large or holds a value that is not finite in float32; lists every problem.
    """
    problems, shape = list[str](), (2 * channels, side, side)
    try:
        found = read_npz(path, NAMES, max(LARGEST, 16 * math.prod(shape)))
    except ValueError as error:
        raise ValueError(f"{error}; {CURE}") from error
    moments = dict[str, np.ndarray]()
    for name in NAMES:
        values = found.get(name)
        if values is None:
            problems.append(f"no array {name}")
        elif values.shape != shape or values.dtype.kind != "f":
            problems.append(
                f"{name} is {values.dtype} of shape {values.shape}, expected floats of shape "
                f"{shape}: mean and log-variance of {channels} channels"
            )
        else:
            with np.errstate(over="ignore"):
                moments[name] = values.astype(np.float32)
            if (bad := np.argwhere(~np.isfinite(moments[name]))).size:
                at, value = bad[0].tolist(), values[tuple(bad[0])]
                problems.append(f"{name} at {at} is {value:g}; it must be finite in float32")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}; {CURE}")
    return moments


def draw_latents(
    moments: Float32[np.ndarray, "_ H W"], rng: np.random.Generator
) -> Float32[np.ndarray, "C H W"]:
    """Sample latents from the Gaussian with these moments (2 C x H x W), times SCALE."""
    mean, log_variance = np.split(moments, 2)
    deviation = np.exp(log_variance.clip(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE) / 2)
    drawn = mean + deviation * rng.standard_normal(mean.shape, dtype=np.float32)
    scaled: np.ndarray = (SCALE * drawn).astype(np.float32)
    return scaled
