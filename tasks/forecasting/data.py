"""The windows of a configuration: values for networks without spikes, events for spiking ones.

Axes: T ticks, N or B windows, L samples of a window, C channels of events.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from drivers.series import generate_lorenz, generate_mackey_glass
from neuro.spikes.codes import delta
from neuro.training.shuffle import shuffle_batches
from tasks.forecasting.config import ForecastConfig, Source
from tasks.forecasting.patients import count_drawn, iterate_batches
from tasks.forecasting.recordings import RecordingConfig
from tasks.forecasting.seizures import SeizureConfig, prepare_patient
from tasks.forecasting.windows import (
    PreparedSeries,
    SeriesWindows,
    align,
    align_student,
    find_range,
    fit_bins,
    require_series,
)
from tasks.runs.configuration import require_sound
from tasks.runs.task import Split

Batch = tuple[Tensor, Tensor, Tensor]  # stimulus T B ..., bins B, the teacher's windows B *M L
EVALUATED = 500  # windows per batch in evaluation
SKIPPED = 1000  # samples before a series is on its attractor


@lru_cache(maxsize=16)
def make_series(source: Source, seed: int, points: int) -> Float64[np.ndarray, " N"]:
    """Return a generated series; the seed determines where it begins."""
    if source == "mackey_glass":
        past = float(np.random.default_rng([seed, 0]).uniform(0.6, 1.2))
        return generate_mackey_glass(points, past=past, skip=SKIPPED)
    return generate_lorenz(points, start=draw_start(seed), skip=SKIPPED)[:, 0]


def draw_start(seed: int) -> tuple[float, float, float]:
    """Return the random initial state of a Lorenz system, before the skipped samples."""
    x, y, z = np.random.default_rng([seed, 0]).normal(0, 5, 3)
    return float(x), float(y), float(z)


def prepare(config: ForecastConfig) -> PreparedSeries:
    """Return the windows of a configuration.

    Raises:
        ValueError: the configuration is wrong, or the series is too short for its
            windows, constant, or not finite.
    """
    require_sound(config)
    if isinstance(config, SeizureConfig):
        return prepare_patient(config)
    sizes = (config.lookback, config.horizon, config.teacher_horizon, config.train)
    return _prepare(config.source, config.seed_of_data, config.points, config.bins, sizes)


@lru_cache(maxsize=16)
def _prepare(
    source: Source, seed: int, points: int, bins: int, sizes: tuple[int, int, int, int]
) -> PreparedSeries:
    series = make_series(source, seed, points)
    return prepare_series(series, str(source), bins, *sizes)


def prepare_series(  # noqa: PLR0913 - the sizes of windows have names
    series: Float64[np.ndarray, " N"],
    name: str,
    bins: int,
    lookback: int,
    horizon: int,
    teacher_horizon: int = 1,
    train: int = 0,
) -> PreparedSeries:
    """Return the windows of any series. train: most windows to train on, the last (0: all).

    Raises:
        ValueError: the series is constant, not finite, or too short.
    """
    require_series(series, name)
    aligned = {}
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        start, stop = find_range(len(series), split, lookback + horizon)
        try:
            aligned[split] = (
                align(start, stop, lookback, horizon, teacher_horizon)
                if teacher_horizon < horizon
                else align_student(start, stop, lookback, horizon)
            )
        except ValueError as error:
            raise ValueError(f"{name}, {split} part of {len(series)}: {error}") from error
    aligned["train"] = aligned["train"].keep_last(train)
    first, last = find_range(len(series), "train", 0)
    known = series[first:last]
    require_series(known, f"{name}, train part")
    found = fit_bins(series[aligned["train"].target], bins)
    mean, sd = float(known.mean()), float(known.std())
    scaled = ((series - mean) / sd).astype(np.float32)
    windows = {
        split: SeriesWindows(
            own=scaled[a.student],
            later=scaled[a.teacher],
            labels=found.encode(series[a.target]),
        )
        for split, a in aligned.items()
    }
    return PreparedSeries(
        windows=windows,
        bins=found,
        mean=mean,
        sd=sd,
        low=float(known.min()),
        high=float(known.max()),
    )


def choose_later(config: ForecastConfig, part: SeriesWindows, epoch: int) -> SeriesWindows:
    """Return a split with the windows that the arm's teacher sees in a training epoch."""
    if config.arm == "present":
        return replace(part, later=show_own(config, part))
    if config.arm == "shuffled":
        rng = np.random.default_rng([config.seed_of_data, epoch, 1])
        return replace(part, later=part.later[rng.permutation(len(part.later))])
    return part


