"""The whole network: from six camera images to present and future bird's-eye maps and a path.

    images -> encoder -> lift, splat, fuse -> prediction -> decoder -> heads -> cost -> path

State is explicit: every spiking part starts from rest for each window. Ticks of the encoder are
repetitions of an image, or its sweeps and the image itself; in all later parts a tick is a
frame. The axis of ticks comes first, that of windows second. The two axes are transposed, never
reshaped, which keeps windows independent. In mixed precision (bf16), layers compute with 16
bits. Geometry, soft-max, sums over cells, costs and paths keep 32, because at 50 m the
resolution of 16 bits is a quarter of a metre.

Axes: B windows, S past and present frames, F future frames, T = 1 + F present and future frames
(for images: L + 1 ticks, of L sweeps and a frame), N cameras, C channels, M candidates, V speed
profiles of a path, X and Y cells.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import FRAME
from neuro.mixers.arguments import without_autocast
from tasks.driving.batch import MAPS, MOVING, Observation, Truth, Unrounded, join_ticks
from tasks.driving.config import CHANNELS, DrivingConfig, StageName
from tasks.driving.cost import Cost, Costs, Surroundings
from tasks.driving.displace import go_along
from tasks.driving.encoder import Encoder
from tasks.driving.heads import Decoder, Heads
from tasks.driving.lift_splat import (
    compute_motion,
    find_cells,
    fuse_frames,
    lift_points,
    pool_features,
)
from tasks.driving.prediction import Prediction
from tasks.driving.refine import Refinement
from tasks.driving.sampler import EgoState, Sampler, find_moves

FRONT = CAMERAS.index("CAM_FRONT")
RATES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # [m/s^2] of braking
UNSURE = 0.3  # lower probabilities of occupancy count as 0 when braking
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # statistics of ImageNet's pixels
HEADS: Mapping[StageName, tuple[str, ...]] = {
    "perception": ("vehicle", "pedestrian", "lane", "drivable"),
    "prediction": ("vehicle", "pedestrian", "lane", "drivable", "centre", "offset", "flow"),
    "planning": tuple(CHANNELS),
}
TASKS = (*HEADS["prediction"], "motion", "depth", "choice", "path")  # each has a loss


class Perceived(NamedTuple):
    """Result of perception.

    states: bird's-eye states. depth: logits of the depth of each feature.
    front: present features of the front camera.
    depth and front are None for models that see true maps.
    """

    states: Float[Tensor, "S B C X Y"]
    depth: Float[Tensor, "B S N D h w"] | None
    front: Float[Tensor, "B C h w"] | None


class Planned(NamedTuple):
    """A plan.

    taken: the cheapest candidate, or the weighted mean of all candidates.
    path: the path ``taken`` after refinement and braking, where the planner applies them.
    truth: costs of the true path in training, else None.
    """

    candidates: Float[Tensor, "B M F 3"]
    costs: Costs
    taken: Float[Tensor, "B F 3"]
    path: Float[Tensor, "B F 3"]
    truth: Costs | None


class DrivingOutputs(NamedTuple):
    """Outputs of the model.

    maps: outputs of the heads, B T X Y (offset, flow: B T 2 X Y).
    motion: motion of the present cells [cells per frame], if the prediction moves cells.
    balance: trained s of each task's loss.
    """

    depth: Float[Tensor, "B S N D h w"] | None
    maps: dict[str, Tensor]
    motion: Float[Tensor, "B 2 X Y"] | None
    plan: Planned | None
    balance: dict[str, Float[Tensor, ""]]


class Driver(nn.Module):
    """The whole network."""

    mean: Tensor
    spread: Tensor

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        self.config = config
        if config.sees == "cameras":
            self.encoder = Encoder(config)
        else:
            self.embed = nn.Conv2d(len(MAPS), config.channels, 1)
        self.prediction = Prediction(config)
        self.decoder = Decoder(config)
        self.heads = Heads(config)
        self.planner = Planner(config)
        self.balance = nn.ParameterDict({task: torch.zeros(()) for task in TASKS})
        for name, values in (("mean", MEAN), ("spread", SPREAD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(
        self,
        seen: Observation | Unrounded[Observation],
        stage: StageName | None = None,
        futures: int | None = None,
        truth: Truth | Unrounded[Truth] | None = None,
        frozen: tuple[str, ...] = (),
        known: Mapping[str, Tensor] | None = None,
    ) -> DrivingOutputs:
        """Return the outputs of a stage.

        Args:
            seen: observations of windows.
            stage: selects the heads, and whether to plan; None means the last phase's stage.
            futures: number of predicted frames; None means that of the last phase. A plan needs
                all future frames.
            truth: given in training. The plan then includes the cost of the true path. If the
                planner learns from the truth, true maps replace the predicted ones; the cost
                volume is always predicted.
            frozen: parts that run in evaluation mode.
            known: fields of :class:`Surroundings` that replace predicted ones in the plan.
        """
        c = self.config
        seen = seen.value if isinstance(seen, Unrounded) else seen
        truth = truth.value if isinstance(truth, Unrounded) else truth
        futures = c.last.futures if futures is None else futures
        stage = c.last.name if stage is None else stage
        with self._evaluating(frozen):
            perceived = self.perceive(seen)
            states = perceived.states
            motion = None
            if futures:
                states, motion = self.prediction(states, futures)
            spikes = self.decoder(states)
            maps = self.read_maps(spikes[len(perceived.states) - 1 :], HEADS[stage], seen.ego)
            plan = None
            if stage == "planning" and perceived.front is not None:
                judge = truth if c.planner.learns_from == "truth" else None
                persistence = c.planner.persistence and not self.training
                around = find_surroundings(maps, judge, persistence)._replace(**known or {})
                path = None if truth is None else truth.path
                with without_autocast(states):
                    plan = self.planner(seen.ego, around, perceived.front, path)
        return DrivingOutputs(perceived.depth, maps, motion, plan, dict(self.balance))

    def perceive(self, seen: Observation) -> Perceived:
        """Return bird's-eye states of past and present frames, in the present ego frame.

        Features of sweeps are lifted with the pose of their frame.

        Raises:
            ValueError: the number of sweeps differs from the configuration.
        """
        c, windows = self.config, seen.images.shape[:3]
        with without_autocast(seen.to_present):
            motion = compute_motion(seen.to_present)[..., None, None]
        motion = motion.expand(-1, -1, -1, *c.grid.shape)
        if c.sees == "maps":
            embedded = self.embed(seen.maps.flatten(0, 1).to(motion)).unflatten(0, windows[:2])
            return Perceived(torch.cat([embedded, motion], 2).transpose(0, 1), None, None)
        encoded = self.encoder(self.normalise(self.list_ticks(seen).flatten(1, 3)))
        features = encoded.features.to(self.mean.dtype).unflatten(0, windows)
        depth = encoded.depth.to(self.mean.dtype).unflatten(0, windows)
        pose = seen.intrinsic, seen.to_ego, seen.to_present
        with without_autocast(depth):
            cells = find_cells(lift_points(*pose, c.depth, c.feature_size), c.grid)
            fused = fuse_frames(pool_features(features, depth, cells, c.grid), c.discount)
        states = torch.cat([fused, motion], 2)
        return Perceived(states.transpose(0, 1), depth, features[:, -1, FRONT])

    def list_ticks(self, seen: Observation) -> UInt8[Tensor, "T B S N 3 H W"]:
        """Return the images of each tick of the encoder; if T = 1, all ticks use the same.

        Raises:
            ValueError: the number of sweeps differs from the configuration.
        """
        found, needed = seen.sweeps.shape[3], self.config.source.sweeps
        if found != needed:
            raise ValueError(
                f"driving: the network needs {needed} sweeps of each camera, images before "
                f"that of a frame; the observation has {found}: set sweeps={needed} where it "
                "is made (Trial.sweeps, Source.sweeps)"
            )
        return join_ticks(seen)

    def normalise(self, images: UInt8[Tensor, "*K 3 H W"]) -> Float[Tensor, "*K 3 H W"]:
        """Normalise images by the mean and deviation of ImageNet's pixels."""
        return (images / 255 - self.mean) / self.spread

    def read_maps(
        self,
        spikes: Float[Tensor, "T B C X Y"],
        names: tuple[str, ...],
        ego: EgoState | None = None,
    ) -> dict[str, Tensor]:
        """Return maps by name, windows first; maps of one channel have no channel axis.

        ego: input of the cost head.
        """
        maps = {k: y.to(self.mean.dtype) for k, y in self.heads(spikes, names, ego).items()}
        return {
            k: (y[:, :, 0] if y.shape[2] == 1 else y).transpose(0, 1) for k, y in maps.items()
        }

    @contextmanager
    def _evaluating(self, parts: tuple[str, ...]) -> Iterator[None]:
        """Run a block with ``parts`` of the model in evaluation mode."""
        modules = [self.get_submodule(name) for name in parts]
        modes = [module.training for module in modules]
        try:
            for module in modules:
                module.eval()
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.train(mode)


