"""Images by split and class, and their arrangement into batches of sequences.

Axes: I images of a sequence, B samples, N images, C channels, Y X pixels or latents.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from drivers import cifar, class_folders, mnist
from neuro.training.shuffle import shuffle_batches
from tasks.flow.config import FlowConfig, Source
from tasks.runs.configuration import require_sound
from tasks.runs.task import Pair, Split

Part = Literal["train", "test"]
EVALUATED = 250  # images per batch outside training, about
SIDES = (28, 32)  # sides of a digit, without and with a frame of two pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowImages(ABC):
    """Images and the class of each. source: name of the data in messages."""

    labels: Int64[np.ndarray, " N"]
    source: str

    @abstractmethod
    def read(
        self, indices: Int64[np.ndarray, " M"], mirror: np.ndarray, rng: np.random.Generator
    ) -> Float32[np.ndarray, "M C Y X"]:
        """Return images in -1..1, or latents; mirrored where ``mirror`` is true."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldImages(FlowImages):
    """Images in memory."""

    images: UInt8[np.ndarray, "N C Y X"]

    def read(
        self,
        indices: Int64[np.ndarray, " M"],
        mirror: np.ndarray,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> Float32[np.ndarray, "M C Y X"]:
        """Return images in -1..1."""
        return scale_pixels(self.images[indices], mirror)


@dataclass(frozen=True, kw_only=True, eq=False)
class FiledImages(FlowImages):
    """Images, or moments of latents, which are read from files when they are needed."""

    files: tuple[Path, ...]
    content: class_folders.Content
    side: int
    channels: int

    def read(
        self, indices: Int64[np.ndarray, " M"], mirror: np.ndarray, rng: np.random.Generator
    ) -> Float32[np.ndarray, "M C Y X"]:
        """Return images in -1..1, or latents sampled from their moments."""
        paths = [self.files[int(k)] for k in indices]
        if self.content == "images":
            pixels = [class_folders.read_square_image(path, self.side) for path in paths]
            return scale_pixels(np.stack(pixels), mirror)
        latents = []
        for path, flip in zip(paths, mirror, strict=True):
            moments = class_folders.read_moments(path, self.channels, self.side)
            chosen = moments["moments_flip" if flip else "moments"]
            latents.append(class_folders.draw_latents(chosen, rng))
        return np.stack(latents)


def scale_pixels(
    images: UInt8[np.ndarray, "M C Y X"], mirror: np.ndarray
) -> Float32[np.ndarray, "M C Y X"]:
    """Return images in -1..1, mirrored where ``mirror`` is true."""
    turned = np.where(mirror[:, None, None, None], images[..., ::-1], images)
    return turned.astype(np.float32) / np.float32(127.5) - 1


def load(config: FlowConfig, part: Part) -> FlowImages:
    """Return the images of a part of the data; the last two results are cached.

    Raises:
        FileNotFoundError: data are missing.
        ValueError: the configuration is wrong, or data are damaged.
    """
    require_sound(config)
    return _load(config.source, config.data, config.side, config.classes, part)


@lru_cache(maxsize=2)
def _load(source: Source, data: str, side: int, classes: int, part: Part) -> FlowImages:
    if source in ("images", "latents"):
        content: class_folders.Content = "images" if source == "images" else "latents"
        return _load_files(Path(data), content, side, classes, part)
    if source == "cifar10":
        found = cifar.official(part)
        images, labels, told = found.images, found.labels, found.source
    else:
        digits = mnist.official(part) if source == "mnist" else mnist.default(part, environ={})
        images, labels, told = digits.images[:, None], digits.labels, digits.source
    _require_classes(classes, 10, told)
    return HeldImages(images=shrink_images(images, side), labels=labels, source=told)


def _load_files(
    root: Path, content: class_folders.Content, side: int, classes: int, part: Part
) -> FiledImages:
    found = class_folders.list_class_files(root, "train", content)
    _require_classes(classes, len(found.classes), found.source)
    if part == "test":
        found = class_folders.list_class_files(root, "val", content, found.classes)
    order = take_turns(found.labels)
    return FiledImages(
        files=tuple(found.files[k] for k in order),
        labels=found.labels[order],
        content=content,
        side=side,
        channels=4 if content == "latents" else 3,
        source=found.source,
    )


def take_turns(labels: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
    """Return an order of the images in which the classes alternate.

    So the first images contain every class.
    """
    place = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        place[own] = np.arange(len(own))
    order: np.ndarray = np.lexsort((labels, place))
    return order


def _require_classes(expected: int, found: int, source: str) -> None:
    if expected != found:
        raise ValueError(f"{source}: {found} classes, and classes is {expected}; give {found}")


def shrink_images(
    images: UInt8[np.ndarray, "N C H W"], side: int
) -> UInt8[np.ndarray, "N C side side"]:
    """Shrink images by averaging equal squares of pixels.

    Digits of 28 x 28 pixels first get a frame of two pixels if the side does not divide 28.

    Raises:
        ValueError: the side divides neither size.
    """
    given = whole = images.shape[-1]
    if whole == SIDES[0] and whole % side:
        images, whole = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))), SIDES[1]
    if whole % side:
        known = sorted({s for n in SIDES for s in range(4, n + 1) if n % s == 0})
        raise ValueError(
            f"side is {side}, and images of {given} pixels do not divide into "
            f"so many squares; digits do for {', '.join(map(str, known))}"
        )
    n = whole // side
    squares = images.reshape(*images.shape[:2], side, n, side, n)
    small: np.ndarray = squares.mean((3, 5)).round().astype(np.uint8)
    return small


