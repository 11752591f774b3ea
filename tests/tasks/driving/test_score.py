"""How a drive is judged, in cases whose answer is known by hand."""

from collections.abc import Sequence
from dataclasses import replace
from math import pi, sin

import numpy as np
import pytest
from shapely.geometry import LineString, box as area

from drivers.nuscenes.box import Box
from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.world.instant import EGO_LENGTH, EGO_MIDDLE, STEP, Ego
from tasks.driving.score import (
    Drive,
    Score,
    find_collisions,
    find_short_time,
    list_comfort,
    measure_progress,
    score_drive,
)

FRONT = EGO_MIDDLE + EGO_LENGTH / 2  # from the axle to the bumper [m]


def lane(token: str, y: float, back: bool = False, **rest: object) -> Lane:
    """Return a lane 200 m long and 4 m wide along x; ``back``: driven towards -x."""
    x = np.linspace(0, 200, 201)
    line = np.stack([x, np.full(201, y), np.zeros(201)], 1)
    if back:
        line = line[::-1] + np.array([0, 0, pi])
    return Lane(token=token, polygon=area(0, y - 2, 200, y + 2), centreline=line, **rest)  # type: ignore[arg-type]


# Two lanes to +x (right and left), one back to -x.
LANES = {
    "right": lane("right", 0.0),
    "left": lane("left", 4.0),
    "back": lane("back", 8.0, True),
}
ROADS = RoadMap(
    location="boston-seaport",
    size=(200.0, 20.0),
    drivable=[area(0, -2, 200, 10)],
    lanes=LANES,
    lane_dividers=[],
    road_dividers=[],
    crossings=[],
    walkways=[],
    stop_lines=[],
)


def straight(n: int = 41, speed: float = 10.0, x: float = 20.0, y: float = 0.0) -> list[Ego]:
    return [Ego(x=x + speed * STEP * t, y=y, yaw=0.0, speed=speed) for t in range(n)]


def other(x: float, y: float = 0.0, vx: float = 0.0, **rest: object) -> Box:
    fields = {
        "instance": "other", "category": "vehicle.car", "x": x, "y": y, "z": 0.8, "yaw": 0.0,
        "width": 2.0, "length": 4.0, "height": 1.6, "vx": vx, "vy": 0.0,
    }  # fmt: skip
    return Box(**{**fields, **rest})  # type: ignore[arg-type]


def moving(
    n: int, x: float, y: float, vx: float, vy: float = 0.0, **rest: object
) -> list[list[Box]]:
    return [[other(x + vx * STEP * t, y + vy * STEP * t, vx, vy=vy, **rest)] for t in range(n)]


def drive(
    ego: Sequence[Ego], boxes: Sequence[Sequence[Box]] | None = None, road_map: RoadMap = ROADS
) -> Drive:
    return Drive(
        ego=ego,
        boxes=boxes if boxes is not None else [[] for _ in ego],
        road_map=road_map,
        route=frozenset({"right", "left"}),
        line=LineString([(0, 0), (200, 0)]),
    )


def test_how_far_a_corner_is_off_the_road() -> None:
    """The road, of two areas that meet, ends 2 m to the right; half a car is 0.925 m."""
    roads = replace(ROADS, drivable=[area(0, -2, 22, 10), area(22, -2, 200, 10)])
    ego = straight(4, speed=0.0)
    ego = [replace(e, y=y) for e, y in zip(ego, (0.0, -1.07, -1.25, -2.075), strict=True)]
    drive = Drive(
        ego=ego,
        boxes=[[]] * 4,
        road_map=roads,
        route=frozenset({"right"}),
        line=LineString([(0, 0), (9, 0)]),
    )
    assert drive.off_road.tolist() == [False, False, True, True]
    np.testing.assert_allclose(drive.violation, [0, 0, 0.175, 1.0], atol=1e-9)


def test_a_calm_drive_is_perfect() -> None:
    found = score_drive(drive(straight()), reference=40.0)
    assert found == Score(
        no_collision=1.0, drivable=1.0, direction=1.0, time_to_collision=1.0, progress=1.0,
        lane_keeping=1.0, comfort=1.0,
    )  # fmt: skip
    assert found.pdms == found.driving_score == 1.0


