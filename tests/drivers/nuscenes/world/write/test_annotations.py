from dataclasses import replace

import numpy as np
import pytest
from straight_road import head, make_box

from drivers.nuscenes.box import Box
from drivers.nuscenes.world.write.annotations import SeenBox, annotate
from drivers.nuscenes.world.write.names import make_token

CAR = head(make_box("car", "vehicle.car", 10.0, 5.0), 4.0, np.pi / 2)
SAMPLES = [make_token("sample", k) for k in range(20)]


def see(box: Box, points: int = 3, visible: float = 1.0) -> SeenBox:
    return SeenBox(box=box, points=points, visible=visible)


def test_annotations_of_an_instance_are_a_chain_even_over_gaps() -> None:
    keyframes = [[see(CAR)], [], [see(CAR)], [see(replace(CAR, instance="b"))], [see(CAR)]]
    found = annotate("scene", SAMPLES, keyframes, np.zeros(2))
    car, other = found.instances
    rows = {row.token: row for row in found.annotations}
    assert (car.nbr_annotations, other.nbr_annotations) == (3, 1)
    token, chain = car.first_annotation_token, []
    while token:
        assert rows[token].prev == (chain[-1] if chain else "")
        assert rows[token].instance_token == car.token
        chain.append(token)
        token = rows[token].next
    assert [rows[t].sample_token for t in chain] == [SAMPLES[0], SAMPLES[2], SAMPLES[4]]
    assert chain[-1] == car.last_annotation_token
    alone = rows[other.first_annotation_token]
    assert (alone.prev, alone.next) == ("", "")


def test_a_box_is_told_as_nuscenes_does() -> None:
    (row,) = annotate("s", SAMPLES, [[see(CAR, 7, 0.7)]], np.array([100.0, 50.0])).annotations
    assert row.translation == [110.0, 55.0, 0.8]
    assert row.size == [1.9, 4.6, 1.6]  # width, length, height
    assert row.rotation == pytest.approx([np.sqrt(0.5), 0, 0, np.sqrt(0.5)], abs=1e-6)
    assert (row.num_lidar_pts, row.num_radar_pts) == (7, 0)
    assert row.visibility_token == "3"
    assert row.attribute_tokens == [make_token("attribute", "vehicle.moving")]


@pytest.mark.parametrize(
    ("visible", "token"),
    [(0.0, "1"), (0.4, "1"), (0.41, "2"), (0.6, "2"), (0.8, "3"), (0.81, "4")],
)
def test_visibility_has_the_levels_of_nuscenes(visible: float, token: str) -> None:
    (row,) = annotate("s", SAMPLES, [[see(CAR, visible=visible)]], np.zeros(2)).annotations
    assert row.visibility_token == token


def test_what_a_box_does_follows_from_its_speed_unless_it_is_told() -> None:
    stands, walker = {"vx": 0.0, "vy": 0.0}, {"category": "human.pedestrian.adult"}
    for changes, attribute in (
        ({}, "vehicle.moving"),
        ({"vx": np.nan}, "vehicle.moving"),
        (stands, "vehicle.stopped"),
        ({"category": "vehicle.bicycle"}, "cycle.with_rider"),
        (walker, "pedestrian.moving"),
        (stands | walker, "pedestrian.standing"),
        ({"attribute": "vehicle.parked"}, "vehicle.parked"),
    ):
        keyframes = [[see(replace(CAR, **changes))]]
        (row,) = annotate("s", SAMPLES, keyframes, np.zeros(2)).annotations
        assert row.attribute_tokens == [make_token("attribute", attribute)]
    thing = see(replace(CAR, category="movable_object.barrier"))
    (row,) = annotate("s", SAMPLES, [[thing]], np.zeros(2)).annotations
    assert row.attribute_tokens == []


def test_predictors_are_asked_where_a_moving_vehicle_has_a_past_and_a_future() -> None:
    def drive(number: int, step: float) -> list[str]:
        keyframes = [[see(replace(CAR, y=step * k))] for k in range(number)]
        return list(annotate("s", SAMPLES, keyframes, np.zeros(2)).questions)

    instance = make_token("instance", "s", "car")
    assert drive(14, 2.0) == []
    assert drive(16, 2.0) == [f"{instance}_{SAMPLES[k]}" for k in (2, 3)]
    assert drive(16, 0.1) == []  # it stands
