"""The classes of a configuration; :mod:`tasks.driving.presets` has configurations to train.

Axes: S past and present frames, F future frames, D bins of depth, X and Y cells of the grid.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import ImageSize
from neuro.base.units import Ticks
from tasks.driving.ranges import list_out_of_range

StageName = Literal["perception", "prediction", "planning"]
Fusion = Literal["add", "multiply", "gate"]
Navigation = Literal["command", "target"]
CHANNELS: Mapping[str, int] = {  # of the maps of heads
    "vehicle": 1,
    "pedestrian": 1,
    "lane": 1,
    "drivable": 1,
    "centre": 1,
    "offset": 2,
    "flow": 2,
    "cost": 1,
}
PRESENT_MAPS = ("lane", "drivable")  # maps of the present frame only


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The neurons: v[t] = decay v[t-1] + x[t], a spike where v reaches the threshold.

    kind: "lif", or "relu" for the ANN twin, which needs ticks=1.
    decay: of the membrane in a tick, SAD's 1 - 1 / tau. threshold: 1; SAD's code halves the
    input of its neurons, which equals a threshold of 2 here. surrogate: derivative of the
    spike: "sigmoid" as in SAD's backbones (slope 4), "arctan" as in its other neurons.
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
    """The encoder, from images to features at 1/8 (and 1/16) of their size.

    ticks: T, repetitions of an image, or its sweeps and itself (Source.sweeps). channels: of
    the levels, each half the size of the previous one. stem: stride of the first convolution.
    blocks: membrane-shortcut blocks per level. expansion: of the middle of a block. far:
    channels of the branch at 1/16. aspp: channels of a branch of the spatial pyramid;
    dilations: of its convolutions. dropout: after the pyramid.
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
                f"EncoderConfig: stem {self.stem} and {len(self.channels)} levels shrink an "
                f"image by {shrunk} instead of {STRIDE}; change stem or channels"
            )
        if len(self.blocks) != len(self.channels) or min(self.blocks) < 1:
            raise ValueError(
                f"EncoderConfig.blocks must have a number >= 1 for each of "
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
    """The decoder of the bird's-eye map, over frames.

    channels: of the levels; blocks: per level. carries: whether membranes keep their state from
    frame to frame; without, each frame starts from rest, which shows the benefit of memory.
    """

    channels: tuple[int, ...]
    blocks: int
    carries: bool = True


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """The prediction of future frames.

    hidden: channels of both pathways. kernel: of their convolutions. stride: cells of the state
    per cell of the pathways along an axis, so that fast objects stay within a kernel. latent:
    random numbers for the uncertainty; 0: none. refine: hidden channels of the residual blocks
    after the pathways, one entry per stage of two blocks. fusion: of the pathways. moves:
    whether futures start from the moved present instead of the present itself.
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
    """The planner.

    candidates: M.
    navigation: what the planner knows of its way: the "command" (left, forward or right) as
        published, or the "target" as well, a point on the route ahead.
    sampler: "anchored" at the measured speed, or SAD's "clothoid" with random speeds.
    weights: of the parts of the cost: "learned" (the paper), or "constant" (the released code).
    hidden: neurons of the refinement.
    loss: of the choice between candidates: the published "margin", whose gradient reaches one
        of them, or "softmax", whose gradient reaches all.
    learns_from: the maps that judge candidates in training: the "truth" as published, or the
        "predicted" ones, as in driving.
    takes: the path for the refinement: the "cheapest" candidate as published, or the "mean" of
        all, weighted by a soft-max of their costs.
    sharpness: factor on the costs in that soft-max; 1 as in the loss.
    dilations: of additional convolutions in the head of the cost volume, which then also gets
        the state of the ego; published: none.
    start: factor on the published weights before training.
    caution: factor on the cost of missing road when driving; in training all paths are on the
        road.
    verge: margin [m] of the box that must be on the road when driving; in training 0.25, as
        lanes are hardly wider than the car.
    refines: when the car follows the refined path: "always", as published, or if it is
        "cheaper" than the original.
    braking: factor on the cost of others in the choice of a braking rate on the path; 0, as
        published: no braking.
    persistence: whether others stay at least as probable as now when driving. As published,
        others that fade from the prediction no longer block the way.
    """

    candidates: int
    hidden: int
    navigation: Navigation = "command"
    sampler: Literal["anchored", "clothoid"] = "anchored"
    weights: Literal["learned", "constant"] = "learned"
    loss: Literal["margin", "softmax"] = "margin"
    learns_from: Literal["truth", "predicted"] = "truth"
    takes: Literal["cheapest", "mean"] = "cheapest"
    sharpness: float = 1.0
    dilations: tuple[int, ...] = ()
    start: float = 1.0
    caution: float = 1.0
    verge: float = 0.25
    refines: Literal["always", "cheaper"] = "always"
    braking: float = 0.0
    persistence: bool = False

    def __post_init__(self) -> None:
        wrong = [
            f"PlannerConfig.{name} must be > 0, got {getattr(self, name)}; {usual}"
            for name, usual in (
                ("sharpness", "1 as in the loss"),
                ("start", "1 as published"),
                ("caution", "1 has no effect"),
            )
            if not getattr(self, name) > 0
        ]
        if not 0 <= self.verge < math.inf:
            wrong.append(
                f"PlannerConfig.verge must be >= 0 and finite, got {self.verge}; 0.25 as in "
                "training"
            )
        if not self.braking >= 0:
            wrong.append(
                f"PlannerConfig.braking must be >= 0, got {self.braking}; 0 disables it"
            )
        if wrong:
            raise ValueError("\n".join(wrong))


@dataclass(frozen=True, kw_only=True)
class ClassWeights:
    """Weights of the cells of a class in its loss; others weigh 1. Defaults as published."""

    vehicle: float = 2.0
    pedestrian: float = 10.0
    lane: float = 5.0
    drivable: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stage of training.

    futures: number of predicted frames.
    lr: peak learning rate; it rises over the first tenth and falls along a cosine.
    frozen: parts of the model that stay constant and run in evaluation mode; unused parts stay
        constant as well.
    past: number of input frames up to the present; None: all. Windows overlap: with one frame
        an epoch shows each image once.
    mirrored: share of windows with left and right exchanged. 0 for learning paths, because a
        planner that has seen traffic on both sides does not know on which side to drive.
    displaced: share of windows that start off the recorded way and return to it, and share of
        windows that start at another speed.
    driven: share of windows from disturbed drives, see :mod:`tasks.driving.drives`.
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
    """The source of windows.

    data: the "generated" world, or the real "nuscenes" in $NEURO_DATA/nuscenes. version: of its
    tables. scenes, seed, share: of the generated world. held: scenes of the training part for
    validation. train, test: largest number of windows (0: all). skip_bad: drop and count bad
    windows instead of refusing the data. readers: processes that read batches ahead while the
    network computes; 0: none. cached: keep prepared images, depths and labels in a folder
    beside the data set, see :mod:`drivers.nuscenes.cache`. sweeps: L, images of each camera
    before that of a frame (0.1 s apart; in nuScenes 0.05 to 0.1 s), of which each is a tick of
    the encoder; 0: the image of a frame is repeated.
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
    cached: bool = False
    sweeps: int = 0

    def __post_init__(self) -> None:
        wrong = [
            f"Source.{name} must be >= 0, got {getattr(self, name)}; {cure}"
            for name, cure in (
                ("readers", "0 reads nothing ahead"),
                ("sweeps", "0 repeats the image of a frame"),
                ("train", "0 takes all windows"),
                ("test", "0 takes all windows"),
                ("scenes", "60 are usual"),
                ("seed", "use 0, 1, 2, ..."),
            )
            if getattr(self, name) < 0
        ]
        wrong += [
            f"Source.{name} must be >= 1, got {getattr(self, name)}; {cure}"
            for name, cure in (
                ("share", "1 gives each scene its own place"),
                ("held", "a training needs scenes for validation"),
            )
            if getattr(self, name) < 1
        ]
        if wrong:
            raise ValueError("\n".join(wrong))


@dataclass(frozen=True, kw_only=True)
class DrivingConfig:
    """One experiment.

    past, future: S and F of a window.
    sees: the input of states: "cameras", or the true "maps" of past and present frames, to
        measure the prediction separately.
    grid: of the bird's-eye map. channels: of its features. road_cells: number of cells of the
        map of the drivable area along an edge of a cell of the grid.
    discount: of the previous frame in the fusion over time. heads: channels inside a head.
    hardest: share of the cells of a frame, those with the highest loss, that train its classes;
        published: a quarter, with which more frequent classes learn slowly.
    depth_loss: whether to train on measured depth, unlike the paper. clip: of the gradient.
    optimizer: "adamw", or "adam" as published; decay: of weights.
    precision: of training, as in :class:`neuro.training.Plan`: "32-true" or "bf16-mixed".
    recomputes: whether the backward pass computes the blocks of the encoder and of the
        prediction again, instead of keeping their values: a third of the memory for a third
        more work, and equal gradients.
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
    road_cells: int = 1
    discount: float = 0.5
    cells: Cells = field(default_factory=Cells)
    weights: ClassWeights = field(default_factory=ClassWeights)
    source: Source = field(default_factory=Source)
    clip: float = 5.0
    optimizer: Literal["adamw", "adam"] = "adamw"
    decay: float = 1e-4
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    recomputes: bool = False

    def __post_init__(self) -> None:
        wrong = list_out_of_range(self)  # first, because the others may follow from them
        if self.image.height % (2 * STRIDE) or self.image.width % (2 * STRIDE):
            wrong.append(
                f"image {self.image.height} x {self.image.width} must be whole multiples of "
                f"{2 * STRIDE} pixels; change its crop"
            )
        shrunk = 2 ** len(self.decoder.channels)
        if any(n % shrunk for n in self.grid.shape):
            wrong.append(
                f"grid of {self.grid.shape} cells must be whole multiples of {shrunk}, the "
                "factor by which the decoder shrinks it; change its extent"
            )
        if any(n % max(self.prediction.stride, 1) for n in self.grid.shape):
            wrong.append(
                f"grid of {self.grid.shape} cells must be whole multiples of "
                f"prediction.stride={self.prediction.stride}; change one of them"
            )
        if self.source.sweeps:
            wrong += self._list_problems_of_sweeps()
        if max((p.futures for p in self.phases), default=0) > self.future:
            wrong.append(f"no phase may predict more than future={self.future} frames")
        wrong += [
            f"phase planning needs futures={self.future}, all future frames, got {p.futures}"
            for p in self.phases
            if p.name == "planning" and p.futures != self.future
        ]
        wrong += [
            f"phase {p.name} has past={p.past}, a window has {self.past} frames"
            for p in self.phases
            if p.past is not None and not 1 <= p.past <= self.past
        ]
        wrong += self._list_problems_of_training()
        wrong += [p for phase in self.phases for p in self._list_problems_of_moving(phase)]
        if wrong:
            raise ValueError("\n".join(["driving: wrong configuration:", *wrong]))

    def _list_problems_of_sweeps(self) -> list[str]:
        wrong, sweeps, ticks = [], self.source.sweeps, self.encoder.ticks
        if ticks != sweeps + 1:
            wrong.append(
                f"encoder.ticks must be {sweeps + 1}, one for each of source.sweeps={sweeps} "
                f"and one for the image of a frame, got {ticks}; change one of them"
            )
        if self.sees == "maps":
            wrong.append('true maps (sees="maps") have no sweeps: set source.sweeps=0')
        return wrong

    def _list_problems_of_training(self) -> list[str]:
        wrong = []
        wrong += [
            f"phase {p.name}: mirrored must be in [0, 1], got {p.mirrored}, and needs a grid "
            f"symmetric in y, got y={self.grid.y}"
            for p in self.phases
            if not 0 <= p.mirrored <= 1 or (p.mirrored and sum(self.grid.y))
        ]
        if self.sees == "maps" and any(p.name != "prediction" for p in self.phases):
            wrong.append(
                'true maps (sees="maps") train only prediction: perception has no input, and '
                "the planner needs the front camera; remove the other phases"
            )
        if self.sees == "maps" and self.depth_loss:
            wrong.append('true maps (sees="maps") have no depth: set depth_loss=False')
        if self.sees == "maps" and self.road_cells != 1:
            wrong.append('true maps (sees="maps") share one grid: set road_cells=1')
        return wrong

    def _list_problems_of_moving(self, phase: Phase) -> list[str]:
        """Return the problems of windows whose poses differ from the recorded ones."""
        shares = {"displaced": phase.displaced, "driven": phase.driven}
        wrong = [
            f"phase {phase.name}: {name} must be in [0, 1], got {share}"
            for name, share in shares.items()
            if not 0 <= share <= 1
        ]
        used = " and ".join(name for name, share in shares.items() if share)
        if used and self.planner.learns_from == "truth":
            wrong.append(
                f"phase {phase.name}: with {used} windows the planner cannot learn from true "
                'maps, which belong to the recorded pose; set learns_from="predicted"'
            )
        missing = sorted(set(MAPPERS) - set(phase.frozen))
        if used and missing:
            wrong.append(
                f"phase {phase.name}: true maps belong to the recorded pose, so {used} windows "
                f"cannot train them; freeze {', '.join(missing)}"
            )
        if phase.driven and self.source.data != "generated":
            wrong.append(
                f"phase {phase.name}: driven windows need the generated world; set driven=0, "
                'or source.data="generated"'
            )
        return wrong

    @property
    def road(self) -> GroundGrid:
        """The grid of the drivable area."""
        return replace(self.grid, step=self.grid.step / self.road_cells)

    def find_grid(self, name: str) -> GroundGrid:
        """Return the grid of a map by its name."""
        return self.road if name == "drivable" else self.grid

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(p.epochs for p in self.phases)

    @property
    def last(self) -> Phase:
        """The phase that determines the outputs of a trained network."""
        return self.phases[-1]

    @property
    def plans(self) -> bool:
        """Whether a trained network plans a path."""
        return self.last.name == "planning"

    @property
    def state_channels(self) -> int:
        """Channels of a bird's-eye state: features, and six numbers of ego motion."""
        return self.channels + MOTION

    @property
    def feature_size(self) -> tuple[int, int]:
        """Height and width of features."""
        return self.image.height // STRIDE, self.image.width // STRIDE


MAPPERS = (  # parts of the model that produce the maps of classes
    *("encoder", "prediction", "decoder"),
    *(f"heads.parts.{name}" for name in CHANNELS if name != "cost"),
)
STRIDE = 8  # pixels of an image in a feature, along each axis
MOTION = 6  # translation and rotation of the ego since the previous frame


def find_phase(config: DrivingConfig, at: float) -> tuple[Phase, float]:
    """Return the phase at a share of the training, and the finished share of that phase."""
    # A share is a quotient of whole numbers, so it meets a boundary only up to rounding.
    epoch, begin = at * config.epochs + 1e-9, 0
    for phase in config.phases:
        if epoch < begin + phase.epochs:
            break
        begin += phase.epochs
    else:
        begin -= phase.epochs
    return phase, min(max((epoch - begin) / phase.epochs, 0.0), 1.0)
