import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jaxtyping import Float64

pytest.importorskip("nuscenes")

from nuscenes.map_expansion.arcline_path_utils import discretize_lane

from drivers.nuscenes.world.write.arcs import TOLERANCE, Arc, fit_arcs


def make_line(curvature: Float64[np.ndarray, " P"], yaw: float) -> Float64[np.ndarray, "P+1 3"]:
    """Return points half a metre apart, from a curvature between each two."""
    yaws = yaw + np.concatenate([[0], 0.5 * curvature.cumsum()])
    middle = (yaws[1:] + yaws[:-1]) / 2
    x = np.concatenate([[3], 3 + 0.5 * np.cos(middle).cumsum()])
    y = np.concatenate([[-2], -2 + 0.5 * np.sin(middle).cumsum()])
    return np.stack([x, y, yaws], 1)


def measure_miss(line: Float64[np.ndarray, "P 3"], arcs: list[Arc]) -> float:
    """Return by how much the devkit's points of the arcs miss the line."""
    found = np.array(discretize_lane(arcs, 0.1))
    fine = np.linspace(0, 1, 20)[:, None, None]
    dense = (line[:-1, :2] + fine * np.diff(line[:, :2], axis=0)).reshape(-1, 2)
    return float(np.linalg.norm(found[:, None, :2] - dense, axis=2).min(axis=1).max())


@pytest.mark.parametrize("curvature", [0.0, 0.05, -0.05, 0.2])
def test_a_circle_is_one_arc(curvature: float) -> None:
    line = make_line(np.full(20, curvature), 2.5)
    (arc,) = fit_arcs(line)
    assert sum(arc["segment_length"]) == pytest.approx(10, rel=1e-2)
    assert arc["start_pose"] == pytest.approx(line[0], abs=1e-4)
    assert arc["end_pose"] == pytest.approx(line[-1], abs=1e-2)
    if curvature:
        assert arc["radius"] == pytest.approx(1 / abs(curvature), rel=1e-2)
        assert arc["shape"] == ("LSL" if curvature > 0 else "RSR")
    assert measure_miss(line, [arc]) < 0.02


@given(st.lists(st.floats(-0.15, 0.15), min_size=1, max_size=4), st.floats(-3.1, 3.1))
@settings(max_examples=15)
def test_any_line_is_followed_by_few_arcs(curvatures: list[float], yaw: float) -> None:
    line = make_line(np.repeat(curvatures, 12), yaw)
    arcs = fit_arcs(line)
    assert measure_miss(line, arcs) < 1.5 * TOLERANCE
    assert len(arcs) <= 4 * len(curvatures)
    assert arcs[-1]["end_pose"][:2] == pytest.approx(line[-1, :2], abs=1e-3)
    ends = [arc["end_pose"][:2] for arc in arcs[:-1]]
    assert ends == [arc["start_pose"][:2] for arc in arcs[1:]]


def test_yaws_may_turn_past_pi() -> None:
    line = make_line(np.full(30, 0.1), 3.0)
    assert len(fit_arcs(line)) == 1
    line[:, 2] = (line[:, 2] + np.pi) % (2 * np.pi) - np.pi
    assert len(fit_arcs(line)) == 1


def test_a_point_is_no_line() -> None:
    with pytest.raises(ValueError, match="a line of 1 points has no middle; give two or more"):
        fit_arcs(np.zeros((1, 3)))
