"""Estimate what a training on nuScenes v1.0-trainval takes, without the data set.

Counts follow from the published numbers of nuScenes, work and memory from tensor shapes. Times
are extrapolated from three measurements on this machine: encoding one image, decoding one
frame, and reading one image. Hours on a GPU are not measured: they follow from the work, the
peak of the GPU, and the share of the peak that training reaches.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from drivers.nuscenes.devkit import require_devkit
from drivers.nuscenes.images import read_small_image, scaled_size
from drivers.nuscenes.problem import NuScenesError
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import ImageSize
from neuro.nn.recompute import count_kept, note_recomputed
from tasks.driving.batch import make_blank
from tasks.driving.config import DrivingConfig, Phase
from tasks.driving.model import Driver
from tasks.runs.task import Table

VERSION = "v1.0-trainval"
SCENES, KEYFRAMES = 700, 28_130  # in the training split
ALL_KEYFRAMES = 34_149  # in training and validation splits
PIXELS = 1600, 900  # width and height
# [GB] to download, according to nuScenes' page: ten parts of 4.2 (keyframes) or 29.4 (all).
DOWNLOADS = {"keyframes": 42.0, "all files": 294.0}
# [GB] memory of the devkit's tables: 2.6 M sample_data of 1.1 kB, as many ego_pose of 0.6 kB,
# and 1.2 M sample_annotation of 1.4 kB.
TABLES = 6.3
GPU = "A100"
PEAK = {"bf16-mixed": 312.0, "32-true": 156.0}  # [TFLOP/s] of the GPU; "32-true" uses TF32
REACHED = 0.1, 0.4  # share of the peak that training reaches, from poor to good
PASSES = 3  # work of a step in forward passes: one forward, and twice that backward


def estimate_training(config: DrivingConfig) -> tuple[Table, ...]:
    """Return a table of what a training takes; no table unless it uses v1.0-trainval.

    Raises:
        ValueError: validation would take all training scenes.
    """
    if config.source.data != "nuscenes" or config.source.version != VERSION:
        return ()
    if config.source.held >= SCENES:
        raise ValueError(
            f"{VERSION} has {SCENES} training scenes, and validation takes held="
            f"{config.source.held} of them; reduce source.held"
        )
    work = [count_work(config, phase) for phase in config.phases]
    train = count_train_windows(config)
    steps = train // config.batch
    pieces = measure_pieces(config)
    kept = "float32"
    if config.precision != "32-true":
        kept += f" ({config.precision} keeps less)"
    rows = [
        (
            "windows",
            f"{count_windows(config):,}",
            f"{KEYFRAMES:,} keyframes of {SCENES} scenes",
        ),
        ("to train on", f"{train:,}", f"{steps:,} steps of {config.batch} an epoch"),
    ]
    for phase, macs in zip(config.phases, work, strict=True):
        low, high = (find_rate(config, macs, share) for share in REACHED)
        slow = sum(pieces.get(part, pieces["decoder"]) * n for part, n in macs.items())
        rows += [
            (f"{phase.name}: work of a window", f"{sum(macs.values()) / 1e12:.2f} TMAC",
             "forward, by shapes"),
            ("  a step here", f"{slow * config.batch / 60:.0f} min",
             "of a core, from an image and a frame, by work"),
            (f"  windows a second, an {GPU}", f"{low:.1f} to {high:.1f}", "estimate"),
            ("  hours an epoch, 1 GPU", _range(train / 3600, high, low), "estimate"),
            ("  hours an epoch, 8 GPUs", _range(train / 3600 / 8, high, low), "estimate"),
            ("  activations of a window", f"{count_activations(config, phase, False):.1f} GB",
             f"{kept}; recomputed: "
             f"{count_activations(config, phase, True):.1f} GB"),
        ]  # fmt: skip
    rows += list_reading(config, max(find_rate(config, macs, REACHED[1]) for macs in work))
    rows.append(("memory of tables", f"{TABLES} GB", "of each process"))
    return (
        Table(
            title=f"What a training on {VERSION} takes",
            head=("of what", "about", "how it is known"),
            rows=rows,
            caption=f"Estimates: an {GPU} at {REACHED[0]:.0%} to {REACHED[1]:.0%} of "
            f"{PEAK[config.precision]:.0f} TFLOP/s ({config.precision}); work counts zeros of "
            "spikes. Times here are those of a core.",
        ),
    )


def list_reading(config: DrivingConfig, rate: float) -> list[tuple[str, str, str]]:
    """Return rows on images and disks; ``rate`` is the windows per second of a fast GPU."""
    try:
        scaled_size(config.image, *PIXELS, Path("an image of nuScenes"))
    except NuScenesError as error:
        return [("reading", "refused", str(error))]
    decoded, reduced, cached = measure_reading(config.image)
    ticks, past = 1 + config.source.sweeps, config.past
    images = len(CAMERAS) * past * ticks
    keyframe = len(CAMERAS) * ticks * 3 * config.image.height * config.image.width
    needed = "all files" if config.source.sweeps else "keyframes"
    return [
        (f"images a second, an {GPU}", f"up to {images * rate:,.0f}", f"{images} a window"),
        (
            "cores that decode them",
            f"up to {images * rate * decoded:.1f}",
            f"{1e3 * decoded:.1f} ms an image here, reduced {1e3 * reduced:.1f} ms",
        ),
        (
            "cores that read a cache",
            f"up to {past * rate * cached * ticks:.2f}",
            f"{1e3 * cached * ticks:.1f} ms a keyframe here, images alone",
        ),
        (
            "disk of nuScenes",
            f"{DOWNLOADS[needed]:.0f} GB",
            f"download of {needed}"
            + ("" if config.source.sweeps else f"; all files {DOWNLOADS['all files']:.0f} GB"),
        ),
        (
            "disk of a cache",
            f"{ALL_KEYFRAMES * keyframe / 1e9:.0f} GB",
            "images of all splits; labels below 1 GB",
        ),
    ]


def count_windows(config: DrivingConfig) -> int:
    """Return the number of windows in all training scenes of v1.0-trainval."""
    return KEYFRAMES - SCENES * (config.past + config.future - 1)


def count_train_windows(config: DrivingConfig) -> int:
    """Return the number of windows to train on, without those of validation scenes."""
    source = config.source
    found = count_windows(config) * (SCENES - source.held) // SCENES
    return min(found, source.train) if source.train else found


def count_work(config: DrivingConfig, phase: Phase) -> dict[str, int]:
    """Return a window's multiply-accumulates in the forward pass by part, including zeros."""
    with torch.device("meta"):
        model, seen = Driver(config).eval(), make_blank(config, "meta")
    past = phase.past or config.past
    seen = seen._replace(
        **{k: getattr(seen, k)[:, -past:] for k in ("images", "sweeps", "intrinsic", "to_ego")},
        to_present=seen.to_present[:, -past:],
        maps=seen.maps[:, -past:],
    )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(seen, phase.name, phase.futures)
    flops = {k.removeprefix("Driver."): v for k, v in counter.get_flop_counts().items()}
    parts = ("encoder", "prediction", "decoder", "heads", "planner")
    return {k: sum(flops[k].values()) // 2 for k in parts if k in flops}


def find_rate(config: DrivingConfig, macs: Mapping[str, int], share: float) -> float:
    """Return the windows per second that a GPU trains on at a share of its peak."""
    passes = PASSES + config.recomputes
    return share * PEAK[config.precision] * 1e12 / (2 * passes * sum(macs.values()))


def count_activations(config: DrivingConfig, phase: Phase, recomputes: bool) -> float:
    """Return the memory [GB] that one window holds between forward and backward pass."""
    config = replace(config, recomputes=recomputes)
    with torch.device("meta"):
        model, seen = Driver(config).train(), make_blank(config, "meta")
        for name, p in model.named_parameters():
            p.requires_grad_(not name.startswith(phase.frozen))
        with note_recomputed() as again, count_kept(model) as count:
            model(seen, phase.name, phase.futures, frozen=phase.frozen)
    return (count() + max(again, default=0)) / 1e9


def measure_pieces(config: DrivingConfig) -> dict[str, float]:
    """Return the core seconds per multiply-accumulate of the encoder and of the decoder.

    Measured on this machine in training mode: forward and backward, on one image and one frame.
    """
    model = Driver(config).train()
    size = config.image
    image = torch.rand(1 + config.source.sweeps, 1, 3, size.height, size.width)
    state = torch.randn(1, 1, config.state_channels, *config.grid.shape)
    passes: dict[str, tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]] = {
        "encoder": (
            lambda: torch.cat([y.flatten() for y in model.encoder(image)]),
            lambda: torch.cat([y.flatten() for y in model.encoder(image[..., :64, :64])]),
        ),
        "decoder": (
            lambda: model.decoder(state),
            lambda: model.decoder(state[..., :16, :16]),
        ),
    }
    out = {}
    for name, (run, warm) in passes.items():
        _learn(warm)
        begin = time.process_time()
        _learn(run)
        seconds = time.process_time() - begin
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            run()
        out[name] = seconds / (counter.get_total_flops() // 2)
    return out


def _learn(run: Callable[[], torch.Tensor]) -> None:
    run().sum().backward()  # type: ignore[no-untyped-call]


def measure_reading(size: ImageSize) -> tuple[float, float, float]:
    """Return the seconds to read an image, a reduced image, and a keyframe from the cache."""
    with require_devkit():
        from drivers.nuscenes.cache import WindowCache
    width, height = PIXELS
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        large = np.asarray(Image.fromarray(rough).resize((width, height)))
        noise = rng.normal(0, 9, large.shape)
        Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8)).save(path, quality=60)
        decodes: tuple[Literal["full", "reduced"], ...] = ("full", "reduced")
        ways = [partial(read_small_image, path, replace(size, decode=d)) for d in decodes]
        seen = np.stack([ways[0]()] * len(CAMERAS))
        cache = WindowCache(folder=Path(folder))
        read = partial(cache.read, "images", "scene", "token", [path], lambda: {"images": seen})
        calls: tuple[Callable[[], object], ...] = (*ways, read)
        full, reduced, cached = map(_take_best, calls)
    return full, reduced, cached


def _take_best(run: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return min(times)


def _range(amount: float, high: float, low: float) -> str:
    return f"{amount / high:,.1f} to {amount / low:,.1f}"
