"""Planners drive through the generated world: what they plan is driven, and the others react.

A course ends where it is completed, with a collision at fault, off the road (a corner of the
car is more than 0.3 m from the drivable area, nuPlan's ``max_violation_threshold``; the scores
count less than that, too, as PDMS does), or after so much time. Its first second is driven by
the rules, so that there is a past to look at. Then, every half second, the planner sees six
rendered cameras, its speed, its turn and the command; what it plans is driven until the next
plan. Axes: S past and present frames, N cameras, F frames.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from PIL import Image

from drivers.nuscenes.geometry import enter_frame, lift
from drivers.nuscenes.images import shrink_image
from drivers.nuscenes.rig import Camera
from drivers.nuscenes.window import Command, ImageSize
from drivers.nuscenes.world.drive import (
    STEPS,
    PlannedDrive,
    drive,
    navigate,
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
from neuro.arguments import describe
from tasks.driving.batch import Seen
from tasks.driving.planners import Planner
from tasks.driving.sampler import COMMANDS, EgoState
from tasks.driving.score import (
    Drive,
    Score,
    find_collisions,
    measure_progress,
    score_drive,
)

SEGMENT = 40  # steps, 4 s, that are scored together
LIMIT = 90.0  # [s] for a course
TOLERANCE = 0.3  # [m] off the road with which a course goes on


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a course went.

    end: "completed", "collision" (at fault), "off road" or "time". share: of the route that was
    driven. seconds: driven. collisions: at fault or not. segments: scores of each 4 s, and of
    what is left at the end, beside what the rules would have driven from the start of each.
    """

    seed: int
    end: str
    share: float
    seconds: float
    collisions: int
    segments: tuple[Score, ...]

    def mean(self, name: str) -> float:
        """Return the mean of a sub-score, "pdms" or "driving_score" of the segments by time.

        Scores are multiplied out first, segment by segment: bad segments do not stain others.
        """
        length = SEGMENT * STEP
        durations = [min(length, self.seconds - length * k) for k in range(len(self.segments))]
        values = [getattr(score, name) for score in self.segments]
        return float(np.average(values, weights=durations))

    @property
    def driving_score(self) -> float:
        """The mean score of the segments, times the share of the route that was driven."""
        return self.share * self.mean("driving_score")

    def as_json(self) -> dict[str, object]:
        """Return all figures by name."""
        return asdict(self) | {"driving_score": self.driving_score}