def show_own(config: ForecastConfig, part: SeriesWindows) -> Float32[np.ndarray, "N *M L"]:
    """Return the students' own windows in the form that a teacher reads."""
    if isinstance(config, SeizureConfig):
        return part.own[:, None, -config.signals :]  # the last window
    return part.own


def order_batches(
    config: ForecastConfig, count: int, epoch: int
) -> Iterator[Int64[np.ndarray, " B"]]:
    """Yield the window indices of each batch in a training epoch."""
    rng = np.random.default_rng([config.seed_of_data, epoch])
    return shuffle_batches(count, config.batch, rng)


def count_steps(config: ForecastConfig) -> int:
    """Return the number of batches per epoch.

    Raises:
        ValueError: a batch is larger than the number of windows.
    """
    if isinstance(config, RecordingConfig):
        count = count_drawn(config)
    else:
        count = len(prepare(config).windows["train"].labels)
    if config.batch > count:
        raise ValueError(
            f"batch is {config.batch}, and there are {count} windows to train on; give a "
            "smaller batch, or more points"
        )
    return count // config.batch


def batches(config: ForecastConfig, split: Split, epoch: int) -> Iterator[Batch]:
    """Yield (stimulus T B ..., bins B, the teacher's windows B L, or B M L of M windows)."""
    if isinstance(config, RecordingConfig):
        yield from iterate_batches(config, split, epoch)
        return
    prepared = prepare(config)
    part = prepared.windows[split]
    if split == "train":
        part = choose_later(config, part, epoch)
        order = order_batches(config, len(part.labels), epoch)
    else:
        count = len(part.labels)
        order = iter(np.split(np.arange(count), range(EVALUATED, count, EVALUATED)))
    for some in order:
        own, later = (torch.from_numpy(w[some]) for w in (part.own, part.later))
        yield make_stimulus(config, prepared, own), torch.from_numpy(part.labels[some]), later


def make_dummy_batch(config: ForecastConfig) -> Batch:
    """Return a training batch of arbitrary values."""
    if isinstance(config, RecordingConfig):
        later = torch.zeros(config.batch, math.prod(config.shape))
        return later[None], torch.zeros(config.batch, dtype=torch.int64), later
    later = torch.zeros(config.batch, config.teacher_inputs)
    if isinstance(config, SeizureConfig):
        later = later[:, None]
    inputs = (
        config.lookback * config.signals if config.cells == "tanh" else count_channels(config)
    )
    x = torch.zeros(count_ticks(config), config.batch, inputs)
    return x, torch.zeros(config.batch, dtype=torch.int64), later


def count_ticks(config: ForecastConfig) -> int:
    """Return the ticks per inference."""
    return 1 if config.cells == "tanh" else config.lookback + config.settle


def count_channels(config: ForecastConfig) -> int:
    """Return C: two signs of each binary place, for each value of a sample."""
    return config.signals * 2 * _count_places(config)


def _count_places(config: ForecastConfig) -> int:
    """Return the binary places of the largest change: twice the range of training."""
    return int(2 / config.step).bit_length()


def make_stimulus(
    config: ForecastConfig, prepared: PreparedSeries, own: Float[Tensor, "B L"]
) -> Float32[Tensor, "T B C"]:
    """Return the input of a network: all values at once, or events of their changes."""
    if config.cells == "tanh":
        return own[None]
    samples = own.reshape(len(own), config.lookback, config.signals).transpose(0, 1)
    share = samples * (prepared.sd / (prepared.high - prepared.low))
    spikes = encode_changes(share, config.step, _count_places(config)).flatten(2)
    return torch.cat([spikes, spikes.new_zeros(config.settle, *spikes.shape[1:])])


def encode_changes(
    x: Float[Tensor, "T *B"], step: float, places: int
) -> Float32[Tensor, "T *B C"]:
    """Return the delta code of signals, its counts in binary places, as spikes.

    At each tick the code counts by how many steps a signal rose or fell since its last event,
    starting from 0 (:func:`neuro.spikes.codes.delta`). If it rose, channel k spikes where bit k
    of the count is 1, the lowest bit first; if it fell, channel places + k does.

    Raises:
        ValueError: a count has more binary places; or the signal or the step is out of range.
    """
    events = delta(x, step)
    most = int(events.abs().max()) if events.numel() else 0
    if most >= 2**places:
        raise ValueError(
            f"the signal changes by {most} steps at once, and {places} binary places end at "
            f"{2**places - 1}; give a larger step, or check the series for outliers"
        )
    size = events.abs().long()
    bits = (size[..., None] >> torch.arange(places, device=x.device)) & 1
    rises, falls = (bits * sign[..., None] for sign in (events > 0, events < 0))
    return torch.cat([rises, falls], -1).float()