def test_scores_weigh_as_published() -> None:
    score = Score(
        no_collision=0.5, drivable=1.0, direction=0.5, time_to_collision=0.0, progress=0.8,
        lane_keeping=0.0, comfort=1.0,
    )  # fmt: skip
    assert score.pdms == pytest.approx(0.5 * (5 * 0.8 + 2) / 12)
    assert score.driving_score == pytest.approx(0.25 * (5 * 0.8 + 2) / 14)
    off = replace(score, drivable=0.0)
    assert off.pdms == off.driving_score == 0.0


@pytest.mark.parametrize(
    ("y", "between"),
    [
        (0.0, False),
        (-1.5, False),
        (1.0, False),
        (1.1, True),
        (2.0, True),
        (2.9, True),
        (3.0, False),
    ],
)
def test_a_car_is_between_lanes_where_it_is_in_two_and_in_neither_whole(
    y: float, between: bool
) -> None:
    """Lanes meet at 2 m; half a car is 0.925 m; right of -2 m there is road, and no lane."""
    roads = replace(ROADS, drivable=[area(0, -6, 200, 10)])
    found = drive(straight(3, y=y), road_map=roads)
    assert found.between_lanes.tolist() == [between] * 3
    assert not found.off_road.any()


class TestCollisions:
    def test_running_into_a_standing_car_is_at_fault_at_its_instant(self) -> None:
        # The bumper starts at 20 + FRONT, the tail of the other is at 48: reached at t.
        instant = int(np.ceil((48 - 20 - FRONT) / 1.0))
        (hit,) = find_collisions(drive(straight(), [[other(50.0)] for _ in range(41)]))
        assert (hit.instant, hit.kind, hit.at_fault, hit.fixed) == (
            instant, "stopped_track", True, False,
        )  # fmt: skip

    def test_the_standing_car_is_hit_by_no_fault_of_its_own(self) -> None:
        ego = straight(speed=0.0, x=50.0)
        (hit,) = find_collisions(drive(ego, moving(41, 20.0, 0.0, 10.0)))
        assert (hit.kind, hit.at_fault) == ("stopped_ego", False)
        assert score_drive(drive(ego, moving(41, 20.0, 0.0, 10.0)), 0.0).no_collision == 1.0

    def test_one_that_comes_from_behind_is_to_blame(self) -> None:
        ego = straight(speed=5.0, x=50.0)
        (hit,) = find_collisions(drive(ego, moving(41, 30.0, 0.0, 15.0)))
        assert (hit.kind, hit.at_fault) == ("rear", False)

    def test_the_bumper_hits_one_that_drives_slower(self) -> None:
        (hit,) = find_collisions(drive(straight(speed=15.0), moving(41, 40.0, 0.0, 5.0)))
        assert (hit.kind, hit.at_fault) == ("front", True)

    @pytest.mark.parametrize(("y", "at_fault"), [(0.0, False), (2.0, True), (-1.5, True)])
    def test_a_car_from_the_side_is_at_fault_unless_ours_is_astray(
        self, y: float, at_fault: bool
    ) -> None:
        ego = straight(speed=5.0, y=y)
        side = moving(41, 20.0 + EGO_MIDDLE, y + 6.0, 5.0, -2.0)
        (hit,) = find_collisions(drive(ego, side))
        assert (hit.kind, hit.at_fault) == ("lateral", at_fault)

    def test_a_thing_costs_half(self) -> None:
        cone = [[other(50.0, category="movable_object.barrier")] for _ in range(41)]
        assert score_drive(drive(straight(), cone), 40.0).no_collision == 0.5

    def test_what_touches_from_the_start_is_not_counted(self) -> None:
        assert find_collisions(drive(straight(), [[other(22.0)] for _ in range(41)])) == []

    def test_each_other_counts_once(self) -> None:
        boxes = [[other(50.0), other(58.0, instance="next")] for _ in range(41)]
        hits = find_collisions(drive(straight(), boxes))
        assert [h.instance for h in hits] == ["other", "next"]


