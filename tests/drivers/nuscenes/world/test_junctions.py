import numpy as np
import pytest

from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.world.junctions import STRAIGHT, Arm, turn_between


@pytest.mark.parametrize("heading", [0.0, 2.5, -3.0])
@pytest.mark.parametrize(
    ("turned", "turn"),
    [
        (np.pi / 2, "left"),
        (-np.pi / 2, "right"),
        (0.0, "straight"),
        (0.9 * STRAIGHT, "straight"),
        (-0.9 * STRAIGHT, "straight"),
        (1.1 * STRAIGHT, "left"),
        (-1.1 * STRAIGHT, "right"),
    ],
)
def test_a_turn_is_to_the_side_to_which_the_heading_turns(
    heading: float, turned: float, turn: str
) -> None:
    """Angles of arms are of the way out: who comes in on one drives the other way."""

    def arm(angle: float) -> Arm:
        return Arm(end=(0, True), angle=float(wrap_angle(angle)), incoming=3.0, outgoing=3.0)

    assert turn_between(arm(heading + np.pi), arm(heading + turned)) == turn
