"""Configurations of flow: the images, the arm, the network, its training, the sampler.

An arm is one field:

    sit              every image alone, with its label; batches of random images
    arflow           an image behind noisier images of its class, which it sees through a state
    sit_unlabelled, arflow_unlabelled      the same two without labels
    sit_grouped      the control: sit on the batches of arflow
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tasks.runs.soundness import list_low_fields, refuse_problems

Source = Literal["embedded", "mnist", "cifar10", "images", "latents"]
Arm = Literal["sit", "arflow", "sit_unlabelled", "arflow_unlabelled", "sit_grouped"]
Sampler = Literal["euler", "heun", "sde"]
Maps = Literal["float", "spiking"]
HEAD = 64  # channels of a head at full size


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """One training on images.

    source: "embedded" digits, "mnist" or "cifar10" from $NEURO_DATA; of the folder ``data``
        class folders of "images", or of "latents" (:mod:`drivers.class_folders`).
    side: height and width of an image [pixels, or latents]. classes: of the data.
    arm: see above. images: of a sequence. batch: sequences of a batch; sit sees as many images.
    patch: side of a token. width: channels of a token. mlp: channels inside the unit behind
        each attention, in widths. matched: the unit of arflow is narrower by as many weights as
        its gates have. two_outputs: also put out the unused variance of the published networks.
    maps: of tokens: "float", or ternary weights on "spiking" inputs, counts of up to ``ticks``
        spikes of that threshold (:class:`neuro.nn.ternary.SpikeCount`).
    dropped: share of the labels that training hides, for guidance.
    mirror: whether training mirrors half of the images.
    held: training images for model selection, equally many of each class. train, test: largest
        number of images (0: all).
    sampler, steps: how images are made of noise, see :mod:`tasks.flow.sampler`. guidance: its
        weight; 1 is none. samples: images of an evaluation.
    lent: whether an evaluation also lends images the past of others, at twice the cost.
    lr, warm, decay, clip: see :class:`neuro.training.Plan`.
    """

    source: Source = "embedded"
    data: str = ""
    side: int = 8
    classes: int = 10
    arm: Arm = "arflow"
    images: int = 5
    batch: int = 8
    patch: int = 2
    width: int = 48
    depth: int = 2
    heads: int = 3
    mlp: float = 4.0
    matched: bool = True
    two_outputs: bool = False
    maps: Maps = "float"
    ticks: int = 4
    threshold: float = 0.75
    dropped: float = 0.1
    mirror: bool = False
    held: int = 500
    train: int = 0
    test: int = 0
    sampler: Sampler = "euler"
    steps: int = 25
    guidance: float = 1.0
    samples: int = 1000
    lent: bool = True
    epochs: int = 14
    lr: float = 3e-3
    warm: float = 0.05
    decay: float = 0.02
    clip: float = 1.0
    seed_of_data: int = 0

    @property
    def colours(self) -> int:
        """Channels of an image."""
        return {"cifar10": 3, "images": 3, "latents": 4}.get(self.source, 1)

    @property
    def guided(self) -> int:
        """Channels that guidance changes: of latents the first three, as published."""
        return 3 if self.source == "latents" else self.colours

    @property
    def tokens(self) -> int:
        """Tokens of an image."""
        return (self.side // self.patch) ** 2

    @property
    def is_grouped(self) -> bool:
        """Whether the images of a sequence are of one class."""
        return self.has_state or self.arm == "sit_grouped"

    @property
    def has_state(self) -> bool:
        """Whether an image sees those before it."""
        return self.arm in ("arflow", "arflow_unlabelled")

    @property
    def is_labelled(self) -> bool:
        """Whether the network is told the class."""
        return not self.arm.endswith("_unlabelled")

    @property
    def hidden(self) -> int:
        """Channels inside the unit behind each attention."""
        whole = round(self.mlp * self.width)
        if not (self.has_state and self.matched):
            return whole
        gates = self.width**2 + self.width * self.heads + self.width // self.heads
        if self.maps == "spiking":  # a gain of each input
            gates += self.width
        return whole - round(gates / (2 * self.width + 1))


def require_sound(config: FlowConfig) -> None:
    """Raise a ValueError that lists what does not fit in a configuration, each with its cure.

    Fields are set one by one, so it is checked where data or a model are made of them.
    """
    refuse_problems(list_problems(config))


def list_problems(config: FlowConfig) -> list[str]:
    """Return what does not fit, each with its cure."""
    least = {
        **dict.fromkeys(("side", "classes", "images", "batch", "patch", "width", "depth"), 1),
        **dict.fromkeys(("heads", "steps", "epochs", "held", "ticks"), 1),
        **dict.fromkeys(("train", "test", "seed_of_data"), 0),
        "samples": 2,  # one has no covariance
    }
    choices = {"source": Source, "arm": Arm, "maps": Maps, "sampler": Sampler}
    problems = list_low_fields(config, least)
    problems += [
        f'{name} is "{getattr(config, name)}"; give one of {", ".join(get_args(kind))}'
        for name, kind in choices.items()
        if getattr(config, name) not in get_args(kind)
    ]
    if problems:  # what follows divides by these
        return problems
    of_folder = config.source in ("images", "latents")
    wrong = {
        f"side {config.side} is no multiple of patch {config.patch}; change either": config.side
        % config.patch,
        f"width {config.width} is no multiple of heads {config.heads}; change "
        "either": config.width % config.heads,
        f"width is {config.width}; positions in two directions need a multiple of "
        "4": config.width % 4,
        f"mlp is {config.mlp}; give a number >= 1, of widths": not 1 <= config.mlp < math.inf,
        f"dropped is {config.dropped}; give a share from 0 to less than 1; arms without "
        "labels hide all": not 0 <= config.dropped < 1,
        f"guidance is {config.guidance}; give a number >= 1": not 1
        <= config.guidance
        < math.inf,
        f'guidance is {config.guidance}, and arm "{config.arm}" has no labels to guide by; '
        "give 1": config.guidance != 1 and not config.is_labelled,
        f"guidance is {config.guidance}, and no label is hidden in training; give dropped > "
        "0": config.guidance != 1 and config.is_labelled and not config.dropped,
        f'source "{config.source}" is a folder; give data=FOLDER': of_folder
        and not config.data,
        f'data is "{config.data}", and source "{config.source}" is no folder; give '
        "source=images or source=latents": config.data and not of_folder,
    }
    problems = [text for text, is_so in wrong.items() if is_so]
    if not problems and config.hidden < 1:
        problems = [
            f"mlp is {config.mlp}, and the gates of arflow have as many weights as the unit "
            "behind each attention; give a larger mlp, fewer heads, or matched=false"
        ]
    return problems


def tiny() -> FlowConfig:
    """Digits of 8 x 8 pixels behind noisier digits of their class: half a minute on a core."""
    return FlowConfig()


def tiny_sit() -> FlowConfig:
    """The same digits, each alone: the baseline at equal compute and parameters."""
    return replace(tiny(), arm="sit")


def tiny_spiking() -> FlowConfig:
    """The same network with spikes in front of every map of tokens, for every executor."""
    return replace(tiny(), maps="spiking")


def mnist() -> FlowConfig:
    """All of MNIST by a network of 96 channels: some minutes on a core."""
    return replace(
        tiny(),
        source="mnist",
        side=28,
        patch=4,
        width=96,
        depth=4,
        heads=3,
        held=5000,
        samples=5120,
        batch=4,
        epochs=3,
    )


def cifar10() -> FlowConfig:
    """CIFAR-10 from $NEURO_DATA, mirrored in training: hours on a GPU."""
    return replace(
        mnist(),
        source="cifar10",
        side=32,
        width=384,
        depth=12,
        heads=6,
        mirror=True,
        batch=26,
        epochs=200,
        lr=1e-4,
    )


def small() -> FlowConfig:
    """ARFlow-S/2 on latents of ImageNet at 256 x 256 pixels, as published."""
    return FlowConfig(
        source="latents",
        data="imagenet",
        side=32,
        classes=1000,
        width=384,
        depth=12,
        heads=6,
        matched=False,
        two_outputs=True,
        mirror=True,
        held=5000,
        sampler="sde",
        steps=250,
        samples=50_000,
        epochs=1400,
        lr=1e-4,
        warm=0.0,
    )


def base() -> FlowConfig:
    """ARFlow-B/2, as published."""
    return replace(small(), width=768, heads=12)


def large() -> FlowConfig:
    """ARFlow-L/2, as published."""
    return replace(small(), width=1024, depth=24, heads=16)


def xlarge() -> FlowConfig:
    """ARFlow-XL/2, as published; side=16 is for 128 x 128 pixels."""
    return replace(small(), width=1152, depth=28, heads=18)