class TestTimeToCollision:
    def test_a_standing_car_is_foreseen_so_many_instants_before(self) -> None:
        # Foreseen for 0.9 s: 9 m at 10 m/s.
        contact = 48 - 20 - FRONT
        assert find_short_time(drive(straight(), [[other(50.0)] for _ in range(41)])) == int(
            np.ceil(contact - 9)
        )

    def test_keeping_more_than_the_distance_of_a_second_is_safe(self) -> None:
        x = 20 + FRONT + 9.1 + 2  # of its middle
        assert find_short_time(drive(straight(), moving(41, x, 0.0, 10.0))) is None

    def test_who_stands_foresees_nothing(self) -> None:
        boxes = moving(41, 20 + FRONT + 2.5, 0.0, -1.0)
        assert find_short_time(drive(straight(speed=0.0), boxes)) is None

    def test_what_is_beside_counts_between_lanes(self) -> None:
        side = moving(41, 25.0 - 2.0, 8.0, 5.0, -2.0)
        assert find_short_time(drive(straight(speed=5.0, x=25.0), side)) is None
        assert find_short_time(drive(straight(speed=5.0, x=25.0, y=2.0), side)) is not None


class TestPlace:
    @pytest.mark.parametrize(("y", "on_road"), [(-1.07, True), (-1.08, False)])
    def test_one_corner_off_the_road_is_off(self, y: float, on_road: bool) -> None:
        # Half the car's width is 0.925, the road ends at -2.
        assert score_drive(drive(straight(y=y)), 40.0).drivable == float(on_road)

    @pytest.mark.parametrize(
        ("speed", "score"), [(1.9, 1.0), (2.1, 0.5), (5.9, 0.5), (6.1, 0.0)]
    )
    def test_a_way_against_the_direction_adds_up_over_a_second(
        self, speed: float, score: float
    ) -> None:
        # On the lane back, 11 steps within a second and its ends as published.
        assert (
            score_drive(drive(straight(y=8.0, speed=speed * 10 / 11)), 40.0).direction == score
        )

    @pytest.mark.parametrize("line", [[20.0, 20.0], [20.0, 20.0, 60.0], [20.0, 60.0, 60.0]])
    def test_progress_is_measured_along_lines_that_stand_still(self, line: list[float]) -> None:
        still = replace(drive(straight(speed=5.0)), line=LineString([(x, 0.0) for x in line]))
        assert measure_progress(still) == pytest.approx(min(20.0, line[-1] - line[0]))

    def test_progress_is_a_share_of_the_reference(self) -> None:
        slow = drive(straight(speed=5.0))
        assert measure_progress(slow) == pytest.approx(20.0)
        assert score_drive(slow, 40.0).progress == pytest.approx(0.5)
        assert score_drive(slow, 10.0).progress == 1.0
        assert score_drive(drive(straight(speed=0.0)), 4.9).progress == 1.0
        assert score_drive(drive(straight(y=-1.5)), 4.9).progress == 0.0

    @pytest.mark.parametrize(("n", "score"), [(19, 1.0), (20, 0.0)])
    def test_two_seconds_beside_the_middle_of_a_lane_are_too_long(
        self, n: int, score: float
    ) -> None:
        there = [replace(e, y=0.6 if 5 <= t < 5 + n else 0.0) for t, e in enumerate(straight())]
        assert score_drive(drive(there), 40.0).lane_keeping == score

    def test_inside_an_intersection_lanes_need_not_be_kept(self) -> None:
        crossing = replace(ROADS, intersections=[area(0, -2, 200, 10)])
        there = straight(y=0.6)
        assert score_drive(drive(there), 40.0).lane_keeping == 0.0
        assert score_drive(drive(there, road_map=crossing), 40.0).lane_keeping == 1.0

    @pytest.mark.parametrize(("aside", "score"), [(9, 1.0), (10, 0.0)])
    def test_instants_before_and_behind_an_intersection_are_neighbours(
        self, aside: int, score: float
    ) -> None:
        # 1 m an instant from x = 20 on: instants 15 to 19 lie inside.
        crossing = replace(ROADS, intersections=[area(34.9, -2, 39.1, 10)])
        beside = {*range(15 - aside, 15), *range(20, 30)}
        there = [replace(e, y=0.6 * (t in beside)) for t, e in enumerate(straight())]
        there = [replace(e, x=e.x - 1.44) for e in there]  # its middle at x
        assert score_drive(drive(there, road_map=crossing), 40.0).lane_keeping == score


