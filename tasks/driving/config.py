"""The classes of a configuration; :mod:`tasks.driving.presets` has configurations to train.

Axes: S past and present frames, F future frames, D bins of depth, X and Y cells of the grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import ImageSize
from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share
from neuro.base.units import Ticks
from tasks.runs.configuration import require_sound

StageName = Literal["perception", "prediction", "planning"]
Fusion = Literal["add", "multiply", "gate"]
Navigation = Literal["command", "target"]
Layers = Annotated[tuple[Count, ...], MinLen(1)]
CHANNELS: Mapping[str, int] = {  # channels of each head's map
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
    """The neurons: v[t] = decay v[t-1] + x[t], a spike where v reaches the threshold."""

    kind: Literal["lif", "relu"] = "lif"
    """Spiking neurons, or "relu" for the ANN twin, which needs one tick."""
    decay: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Share of the membrane that is left after a tick, 1 - 1 / tau in SAD."""
    threshold: Positive = 1.0
    """Membrane at which a neuron fires; the code of SAD halves inputs, which equals 2 here."""
    reset: Literal["hard", "soft"] = "hard"
    """What a spike does to its membrane: set it to zero, or subtract the threshold."""
    surrogate: Literal["arctan", "sigmoid"] = "arctan"
    """Derivative of a spike; SAD has "sigmoid" with slope 4 in backbones, else "arctan"."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The encoder, from images to features at 1/8 (and 1/16) of their size."""

    ticks: Annotated[Ticks, Ge(1)]
    """Repetitions of an image; with sweeps, their number and one [ticks]."""
    channels: Layers
    """Channels of the levels, each half the size of the previous one."""
    stem: Count
    """Stride of the first convolution [pixels]."""
    blocks: Layers
    """Membrane-shortcut blocks per level."""
    expansion: Count
    """Channels in the middle of a block, as a multiple of those around it."""
    far: Count
    """Channels of the branch at 1/16."""
    aspp: Count
    """Channels of each branch of the spatial pyramid."""
    dilations: tuple[Count, ...]
    """Dilations of the convolutions of the pyramid [features]."""
    dropout: Annotated[float, Ge(0), Lt(1)]
    """Probability of the dropout after the pyramid."""


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Bins of depth along a camera's axis."""

    first: NotNegative
    """First edge [m]."""
    last: Positive
    """Last edge [m]."""
    step: Positive
    """Width of a bin [m]."""

    @property
    def bins(self) -> int:
        """Number of bins."""
        return round((self.last - self.first) / self.step)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The decoder of the bird's-eye map, over frames."""

    channels: Layers
    """Channels of the levels."""
    blocks: Count
    """Blocks per level."""
    carries: bool = True
    """Whether membranes keep their state between frames, or each frame starts from rest."""


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """The prediction of future frames."""

    hidden: Count
    """Channels of both pathways."""
    kernel: Count
    """Side of their kernels [cells of the pathways], an odd number."""
    latent: Natural
    """Random numbers for the uncertainty; 0 draws none."""
    refine: tuple[Count, ...]
    """Hidden channels of the residual blocks after the pathways, per stage of two blocks."""
    fusion: Fusion = "add"
    """How the two pathways are joined."""
    stride: Count = 1
    """Cells of the state per cell of the pathways, so that fast objects stay in a kernel."""
    moves: bool = False
    """Whether futures start from the moved present instead of the present itself."""


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """The planner."""

    candidates: Count
    """Candidate paths M."""
    hidden: Count
    """Neurons of the refinement."""
    navigation: Navigation = "command"
    """What the planner knows of its way: left, forward or right, or a "target" on the route."""
    sampler: Literal["anchored", "clothoid"] = "anchored"
    """Candidates "anchored" at the measured speed, or SAD's with random speeds."""
    weights: Literal["learned", "constant"] = "learned"
    """Weights of the parts of the cost: learned (the paper), or constant (its code)."""
    loss: Literal["margin", "softmax"] = "margin"
    """Loss of the choice: the published "margin" trains one candidate, "softmax" all."""
    learns_from: Literal["truth", "predicted"] = "truth"
    """Maps that judge candidates in training: the published "truth", or "predicted" ones."""
    takes: Literal["cheapest", "mean"] = "cheapest"
    """Path to refine: the published "cheapest", or the "mean" by a soft-max of costs."""
    sharpness: Positive = 1.0
    """Factor on the costs in that soft-max; 1 as in the loss."""
    dilations: tuple[Count, ...] = ()
    """Dilations of further convolutions in the head of the cost, which then sees the ego."""
    start: Positive = 1.0
    """Factor on the published weights of the cost before training."""
    caution: Positive = 1.0
    """Factor on the cost of missing road when driving."""
    verge: NotNegative = 0.25
    """Margin of the box that must be on the road when driving; 0.25 in training [m]."""
    refines: Literal["always", "cheaper"] = "always"
    """When the car follows the refined path: always, as published, or if it is cheaper."""
    braking: NotNegative = 0.0
    """Factor on the cost of others in the choice of a braking rate; 0 never brakes."""
    persistence: bool = False
    """Whether others stay at least as probable as now when driving."""


