"""Recordings of events through networks of adaptive neurons: N-MNIST, DVS-Gesture, SHD, SSC.

    events -> frames, one per tick -> {conv - batch norm - ALIF - pool} x n -> dense -> answer
    spikes of a cochlea -> ticks -> dense -> ALIF with feedback -> dense -> answer
    spikes of a cochlea -> ticks -> {delays - dense - batch norm - ALIF} x n -> dense -> answer

A frame counts the events of each pixel and polarity in one tick of ``dt``. The network is that
of :mod:`tasks.images.classification.network`, one recurrent layer, or dense layers with delays.
Axes: T ticks, B batch, polarities (OFF, ON), H height, W width, K classes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from drivers.event_camera import Clip, Clips, frames, load, moving_bars
from drivers.folders import find_neuro_data
from neuro.base.bounds import ADDED, Count, Natural, Positive
from neuro.base.units import Seconds, Ticks
from neuro.neurons import ALIF, LI
from neuro.nn.layers import Recurrent, Spiking, Stack
from tasks.images.classification import network as image_net
from tasks.images.classification.classifier import Answers, make_classifier
from tasks.images.classification.data import (
    ImageConfig,
    iterate_indices,
    make_dummy_batch,
    take_split,
)
from tasks.images.delayed import Delays, explain_unpriced, list_controls, make_linear
from tasks.runs.configuration import make_plan, require_sound
from tasks.runs.names import SUMMARIES
from tasks.runs.task import Pair, Split

Source = Literal["bars", "nmnist", "dvs_gesture", "shd", "ssc"]
EVALUATED = 50  # recordings per batch outside training


@dataclass(frozen=True, kw_only=True)
class EventsConfig(ImageConfig):
    """One experiment on recordings of events, cut to ``ticks`` or continued in silence.

    ``code`` "rate" gives one spike per pixel, polarity and tick that has an event; "direct"
    gives the number of events, as a graded spike.
    """

    source: Source
    """Generated "bars", or a data set of tonic from $NEURO_DATA."""
    held: Count
    """Number of recordings at the end of the training part for model selection."""
    dt: Positive = 0.01
    """Length of a tick [s], a whole number of microseconds."""
    downsample: Count = 1
    """Side of the squares of pixels whose events are summed; of one row, number of channels."""
    recurrent: Natural = 0
    """Neurons of one layer with feedback, which replaces blocks and hidden; 0: none."""
    delays: Delays | None = field(default=None, metadata=ADDED)
    """Synapses of dense layers with batch norms, which replace blocks; null: other layers."""
    most: Count = field(default=24, metadata=ADDED)
    """Longest delay of a synapse [ticks]."""

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        _, height, width = SOURCES[self.source].shape
        part, ticks = self.downsample, self.dt * 1e6
        wrong = {
            f"downsample is {part}; it must divide {height} x {width} pixels": (
                (math.gcd(height, width) if height > 1 else width) % part
            ),
            f"delays are {self.delays!r} and recurrent is {self.recurrent}; use one of them": (
                self.delays and self.recurrent
            ),
            f"dt is {self.dt}; it must be a whole number of us, >= 1e-06": (
                round(ticks) < 1 or not math.isclose(ticks, round(ticks))
            ),
        }
        return super().list_conflicts() + [text for text, is_so in wrong.items() if is_so]


@dataclass(frozen=True, kw_only=True)
class RecordedSource:
    """Properties of a source.

    shape: (polarities, height, width) before pooling.
    recordings: number of recordings of the training part, as published.
    """

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    recordings: int


SOURCES: dict[Source, RecordedSource] = {
    "bars": RecordedSource(
        shape=(2, 16, 16),
        classes=(
            *("right", "right down", "down", "left down"),
            *("left", "left up", "up", "right up"),
        ),
        recordings=160,
    ),
    "nmnist": RecordedSource(shape=(2, 34, 34), classes=tuple("0123456789"), recordings=60_000),
    "dvs_gesture": RecordedSource(
        shape=(2, 128, 128),
        classes=(
            *("hand clapping", "right hand wave", "left hand wave"),
            *("right arm clockwise", "right arm counter clockwise"),
            *("left arm clockwise", "left arm counter clockwise"),
            *("arm roll", "air drums", "air guitar", "other gestures"),
        ),
        recordings=1077,
    ),
    "shd": RecordedSource(
        shape=(1, 1, 700),
        classes=(
            *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
            *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht"),
            "neun",
        ),
        recordings=8156,
    ),
    "ssc": RecordedSource(
        shape=(1, 1, 700), classes=tuple(f"word {n}" for n in range(35)), recordings=75_466
    ),
}


def tiny() -> EventsConfig:
    """Bars that move in eight directions: trains in seconds."""
    return EventsConfig(
        source="bars",
        ticks=20,
        dt=0.0125,
        blocks=(8, 0, 16, 0),
        held=40,
        batch=10,
        epochs=8,
        lr=0.01,
    )


def nmnist() -> EventsConfig:
    """N-MNIST, from $NEURO_DATA: 300 ms in 30 ticks."""
    return EventsConfig(
        source="nmnist", ticks=30, blocks=(16, 0, 32, 0), held=5000, compared=200, batch=50
    )


def dvs_gesture() -> EventsConfig:
    """DVS-Gesture, from $NEURO_DATA: the first 1.5 s in 60 ticks, 32 x 32 pixels."""
    return EventsConfig(
        source="dvs_gesture",
        ticks=60,
        dt=0.025,
        downsample=4,
        blocks=(32, 0, 64, 0, 128, 0),
        hidden=(256,),
        held=100,
        compared=50,
        batch=16,
        epochs=60,
        lr=2e-3,
    )


def shd() -> EventsConfig:
    """SHD, from $NEURO_DATA: 1.4 s in 140 ticks, one recurrent layer."""
    return EventsConfig(
        source="shd", ticks=140, recurrent=256, held=800, compared=200, epochs=30, lr=2e-3
    )


def shd_delays() -> EventsConfig:
    """SHD through 140 inputs and two layers of 256 with synaptic delays up to 240 ms.

    Layers, ticks, channels, batches, epochs and dropouts of I. Hammouamri et al. 2024.
    """
    return EventsConfig(
        source="shd",
        ticks=140,
        downsample=5,
        delays="learned",
        hidden=(256, 256),
        dropout=(0.0, 0.4, 0.4),
        held=800,
        compared=200,
        batch=256,
        epochs=150,
        lr=1e-3,
    )


def ssc_delays() -> EventsConfig:
    """SSC through 140 inputs and three layers of 512 with synaptic delays up to 300 ms.

    Sizes as in :func:`shd_delays`.
    """
    return replace(
        shd_delays(),
        source="ssc",
        most=30,
        hidden=(512, 512, 512),
        dropout=(0.0, 0.25, 0.25, 0.25),
        held=7500,
        batch=128,
        epochs=60,
    )


def find_shape(config: EventsConfig) -> tuple[int, int, int]:
    """Return (polarities, height, width) of a frame."""
    polarities, height, width = SOURCES[config.source].shape
    return polarities, max(height // config.downsample, 1), width // config.downsample


def build(config: EventsConfig) -> Stack:
    """Return a new network. Input T B polarities H W, output T B K.

    Raises:
        ValueError: the configuration is wrong; the message lists every problem.
    """
    require_sound(config)
    shape, classes, dt = find_shape(config), _count_classes(config), Seconds(config.dt)
    if config.delays is not None:
        sizes = (math.prod(shape), *config.hidden, classes)
        return _build_delayed(config, config.delays, sizes, dt)
    if not config.recurrent:
        return image_net.build(config, shape, classes, dt)
    n, cells = config.recurrent, Spiking(ALIF(threshold=0.5, beta=config.beta), dt)
    return Stack(
        flat=nn.Flatten(),
        fc1=nn.Linear(math.prod(shape), n, bias=False),
        cells=Recurrent(cells, nn.Linear(n, n, bias=False)),
        fc=nn.Linear(n, classes, bias=False),
        readout=Spiking(LI(tau=0.02), dt),
    )


def _build_delayed(
    config: EventsConfig, delays: Delays, sizes: tuple[int, ...], dt: Seconds
) -> Stack:
    """Return a network of dense layers. sizes: numbers of inputs, neurons and classes."""
    recordings = SOURCES[config.source].recordings - config.held
    steps = min(config.train or recordings, recordings) // config.batch
    make = partial(
        make_linear, kind="synaptic", bias=False, soft_steps=config.epochs * steps // 2
    )
    parts: dict[str, nn.Module] = {"flat": nn.Flatten()}
    for k, pair in enumerate(pairwise(sizes)):
        if k < len(config.dropout):
            parts[f"drop{k + 1}"] = nn.Dropout(config.dropout[k])
        name = f"fc{k + 1}" if k < len(config.hidden) else "fc"
        parts[name] = make(delays, pair, Ticks(config.most))
        if k < len(config.hidden):
            parts[f"norm{k + 1}"] = nn.BatchNorm1d(pair[1])
            parts[f"dense{k + 1}"] = Spiking(ALIF(threshold=0.5, beta=config.beta), dt)
    return Stack(**parts, readout=Spiking(LI(tau=0.02), dt))


@lru_cache(maxsize=4)
def open_part(source: Source, root: str, part: moving_bars.Part) -> Clips:
    """Return a part of a source in a fixed random order. root: ``$NEURO_DATA``."""
    if source == "bars":
        recorded = SOURCES[source]
        clips = moving_bars.generate(part, recorded.shape[2], len(recorded.classes))
    else:
        clips = load(source, part, {"NEURO_DATA": root})
    return clips.take(np.random.default_rng(0).permutation(len(clips)))


def find_clips(config: EventsConfig, split: Split) -> Clips:
    """Return a split; "val" is the held-out end of the training part."""
    part = partial(open_part, config.source, find_neuro_data())
    return take_split(part, config, split, "events:tiny")


def batches(config: EventsConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (frames T B polarities H W, labels B); the epoch seeds the order in training."""
    clips = find_clips(config, split)
    for indices in iterate_indices(len(clips), config, split, epoch, EVALUATED):
        read = [torch.from_numpy(_frames(config, clips[int(i)])) for i in indices]
        yield torch.stack(read, 1), torch.from_numpy(clips.labels[indices])