def require_driver(model: nn.Module) -> Driver:
    """Return the model as a Driver.

    Raises:
        TypeError: the model is not a Driver.
    """
    if not isinstance(model, Driver):
        raise TypeError(f"expected a Driver, got {type(model).__name__}")
    return model


class Planner(nn.Module):
    """Candidates, their costs, and the refinement of the taken path."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        self.takes, self.sharpness = config.planner.takes, config.planner.sharpness
        self.refines, self.braking = config.planner.refines, config.planner.braking
        self.sampler = Sampler(config)
        self.cost = Cost(config)
        self.refinement = Refinement(config)

    def forward(
        self,
        ego: EgoState,
        around: Surroundings,
        front: Float[Tensor, "B C h w"],
        truth: Float[Tensor, "B F 3"] | None = None,
    ) -> Planned:
        """Return the plan; with the true path ``truth``, it includes the costs of that path."""
        candidates = self.sampler(ego)
        costs = self.cost(candidates, around, ego)
        if self.takes == "mean":
            shares = (-self.sharpness * costs.total).detach().softmax(1)
            taken = (shares[..., None, None] * candidates).sum(1)
        else:
            cheapest = costs.total.detach().argmin(1)
            rows = torch.arange(len(cheapest), device=cheapest.device)
            taken = candidates[rows, cheapest]
        true_cost = None if truth is None else self.cost(truth[:, None], around, ego)
        path = self.refinement(taken, front, ego)
        if self.refines == "cheaper" and not self.training:
            both = torch.stack([taken, path], 1)
            total = self.cost(both, around, ego).total
            path = torch.where((total[:, 1] < total[:, 0])[:, None, None], path, taken)
        if self.braking and not self.training:
            path = self._brake(path, around, ego)
        return Planned(candidates, costs, taken, path, true_cost)

    def _brake(
        self, path: Float[Tensor, "B F 3"], around: Surroundings, ego: EgoState
    ) -> Float[Tensor, "B F 3"]:
        """Return the path at the cheapest braking rate, with a changed cost of others."""
        driven = brake_along(path, ego.speed)
        around = around._replace(occupied=doubt(around.occupied))
        cheapest = self.cost(driven, around, ego, self.braking).total.argmin(1)
        return driven[torch.arange(len(path), device=path.device), cheapest]


def find_surroundings(
    maps: Mapping[str, Tensor], truth: Truth | None = None, persistence: bool = False
) -> Surroundings:
    """Return the surroundings of candidates, from true maps if ``truth`` is given.

    Predicted maps are probabilities. The cost volume is always predicted, and is >= 0.
    persistence: whether a cell's future occupancy is at least its present one.
    """
    learned = F.softplus(maps["cost"][:, 1:])
    if truth is not None:
        occupied = (truth.vehicle | truth.pedestrian)[:, 1:]
        drivable, lane = truth.drivable, truth.lane
    else:
        vehicle, pedestrian = (maps[name].sigmoid() for name in MOVING)
        others = torch.maximum(vehicle, pedestrian)
        occupied = others[:, 1:]
        if persistence:
            occupied = torch.maximum(occupied, others[:, :1])
        drivable, lane = (maps[name][:, 0].sigmoid() for name in ("drivable", "lane"))
    return Surroundings(occupied.to(learned), drivable.to(learned), lane.to(learned), learned)


def brake_along(
    path: Float[Tensor, "B F 3"], speed: Float[Tensor, " B"]
) -> Float[Tensor, "B V F 3"]:
    """Return a path driven at the planned speed, then while braking at each of the RATES.

    This decides first the path and then the speed (Kant and Zucker 1986). speed: speed at the
    start [m/s]. No variant is ahead of the planned path in any frame.
    """
    planned = find_moves(path[..., :2]).norm(dim=-1).cumsum(1)[:, None]
    times = FRAME * torch.arange(1, path.shape[1] + 1, device=path.device)
    rate = torch.tensor(RATES, device=path.device)[:, None]
    start = speed[:, None, None]
    until = torch.minimum(times, start / rate)
    way = torch.minimum(start * until - rate * until**2 / 2, planned)
    ways = torch.cat([planned, way], 1)
    flat = path.repeat_interleave(ways.shape[1], 0)
    return go_along(flat, ways.flatten(0, 1)).view(*ways.shape, 3)


def doubt(occupied: Float[Tensor, "B F X Y"]) -> Float[Tensor, "B F X Y"]:
    """Rescale probabilities so that UNSURE becomes 0 and 1 stays 1."""
    return ((occupied - UNSURE) / (1 - UNSURE)).clamp(min=0)
