"""Closed loop: planners drive through the generated world, and other road users react.

A course ends when the route is completed, after a collision at fault, off the road, or at the
time limit. The car is off the road if one of its corners is more than 0.3 m outside the
drivable area (nuPlan's ``max_violation_threshold``); the scores, like PDMS, also count smaller
violations. The rules drive the first second, so that planners have past frames. Then, every
half second, the planner gets six rendered images, speed, yaw rate and a target on the route,
and the car follows the returned path until the next plan.
Axes: S past and present frames, N cameras, L sweeps, F future frames.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from PIL import Image

from drivers.nuscenes.geometry import enter_frame, lift
from drivers.nuscenes.images import shrink_image
from drivers.nuscenes.rig import Camera
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.window import FRAME, Command, ImageSize, name_command
from drivers.nuscenes.world.drive import (
    STEPS,
    PlannedDrive,
    drive,
    locate_target,
    plan_by_rules,
    start,
)
from drivers.nuscenes.world.instant import STEP, WorldInstant
from drivers.nuscenes.world.poses import show
from drivers.nuscenes.world.render import Scenery, make_scenery, render_cameras
from drivers.nuscenes.world.rig import make_rig
from drivers.nuscenes.world.state import WorldState
from drivers.nuscenes.world.traffic import step_traffic
from drivers.nuscenes.world.write.files import encode_image
from neuro.base.arguments import describe, is_whole
from tasks.driving.batch import Observation
from tasks.driving.planners import Planner
from tasks.driving.sampler import EgoState
from tasks.driving.score import (
    Drive,
    Score,
    find_collisions,
    measure_progress,
    score_drive,
)

SEGMENT = 40  # steps of a scored segment: 4 s
LIMIT = 90.0  # [s] for a course
TOLERANCE = 0.3  # [m] a corner may be off the road before the course ends


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a course.

    end: "completed", "collision" (at fault), "off road" or "time".
    share: driven share of the route.
    seconds: duration of the drive.
    collisions: number of all collisions, at fault or not.
    segments: scores of each 4 s and of the remainder; their reference is the progress of the
    rules from the start of the segment.
    """

    seed: int
    end: str
    share: float
    seconds: float
    collisions: int
    segments: tuple[Score, ...]

    def mean(self, name: str) -> float:
        """Return the duration-weighted mean of a sub-score, "pdms" or "driving_score"."""
        length = SEGMENT * STEP
        durations = [min(length, self.seconds - length * k) for k in range(len(self.segments))]
        values = [getattr(score, name) for score in self.segments]
        return float(np.average(values, weights=durations))

    @property
    def driving_score(self) -> float:
        """The mean score of the segments times the driven share of the route."""
        return self.share * self.mean("driving_score")


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraRig:
    """The car's cameras, with images as in training: rendered, as JPEG, scaled and cropped."""

    scenery: Scenery
    rig: Sequence[Camera]
    size: ImageSize

    def take(self, instant: WorldInstant) -> UInt8[np.ndarray, "N 3 H W"]:
        """Return the images of all cameras."""
        images = zip(self.rig, render_cameras(self.scenery, self.rig, instant), strict=True)
        return np.stack([self._develop(camera.channel, image) for camera, image in images])

    def _develop(
        self, channel: str, image: UInt8[np.ndarray, "H W 3"]
    ) -> UInt8[np.ndarray, "3 h w"]:
        with Image.open(io.BytesIO(encode_image(image))) as opened:
            return shrink_image(opened.convert("RGB"), self.size, Path(channel))

    def intrinsic(self) -> Float64[np.ndarray, "N 3 3"]:
        """Return the intrinsics of the scaled and cropped images."""
        scale = np.diag([self.size.scale, self.size.scale, 1.0])
        matrices = np.stack([scale @ camera.intrinsic for camera in self.rig])
        matrices[:, 1, 2] -= self.size.crop
        return np.asarray(matrices)


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenFrame:
    """A frame of a drive as its cameras see it; without cameras N is 0, and H and W are 1.

    sweeps: images of each camera before that of the frame, :data:`STEP` apart, oldest first.
    """

    instant: WorldInstant
    images: UInt8[np.ndarray, "N 3 H W"]
    sweeps: UInt8[np.ndarray, "N L 3 H W"]


