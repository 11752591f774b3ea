"""Closed-loop driving: the ego follows a planner's paths, and all others react.

course = start(seed)
state = course.state
while not course.has_arrived(state):
    path = planner(show(course.world, state), locate_target(course.world, state))
    state = drive(course.world, state, path)[-1]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64
from shapely.geometry import LineString, Point

from drivers.nuscenes.geometry import enter_frame
from drivers.nuscenes.window import FRAME, measure_foresight
from drivers.nuscenes.world.find_ego import project, put_ego
from drivers.nuscenes.world.instant import STEP, Ego
from drivers.nuscenes.world.lane_change import LOST, move_over
from drivers.nuscenes.world.lane_table import NONE, LaneTable
from drivers.nuscenes.world.populate import populate
from drivers.nuscenes.world.poses import list_rectangles
from drivers.nuscenes.world.right_of_way import list_fronts
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.sight import CHANGING, find_overlaps
from drivers.nuscenes.world.simulate import WARM_UP
from drivers.nuscenes.world.state import EGO, World, WorldState
from drivers.nuscenes.world.tracker import follow_trajectory, make_trajectory
from drivers.nuscenes.world.traffic import carry_ego, step_traffic

STEPS = round(FRAME / STEP)  # steps of a plan that are driven before the next plan
BLOCKED = 45.0  # [m] ahead: the navigation knows blocked lanes within it
SLOWEST = 3.0  # [m/s], mean speed at which the rules drive a course
TRIES = 50
ARRIVED = 3.0  # [m] from the end of the route


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedDrive:
    """A drive from a start to a goal.

    state: at its start. route: tokens of the lanes on the way and of the lanes beside them.
    line: from the start to the goal, on the middle of lanes. seconds: duration of the drive
    under the rules.
    """

    world: World
    state: WorldState
    route: frozenset[str]
    line: LineString
    seconds: float

    def has_arrived(self, state: WorldState) -> bool:
        """Return whether the ego is at the end of the line."""
        here = Point(state.ego.x, state.ego.y)
        left: float = self.line.length - self.line.project(here)
        return left < ARRIVED and self.line.distance(here) < 2 * ARRIVED


def start(seed: int | Sequence[int], distance: float = 150.0) -> PlannedDrive:
    """Return a drive of ``distance`` metres through traffic on newly made roads.

    The rules drive it without a collision, at 3 m/s or more on average.

    Raises:
        ValueError: a distance that is not positive.
        RuntimeError: 50 tries without such a drive.
    """
    if not distance > 0:
        raise ValueError(f"start: the distance must be positive, got {distance} m")
    numbers = [seed] if isinstance(seed, int) else list(seed)
    for attempt in range(TRIES):
        course = _try_course([*numbers, attempt], distance)
        if course is not None:
            return course
    raise RuntimeError(f"start: no drive of {distance} m of seed {seed} in {TRIES} tries")


def _try_course(seed: Sequence[int], distance: float) -> PlannedDrive | None:
    """Return the drive of a seed, None if the rules do not reach the goal."""
    roads = make_roads(seed)
    world, state = populate(roads, int(np.random.default_rng(seed).integers(2**31)))
    for _ in range(WARM_UP):
        state = step_traffic(world, state)
    lanes, line = trace_route(world.table, state, distance)
    beside = [n for lane in lanes for n in world.table.beside(lane)]
    course = PlannedDrive(
        world=world,
        state=state,
        route=frozenset(world.table.tokens[n] for n in beside),
        line=LineString(line),
        seconds=0.0,
    )
    for step in range(round(distance / SLOWEST / STEP)):
        if course.has_arrived(state):
            return replace(course, seconds=step / 10)
        # The rectangles of standing people do not reach ahead.
        at_rest = replace(state, walking=np.zeros_like(state.walking))
        if (find_overlaps(list_rectangles(world, at_rest)) == EGO).any():
            return None
        state = step_traffic(world, state)
    return None


def trace_route(
    table: LaneTable, state: WorldState, distance: float
) -> tuple[list[int], Float64[np.ndarray, "P 2"]]:
    """Return the lanes of the ego's route over a distance [m], and the points on their middle.

    If the route continues from the neighbouring lane, the line changes to it.
    """
    lanes, points, done = [], [], 0.0
    along = float(state.along[EGO])
    for lane in (int(n) for n in state.route[EGO]):
        at = np.arange(along, table.length[lane], 1.0)
        at = at[: max(1, int(np.ceil(distance - done)) + 1)]
        lanes.append(lane)
        points += [table.pose(lane, float(a))[:2] for a in at]
        done += table.length[lane] - along
        along = 0.0
        if done >= distance:
            break
    return lanes, np.array(points)


def drive(
    world: World, state: WorldState, path: Float64[np.ndarray, "F 3"]
) -> list[WorldState]:
    """Return the next five states, 0.1 s apart, in which the ego follows a path.

    path: (x, y, yaw) in the present ego frame, 0.5 s apart, the first after 0.5 s.

    Raises:
        ValueError: no points, or points that are not finite.
    """
    trajectory = make_trajectory(state.ego, path)
    states: list[WorldState] = []
    for step in range(STEPS):
        ego = follow_trajectory(state.ego, trajectory, step * STEP)
        state = step_traffic(world, state, ego)
        states.append(state)
    return states


def plan_by_rules(
    world: World, state: WorldState, frames: int = 6
) -> Float64[np.ndarray, "F 3"]:
    """Return the path of the rules in the ego frame, from the full state.

    The rules predict the others exactly except for random events. An ego between two lanes
    takes the lane on which it gets farther ahead. An ego that approaches a junction on a lane
    off its route moves over as soon as there is room.
    """
    paths = [_foresee(world, s, frames) for s in _list_starts(world, state)]
    return max(paths, key=lambda path: path[-1, 0])


def _list_starts(world: World, state: WorldState) -> list[WorldState]:
    """Return the states with the ego on each lane on which it may continue.

    Without this, the rules would begin a change of lane anew in each plan and give it up.
    """
    table, (lane, after) = world.table, state.route[EGO, :2].tolist()
    front = list_fronts(world)
    leads = [n for n in table.beside(lane) if after in table.outgoing[n]]
    remaining = table.length[lane] - state.along[EGO] - front[EGO]
    late = bool(leads) and lane not in leads and remaining < LOST
    aside = float(state.aside[EGO])
    other = leads[0] if late else int((table.left if aside > 0 else table.right)[lane])
    if other == NONE or not (late or abs(aside) > CHANGING):
        return [state]
    if move_over(world, state, list_rectangles(world, state), (EGO, other), front) is None:
        return [state]
    moved = put_ego(table, state, [other, *state.route[EGO, 1:].tolist()], state.ego)
    return [moved] if late else [state, moved]


def _foresee(world: World, state: WorldState, frames: int) -> Float64[np.ndarray, "F 3"]:
    """Return the path of the rules from a state."""
    ego = state.ego
    state = replace(state, seed=state.seed + 1)  # the true random events stay unknown
    poses = []
    for step in range(1, frames * STEPS + 1):
        before, state = state, step_traffic(world, state)
        lane, last = int(state.route[EGO, 0]), int(before.route[EGO, 0])
        if lane in (world.table.left[last], world.table.right[last]):
            # Its share of the lane's length, which the rules keep, would be a jump in a plan.
            along = state.along.copy()
            along[EGO], _, _ = project(world.table, lane, before.ego)
            along[EGO] += (before.speed[EGO] + state.speed[EGO]) / 2 * STEP
            state = carry_ego(world, before, replace(state, along=along))
        if step % STEPS == 0:
            poses.append(to_ego_frame(ego, state.ego))
    return np.array(poses)


def to_ego_frame(ego: Ego, other: Ego) -> tuple[float, float, float]:
    """Return (x, y, yaw) of a pose in the frame of the ego."""
    frame, pose = (np.array([e.x, e.y, e.yaw]) for e in (ego, other))
    x, y, yaw = enter_frame(pose, frame).tolist()
    return x, y, yaw


def locate_target(world: World, state: WorldState) -> tuple[float, float]:
    """Return the target (x, y) of the navigation in the ego frame [m].

    It lies on the middle of the advised lane or those of the route behind it, as far ahead as
    the target of a recorded window (:func:`drivers.nuscenes.window.measure_foresight`). The
    navigation knows the route and the lanes that are blocked within 45 m, so that it advises
    changes early.
    """
    table, route = world.table, state.route[EGO].tolist()
    route[0] = _advise_lane(world, state)
    at = float(state.along[EGO]) * table.length[route[0]] / table.length[state.route[EGO, 0]]
    at += measure_foresight(state.ego.speed)
    lane = 0
    while at > table.length[route[lane]] and lane + 1 < len(route):
        at -= table.length[route[lane]]
        lane += 1
    ego = state.ego
    frame = np.array([ego.x, ego.y, ego.yaw])
    x, y, _ = enter_frame(table.pose(route[lane], at), frame).tolist()
    return x, y


def _advise_lane(world: World, state: WorldState) -> int:
    """Return the lane to drive on now: a free lane, on the route if possible."""
    table, (here, after) = world.table, state.route[EGO, :2].tolist()
    blocked = _list_blocked(world, state)
    if here in blocked:
        for side in (table.left[here], table.right[here]):
            if side != NONE and int(side) not in blocked:
                return int(side)
        return int(here)
    if table.way[here] or after in table.outgoing[here]:
        return int(here)
    goal = [n for n in table.beside(here) if after in table.outgoing[n] and n not in blocked]
    return goal[0] if goal else int(here)


def _list_blocked(world: World, state: WorldState) -> set[int]:
    """Return the lanes with a parked vehicle a little ahead of the ego."""
    here, cast = int(state.route[EGO, 0]), world.cast
    lanes = world.table.beside(here)
    share = state.along[EGO] / world.table.length[here]
    return {
        int(state.route[i, 0])
        for i in np.flatnonzero(cast.parked)
        if state.route[i, 0] in lanes
        and 0 < state.along[i] - share * world.table.length[state.route[i, 0]] < BLOCKED
    }