def choose_indices(config: FlowConfig, split: Split) -> Int64[np.ndarray, " N"]:
    """Return the indices of a split's images within its part of the data.

    "val" has the last images of each class of the training part, ``held`` in total.
    """
    labels = load(config, "test" if split == "test" else "train").labels
    if split == "test":
        return np.arange(len(labels))[: config.test or None]
    own = [np.flatnonzero(labels == label) for label in range(config.classes)]
    each = -(-config.held // config.classes)
    if split == "val":
        return np.sort(np.concatenate([k[len(k) - min(each, len(k)) :] for k in own]))
    kept = np.sort(np.concatenate([k[: max(len(k) - each, 0)] for k in own]))
    return kept[: config.train or None]


def batches(config: FlowConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (images I B C Y X, labels I B); in training the epoch seeds order and mirroring.

    Outside training every image comes once; images left over by whole sequences are dropped.

    Raises:
        ValueError: a class, or a split, has too few images for a sequence.
    """
    part: Part = "test" if split == "test" else "train"
    data, indices = load(config, part), choose_indices(config, split)
    rng = np.random.default_rng(
        [config.seed_of_data, ("train", "val", "test").index(split), epoch]
    )
    for own in arrange(config, data, indices, split, rng):
        mirror = (rng.random(own.size) < 0.5) & config.mirror & (split == "train")
        x = torch.from_numpy(data.read(own.flatten(), mirror, rng))
        yield x.reshape(*own.shape, *x.shape[1:]), torch.from_numpy(data.labels[own])


def arrange(
    config: FlowConfig,
    data: FlowImages,
    indices: np.ndarray,
    split: Split,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Yield the image indices of each batch, I B.

    A grouped sequence has images of one class. Training draws the class, then different images
    of that class with equal probability, so an epoch may leave some images out.
    """
    n, labels = config.images, data.labels[indices]
    by_class = [indices[labels == label] for label in range(config.classes)]
    if shortage := find_shortage(config, data.source, labels, split):
        raise ValueError(shortage)
    if split == "train":
        for own in shuffle_batches(len(indices), config.batch * n, rng):
            if config.is_grouped:
                classes = rng.integers(0, config.classes, config.batch)
                drawn = [rng.choice(by_class[k], n, replace=False) for k in classes]
                yield np.stack(drawn, 1)
            else:
                yield indices[own].reshape(n, config.batch)
        return
    groups = by_class if config.is_grouped else [indices]
    rows = np.concatenate([own[: len(own) // n * n].reshape(-1, n) for own in groups])
    size = max(EVALUATED // n, 1)
    for first in range(0, len(rows), size):
        yield rows[first : first + size].T


def find_shortage(
    config: FlowConfig, source: str, labels: Int64[np.ndarray, " N"], split: Split
) -> str:
    """Explain why a split has too few images for a sequence, or return "" if it has enough.

    Grouped sequences need enough images of every class. labels: those of the split. source:
    name of the data.
    """
    least = config.images * (config.classes if config.is_grouped else 1)
    name, cure = {
        "train": ("left for training", f"lower images, or held ({config.held})"),
        "val": ("held for validation", f"lower images, or give held={least} or more"),
        "test": ("for the test", "lower images"),
    }[split]
    if limit := {"train": config.train, "val": 0, "test": config.test}[split]:
        cure += f", or raise {split} ({limit}; 0: all)"
    if split != "val":
        cure += ", or add data"
    if len(labels) < config.images:
        return (
            f"{source}: {len(labels)} images {name} fill no sequence of {config.images}; {cure}"
        )
    counts = np.bincount(labels, minlength=config.classes)
    few = [f"{k} ({n})" for k, n in enumerate(counts) if n < config.images]
    if few and config.is_grouped:
        return (
            f"{source}: {len(few)} classes have fewer images {name} than a sequence "
            f"({config.images}): {', '.join(few[:12])}; {cure}"
        )
    return ""


def count_steps(config: FlowConfig) -> int:
    """Return the number of full batches in an epoch.

    Raises:
        ValueError: the images fill no batch, or a split lacks images for a sequence; the
            message lists every split.
    """
    problems, splits = list[str](), get_args(Split)
    for split in splits:
        data = load(config, "test" if split == "test" else "train")
        labels = data.labels[choose_indices(config, split)]
        problems.append(find_shortage(config, data.source, labels, split))
    images, size = len(choose_indices(config, "train")), config.batch * config.images
    if not problems[0] and images < size:
        problems.append(
            f"{load(config, 'train').source}: {images} images left for training fill no batch "
            f"of {config.batch} sequences of {config.images}; lower batch, images or held "
            f"({config.held}), or add data"
        )
    if any(problems):
        raise ValueError("\n".join(text for text in problems if text))
    return images // size


def make_dummy_batch(config: FlowConfig) -> Pair:
    """Return a training batch of grey images."""
    shape = (config.images, config.batch)
    x = torch.zeros(*shape, config.colours, config.side, config.side)
    return x, torch.zeros(shape, dtype=torch.int64)


def read_split(config: FlowConfig, split: Split, most: int = 0) -> tuple[Tensor, Tensor]:
    """Return the first ``most`` (images N C Y X, labels N) of a split; 0 means all."""
    part: Part = "test" if split == "test" else "train"
    data, own = load(config, part), choose_indices(config, split)[: most or None]
    rng = np.random.default_rng([config.seed_of_data, 3])
    x = data.read(own, np.zeros(len(own), bool), rng)
    return torch.from_numpy(x), torch.from_numpy(data.labels[own])