class TestComfort:
    @pytest.mark.parametrize(
        ("acceleration", "broken"),
        [(2.39, []), (2.41, ["acceleration"]), (-4.04, []), (-4.06, ["acceleration"])],
    )
    def test_acceleration_has_bounds(self, acceleration: float, broken: list[str]) -> None:
        ego = [replace(e, acceleration=acceleration) for e in straight()]
        assert [k for k, kept in list_comfort(ego).items() if not kept] == broken

    @pytest.mark.parametrize(("rate", "broken"), [(0.94, []), (0.96, ["yaw_rate"])])
    def test_turning_has_bounds_and_angles_may_wrap(
        self, rate: float, broken: list[str]
    ) -> None:
        angle = [(3.0 + rate * STEP * t + pi) % (2 * pi) - pi for t in range(41)]
        ego = [replace(e, yaw=a) for e, a in zip(straight(speed=1.0), angle, strict=True)]
        assert [k for k, kept in list_comfort(ego).items() if not kept] == broken

    @pytest.mark.parametrize(("jerk", "kept"), [(3.93, True), (3.94, False)])
    def test_a_change_of_acceleration_has_bounds(self, jerk: float, kept: bool) -> None:
        # The published window of 8 instants is even: it shifts all but the ends by half a one,
        # and what is left looks 5 % steeper (scipy's filters give 1.0507).
        ego = [
            replace(e, acceleration=jerk * STEP * (t - 20)) for t, e in enumerate(straight())
        ]
        assert list_comfort(ego)["longitudinal_jerk"] == kept

    @pytest.mark.parametrize(("rate", "kept"), [(1.9, True), (1.96, False)])
    def test_turning_ever_faster_has_bounds(self, rate: float, kept: bool) -> None:
        angle = [rate * (STEP * (t - 4)) ** 2 / 2 for t in range(9)]
        ego = [replace(e, yaw=a) for e, a in zip(straight(9, speed=1.0), angle, strict=True)]
        assert list_comfort(ego)["yaw_acceleration"] == kept

    @pytest.mark.parametrize("back", [False, True])
    @pytest.mark.parametrize(("most", "kept"), [(1.92, True), (1.94, False)])
    def test_turning_ever_faster_counts_up_to_the_first_and_the_last_instant(
        self, most: float, kept: bool, back: bool
    ) -> None:
        # It rises evenly to ``most``, in the last instant or, driven backwards, in the first.
        angle = [most * (STEP * t) ** 3 / 24 for t in range(41)][:: -1 if back else 1]
        ego = [replace(e, yaw=a) for e, a in zip(straight(speed=1.0), angle, strict=True)]
        assert list_comfort(ego)["yaw_acceleration"] == kept

    @pytest.mark.parametrize(("size", "kept"), [(0.04, True), (0.1, False)])
    def test_angles_are_smoothed_over_five_instants_as_published(
        self, size: float, kept: bool
    ) -> None:
        # At most 3.9 rad/s^2 where the size is 0.1; a window of 4 s would show none of it.
        angle = [size * sin(2 * pi * STEP * t) for t in range(41)]
        ego = [replace(e, yaw=a) for e, a in zip(straight(speed=1.0), angle, strict=True)]
        assert list_comfort(ego)["yaw_acceleration"] == kept

    @pytest.mark.parametrize(("curvature", "kept"), [(0.0488, True), (0.049, False)])
    def test_a_curve_presses_outwards(self, curvature: float, kept: bool) -> None:
        ego = [replace(e, curvature=curvature) for e in straight()]
        assert list_comfort(ego)["lateral_acceleration"] == kept


def test_a_drive_needs_the_same_instants_of_all_and_lanes_of_its_map() -> None:
    with pytest.raises(ValueError, match=r"41 instants of the ego, 40 of the others"):
        drive(straight(), [[] for _ in range(40)])
    with pytest.raises(ValueError, match=r"boston-seaport has no lanes wrong of the route"):
        replace(drive(straight()), route=frozenset({"wrong", "left"}))
