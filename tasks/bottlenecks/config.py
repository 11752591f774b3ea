"""Configurations of networks whose layers are narrow where they cross from chip to chip."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import MinLen

from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share
from tasks.runs.configuration import ScheduledConfig

Link = Literal["float", "8bit", "4bit", "spikes"]
Price = Literal["bitmap", "aer"]
Source = Literal["embedded", "mnist", "fashion", "cifar10", "generated"]
VALUE_BITS: dict[str, int] = {"float": 32, "8bit": 8, "4bit": 4}  # bits per value, by link
WIDER = 4  # factor from the channels inside a deep block to its output channels


@dataclass(frozen=True, kw_only=True)
class BoundaryConfig:
    """The narrow layers of a network, one at each cut; none in the original."""

    after: tuple[Natural, ...] = ()
    """Number of blocks in front of each cut; 0 is right behind the stem."""
    widths: tuple[Count, ...] = ()
    """Channels that cross each cut."""
    link: Link = "float"
    """What carries the channels from chip to chip."""
    gated: bool = False
    """Whether each channel has a gate, which the training may close."""
    begin: Literal["pca", "channels", "random"] = "pca"
    """First weights: PCA of what crosses, its strongest "channels", or all "random"."""
    teacher: str = ""
    """Run folder of the original, which the training imitates; empty is none."""
    teacher_weights: str = ""
    """SHA-256 of the weights of the teacher."""
    gates: str = ""
    """Run folder whose open gates this network keeps."""
    soft: Share = 0.5
    """Share of the loss that imitates the teacher; the rest comes from the labels."""
    temperature: Positive = 4.0
    """Temperature of the answers of teacher and student in that loss."""
    features: NotNegative = 1.0
    """Weight of the squared error of the features behind each cut."""
    penalty: NotNegative = 0.0
    """Loss per expected kilobit of a sample."""
    price: Price = "bitmap"
    """Bits that the penalty counts: a "bitmap" of open channels, or address events ("aer")."""


@dataclass(frozen=True, kw_only=True)
class BottleneckConfig(ScheduledConfig):
    """A residual network, its data and its training."""

    source: Source = "embedded"
    """Embedded digits, "generated" gratings, or a data set from $NEURO_DATA."""
    ticks: Count = 4
    """Length of a run [ticks]."""
    code: Literal["rate", "direct"] = "rate"
    """Code of a pixel: spikes ("rate"), or its value at every tick ("direct")."""
    cells: Literal["lif", "relu"] = "lif"
    """Spiking neurons, or "relu" for the twin without spikes, which has one tick."""
    channels: Annotated[tuple[Count, ...], MinLen(1)] = (16, 32)
    """Channels of each stage; each stage but the first halves the image."""
    blocks: Annotated[tuple[Count, ...], MinLen(1)] = (1, 1)
    """Blocks of each stage."""
    shape: Literal["basic", "deep"] = "basic"
    """Blocks of two convolutions, or of three, whose stages put out four times the channels."""
    narrow: BoundaryConfig = field(default_factory=BoundaryConfig)
    """Narrow layers at the cuts."""
    held: Count = 500
    """Images at the end of the training part for model selection."""
    train: Natural = 0
    """Largest number of training images; 0 takes all."""
    test: Natural = 0
    """Largest number of test images; 0 takes all."""
    compared: Natural = 0
    """Test images that other executors run; 0 takes all."""
    batch: Count = 50
    epochs: Count = 10
    lr: Positive = 3e-3
    warm: Share = 0.1
    shift: Natural = 2
    """Largest random shift in training [pixels]."""

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        if len(self.channels) != len(self.blocks):
            return [
                f"channels {self.channels} and blocks {self.blocks} must be as long: give both "
                "for each stage"
            ]
        narrow, relu = self.narrow, self.cells == "relu"
        wrong = {
            f"ticks is {self.ticks} and code is {self.code}; they must be 1 and direct for "
            'cells "relu". Use --set ticks=1 and --set code=direct.': (
                relu and (self.ticks, self.code) != (1, "direct")
            ),
            'narrow.link is "spikes"; it must be another for cells "relu". Use --set '
            "narrow.link=8bit.": relu and narrow.after and narrow.link == "spikes",
            "narrow.gated is True; it must be False where narrow.gates names open gates. Use "
            "--set narrow.gated=false.": narrow.gated and narrow.gates,
            f"narrow.penalty is {narrow.penalty}; it must be 0 where there are no gates. Use "
            "--set narrow.gated=true, or narrow.price=aer.": (
                not narrow.gated and narrow.price == "bitmap" and narrow.penalty != 0
            ),
            'narrow.price is "aer"; it must be "bitmap" for a link without spikes. Use --set '
            "narrow.link=spikes.": narrow.price == "aer" and narrow.link != "spikes",
            'narrow.begin is "channels"; it must be another without a teacher to prune. Use '
            "--set narrow.teacher=RUN.": not narrow.teacher and narrow.begin == "channels",
        }
        return [
            *_list_problems_of_cuts(self),
            *(text for text, is_so in wrong.items() if is_so),
        ]


def _list_problems_of_cuts(config: BottleneckConfig) -> list[str]:
    """Return the problems with the places and widths of the cuts."""
    after, widths = config.narrow.after, config.narrow.widths
    problems = []
    if len(after) != len(widths):
        problems.append(
            f"narrow.after has {len(after)} cuts and narrow.widths {len(widths)} widths; give "
            "one width for each cut"
        )
    if list(after) != sorted(set(after)):
        problems.append(f"narrow.after is {after}; name each cut once, in order")
    last = sum(config.blocks)
    for place, width in zip(after, widths, strict=False):
        if place > last:
            problems.append(f"narrow.after: no cut behind block {place}; there are 0 to {last}")
        elif (most := count_channels(config, place)) < width:
            problems.append(
                f"narrow.widths: {width} channels behind block {place}, which has {most}; give "
                f"1 to {most}"
            )
    return problems


def count_channels(config: BottleneckConfig, after: int) -> int:
    """Return the number of channels after ``after`` blocks."""
    wider = WIDER if config.shape == "deep" and after else 1
    return wider * config.channels[find_stage(config, after)]


def find_stage(config: BottleneckConfig, after: int) -> int:
    """Return the stage of block number ``after``; the stem (0) belongs to the first stage."""
    ends = [sum(config.blocks[: k + 1]) for k in range(len(config.blocks))]
    return next(k for k, end in enumerate(ends) if after <= end)


def find_side(config: BottleneckConfig, side: int, after: int) -> int:
    """Return the side of the image [pixels] after ``after`` blocks. side: of the input."""
    for _ in range(find_stage(config, after)):
        side = (side + 1) // 2
    return side


def count_bits_of_channel(config: BottleneckConfig, side: int, after: int) -> int:
    """Return the bits per sample and channel of a link; spikes count as a bitmap."""
    pixels = find_side(config, side, after) ** 2
    return config.ticks * pixels * VALUE_BITS.get(config.narrow.link, 1)


def tiny() -> BottleneckConfig:
    """Three blocks on 1,000 of the embedded digits: trains in seconds."""
    return BottleneckConfig(
        code="direct",
        channels=(4, 8, 16),
        blocks=(1, 1, 1),
        train=1000,
        held=100,
        test=500,
        compared=50,
        batch=20,
        epochs=8,
        lr=1e-2,
        shift=0,
    )


def tiny_relu() -> BottleneckConfig:
    """Its twin without spikes."""
    return replace(tiny(), cells="relu", ticks=1)


def digits() -> BottleneckConfig:
    """Three wider blocks on all 3,500 embedded digits: trains in minutes."""
    return replace(
        tiny(), channels=(8, 16, 32), train=0, held=500, test=0, compared=200, epochs=6, shift=2
    )


def shallow() -> BottleneckConfig:
    """A shallow residual network on CIFAR-10, from $NEURO_DATA."""
    return BottleneckConfig(
        source="cifar10",
        code="direct",
        channels=(32, 64, 128),
        blocks=(1, 1, 1),
        held=5000,
        compared=500,
        batch=100,
        epochs=12,
        shift=4,
    )


def deep() -> BottleneckConfig:
    """A network three times as deep, of the same widths."""
    return replace(shallow(), blocks=(3, 3, 3))


def paper() -> BottleneckConfig:
    """ResNet-18 without spikes, as of Lin et al. 2024 (arXiv 2410.09650), for a GPU."""
    return BottleneckConfig(
        source="cifar10",
        cells="relu",
        ticks=1,
        code="direct",
        channels=(64, 128, 256, 512),
        blocks=(2, 2, 2, 2),
        held=5000,
        compared=500,
        batch=128,
        epochs=200,
        lr=1e-3,
        decay=5e-4,
        shift=4,
    )


def paper_34() -> BottleneckConfig:
    """ResNet-34 of the same paper."""
    return replace(paper(), blocks=(3, 4, 6, 3))


def paper_50() -> BottleneckConfig:
    """ResNet-50 of the same paper."""
    return replace(paper_34(), shape="deep")


def paper_spiking() -> BottleneckConfig:
    """ResNet-18 of spiking neurons, over four ticks."""
    return replace(paper(), cells="lif", ticks=4)