@dataclass(frozen=True, kw_only=True, eq=False)
class Eyes:
    """The cameras of a car as training saw them: rendered, as JPEG, scaled and cut."""

    scenery: Scenery
    rig: Sequence[Camera]
    size: ImageSize

    def take(self, instant: WorldInstant) -> UInt8[np.ndarray, "N 3 H W"]:
        """Return what all cameras see."""
        seen = zip(self.rig, render_cameras(self.scenery, self.rig, instant), strict=True)
        return np.stack([self._develop(camera.channel, image) for camera, image in seen])

    def blank(self) -> UInt8[np.ndarray, "N 3 H W"]:
        """Return black images."""
        return np.zeros((len(self.rig), 3, self.size.height, self.size.width), np.uint8)

    def _develop(
        self, channel: str, image: UInt8[np.ndarray, "H W 3"]
    ) -> UInt8[np.ndarray, "3 h w"]:
        with Image.open(io.BytesIO(encode_image(image))) as opened:
            return shrink_image(opened.convert("RGB"), self.size, Path(channel))

    def intrinsic(self) -> Float64[np.ndarray, "N 3 3"]:
        """Return the intrinsics of the scaled and cut images."""
        scale = np.diag([self.size.scale, self.size.scale, 1.0])
        found = np.stack([scale @ camera.intrinsic for camera in self.rig])
        found[:, 1, 2] -= self.size.crop
        return np.asarray(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmedPlan:
    """A plan as it is made, for who films a course. images: None where nothing was rendered.

    path: (x, y, yaw) in the present ego frame. by_rules: in the first second.
    """

    course: PlannedDrive
    instant: WorldInstant
    eyes: Eyes | None
    images: UInt8[np.ndarray, "N 3 H W"] | None
    path: Float64[np.ndarray, "F 3"]
    command: Command
    by_rules: bool


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried on a course.

    planner: None: the rules, which know everything. size: of its images; None: it has no use
    for any. blanked: they are black, and need not be rendered. past: S.

    Raises:
        TypeError: the size is none.
    """

    planner: Planner | None
    size: ImageSize | None
    blanked: bool = False
    past: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.size, ImageSize | None):
            raise TypeError(
                f"Trial.size must be an ImageSize or None, got {describe(self.size)}; give the "
                "image of a driving configuration (config.image), ImageSize(height=64, "
                "width=160, scale=1.0, crop=26), say, or None where the planner has no use for "
                "images"
            )


def run_course(
    trial: Trial,
    seed: int,
    distance: float = 150.0,
    limit: float = LIMIT,
    watch: Callable[[FilmedPlan], None] | None = None,
) -> Outcome:
    """Return how a planner does on the course of a seed, so long [m], in that time [s].

    watch: is told of each plan.
    """
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


def _drive_on(
    trial: Trial,
    course: PlannedDrive,
    seed: int,
    limit: float,
    watch: Callable[[FilmedPlan], None] | None = None,
) -> Iterator[WorldState]:
    """Yield one state after the other, until the time is over."""
    world, state = course.world, course.state
    eyes = None
    if trial.size is not None:
        eyes = open_eyes(course, seed, trial.size)
    seen: list[tuple[WorldInstant, UInt8[np.ndarray, "N 3 H W"] | None]] = []
    for frame in range(round(limit / STEP / STEPS)):
        instant = show(world, state)
        image = None if eyes is None else eyes.blank() if trial.blanked else eyes.take(instant)
        seen = [*seen, (instant, image)][-trial.past :]
        command = navigate(world, state)
        by_rules = trial.planner is None or frame < trial.past - 1
        if trial.planner is None or by_rules:
            path = plan_by_rules(world, state)
        else:
            view = make_view(seen, eyes, command)
            with torch.no_grad():
                path = _require_path(trial.planner(view), seed, frame / 2)
        if watch is not None:
            plan = FilmedPlan(
                course=course,
                instant=instant,
                eyes=eyes,
                images=image,
                path=path,
                command=command,
                by_rules=by_rules,
            )
            watch(plan)
        driven = drive(world, state, path)
        yield from driven
        state = driven[-1]


def _require_path(made: Any, seed: int, time: float) -> Float64[np.ndarray, "F 3"]:
    """Return the path that a planner made at a time [s] of a course.

    Raises:
        ValueError: it is none.
    """
    shape = tuple(made.shape) if isinstance(made, torch.Tensor) else ()
    sound = len(shape) == 3 and shape[0] == 1 and shape[1] > 0 and shape[2] == 3
    if sound and made.isfinite().all():
        path: Float64[np.ndarray, "F 3"] = made[0].double().cpu().numpy()
        return path
    raise ValueError(
        f"course {seed}, {time} s: the planner must return a path, a tensor of shape (1, F, 3) "
        f"of finite x, y [m] and yaw [rad] after 0.5 s, 1.0 s, ..., got {describe(made)}"
        f"{' with numbers that are not finite' if sound else ''}"
    )


def open_eyes(course: PlannedDrive, seed: int, size: ImageSize) -> Eyes:
    """Return the cameras of the car on a course; seed: of the scenery."""
    width = round(size.width / size.scale)  # of images that become those of the size
    height = round((size.height + size.crop) / size.scale)
    scenery = make_scenery(course.world.roads.map, seed)
    return Eyes(scenery=scenery, rig=make_rig(width, height), size=size)


def make_view(
    frames: Sequence[tuple[WorldInstant, UInt8[np.ndarray, "N 3 H W"] | None]],
    eyes: Eyes | None,
    command: Command,
) -> Seen:
    """Return what a planner knows: S instants, the present one last, and images of each.

    eyes: None: there are no cameras (N is 0).
    """
    ego = frames[-1][0].ego
    poses = np.array([[i.ego.x, i.ego.y, i.ego.yaw] for i, _ in frames])
    to_present = np.stack([lift(p) for p in enter_frame(poses, poses[-1])])
    if eyes is None:
        images = torch.zeros(1, len(frames), 0, 3, 1, 1, dtype=torch.uint8)
        intrinsic = to_ego = torch.zeros(1, len(frames), 0, 4, 4)
        intrinsic = intrinsic[..., :3, :3]
    else:
        images = torch.from_numpy(np.array([image for _, image in frames]))[None]
        intrinsic = _repeat(eyes.intrinsic(), len(frames))
        to_ego = _repeat(np.stack([camera.to_ego for camera in eyes.rig]), len(frames))
    return Seen(
        images=images,
        intrinsic=intrinsic,
        to_ego=to_ego,
        to_present=torch.from_numpy(to_present).float()[None],
        maps=torch.zeros(1, len(frames), 0, 0, 0, dtype=torch.bool),
        ego=EgoState(
            speed=torch.tensor([ego.speed]),
            yaw_rate=torch.tensor([ego.yaw_rate]),
            command=torch.tensor([COMMANDS.index(command)]),
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
    """Return why a course is over by its last frame, "" where it is not.

    tolerance: up to which a corner of the car may be off the road [m].
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
    """Return how it went, by all states from the start and the instants that they are."""
    whole = make_drive(course, instants)
    scores = []
    for first in range(0, len(states) - 1, SEGMENT):
        part = make_drive(course, instants[first : first + SEGMENT + 1])
        rules = _drive_by_rules(course, states[first], len(part.ego) - 1)
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
    """Return what was driven, to be scored."""
    return Drive(
        ego=[i.ego for i in instants],
        boxes=[i.boxes for i in instants],
        road_map=course.world.roads.map,
        route=course.route,
        line=course.line,
    )


def _drive_by_rules(course: PlannedDrive, state: WorldState, steps: int) -> Drive:
    """Return where the rules begin and where they end after so many steps."""
    begin = show(course.world, state)
    for _ in range(steps):
        state = step_traffic(course.world, state)
    return make_drive(course, [begin, show(course.world, state)])
