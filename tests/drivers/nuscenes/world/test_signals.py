"""Traffic lights are functions of time: what one shows, and those of a junction."""

from math import cos, pi, sin

import numpy as np
import pytest
from hypothesis import given, strategies as st
from shapely.geometry import Polygon

from drivers.nuscenes.road_map import Lane
from drivers.nuscenes.world.signals import Colour, Light, Signal, plan_signals

SIGNAL = Signal(
    x=1.0, y=2.0, z=3.4, yaw=0.5, lanes=("a",), period=30.0, start=4.0, green=8.0
)  # fmt: skip
TICK = 0.25  # [s]; sums of it are exact


@pytest.mark.parametrize(
    ("time", "colour"),
    [
        (3.75, "red"), (4.0, "green"), (11.75, "green"), (12.0, "yellow"), (14.25, "yellow"),
        (14.5, "red"), (33.75, "red"), (34.0, "green"), (0.0, "red"), (-26.0, "green"),
    ],
)  # fmt: skip
def test_green_is_followed_by_yellow_and_red(time: float, colour: Colour) -> None:
    assert SIGNAL.colour_at(time) == colour
    assert SIGNAL.light_at(time) == Light(
        x=1.0, y=2.0, z=3.4, yaw=0.5, colour=colour, lanes=("a",)
    )  # fmt: skip


@given(st.integers(-1000, 1000), st.integers(-20, 20))
def test_a_plan_repeats_itself(ticks: int, periods: int) -> None:
    time = TICK * ticks
    assert SIGNAL.colour_at(time) == SIGNAL.colour_at(time + 30 * periods)


def enter(token: str, angle: float) -> Lane:
    """Return a lane that leads from an arm at an ``angle`` to 10 m before (0, 0)."""
    way = np.array([[r * cos(angle), r * sin(angle), angle + pi] for r in (30.0, 20.0, 10.0)])
    return Lane(token=token, polygon=Polygon(), centreline=way)


def plan(angles: list[float], seed: int = 0, lanes: int = 1) -> list[Signal]:
    entering = [[enter(f"{k}-{i}", a) for i in range(lanes)] for k, a in enumerate(angles)]
    return plan_signals(np.random.default_rng(seed), angles, entering)


def test_lamps_hang_twelve_metres_behind_the_end_of_their_lane() -> None:
    signals = plan([0.3, 0.3 + pi / 2, 0.3 + pi, 0.3 - pi / 2], lanes=2)
    assert [s.lanes for s in signals] == [(f"{k}-{i}",) for k in range(4) for i in range(2)]
    for signal, angle in zip(signals[::2], (0.3, 0.3 + pi / 2, 0.3 + pi), strict=False):
        # From 10 m on this side of the middle to 2 m beyond.
        assert (signal.x, signal.y) == pytest.approx((-2 * cos(angle), -2 * sin(angle)))
        assert signal.z == 3.4
        assert cos(signal.yaw - angle) == pytest.approx(1)  # against those who come
    assert signals[1] == Signal(**{**vars(signals[0]), "lanes": ("0-1",)})


def test_the_plan_is_drawn_from_its_generator() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.uniform(7.0, 11.0, 2)
    shift = rng.uniform(0, first + second + 8.0)
    signals = plan([0.0, pi / 2, pi, 3 * pi / 2], seed=5)
    assert [s.period for s in signals] == pytest.approx([first + second + 8.0] * 4)
    assert [s.green for s in signals] == [first, second, first, second]
    then = pytest.approx(shift + first + 4.0)
    assert [s.start for s in signals] == [shift, then, shift, then]


@pytest.mark.parametrize(
    ("angles", "together"),
    [
        ([0.0, pi / 2, pi, 3 * pi / 2], [0, 1, 0, 1]),
        ([0.1, 1.9, 3.1], [0, 1, 0]),
        ([-3.0, 0.1, 1.4], [0, 0, 1]),
        ([0.0, 2.0, 4.4], [1, 0, 0]),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_most_opposite_arms_have_green_together_and_the_others_after_them(
    angles: list[float], together: list[int], seed: int
) -> None:
    signals = plan(angles, seed)
    period = signals[0].period
    shown = np.array([[s.colour_at(t) for s in signals] for t in np.arange(0, period, 0.01)])
    for group in (0, 1):
        members = shown[:, [k for k, g in enumerate(together) if g == group]]
        assert (members == members[:, :1]).all()
    going = [(shown[:, together.index(g)] != "red") for g in (0, 1)]
    assert not (going[0] & going[1]).any()
    # Twice 1.5 s in which all are red: the junction empties.
    assert (~(going[0] | going[1])).mean() * period == pytest.approx(3.0, abs=0.05)
    assert (shown == "yellow").any(1).mean() * period == pytest.approx(5.0, abs=0.05)
