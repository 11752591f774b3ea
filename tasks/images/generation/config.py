"""Configurations: the images, the network and its training."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, MinLen

from neuro.base.bounds import Count, Natural, NotNegative, Positive
from neuro.base.units import Ticks
from tasks.runs.configuration import TrainingConfig, require_sound

Source = Literal["embedded", "mnist", "fashion", "cifar10"]
Model = Literal["attention", "drawn", "membrane", "ann"]


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(TrainingConfig):
    """One experiment on images."""

    source: Source = "embedded"
    """Embedded digits, or the full set of that name from $NEURO_DATA."""
    model: Model = "attention"
    """How the ticks of the spiking decoder become an image; "ann" has no spikes."""
    channels: Annotated[tuple[Count, ...], MinLen(2)] = (32, 64, 128, 256)
    """Channels of the convolutions; images are 2 ** (their number + 1) pixels wide."""
    latent: Count = 128
    """Bits of the latent per tick; of the ANN, numbers."""
    copies: Count = 20
    """Candidates k for each bit of the latent."""
    ticks: Annotated[Ticks, Ge(1)] = Ticks(16)
    """Length of a run [ticks]."""
    distance: Literal["mmd", "kl"] = "mmd"
    """Distance of the prior from the posterior."""
    weight: NotNegative = 1.0
    """Weight of that distance in the loss."""
    held: Count = 500
    """Images of the training part for model selection."""
    train: Natural = 0
    """Largest number of training images; 0 takes all."""
    test: Natural = 0
    """Largest number of test images; 0 takes all."""
    compared: Natural = 50
    """Test images whose latents other executors run; 0 takes all."""
    batch: Count = 250
    epochs: Count = 150
    lr: Positive = 1e-3
    decay: NotNegative = 1e-3
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        require_sound(self)

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        if self.model != "ann" or self.distance == "kl":
            return []
        return [
            f'distance is "{self.distance}"; it must be "kl" for model "ann". Use '
            "--set distance=kl."
        ]

    @property
    def colours(self) -> int:
        """Channels of an image."""
        return 3 if self.source == "cifar10" else 1

    @property
    def side(self) -> int:
        """Height and width of an image [pixels]."""
        return int(2 ** (len(self.channels) + 1))


def full() -> GenerationConfig:
    """The size of the paper, on MNIST from $NEURO_DATA: days on a CPU."""
    return GenerationConfig(source="mnist", held=5000)


def fashion() -> GenerationConfig:
    """The same on Fashion-MNIST."""
    return replace(full(), source="fashion")


def cifar10() -> GenerationConfig:
    """The same on CIFAR-10, with random mirroring in training."""
    return replace(full(), source="cifar10")


def night() -> GenerationConfig:
    """All of MNIST by a network of half the width and ticks: some hours on one core."""
    return replace(
        full(),
        channels=(16, 32, 64, 128),
        latent=64,
        copies=16,
        ticks=Ticks(8),
        batch=100,
        epochs=20,
        lr=2e-3,
    )


def tiny() -> GenerationConfig:
    """The same as small with fewer ticks and epochs: half a minute on one core."""
    return replace(small(), ticks=Ticks(4), epochs=2)


def small() -> GenerationConfig:
    """The embedded digits by a narrower network: a minute and a half on one core."""
    return replace(
        night(),
        source="embedded",
        channels=(8, 16, 64, 128),
        copies=8,
        held=500,
        batch=25,
        epochs=6,
        lr=2e-3,
    )


def small_drawn() -> GenerationConfig:
    """The same with the attention in the figure of the paper."""
    return replace(small(), model="drawn")


def small_membrane() -> GenerationConfig:
    """The same with the decoder of FSVAE, the baseline of TAID."""
    return replace(small(), model="membrane")


def small_ann() -> GenerationConfig:
    """The same layers without spikes or ticks."""
    return ann(small())


def ann(config: GenerationConfig) -> GenerationConfig:
    """Return the twin without spikes; 1 / 240 is the published weight of its KL on MNIST."""
    return replace(config, model="ann", ticks=Ticks(1), distance="kl", weight=1 / 240)
