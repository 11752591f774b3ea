"""Labelled images for the conversion of an ANN: to find scales, and others to measure with.

Axes: N images, C H W of an image.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from drivers import cifar, mnist
from drivers.class_folders import list_class_files, read_square_image
from tasks.imported.stimulus import LABELS, SAVED, StimulusError, read_arrays
from tasks.runs.samples import pick_spread

SETS: Mapping[str, Callable[[Any], Any]] = {  # part -> images N H W or N C H W, and labels
    "digits": partial(mnist.default, environ={}),
    "mnist": partial(mnist.official, name="mnist"),
    "fashion": partial(mnist.official, name="fashion"),
    "cifar10": cifar.official,
}
KINDS = f"one of {', '.join(SETS)}, a folder with train/CLASS and val/CLASS, or an .npz file"


class LabelledImages(NamedTuple):
    """Images N C H W, with values as the ANN takes them, and the class of each."""

    images: np.ndarray
    labels: np.ndarray


class ImageSplit(NamedTuple):
    """Images to find scales with, and others to measure with. name: their origin."""

    calibration: LabelledImages
    test: LabelledImages
    name: str


def read_images(
    word: str, calibrated: int, samples: int, shape: tuple[int, ...] | None = None
) -> ImageSplit:
    """Return labelled images, spread at random over their parts.

    Values of image files and of the known sets are from 0 to 1; those of an .npz file stay as
    they are. The first half of a file, in random order, is for the scales.

    Args:
        word: a name in ``SETS``, a folder of image files, or an .npz file.
        calibrated, samples: most images to find scales with, and to measure with.
        shape: (3, side, side) to which image files are scaled [pixels]; None for other sources.

    Raises:
        FileNotFoundError: a set is not in $NEURO_DATA.
        StimulusError: there is no such source, or its arrays are no images with labels.
    """
    path = Path(word)
    if shape and not path.is_dir():
        raise StimulusError([f"--shape {shape}: --images {word} has its own; leave it out"])
    if word in SETS:
        read = partial(_read_set, word)
        known, test = _take(read("train"), calibrated), _take(read("test"), samples)
        return ImageSplit(known, test, name=word)
    if path.is_dir():
        of_part = partial(_read_folder, path, shape)
        known, test = of_part("train", calibrated), of_part("val", samples)
        return ImageSplit(known, test, name=path.name)
    if path.suffix != ".npz":
        raise StimulusError([f"--images {word} is not {KINDS}"])
    whole = _read_file(path)
    order = np.random.default_rng(0).permutation(len(whole.labels))
    if len(order) < 2:
        raise StimulusError([f"{path}: has {len(order)} images; it must have >= 2, in halves"])
    first, last = (LabelledImages(*(x[k] for x in whole)) for k in np.array_split(order, 2))
    return ImageSplit(_take(first, calibrated), _take(last, samples), name=path.name)


def _take(found: LabelledImages, most: int) -> LabelledImages:
    few = pick_spread(len(found.labels), most)
    return LabelledImages(found.images[few], found.labels[few])


def _read_set(name: str, part: str) -> LabelledImages:
    found = SETS[name](part)
    images = found.images if found.images.ndim == 4 else found.images[:, None]
    return LabelledImages(images.astype(np.float32) / 255, found.labels.astype(np.int64))


def _read_folder(
    path: Path, shape: tuple[int, ...] | None, part: str, most: int
) -> LabelledImages:
    if shape is None or len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise StimulusError(
            [
                f"--images {path}: image files become squares of 3 colours, and --shape is "
                f"{shape or 'not given'}; give it, such as 3,32,32"
            ]
        )
    names = list_class_files(path, "train", "images").classes
    found = list_class_files(path, part, "images", names)
    few = pick_spread(len(found.files), most)
    images = np.stack([read_square_image(found.files[i], shape[1]) for i in few])
    return LabelledImages(images.astype(np.float32) / 255, found.labels[few].astype(np.int64))


def _read_file(path: Path) -> LabelledImages:
    arrays = read_arrays(path)
    others = [x for name, x in arrays.items() if name != LABELS]
    labels = arrays.get(LABELS)
    problems = []
    if len(others) != 1 or others[0].dtype.kind not in "iuf" or others[0].ndim < 2:
        names = ", ".join(arrays)
        problems.append(f"{path}: must hold one array of images (N, ...), has {names}; {SAVED}")
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        problems.append(f"{path}: has no whole-number array {LABELS!r} of shape (N,); {SAVED}")
    if not problems and len(others[0]) != len(labels):  # type: ignore[arg-type]
        told = f"{len(others[0])} images and {len(labels)} labels"  # type: ignore[arg-type]
        problems.append(f"{path}: holds {told}; give one label for each")
    if not problems and not np.isfinite(others[0]).all():
        problems.append(f"{path}: holds NaN or infinity; replace them")
    if problems:
        raise StimulusError(problems)
    return LabelledImages(others[0], labels.astype(np.int64))  # type: ignore[union-attr]