def loss(
    config: EventsConfig, y: Float[Tensor, "T B N"], labels: Int64[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Return the loss of :func:`tasks.images.classification.network.loss`."""
    return image_net.loss(config, y, labels, _count_classes(config))


def find_answers(config: EventsConfig) -> Answers:
    """Return the classes of the source, and the function that scores them from outputs."""
    scores = partial(image_net.scores, classes=_count_classes(config))
    return Answers(classes=SOURCES[config.source].classes, scores=scores)


def _count_classes(config: EventsConfig) -> int:
    return len(SOURCES[config.source].classes)


def _frames(config: EventsConfig, clip: Clip) -> Float32[np.ndarray, "T P H W"]:
    """Return the frames of a recording; a source of one polarity has ON events only."""
    binary = config.code == "rate"
    counted = frames(clip, config.ticks, Seconds(config.dt), config.downsample, binary)
    return counted[:, -SOURCES[config.source].shape[0] :]


CONFIGS = (tiny, nmnist, dvs_gesture, shd, shd_delays, ssc_delays)
TASK = make_classifier(
    summary=SUMMARIES["events"],
    about="The events of a camera or a model cochlea go in, and the class of what was seen or "
    "heard comes out. Events are input spikes, which spiking neurons read tick by tick.",
    configs={make.__name__: make for make in CONFIGS},
    build=build,
    plan=make_plan,
    steps=lambda config: len(find_clips(config, "train")) // config.batch,
    batches=batches,
    dummy_batch=lambda config: make_dummy_batch(config, find_shape(config)),
    loss=loss,
    answers=find_answers,
    unit=lambda config: float(config.code == "direct"),
    compared=lambda config: config.compared,
    ann_passes=lambda config: config.ticks,
    controls=list_controls,
    unpriced=explain_unpriced,
    seed_changes=(
        "the initial weights and the draws of dropout; the order of the recordings follows "
        "from the epoch and seed_of_data"
    ),
)
