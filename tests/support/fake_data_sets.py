"""Data sets of noise or of moving bars, written in their true formats.

n: images of a part or file, or clips of a class and part.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

from drivers import cifar, mnist
from drivers.event_camera import Clip, moving_bars
from drivers.event_camera.tonic_sets import SETS, TonicSet
from drivers.vowels import FOLDERS, SIZES


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array of bytes, with gzip if the name ends in ``.gz``."""
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_records(path: str | Path, clip: Clip) -> None:
    """Write a clip as 40-bit records; times up to 2^23 - 1 us."""
    records = np.empty((clip.time.size, 5), np.uint8)
    records[:, 0], records[:, 1] = clip.x, clip.y
    records[:, 2] = clip.polarity << 7 | (clip.time >> 16).astype(np.uint8)
    records[:, 3], records[:, 4] = clip.time >> 8 & 255, clip.time & 255
    records.tofile(path)


def write_mnist(folder: Path, n: int = 20, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for image_file, label_file in mnist.FILES.values():
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = (np.arange(n) % mnist.CLASSES).astype(np.uint8)
        write_idx(folder / f"{image_file}.gz", images)
        write_idx(folder / f"{label_file}.gz", labels)


def write_cifar(folder: Path, name: cifar.Name = "cifar10", n: int = 20, seed: int = 0) -> None:
    rng, layout = np.random.default_rng(seed), cifar.LAYOUTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    for file in (f for files in layout.files.values() for f in files):
        records = rng.integers(0, 256, (n, layout.labels + cifar.PIXELS), np.uint8)
        records[:, : layout.labels] = (np.arange(n) % layout.classes)[:, None]
        records[:, : layout.labels - 1] %= cifar.COARSE
        records.tofile(folder / file)


def write_nmnist(root: Path, n: int = 1, seed: int = 0) -> None:
    """Write moving bars as tonic unpacks N-MNIST, below ``$NEURO_DATA``."""
    for part, name in SETS["nmnist"].parts.items():
        bars = moving_bars.generate(part, 34, 10, seed)
        for number in range(10 * n):
            path = root / "NMNIST" / name / str(number % 10) / f"{number + 1:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_records(path, bars[number])


def write_dvs_gesture(root: Path, n: int = 1, seed: int = 0) -> None:
    """Write moving bars as tonic's copy of DVS-Gesture: rows of x, y, polarity, time [ms]."""
    for part, name in SETS["dvs_gesture"].parts.items():
        bars = moving_bars.generate(part, 128, 11, seed)
        for number in range(11 * n):
            user, label = divmod(number, 11)
            path = root / "DVSGesture" / name / f"user{user + 1:02}_led" / f"{label}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_gesture(path, bars[number])


def write_gesture(path: Path, clip: Clip) -> None:
    columns = clip.x, clip.y, clip.polarity, clip.time // 1000
    np.save(path, np.stack(columns, 1).astype(np.int64))


def write_shd(root: Path, n: int = 1, seed: int = 0) -> None:
    """Write random spikes as the files of SHD; each class has its own channels."""
    write_cochlea(root, SETS["shd"], 20, n, seed)


def write_ssc(root: Path, n: int = 1, seed: int = 0) -> None:
    """Write random spikes as the files of SSC; each class has its own channels."""
    write_cochlea(root, SETS["ssc"], 35, n, seed)


def write_cochlea(root: Path, known: TonicSet, classes: int, n: int, seed: int) -> None:
    import h5py

    folder, own = root / known.title, 700 // classes
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(known.parts.values()):
        rng = np.random.default_rng([seed, k])
        labels = np.arange(classes * n) % classes
        with h5py.File(folder / name, "w") as file:
            times = file.create_dataset(
                "spikes/times", len(labels), h5py.vlen_dtype(np.float16)
            )
            units = file.create_dataset("spikes/units", len(labels), h5py.vlen_dtype(np.uint16))
            for i, label in enumerate(labels):
                times[i] = rng.uniform(0, 1.2, 60 + i).astype(np.float16)
                units[i] = rng.integers(own * label, own * label + own, 60 + i)
            file["labels"] = labels.astype(np.uint16)
            file["extra/keys"] = [b"word"] * classes
            file["extra/speaker"] = np.zeros(len(labels), np.uint16)


def write_vowels(root: Path) -> None:
    """Write random utterances of 7 to 29 frames as the files of JapaneseVowels."""
    folder = root / FOLDERS[0]
    folder.mkdir(parents=True)
    for part, size in SIZES.items():
        rng, lines = np.random.default_rng(size), ["# a comment", "@data"]
        for n in range(size):
            series = rng.normal(size=(12, 7 + n % 23)).round(3)
            lines.append(":".join([*(",".join(map(str, s)) for s in series), str(n % 9 + 1)]))
        (folder / f"JapaneseVowels_{part.upper()}.ts").write_text("\n".join(lines) + "\n")
