"""Data sets of noise or of moving bars, written in their true formats.

n: images of a part or file, clips of a class and part, or recordings of a part.
"""

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from drivers import cifar, mnist
from drivers.event_camera import Clip, cifar10_dvs, dvs_gesture, moving_bars, nmnist
from drivers.event_camera.files import AEDAT3_END, EVENT, HEADER, POLARITY

PAUSE = 50_000  # us, between the gestures of a recording


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


def write_aedat2(path: str | Path, clip: Clip) -> None:
    """Write a clip of a DVS128 as an AEDAT 2.0 file; x and y are those of the address."""
    address = clip.y.astype(np.int64) << 8 | clip.x.astype(np.int64) << 1 | clip.polarity
    words = np.stack([address, clip.time], 1).astype(">u4")
    Path(path).write_bytes(b"#!AER-DAT2.0\r\n# Timestamps tick is 1 us\r\n" + words.tobytes())


def write_aedat3(path: str | Path, clip: Clip, packet: int = 1000) -> None:
    """Write a clip as an AEDAT 3.1 file, at most ``packet`` events a packet."""
    address = clip.x.astype(np.int64) << 17 | clip.y.astype(np.int64) << 2
    words = np.stack([address | clip.polarity << 1 | 1, clip.time & 0x7FFF_FFFF], 1)
    parts = [b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n", AEDAT3_END]
    for overflow in np.unique(clip.time >> 31):
        same = words[clip.time >> 31 == overflow].astype("<u4")
        for first in range(0, len(same), packet):
            some = same[first : first + packet]
            n = len(some)
            parts.append(HEADER.pack(POLARITY, 1, EVENT, 4, int(overflow), n, n, n))
            parts.append(some.tobytes())
    Path(path).write_bytes(b"".join(parts))


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


def write_nmnist(folder: Path, n: int = 1, seed: int = 0) -> None:
    for part in moving_bars.PER_CLASS:
        bars = moving_bars.generate(part, nmnist.SIDE, len(nmnist.CLASSES), seed)
        for number in range(n * len(nmnist.CLASSES)):
            path = (
                folder
                / nmnist.FOLDERS[part]
                / nmnist.CLASSES[number % 10]
                / f"{number + 1:05}.bin"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_records(path, bars[number])


def write_cifar10_dvs(folder: Path, n: int = 1, seed: int = 0) -> None:
    for part in moving_bars.PER_CLASS:
        first = 0 if part == "test" else cifar10_dvs.TEST
        bars = moving_bars.generate(part, cifar10_dvs.SIDE, len(cifar10_dvs.CLASSES), seed)
        for number in range(n * len(cifar10_dvs.CLASSES)):
            clip, name = bars[number], cifar10_dvs.CLASSES[number % 10]
            path = folder / name / f"cifar10_{name}_{first + number // 10}.aedat"
            path.parent.mkdir(parents=True, exist_ok=True)
            last = cifar10_dvs.SIDE - 1
            raw = replace(clip, x=last - clip.y, y=last - clip.x, polarity=1 - clip.polarity)
            write_aedat2(path, raw)


def write_dvs_gesture(folder: Path, n: int = 1, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, listed in dvs_gesture.TRIALS.items():
        bars = moving_bars.generate(part, dvs_gesture.SIDE, len(dvs_gesture.CLASSES), seed)
        names = [f"user{k:02}_{part}" for k in range(n)]
        for k, name in enumerate(names):
            clips = [
                bars[k * len(dvs_gesture.CLASSES) + c] for c in range(len(dvs_gesture.CLASSES))
            ]
            rows, joined = _join(clips)
            write_aedat3(folder / f"{name}.aedat", joined)
            (folder / f"{name}_labels.csv").write_text(
                "\n".join([dvs_gesture.TITLE, *rows]) + "\n"
            )
        (folder / listed).write_text("".join(f"{name}.aedat\n" for name in names))


def _join(clips: list[Clip]) -> tuple[list[str], Clip]:
    """Return the rows of the table, and one clip of all clips, one after the other."""
    rows, times, at = [], [], 0
    for clip in clips:
        at += PAUSE
        times.append(clip.time - clip.start + at)
        length = clip.stop - clip.start
        rows.append(f"{clip.label + 1},{at},{at + length}")
        at += length
    x, y, polarity = (
        np.concatenate([getattr(c, name) for c in clips]) for name in ("x", "y", "polarity")
    )
    joined = Clip(
        x=x, y=y, polarity=polarity, time=np.concatenate(times), start=0, stop=at,
        width=dvs_gesture.SIDE, height=dvs_gesture.SIDE, label=0, source="joined",
    )  # fmt: skip
    return rows, joined