@dataclass(frozen=True, kw_only=True)
class ClassWeights:
    """Weights of the cells of a class in its loss; others weigh 1. Defaults as published."""

    vehicle: Positive = 2.0
    """Weight of cells with a vehicle."""
    pedestrian: Positive = 10.0
    """Weight of cells with a pedestrian."""
    lane: Positive = 5.0
    """Weight of cells with a lane divider."""
    drivable: Positive = 1.0
    """Weight of drivable cells."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stage of training."""

    name: StageName
    """What it trains."""
    futures: Natural
    """Predicted frames."""
    epochs: Count
    """Passes over the windows."""
    lr: Positive
    """Peak learning rate; it rises over the first tenth and falls along a cosine."""
    frozen: tuple[str, ...] = ()
    """Parts of the model that stay constant and run in evaluation mode."""
    past: Count | None = None
    """Input frames up to the present; null takes all, 1 shows each image once per epoch."""
    mirrored: Share = 0.0
    """Share of windows with left and right exchanged; 0 where paths are learned."""
    displaced: Share = 0.0
    """Share of windows that start off the recorded way, and of those at another speed."""
    driven: Share = 0.0
    """Share of windows from disturbed drives (tasks.driving.drives)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of windows."""

    data: Literal["generated", "nuscenes"] = "generated"
    """The generated world, or nuScenes in $NEURO_DATA/nuscenes."""
    version: str = "v1.0-trainval"
    """Version of the tables of nuScenes."""
    scenes: Natural = 60
    """Scenes of the generated world."""
    seed: Natural = 0
    """Seed of the generated world."""
    share: Count = 3
    """Scenes of the generated world that have the same place."""
    held: Count = 4
    """Scenes of the training part for validation."""
    train: Natural = 0
    """Largest number of training windows; 0 takes all."""
    test: Natural = 0
    """Largest number of test windows; 0 takes all."""
    skip_bad: bool = False
    """Whether bad windows are left out and counted instead of refused."""
    readers: Natural = 0
    """Processes that read batches ahead while the network computes; 0 reads none ahead."""
    cached: bool = False
    """Whether prepared images, depths and labels are kept beside the data set."""
    sweeps: Natural = 0
    """Images of each camera before a frame, each a tick; 0 repeats the image of the frame."""


