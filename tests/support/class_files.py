"""Class folders at toy size, in the published layouts."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("n01", "n02", "n03")


def write_class_images(
    root: Path, each: int = 6, side: int = 12, suffix: str = ".png", seed: int = 0
) -> None:
    """Write images of random colours, oblong ones too, into train and val."""
    rng = np.random.default_rng(seed)
    for part in ("train", "val"):
        for k, name in enumerate(CLASSES):
            folder = root / part / name
            folder.mkdir(parents=True)
            for n in range(each):
                colours = rng.integers(0, 256, (side, side + n, 3), np.uint8)
                colours[..., k] = 255
                Image.fromarray(colours).save(folder / f"{name}_{n}{suffix}")


def write_latent_cache(
    root: Path, each: int = 6, channels: int = 4, side: int = 4, seed: int = 0
) -> None:
    """Write moments of random latents and of their mirror images into train and val."""
    rng = np.random.default_rng(seed)
    for part in ("train", "val"):
        for name in CLASSES:
            folder = root / part / name
            folder.mkdir(parents=True)
            for n in range(each):
                moments = rng.normal(size=(2 * channels, side, side)).astype(np.float32)
                flipped = np.ascontiguousarray(moments[..., ::-1])
                np.savez(folder / f"{name}_{n}.npz", moments=moments, moments_flip=flipped)
