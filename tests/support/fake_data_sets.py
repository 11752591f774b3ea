"""Data sets of noise or of moving bars, written in their true formats.

n: images of a part or file, clips of a class and part, or recordings of a part.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from drivers import cifar, idx, mnist
from drivers.event_camera import Clip, cifar10_dvs, dvs_gesture, moving_bars, nmnist
from drivers.event_camera.files import write_aedat2, write_aedat3, write_records

PAUSE = 50_000  # us, between the gestures of a recording


def write_mnist(folder: Path, n: int = 20, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for image_file, label_file in mnist.FILES.values():
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = (np.arange(n) % mnist.CLASSES).astype(np.uint8)
        idx.write(folder / f"{image_file}.gz", images)
        idx.write(folder / f"{label_file}.gz", labels)


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
