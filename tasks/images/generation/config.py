"""Configurations: the images, the network and its training."""

from dataclasses import dataclass, replace
from typing import Literal

from neuro.base.units import Ticks

Source = Literal["embedded", "mnist", "fashion", "cifar10"]
Model = Literal["attention", "drawn", "membrane", "ann"]


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """One experiment on images.

    source: "embedded" digits, or the full set of that name from $NEURO_DATA.
    model: how the ticks of the spiking decoder become an image, see
        :mod:`tasks.images.generation.vae`; or "ann", the network without spikes.
    channels: of the convolutions; images are 2 ** (their number + 1) pixels wide.
    latent: bits per tick; for the ANN, numbers. copies: k, the candidates for each bit.
    ticks: T. distance: of the prior from the posterior, see
        :mod:`tasks.images.generation.vae`; an ANN has only "kl". weight: of that distance in
        the loss.
    held: images of the training part for model selection. train, test: largest number of images
    (0: all). compared: test images whose latents other executors run (0: all).
    decay: of weights (AdamW).
    """

    source: Source = "embedded"
    model: Model = "attention"
    channels: tuple[int, ...] = (32, 64, 128, 256)
    latent: int = 128
    copies: int = 20
    ticks: Ticks = Ticks(16)
    distance: Literal["mmd", "kl"] = "mmd"
    weight: float = 1.0
    held: int = 500
    train: int = 0
    test: int = 0
    compared: int = 50
    batch: int = 250
    epochs: int = 150
    lr: float = 1e-3
    decay: float = 1e-3
    seed_of_data: int = 0

    def __post_init__(self) -> None:
        counts = {n: getattr(self, n) for n in ("latent", "copies", "ticks", "batch", "held")}
        problems = [
            f"{n} must be >= 1, got {value}" for n, value in counts.items() if value < 1
        ]
        if len(self.channels) < 2 or min(self.channels, default=0) < 1:
            problems.append(
                f"channels must be two or more, each >= 1, got {self.channels}; images of "
                "32 x 32 pixels need four"
            )
        if self.model == "ann" and self.distance != "kl":
            problems.append(
                f'an ann needs distance="kl", got "{self.distance}"; convert another '
                "configuration with ann(config)"
            )
        if problems:
            raise ValueError("\n".join(["image_generation: wrong configuration:", *problems]))

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


def tiny_drawn() -> GenerationConfig:
    """The same with the attention in the figure of the paper."""
    return replace(tiny(), model="drawn")


def tiny_membrane() -> GenerationConfig:
    """The same with the decoder of FSVAE, the baseline of TAID."""
    return replace(tiny(), model="membrane")


def tiny_ann() -> GenerationConfig:
    """The same layers without spikes or ticks."""
    return ann(tiny())


def ann(config: GenerationConfig) -> GenerationConfig:
    """Return the twin without spikes; 1 / 240 is the published weight of its KL on MNIST."""
    return replace(config, model="ann", ticks=Ticks(1), distance="kl", weight=1 / 240)
