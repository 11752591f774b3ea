"""What is trained: residual networks, shallow and deep, and narrow ones of each, by seed.

All have four stages, the deep ones more blocks in the last two. Where shallow and deep are
compared, both are cut behind the third stage, so that the same channels and pixels cross; the
deep one has more blocks on both sides. The twins without spikes are those of Lin et al. 2024
(arXiv 2410.09650), in small.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from neuro.energy import Chip
from tasks.bottlenecks import controls, narrowing
from tasks.bottlenecks.config import (
    VALUE_BITS,
    BottleneckConfig,
    BoundaryConfig,
    Link,
    count_channels,
)
from tasks.bottlenecks.task import count_bits

Network = Literal["shallow", "deep", "spiking"]
DEPTHS: tuple[Network, ...] = ("shallow", "deep")
CHIPS = 3  # of the controls: widths differ between two cuts
LEARNED, SCRATCH = "learned widths", "from scratch"
TRAINED, CLOSED = "trained", "closed form"
UNTRAINED = ("random cuts", "pruning")  # controls that need no training


@dataclass(frozen=True, kw_only=True)
class NarrowScale:
    """How large everything is.

    channels: of each stage. shallow, deep: blocks of each stage. train, held, test: digits (0:
    all). epochs: of an original. spiking_train, spiking_batch, spiking_epochs: of one of
    spiking neurons. narrow_epochs: of a narrow network; where gates choose widths, half with
    gates, half without. widths: of the curve. prices: loss for a kilobit of address events.
    penalty: loss for all bits of the full width, while gates choose. shares: one of so many
    channels crosses, in closed form. seeds: of the originals.
    """

    channels: tuple[int, ...] = (4, 8, 16, 16)
    shallow: tuple[int, ...] = (1, 1, 1, 1)
    deep: tuple[int, ...] = (1, 1, 4, 4)
    ticks: int = 4
    train: int = 0
    held: int = 500
    test: int = 0
    batch: int = 50
    epochs: int = 4
    spiking_train: int = 1500
    spiking_batch: int = 20
    spiking_epochs: int = 6
    narrow_epochs: int = 2
    widths: tuple[int, ...] = (8, 4, 2, 1)
    prices: tuple[float, ...] = (0.1, 0.5)
    penalty: float = 60.0
    shares: tuple[int, ...] = (2, 4, 8)
    seeds: tuple[int, ...] = (0, 1, 2)


FULL = NarrowScale()
QUICK = NarrowScale(
    channels=(2, 4, 8),
    shallow=(1, 1, 1),
    deep=(1, 2, 2),
    ticks=2,
    train=40,
    held=20,
    test=20,
    batch=20,
    epochs=1,
    spiking_train=40,
    spiking_epochs=1,
    widths=(2, 1),
    prices=(1.0,),
    shares=(2,),
    seeds=(0,),
)


@dataclass(frozen=True, kw_only=True)
class NarrowCell:
    """One narrow network.

    narrow: its cuts and their layers; its teacher is the original of this network and seed, if
    it imitates one. epochs: 0 is the closed form. name: what it is, in a comparison.
    """

    network: Network
    seed: int
    name: str
    narrow: BoundaryConfig
    epochs: int

    @property
    def imitates(self) -> bool:
        """Whether it begins with the weights of the original."""
        return self.narrow.begin != "random"


@dataclass(frozen=True, kw_only=True)
class NarrowResult:
    """What a narrow network reaches.

    accuracy, original: shares of right answers among ``n``, of it and of its original. after,
    widths: of its cuts. bits, spikes, aer_bits: of a sample, over all cuts; of a link of values
    None. seconds: CPU time.
    """

    accuracy: float
    original: float
    n: int
    after: tuple[int, ...]
    widths: tuple[int, ...]
    bits: int
    spikes: float | None
    aer_bits: float | None
    seconds: float

    @property
    def least_bits(self) -> float:
        """Bits in the better of both codes of spikes."""
        return float(self.bits if self.aer_bits is None else min(self.bits, self.aer_bits))


Results = dict[NarrowCell, NarrowResult]


def make_original(network: Network, scale: NarrowScale) -> BottleneckConfig:
    """Return the configuration of a network before it is narrowed."""
    spiking = network == "spiking"
    return BottleneckConfig(
        ticks=scale.ticks if spiking else 1,
        code="rate" if spiking else "direct",
        cells="lif" if spiking else "relu",
        channels=scale.channels,
        blocks=scale.deep if network == "deep" else scale.shallow,
        held=scale.held,
        train=scale.spiking_train if spiking else scale.train,
        test=scale.test,
        batch=scale.spiking_batch if spiking else scale.batch,
        epochs=scale.spiking_epochs if spiking else scale.epochs,
        lr=1e-2,
    )


def find_place(config: BottleneckConfig) -> int:
    """Return the cut behind the last but one stage."""
    return sum(config.blocks[:-1])


def cut_at(config: BottleneckConfig, width: int, link: Link) -> BoundaryConfig:
    """Return one narrow layer behind the last but one stage."""
    return BoundaryConfig(after=(find_place(config),), widths=(width,), link=link)


def list_curve(scale: NarrowScale) -> list[NarrowCell]:
    """Return the curve of both depths, in values of four bits: trained, and in closed form."""
    return [
        NarrowCell(
            network=network,
            seed=seed,
            name=TRAINED if epochs else CLOSED,
            narrow=cut_at(make_original(network, scale), width, "4bit"),
            epochs=epochs,
        )
        for seed in scale.seeds
        for network in DEPTHS
        for width, epochs in [
            *((width, scale.narrow_epochs) for width in scale.widths),
            *((width, 0) for width in _list_closed(network, scale)),
        ]
    ]


def _list_closed(network: Network, scale: NarrowScale) -> list[int]:
    """Return the widths of the curve in closed form: all channels, halved until one is left."""
    config = make_original(network, scale)
    return [widths[0] for widths in narrowing.list_widths(config, (find_place(config),))]


def list_links(scale: NarrowScale) -> list[NarrowCell]:
    """Return other links that let through as many bits as points of the curve."""
    links: tuple[Link, ...] = ("8bit", "float")
    return [
        _make_cell("shallow", scale, seed, width * VALUE_BITS["4bit"] // VALUE_BITS[link], link)
        for seed in scale.seeds
        for width in scale.widths
        for link in links
        if width * VALUE_BITS["4bit"] >= VALUE_BITS[link]
    ]


def list_spikes(scale: NarrowScale) -> list[NarrowCell]:
    """Return a spiking network with links of values, of spikes, and of spikes with a price."""
    config = make_original("spiking", scale)
    most, factor = count_channels(config, find_place(config)), VALUE_BITS["4bit"]
    cells = []
    for seed in scale.seeds:
        for width in scale.widths:
            if factor * width <= most:
                cells.append(_make_cell("spiking", scale, seed, width, "4bit"))
                cells.append(_make_cell("spiking", scale, seed, factor * width, "spikes"))
        cells += [_make_cell("spiking", scale, seed, most, "spikes", p) for p in scale.prices]
    return cells


def _make_cell(
    network: Network, scale: NarrowScale, seed: int, width: int, link: Link, price: float = 0.0
) -> NarrowCell:
    narrow = cut_at(make_original(network, scale), width, link)
    if price:
        narrow = replace(narrow, price="aer", penalty=price)
    return NarrowCell(
        network=network,
        seed=seed,
        name=f"price {price:g}" if price else link,
        narrow=narrow,
        epochs=scale.narrow_epochs,
    )


def choose_places(config: BottleneckConfig, chip: Chip) -> tuple[int, ...]:
    """Return the cheapest cuts of a twin without spikes, by its shapes."""
    graph = narrowing.build_graph(config)
    return narrowing.choose_boundaries(graph, None, config, chip, CHIPS).after


def list_untrained(scale: NarrowScale, chip: Chip) -> list[NarrowCell]:
    """Return shares of the channels over three chips in closed form, and controls of these."""
    cells = []
    for network in DEPTHS:
        config = make_original(network, scale)
        after = choose_places(config, chip)
        for share in scale.shares:
            widths = tuple(max(1, count_channels(config, k) // share) for k in after)
            narrow = BoundaryConfig(after=after, widths=widths, link="4bit")
            for seed in scale.seeds:
                others = controls.list_controls(replace(config, narrow=narrow), seed)
                ways = {CLOSED: narrow}
                ways |= {name: others[name].narrow for name in UNTRAINED}
                cells += [
                    NarrowCell(
                        network=network,
                        seed=seed,
                        name=f"{name}, 1/{share}",
                        narrow=way,
                        epochs=0,
                    )
                    for name, way in ways.items()
                ]
    return cells


def list_learned(scale: NarrowScale, chip: Chip) -> list[NarrowCell]:
    """Return the networks whose widths gates choose, over three chips."""
    cells = []
    for network in DEPTHS:
        config = make_original(network, scale)
        after = choose_places(config, chip)
        widths = tuple(count_channels(config, k) for k in after)
        narrow = BoundaryConfig(after=after, widths=widths, link="4bit", gated=True)
        penalty = scale.penalty * 1000 / count_bits(replace(config, narrow=narrow))
        narrow = replace(narrow, penalty=penalty)
        epochs = max(1, scale.narrow_epochs // 2)
        cells += [
            NarrowCell(network=network, seed=s, name=LEARNED, narrow=narrow, epochs=epochs)
            for s in scale.seeds
        ]
    return cells


def list_controls(scale: NarrowScale, learned: Results) -> Iterator[NarrowCell]:
    """Yield the controls of networks with learned widths, of no more bits than these."""
    for cell, result in learned.items():
        narrow = BoundaryConfig(after=result.after, widths=result.widths, link="4bit")
        config = replace(make_original(cell.network, scale), narrow=narrow)
        more = {
            **controls.list_controls(config, cell.seed),
            CLOSED: config,
        }
        for name, control in more.items():
            epochs = 0 if name == CLOSED else scale.narrow_epochs
            epochs += scale.epochs if name == SCRATCH else 0  # those of the original, too
            yield replace(cell, name=name, narrow=control.narrow, epochs=epochs)