def look_around(
    cameras: CameraRig | None,
    instants: Sequence[WorldInstant],
    sweeps: int,
    blanked: bool = False,
) -> SeenFrame:
    """Return the frame at the last of ``instants``.

    instants: the earlier ones give the sweeps. If there are too few at the start of a drive,
    the earliest is repeated, as at the start of a recorded scene.
    blanked: whether all images are black, which saves rendering.
    """
    ticks = [*[instants[0]] * (sweeps + 1 - len(instants)), *instants[-1 - sweeps :]]
    if cameras is None:
        views = np.zeros((sweeps + 1, 0, 3, 1, 1), np.uint8)
    elif blanked:
        size = cameras.size
        shape = (sweeps + 1, len(cameras.rig), 3, size.height, size.width)
        views = np.zeros(shape, np.uint8)
    else:
        views = np.stack([cameras.take(instant) for instant in ticks])
    return SeenFrame(instant=instants[-1], images=views[-1], sweeps=views[:-1].swapaxes(0, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmedPlan:
    """A plan and the situation in which it was made, for a film of a course.

    images: None without cameras.
    path, target: (x, y, yaw) and (x, y) in the present ego frame [m, rad].
    by_rules: whether the rules made the plan.
    """

    course: PlannedDrive
    instant: WorldInstant
    cameras: CameraRig | None
    images: UInt8[np.ndarray, "N 3 H W"] | None
    path: Float64[np.ndarray, "F 3"]
    target: tuple[float, float]
    by_rules: bool

    @property
    def command(self) -> Command:
        """The navigation command."""
        return name_command(self.target)

    @property
    def pose(self) -> Float64[np.ndarray, "3"]:
        """(x, y, yaw) of the car in the global frame."""
        ego = self.instant.ego
        return np.array([ego.x, ego.y, ego.yaw])


@dataclass(frozen=True)
class InformedPlanner:
    """A planner that knows the true world, for comparison with planners that see images.

    plan: (observation, instant, map) -> path.
    """

    plan: Callable[[Observation, WorldInstant, RoadMap], Float[torch.Tensor, "1 F 3"]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A planner and the input that it gets on a course.

    planner: None means the rules, which know the whole world.
    size: size of the images; None without images.
    blanked: whether the images are black, which saves rendering.
    past: S. sweeps: L, at most 4: images are 0.1 s apart, and a plan is driven for 0.5 s.

    Raises:
        TypeError: the planner is not a function, or the size is not an ImageSize.
        ValueError: past or sweeps are out of range.
    """

    planner: Planner | InformedPlanner | None
    size: ImageSize | None
    blanked: bool = False
    past: int = 3
    sweeps: int = 0

    def __post_init__(self) -> None:
        kinds, numbers = [], []
        if not (self.planner is None or isinstance(self.planner, InformedPlanner)) and (
            isinstance(self.planner, type) or not callable(self.planner)
        ):
            kinds.append(
                "Trial.planner must be a function from an observation to a path, an "
                f"InformedPlanner, or None for the rules, got {describe(self.planner)}"
            )
        if not isinstance(self.size, ImageSize | None):
            kinds.append(
                f"Trial.size must be an ImageSize or None, got {describe(self.size)}; use "
                "config.image of a driving configuration, such as ImageSize(height=64, "
                "width=160, scale=1.0, crop=26), or None for a planner without images"
            )
        if not (is_whole(self.past) and self.past >= 1):
            numbers.append(
                f"Trial.past must be a whole number >= 1, got {describe(self.past)}; 1 is the "
                "present frame alone"
            )
        if not (is_whole(self.sweeps) and 0 <= self.sweeps < STEPS):
            numbers.append(
                f"Trial.sweeps must be 0 to {STEPS - 1}, the instants between frames, got "
                f"{describe(self.sweeps)}; 0 gives the images of frames alone"
            )
        if kinds or numbers:
            raise (TypeError if kinds else ValueError)("\n".join([*kinds, *numbers]))


def run_course(
    trial: Trial,
    seed: int,
    distance: float = 150.0,
    limit: float = LIMIT,
    watch: Callable[[FilmedPlan], None] | None = None,
) -> Outcome:
    """Drive the course of a seed; return its outcome.

    distance: length of the course [m].
    limit: time limit [s], at least 0.5 s, the duration of one plan.
    watch: function that gets each plan.

    Raises:
        ValueError: seed, distance or limit are out of range, or the planner returns no path.
        RuntimeError: the seed has no course of this distance.
    """
    _require_course(seed, distance, limit)
    course = start(seed, distance)
    states = [course.state]
    instants = [show(course.world, course.state)]
    end = "time"
    for state in _drive_on(trial, course, seed, limit, watch):
        states.append(state)
        instants.append(show(course.world, state))
        if (len(states) - 1) % STEPS:
            continue
        end = find_end(course, state, instants[-STEPS - 1 :]) or end
        if end != "time":
            break
    return judge(course, states, instants, seed=seed, end=end)


def _require_course(seed: int, distance: float, limit: float) -> None:
    """Raise a ValueError that names all arguments out of range."""
    wrong = []
    if not (is_whole(seed) and seed >= 0):
        wrong.append(f"the seed must be a whole number >= 0, got {describe(seed)}; use 30_000")
    if not 0 < distance < inf:
        wrong.append(f"the distance must be > 0 and finite, got {distance} m; 150 m are usual")
    if not FRAME <= limit < inf:
        wrong.append(
            f"the limit must be {FRAME} s, one plan, or more, and finite, got {limit} s; "
            f"{LIMIT:g} s are usual"
        )
    if wrong:
        raise ValueError("\n".join(["run_course: wrong course:", *wrong]))


def _drive_on(
    trial: Trial,
    course: PlannedDrive,
    seed: int,
    limit: float,
    watch: Callable[[FilmedPlan], None] | None = None,
) -> Iterator[WorldState]:
    """Yield the states of a drive until the time limit."""
    world, state = course.world, course.state
    cameras = None
    if trial.size is not None:
        cameras = make_cameras(course, seed, trial.size)
    frames: list[SeenFrame] = []
    driven = [state]
    for frame in range(round(limit / STEP / STEPS)):
        instants = [show(world, s) for s in driven[-1 - trial.sweeps :]]
        instant = instants[-1]
        seen = look_around(cameras, instants, trial.sweeps, trial.blanked)
        frames = [*frames, seen][-trial.past :]
        target = locate_target(world, state)
        by_rules = trial.planner is None or frame < trial.past - 1
        if trial.planner is None or by_rules:
            path = plan_by_rules(world, state)
        else:
            view = make_view(frames, cameras, target)
            with torch.no_grad():
                if isinstance(trial.planner, InformedPlanner):
                    output = trial.planner.plan(view, instant, world.roads.map)
                else:
                    output = trial.planner(view)
                path = _require_path(output, seed, frame / 2)
        if watch is not None:
            plan = FilmedPlan(
                course=course,
                instant=instant,
                cameras=cameras,
                images=None if cameras is None else seen.images,
                path=path,
                target=target,
                by_rules=by_rules,
            )
            watch(plan)
        driven = drive(world, state, path)
        yield from driven
        state = driven[-1]


def _require_path(output: Any, seed: int, time: float) -> Float64[np.ndarray, "F 3"]:
    """Return the path of a planner at a time [s] of a course.

    Raises:
        ValueError: the planner returned something other than a path.
    """
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
    fits = len(shape) == 3 and shape[0] == 1 and shape[1] > 0 and shape[2] == 3
    if fits and output.isfinite().all():
        path: Float64[np.ndarray, "F 3"] = output[0].double().cpu().numpy()
        return path
    raise ValueError(
        f"course {seed}, {time} s: the planner must return a path, a tensor of shape (1, F, 3) "
        f"of finite x, y [m] and yaw [rad] after 0.5 s, 1.0 s, ..., got {describe(output)}"
        f"{' with numbers that are not finite' if fits else ''}"
    )


def make_cameras(course: PlannedDrive, seed: int, size: ImageSize) -> CameraRig:
    """Return the car's cameras on a course; ``seed`` determines the scenery."""
    width = round(size.width / size.scale)  # before scaling and cropping
    height = round((size.height + size.crop) / size.scale)
    scenery = make_scenery(course.world.roads.map, seed)
    return CameraRig(scenery=scenery, rig=make_rig(width, height), size=size)


def make_view(
    frames: Sequence[SeenFrame], cameras: CameraRig | None, target: tuple[float, float]
) -> Observation:
    """Return an observation of S frames, the present one last.

    cameras: None for a car without cameras (N is 0).
    target: (x, y) in the present ego frame [m].
    """
    egos = [frame.instant.ego for frame in frames]
    ego, poses = egos[-1], np.array([[e.x, e.y, e.yaw] for e in egos])
    to_present = np.stack([lift(p) for p in enter_frame(poses, poses[-1])])
    if cameras is None:
        intrinsic = to_ego = torch.zeros(1, len(frames), 0, 4, 4)
        intrinsic = intrinsic[..., :3, :3]
    else:
        intrinsic = _repeat(cameras.intrinsic(), len(frames))
        to_ego = _repeat(np.stack([camera.to_ego for camera in cameras.rig]), len(frames))
    return Observation(
        images=torch.from_numpy(np.stack([frame.images for frame in frames]))[None],
        sweeps=torch.from_numpy(np.stack([frame.sweeps for frame in frames]))[None],
        intrinsic=intrinsic,
        to_ego=to_ego,
        to_present=torch.from_numpy(to_present).float()[None],
        maps=torch.zeros(1, len(frames), 0, 0, 0, dtype=torch.bool),
        ego=EgoState(
            speed=torch.tensor([ego.speed]),
            yaw_rate=torch.tensor([ego.yaw_rate]),
            target=torch.tensor([target]),
        ),
    )


def _repeat(values: Float64[np.ndarray, "N K K"], frames: int) -> torch.Tensor:
    return torch.from_numpy(values).float().expand(1, frames, *values.shape)


def find_end(
    course: PlannedDrive,
    state: WorldState,
    instants: Sequence[WorldInstant],
    tolerance: float = TOLERANCE,
) -> str:
    """Explain why a course ends after its last frame; "" if it continues.

    tolerance: largest allowed distance of a corner of the car from the road [m].
    """
    drive = make_drive(course, instants)
    if any(c.at_fault for c in find_collisions(drive)):
        return "collision"
    if (drive.violation[1:] > tolerance).any():
        return "off road"
    return "completed" if course.has_arrived(state) else ""


def judge(
    course: PlannedDrive,
    states: Sequence[WorldState],
    instants: Sequence[WorldInstant],
    *,
    seed: int,
    end: str,
) -> Outcome:
    """Return the outcome of a course, from its states and the instants that show them."""
    whole = make_drive(course, instants)
    scores = []
    for first in range(0, len(states) - 1, SEGMENT):
        part = make_drive(course, instants[first : first + SEGMENT + 1])
        state = states[first]
        for _ in part.ego[1:]:
            state = step_traffic(course.world, state)
        rules = make_drive(course, [instants[first], show(course.world, state)])
        scores.append(score_drive(part, measure_progress(rules)))
    share = measure_progress(whole) / course.line.length
    return Outcome(
        seed=seed,
        end=end,
        share=1.0 if end == "completed" else min(1.0, share),
        seconds=(len(states) - 1) * STEP,
        collisions=len(find_collisions(whole)),
        segments=tuple(scores),
    )


def make_drive(course: PlannedDrive, instants: Sequence[WorldInstant]) -> Drive:
    """Return the drive to score."""
    return Drive(
        ego=[i.ego for i in instants],
        boxes=[i.boxes for i in instants],
        road_map=course.world.roads.map,
        route=course.route,
        line=course.line,
    )