@dataclass(frozen=True, kw_only=True)
class DrivingConfig:
    """One experiment.

    Raises:
        ValueError: the configuration is wrong; lists every problem.
    """

    image: ImageSize
    """Size of an image of a camera."""
    encoder: EncoderConfig
    """From images to features."""
    depth: Depth
    """Bins of depth."""
    decoder: DecoderConfig
    """From states to maps."""
    prediction: PredictionConfig
    """From present to future states."""
    planner: PlannerConfig
    """From maps to a path."""
    grid: GroundGrid
    """Cells of the bird's-eye map."""
    channels: Count
    """Channels of the features on the map."""
    heads: Count
    """Channels inside a head."""
    phases: Annotated[tuple[Phase, ...], MinLen(1)]
    """Stages of the training, in order."""
    batch: Count
    """Windows per batch."""
    hardest: Annotated[float, Gt(0), Le(1)]
    """Share of the cells of a frame, those of highest loss, that train its classes."""
    depth_loss: bool
    """Whether measured depth trains the network, unlike in the paper."""
    sees: Literal["cameras", "maps"] = "cameras"
    """Input of states: cameras, or true maps, which measure the prediction alone."""
    past: Count = 3
    """Past and present frames S of a window."""
    future: Count = 6
    """Future frames F of a window."""
    road_cells: Count = 1
    """Cells of the map of the drivable area along an edge of a cell of the grid."""
    discount: Share = 0.5
    """Weight of the previous frame in the fusion over time; 0 forgets past frames."""
    cells: Cells = field(default_factory=Cells)
    """Neurons of the network."""
    weights: ClassWeights = field(default_factory=ClassWeights)
    """Weights of the classes in the loss."""
    source: Source = field(default_factory=Source)
    """Where windows come from."""
    clip: Positive = 5.0
    """Largest norm of the gradient."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """Optimizer; the paper has "adam"."""
    decay: NotNegative = 1e-4
    """Weight decay."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Precision of training, as in Lightning Fabric."""
    recomputes: bool = False
    """Whether blocks are computed again for the gradient: a third of the memory, slower."""

    def __post_init__(self) -> None:
        require_sound(self)

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        wrong = self._list_problems_of_sizes()
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
        if any(n % self.prediction.stride for n in self.grid.shape):
            wrong.append(
                f"grid of {self.grid.shape} cells must be whole multiples of "
                f"prediction.stride={self.prediction.stride}; change one of them"
            )
        if self.source.sweeps:
            wrong += self._list_problems_of_sweeps()
        if max(p.futures for p in self.phases) > self.future:
            wrong.append(f"no phase may predict more than future={self.future} frames")
        wrong += [
            f"phase planning needs futures={self.future}, all future frames, got {p.futures}"
            for p in self.phases
            if p.name == "planning" and p.futures != self.future
        ]
        wrong += [
            f"phase {p.name} has past={p.past}, a window has {self.past} frames"
            for p in self.phases
            if p.past is not None and p.past > self.past
        ]
        wrong += self._list_problems_of_training()
        wrong += [p for phase in self.phases for p in self._list_problems_of_moving(phase)]
        return wrong

    def _list_problems_of_sizes(self) -> list[str]:
        encoder, depth = self.encoder, self.depth
        shrunk = encoder.stem * 2 ** (len(encoder.channels) - 1)
        bins = (depth.last - depth.first) / depth.step
        wrong = {
            f"encoder.stem is {encoder.stem}; with {len(encoder.channels)} levels it must "
            f"shrink an image by {STRIDE}, and not {shrunk}. Change encoder.stem or "
            "encoder.channels.": shrunk != STRIDE,
            f"encoder.blocks is {encoder.blocks}; it must have a number for each of "
            f"{len(encoder.channels)} levels. Change encoder.blocks.": (
                len(encoder.blocks) != len(encoder.channels)
            ),
            f"depth.last is {depth.last}; it must be a whole number of bins of {depth.step} m "
            f"from {depth.first} m. Change depth.last or depth.step.": not (
                bins > 0.5 and abs(bins - round(bins)) < 1e-6
            ),
            f"prediction.kernel is {self.prediction.kernel}; it must be odd. Use --set "
            "prediction.kernel=3.": self.prediction.kernel % 2 == 0,
        }
        return [text for text, is_so in wrong.items() if is_so]

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
        wrong = [
            f"phase {p.name}: mirrored windows need a grid symmetric in y, got y={self.grid.y}"
            for p in self.phases
            if p.mirrored and sum(self.grid.y)
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
        wrong = []
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


MAPPERS = (  # parts of the model that compute class maps
    *("encoder", "prediction", "decoder"),
    *(f"heads.parts.{name}" for name in CHANNELS if name != "cost"),
)
STRIDE = 8  # image pixels per feature along each axis
MOTION = 6  # translation and rotation of the ego since the previous frame


def find_phase(config: DrivingConfig, at: float) -> tuple[Phase, float]:
    """Return the phase at the finished share ``at`` of training, and that phase's share."""
    # A share is a rounded quotient of whole numbers, so it may fall just short of a boundary.
    epoch, begin = at * config.epochs + 1e-9, 0
    for phase in config.phases:
        if epoch < begin + phase.epochs:
            break
        begin += phase.epochs
    else:
        begin -= phase.epochs
    return phase, min(max((epoch - begin) / phase.epochs, 0.0), 1.0)
