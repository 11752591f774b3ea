"""What a configuration of the driver holds; :mod:`tasks.driving.presets` has those to train.

Axes: S past and present frames, F future frames, D bins of depth, X and Y cells of the grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import ImageSize
from neuro.units import Ticks

StageName = Literal["perception", "prediction", "planning"]
Fusion = Literal["add", "multiply", "gate"]
CHANNELS: Mapping[str, int] = {  # of the maps that heads make
    "vehicle": 1,
    "pedestrian": 1,
    "lane": 1,
    "drivable": 1,
    "centre": 1,
    "offset": 2,
    "flow": 2,
    "cost": 1,
}


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The neurons: v[t] = decay v[t-1] + x[t], a spike where v reaches the threshold.

    kind: "lif"; or "relu", the twin without spikes, which then sees each image once.
    decay: of the membrane in a tick, SAD's 1 - 1 / tau. threshold: 1; SAD's code halves the
    input of its neurons, which is a threshold of 2 here. surrogate: derivative of the spike;
    "sigmoid" is that of SAD's backbones (slope 4), "arctan" that of all its other neurons.
    """

    kind: Literal["lif", "relu"] = "lif"
    decay: float = 0.5
    threshold: float = 1.0
    reset: Literal["hard", "soft"] = "hard"
    surrogate: Literal["arctan", "sigmoid"] = "arctan"

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ValueError(
                f"Cells.decay must be in (0, 1), got {self.decay}; SAD's tau of 2 is 0.5"
            )
        if not self.threshold > 0:
            raise ValueError(f"Cells.threshold must be > 0, got {self.threshold}; 1 is usual")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Of images, by a factor of 8 (and 16) smaller.

    ticks: T, for which an image is repeated. channels: of the levels, each half the size of the
    one before. stem: stride of the first convolution. blocks: membrane-shortcut blocks a level.
    expansion: of a block's middle. far: channels of the branch at 1 / 16. aspp: channels of a
    branch of the spatial pyramid; dilations: of its convolutions. dropout: behind the pyramid.
    """

    ticks: Ticks
    channels: tuple[int, ...]
    stem: int
    blocks: tuple[int, ...]
    expansion: int
    far: int
    aspp: int
    dilations: tuple[int, ...]
    dropout: float

    def __post_init__(self) -> None:
        shrunk = self.stem * 2 ** (len(self.channels) - 1)
        if shrunk != STRIDE:
            raise ValueError(
                f"Encoder: features must be 1 / {STRIDE} of an image, stem {self.stem} and "
                f"{len(self.channels)} levels make them 1 / {shrunk}; change stem or channels"
            )
        if len(self.blocks) != len(self.channels) or min(self.blocks) < 1:
            raise ValueError(
                f"Encoder.blocks must name one block or more for each of "
                f"{len(self.channels)} levels, got {self.blocks}"
            )


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Bins of depth along a camera's axis: first, last edge and width [m]."""

    first: float
    last: float
    step: float

    @property
    def bins(self) -> int:
        """Number of bins."""
        return round((self.last - self.first) / self.step)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Of the bird's-eye map, over frames.

    channels: of the levels; blocks: in each. carries: whether membranes go on from frame to
    frame; without, each frame starts from rest, which shows what spiking time adds.
    """

    channels: tuple[int, ...]
    blocks: int
    carries: bool = True


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """Of future frames.

    hidden: channels of both pathways. kernel: of their convolutions. stride: cells along an
    axis that are one of theirs, so that what moves fast stays within a kernel. latent: numbers
    of the uncertainty that is drawn; 0: none. refine: hidden channels of the residual blocks
    behind them, one entry a stage of two blocks. fusion: of the pathways. moves: whether
    futures start from the present moved on, instead of from the present as it is.
    """

    hidden: int
    kernel: int
    latent: int
    refine: tuple[int, ...]
    fusion: Fusion = "add"
    stride: int = 1
    moves: bool = False


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """Of the path.

    candidates: M. sampler: "anchored" at the measured speed, or SAD's "clothoid" from speeds
    drawn anew. weights: of the parts of the cost: "learned" (the paper), or "constant" (the
    released code). hidden: neurons of the refinement. loss: of the choice between candidates,
    the published "margin", whose gradient reaches one of them, or "softmax", which all get.
    learns_from: maps that judge candidates in training, the "truth" as published, or
    "predicted" ones, which judge when it drives. takes: what is refined, the "cheapest"
    candidate as published, or the "mean" of all by soft-max of their costs. sharpness: times
    which costs enter that soft-max; 1 as in the loss. dilations: of further convolutions of the
    cost volume's head, which is then told of the ego, too; none as published. start: by which
    the published weights are multiplied before training. caution: by which missing road costs
    more when it drives than in training, whose paths are all on the road. refines: whether it
    drives what is refined "always", as published, or where that is "cheaper" than what was
    taken. braking: times which others cost more when it decides how hard to brake on its path;
    0: as published, it does not. persistence: whether others are nowhere less probable than now
    when it drives; as published, who fades from the prediction is in nobody's way.
    """

    candidates: int
    hidden: int
    sampler: Literal["anchored", "clothoid"] = "anchored"
    weights: Literal["learned", "constant"] = "learned"
    loss: Literal["margin", "softmax"] = "margin"
    learns_from: Literal["truth", "predicted"] = "truth"
    takes: Literal["cheapest", "mean"] = "cheapest"
    sharpness: float = 1.0
    dilations: tuple[int, ...] = ()
    start: float = 1.0
    caution: float = 1.0
    refines: Literal["always", "cheaper"] = "always"
    braking: float = 0.0
    persistence: bool = False

    def __post_init__(self) -> None:
        if not self.sharpness > 0:
            raise ValueError(
                f"Planner.sharpness must be > 0, got {self.sharpness}; 1 is that of the loss"
            )
        if not self.start > 0:
            raise ValueError(f"Planner.start must be > 0, got {self.start}; 1 is as published")
        if not self.caution > 0:
            raise ValueError(f"Planner.caution must be > 0, got {self.caution}; 1 adds none")
        if not self.braking >= 0:
            raise ValueError(f"Planner.braking must be >= 0, got {self.braking}; 0 is none")


@dataclass(frozen=True, kw_only=True)
class ClassWeights:
    """What a cell of a class weighs in its loss, a cell without it 1; published by default."""

    vehicle: float = 2.0
    pedestrian: float = 10.0
    lane: float = 5.0
    drivable: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stage of training.

    futures: frames that are predicted. lr: peak of its learning rate, which rises over the
    first tenth and falls along a cosine. frozen: parts of the model that stay as they are, and
    run as in evaluation; parts that a stage has no use for stay too. past: frames that are
    seen, the present one the last of them; None: all. Windows overlap: with one frame, an epoch
    shows each image once. mirrored: share of the windows in which left and right are exchanged;
    none where the path is learned: who has seen traffic on both sides does not know on which to
    drive. displaced: share of windows that start off the recorded way, and come back to it; and
    share of those that start at another speed.
    """

    name: StageName
    futures: int
    epochs: int
    lr: float
    frozen: tuple[str, ...] = ()
    past: int | None = None
    mirrored: float = 0.0
    displaced: float = 0.0
    driven: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where windows come from.

    data: the "generated" world, or "nuscenes", the real one in $NEURO_DATA/nuscenes. version:
    of its tables. scenes, seed, share: of the generated one. held: scenes of the training part
    that are kept for validation. train, test: at most so many windows (0: all). skip_bad:
    leave bad windows out, and count them, instead of refusing the data. readers: processes that
    read batches ahead, while the network computes; 0: none.
    """

    data: Literal["generated", "nuscenes"] = "generated"
    version: str = "v1.0-trainval"
    scenes: int = 60
    seed: int = 0
    share: int = 3
    held: int = 4
    train: int = 0
    test: int = 0
    skip_bad: bool = False
    readers: int = 0

    def __post_init__(self) -> None:
        for name, cure in (
            ("readers", "0 reads none ahead"),
            ("train", "0 takes all windows"),
            ("test", "0 takes all windows"),
            ("held", "these scenes are kept for validation"),
            ("scenes", "60 are usual"),
        ):
            if getattr(self, name) < 0:
                what = f"Source.{name} must be >= 0, got {getattr(self, name)}"
                raise ValueError(f"{what}; {cure}")


@dataclass(frozen=True, kw_only=True)
class DrivingConfig:
    """One experiment.

    past, future: S and F of a window. sees: what states are made of, "cameras"; or the true
    "maps" of past and present frames, which tells how good prediction is by itself.
    grid: of the bird's-eye map. channels: of its features.
    discount: of the frame before in the fusion over time. heads: channels of a head's middle.
    hardest: share of the cells of a frame, those of the greatest loss, that train its classes;
    a quarter as published, where a class of more cells than that learns slowly.
    depth_loss: whether measured depth is trained on; not as published. clip: of the gradient's
    norm.
    optimizer: "adamw", or "adam" as published; decay: of weights.
    """

    image: ImageSize
    encoder: EncoderConfig
    depth: Depth
    decoder: DecoderConfig
    prediction: PredictionConfig
    planner: PlannerConfig
    grid: GroundGrid
    channels: int
    heads: int
    phases: tuple[Phase, ...]
    batch: int
    hardest: float
    depth_loss: bool
    sees: Literal["cameras", "maps"] = "cameras"
    past: int = 3
    future: int = 6
    discount: float = 0.5
    cells: Cells = field(default_factory=Cells)
    weights: ClassWeights = field(default_factory=ClassWeights)
    source: Source = field(default_factory=Source)
    clip: float = 5.0
    optimizer: Literal["adamw", "adam"] = "adamw"
    decay: float = 1e-4

    def __post_init__(self) -> None:
        wrong = []
        if self.image.height % (2 * STRIDE) or self.image.width % (2 * STRIDE):
            wrong.append(
                f"image {self.image.height} x {self.image.width} must be whole multiples of "
                f"{2 * STRIDE} pixels; change its crop"
            )
        shrunk = 2 ** len(self.decoder.channels)
        if any(n % shrunk for n in self.grid.shape):
            wrong.append(
                f"grid of {self.grid.shape} cells must be whole multiples of {shrunk}, by "
                "which the decoder shrinks it; change its extent"
            )
        if any(n % self.prediction.stride for n in self.grid.shape):
            wrong.append(
                f"grid of {self.grid.shape} cells must be whole multiples of "
                f"prediction.stride={self.prediction.stride}; change one of them"
            )
        if max((p.futures for p in self.phases), default=0) > self.future:
            wrong.append(f"no phase may predict more than future={self.future} frames")
        wrong += [
            f"phase planning plans all of future={self.future} frames, got futures={p.futures}"
            for p in self.phases
            if p.name == "planning" and p.futures != self.future
        ]
        wrong += [
            f"phase {p.name} sees past={p.past} frames, of {self.past} that a window has"
            for p in self.phases
            if p.past is not None and not 1 <= p.past <= self.past
        ]
        wrong += self._list_problems_of_training()
        wrong += [p for phase in self.phases for p in self._list_problems_of_moving(phase)]
        if wrong:
            raise ValueError("\n".join(["driving cannot use this:", *wrong]))

    def _list_problems_of_training(self) -> list[str]:
        wrong = []
        if not 0 < self.hardest <= 1:
            wrong.append(f"hardest must be in (0, 1], got {self.hardest}; 1 takes all cells")
        wrong += [
            f"phase {p.name}: mirrored must be in [0, 1], got {p.mirrored}, and needs a grid "
            f"that reaches as far to the left as to the right, got y={self.grid.y}"
            for p in self.phases
            if not 0 <= p.mirrored <= 1 or (p.mirrored and sum(self.grid.y))
        ]
        if self.sees == "maps" and any(p.name != "prediction" for p in self.phases):
            wrong.append(
                'of the true maps (sees="maps") only prediction can be trained: perception has '
                "nothing to see, and the planner needs the front camera; take other phases out"
            )
        if self.sees == "maps" and self.depth_loss:
            wrong.append('true maps (sees="maps") have no depth: set depth_loss=False')
        if self.past < 1 or self.batch < 1:
            wrong.append(f"past and batch must be >= 1, got {self.past} and {self.batch}")
        return wrong

    def _list_problems_of_moving(self, phase: Phase) -> list[str]:
        """Return what is wrong with windows of other poses than the recorded ones."""
        shares = {"displaced": phase.displaced, "driven": phase.driven}
        wrong = [
            f"phase {phase.name}: {name} must be in [0, 1], got {share}"
            for name, share in shares.items()
            if not 0 <= share <= 1
        ]
        used = " and ".join(name for name, share in shares.items() if share)
        if used and self.planner.learns_from == "truth":
            wrong.append(
                f"phase {phase.name}: windows cannot be {used} where the planner learns "
                'from true maps, those of the recorded pose; set learns_from="predicted"'
            )
        missing = sorted(set(MAPPERS) - set(phase.frozen))
        if used and missing:
            wrong.append(
                f"phase {phase.name}: true maps are those of the recorded pose, so that "
                f"{used} windows train none of them; freeze {', '.join(missing)}"
            )
        if phase.driven and self.source.data != "generated":
            wrong.append(
                f"phase {phase.name}: only the generated world can be driven in; set driven=0, "
                'or source.data="generated"'
            )
        return wrong

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(p.epochs for p in self.phases)

    @property
    def last(self) -> Phase:
        """The phase whose outputs a trained network has."""
        return self.phases[-1]

    @property
    def plans(self) -> bool:
        """Whether a trained network plans a path."""
        return self.last.name == "planning"

    @property
    def state_channels(self) -> int:
        """Channels of a bird's-eye state: features, and the ego's motion of six numbers."""
        return self.channels + MOTION

    @property
    def feature_size(self) -> tuple[int, int]:
        """Height and width of features."""
        return self.image.height // STRIDE, self.image.width // STRIDE


MAPPERS = (  # parts of the model that make maps of classes
    *("encoder", "prediction", "decoder"),
    *(f"heads.parts.{name}" for name in CHANNELS if name != "cost"),
)
STRIDE = 8  # pixels of an image in a feature, along each axis
MOTION = 6  # translation and rotation of the ego since the frame before


def find_phase(config: DrivingConfig, at: float) -> tuple[Phase, float]:
    """Return the phase at a share of the training, and the share of it that is done."""
    # Shares are quotients of whole numbers of steps: a boundary is met up to rounding.
    epoch, begin = at * config.epochs + 1e-9, 0
    for phase in config.phases:
        if epoch < begin + phase.epochs:
            break
        begin += phase.epochs
    else:
        begin -= phase.epochs
    return phase, min(max((epoch - begin) / phase.epochs, 0.0), 1.0)
