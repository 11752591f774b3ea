"""Configurations of networks whose layers are narrow where they cross from chip to chip."""

from dataclasses import dataclass, field, replace
from typing import Literal

from tasks.runs.soundness import refuse_problems

Link = Literal["float", "8bit", "4bit", "spikes"]
Price = Literal["bitmap", "aer"]
Source = Literal["embedded", "mnist", "fashion", "cifar10", "generated"]
VALUE_BITS: dict[str, int] = {"float": 32, "8bit": 8, "4bit": 4}  # of a value of a link
WIDER = 4  # channels that a deep block puts out, of those inside it


@dataclass(frozen=True, kw_only=True)
class BoundaryConfig:
    """The narrow layers of a network, one at each cut; none in the original.

    after: number of blocks in front of each cut; 0 is right behind the stem. widths: channels
        that cross it. link: what carries them.
    gated: each channel has a gate, which the training may close.
    begin: weights at the start of the training: "pca" of what crosses, all but the strongest
        "channels" left out, or "random", of all layers.
    teacher: folder of the run of the original, which is imitated; "": none. teacher_weights:
        digest of its weights. gates: folder of the run whose open gates this one keeps.
    soft: share of the loss that imitates the teacher's answers, the rest is that of the
        labels; temperature: of both answers. features: weight of the squared error of what
        arrives behind each cut.
    penalty: loss for each expected kilobit of a sample, as ``price`` counts them: a "bitmap"
        of the channels that gates leave open, or address events ("aer") of a link of spikes,
        which makes its spikes rare, too, with gates or without.
    """

    after: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    link: Link = "float"
    gated: bool = False
    begin: Literal["pca", "channels", "random"] = "pca"
    teacher: str = ""
    teacher_weights: str = ""
    gates: str = ""
    soft: float = 0.5
    temperature: float = 4.0
    features: float = 1.0
    penalty: float = 0.0
    price: Price = "bitmap"


@dataclass(frozen=True, kw_only=True)
class BottleneckConfig:
    """A residual network, its data and its training.

    source: "embedded" digits or "generated" gratings, or a data set from $NEURO_DATA.
    ticks: length of a run. code: "rate", spikes for pixels; "direct", the image at every tick,
        which a host turns into the spikes of the stem.
    cells: spiking neurons, or "relu" for the twin without spikes, which has one tick.
    channels: of each stage; each but the first halves the image. blocks: of each stage.
    shape: of a block: "basic" with two convolutions, or "deep" with three, whose stages put out
        four times their channels.
    narrow: the layers at the cuts.
    held, train, test, compared, batch, epochs, lr, warm, decay, seed_of_data: as of
        :class:`tasks.images.classification.data.ImageConfig`; shift: largest random shift in
        training [pixels].
    """

    source: Source = "embedded"
    ticks: int = 4
    code: Literal["rate", "direct"] = "rate"
    cells: Literal["lif", "relu"] = "lif"
    channels: tuple[int, ...] = (16, 32)
    blocks: tuple[int, ...] = (1, 1)
    shape: Literal["basic", "deep"] = "basic"
    narrow: BoundaryConfig = field(default_factory=BoundaryConfig)
    held: int = 500
    train: int = 0
    test: int = 0
    compared: int = 0
    batch: int = 50
    epochs: int = 10
    lr: float = 3e-3
    warm: float = 0.1
    decay: float = 0.0
    seed_of_data: int = 0
    shift: int = 2


def require_sound(config: BottleneckConfig) -> None:
    """Raise a ValueError that lists what does not fit in a configuration, each with its cure.

    Fields are set one by one, so it is checked where a network is built of them.
    """
    refuse_problems(list_problems(config))


def list_problems(config: BottleneckConfig) -> list[str]:
    """Return what does not fit, each with its cure."""
    narrow = config.narrow
    if len(config.channels) != len(config.blocks) or min(config.blocks, default=0) < 1:
        return [
            f"channels {config.channels} and blocks {config.blocks}: give both for each stage, "
            "at least one block each"
        ]
    relu, numbers = config.cells == "relu", (narrow.soft, narrow.temperature)
    wrong = {
        'cells "relu" has one tick and no spikes: set ticks=1, code=direct': relu
        and (config.ticks, config.code) != (1, "direct"),
        'narrow.link "spikes" needs spiking cells; take "8bit" for the twin': relu
        and bool(narrow.after)
        and narrow.link == "spikes",
        "narrow.gates keeps open gates and has none: set narrow.gated=false": narrow.gated
        and bool(narrow.gates),
        "narrow.penalty closes gates: set narrow.gated=true, or narrow.price=aer, or leave it "
        "out": not narrow.gated and narrow.price == "bitmap" and narrow.penalty != 0,
        'narrow.price "aer" counts spikes: set narrow.link=spikes, or narrow.price=bitmap': (
            narrow.price == "aer" and narrow.link != "spikes"
        ),
        'narrow.begin "channels" prunes a teacher: give narrow.teacher': not narrow.teacher
        and narrow.begin == "channels",
        f"narrow.soft is {numbers[0]}; give a share, 0 to 1": not 0 <= numbers[0] <= 1,
        f"narrow.temperature is {numbers[1]}; give a number > 0": not numbers[1] > 0,
        f"narrow.features is {narrow.features}; give a number >= 0": not narrow.features >= 0,
        f"narrow.penalty is {narrow.penalty}; give a number >= 0": not narrow.penalty >= 0,
    }
    return [*_list_problems_of_cuts(config), *(text for text, is_so in wrong.items() if is_so)]


def _list_problems_of_cuts(config: BottleneckConfig) -> list[str]:
    """Return what is wrong with the places and widths of the cuts."""
    after, widths = config.narrow.after, config.narrow.widths
    problems = []
    if len(after) != len(widths):
        problems.append(
            f"narrow.after has {len(after)} cuts and narrow.widths {len(widths)} widths; give "
            "one width for each cut"
        )
    if list(after) != sorted(set(after)):
        problems.append(f"narrow.after is {after}; name each cut once, in order")
    least, last = find_first_cut(config), sum(config.blocks)
    for place, width in zip(after, widths, strict=False):
        if not least <= place <= last:
            problems.append(
                f"narrow.after: no cut behind block {place}; there are {least} to {last}"
            )
        elif not (most := count_channels(config, place)) >= width >= 1:
            problems.append(
                f"narrow.widths: {width} channels behind block {place}, which has {most}; give "
                f"1 to {most}"
            )
    return problems


def find_first_cut(config: BottleneckConfig) -> int:
    """Return the first place of a cut, as blocks in front: a host may run the stem."""
    return int(config.code == "direct" and config.cells == "lif")


def count_channels(config: BottleneckConfig, after: int) -> int:
    """Return the channels behind so many blocks."""
    wider = WIDER if config.shape == "deep" and after else 1
    return wider * config.channels[find_stage(config, after)]


def find_stage(config: BottleneckConfig, after: int) -> int:
    """Return the stage of the last of so many blocks; that of the stem is the first."""
    ends = [sum(config.blocks[: k + 1]) for k in range(len(config.blocks))]
    return next(k for k, end in enumerate(ends) if after <= end)


def find_side(config: BottleneckConfig, side: int, after: int) -> int:
    """Return the side of the image behind so many blocks. side: of the input."""
    for _ in range(find_stage(config, after)):
        side = (side + 1) // 2
    return side


def count_bits_of_channel(config: BottleneckConfig, side: int, after: int) -> int:
    """Return the bits of a sample that a channel of a link takes; of spikes, as a bitmap."""
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
