"""Configurations of flow: the images, the arm, the network, its training, the sampler.

The field ``arm`` selects what is compared:

    sit              every image by itself, with its label; batches of random images
    arflow           every image follows noisier images of its class, seen through a state
    sit_unlabelled, arflow_unlabelled      the same two without labels
    sit_grouped      the control: sit trained on the batches of arflow
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share
from tasks.runs.configuration import ClippedConfig

Source = Literal["embedded", "mnist", "cifar10", "images", "latents"]
Arm = Literal["sit", "arflow", "sit_unlabelled", "arflow_unlabelled", "sit_grouped"]
Sampler = Literal["euler", "heun", "sde"]
Maps = Literal["float", "spiking"]
HEAD = 64  # channels per head in the published sizes


@dataclass(frozen=True, kw_only=True)
class FlowConfig(ClippedConfig):
    """One training on images."""

    source: Source = "embedded"
    """Embedded digits, MNIST or CIFAR-10 from $NEURO_DATA, or class folders in "data"."""
    data: str = ""
    """Folder of the class folders that hold "images" or "latents"."""
    side: Count = 8
    """Height and width of an image [pixels, or latents]."""
    classes: Count = 10
    """Number of classes in the data."""
    arm: Arm = "arflow"
    """Whether an image sees noisier ones of its class ("arflow") or none ("sit")."""
    images: Count = 5
    """Images per sequence."""
    batch: Count = 8
    """Sequences per batch; arm "sit" sees as many images."""
    patch: Count = 2
    """Height and width of a token [pixels, or latents]."""
    width: Count = 48
    """Channels of a token."""
    depth: Count = 2
    """Number of blocks."""
    heads: Count = 3
    """Attention heads per block."""
    mlp: Annotated[float, Ge(1)] = 4.0
    """Channels inside the unit behind each attention, as a multiple of "width"."""
    matched: bool = True
    """Whether the unit of arflow is narrower by as many weights as its gates have."""
    two_outputs: bool = False
    """Whether the network also puts out the unused variance of the published networks."""
    maps: Maps = "float"
    """Maps of tokens: "float", or ternary weights on "spiking" inputs (SpikeCount)."""
    ticks: Count = 4
    """Most spikes that encode an input of a spiking map."""
    threshold: Positive = 0.75
    """Input that one spike of a spiking map stands for."""
    dropped: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Share of the labels that training hides, for guidance."""
    mirror: bool = False
    """Whether training mirrors half of the images."""
    held: Count = 500
    """Training images kept for model selection, equally many per class."""
    train: Natural = 0
    """Largest number of training images; 0 takes all."""
    test: Natural = 0
    """Largest number of test images; 0 takes all."""
    sampler: Sampler = "euler"
    """How noise becomes an image: an integrator of the flow, or the stochastic "sde"."""
    steps: Count = 25
    """Steps of the sampler per image."""
    guidance: Annotated[float, Ge(1)] = 1.0
    """Weight of classifier-free guidance; 1 is none."""
    samples: Annotated[int, Ge(2)] = 1000  # one has no covariance
    """Images that an evaluation makes."""
    lent: bool = True
    """Whether an evaluation also gives images the past of others, at twice the cost."""
    epochs: Count = 14
    lr: Positive = 3e-3
    warm: Share = 0.05
    decay: NotNegative = 0.02

    @property
    def colours(self) -> int:
        """Channels of an image."""
        return {"cifar10": 3, "images": 3, "latents": 4}.get(self.source, 1)

    @property
    def guided(self) -> int:
        """Channels that guidance changes; of latents only the first three, as published."""
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
        """Whether an image sees the images before it."""
        return self.arm in ("arflow", "arflow_unlabelled")

    @property
    def is_labelled(self) -> bool:
        """Whether the network gets the class labels."""
        return not self.arm.endswith("_unlabelled")

    @property
    def hidden(self) -> int:
        """Channels inside the MLP that follows each attention layer."""
        whole = round(self.mlp * self.width)
        if not (self.has_state and self.matched):
            return whole
        gates = self.width**2 + self.width * self.heads + self.width // self.heads
        if self.maps == "spiking":  # one gain per input
            gates += self.width
        return whole - round(gates / (2 * self.width + 1))

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        of_folder = self.source in ("images", "latents")
        wrong = {
            f"side is {self.side}; it must be a multiple of patch, {self.patch}. Change "
            "either.": self.side % self.patch,
            f"width is {self.width}; it must be a multiple of heads, {self.heads}. Change "
            "either.": self.width % self.heads,
            f"width is {self.width}; it must be a multiple of 4 for positions in two "
            "directions. Change width.": self.width % 4,
            f'guidance is {self.guidance}; it must be 1 for arm "{self.arm}", which has no '
            "labels. Use --set guidance=1.": self.guidance != 1 and not self.is_labelled,
            f"guidance is {self.guidance}; it must be 1 where training hides no label. Use "
            "--set dropped=0.1.": self.guidance != 1 and self.is_labelled and not self.dropped,
            f'data is ""; it must be a folder for source "{self.source}". Use --set '
            "data=FOLDER.": of_folder and not self.data,
            f'data is "{self.data}"; it must be empty for source "{self.source}". Use --set '
            "source=images or source=latents.": self.data and not of_folder,
        }
        problems = [text for text, is_so in wrong.items() if is_so]
        if not problems and self.hidden < 1:
            problems = [
                f"mlp is {self.mlp}; the unit behind each attention must have more weights "
                "than the gates of arflow. Use a larger mlp or --set matched=false."
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
