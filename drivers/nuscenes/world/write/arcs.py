"""Lines as chains of arcs, the map expansion's form of centrelines."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from drivers.nuscenes.geometry import wrap_angle

TOLERANCE, TURN = 0.05, 0.02  # [m], [rad]: largest error of an arc
STRAIGHT = 1e-4  # [1/m]: parts of smaller curvature count as straight
RADIUS = 1e4  # [m]: placeholder for straight parts

Arc = dict[str, Any]


def fit_arcs(line: Float64[np.ndarray, "P 3"]) -> list[Arc]:
    """Return arcs and straight parts that follow points (x, y, yaw) one after the other.

    Each starts at a point of the line, in its direction there, and is as long as
    :data:`TOLERANCE` and :data:`TURN` allow. The arcs are records of "arcline_path_3".

    Raises:
        ValueError: fewer than two points.
    """
    if len(line) < 2:
        raise ValueError(f"a line of {len(line)} points has no middle; give two or more")
    arcs, start = [], 0
    while start < len(line) - 1:
        end = start + 1
        step = len(line) - 1 - start
        while step:  # doubling and halving: few trials for long arcs
            if end + step < len(line) and _follows(line[start : end + step + 1]):
                end += step
            else:
                step //= 2
        arcs.append(_make_arc(line[start], line[end]))
        start = end
    return arcs


def _bend(
    start: Float64[np.ndarray, "3"], end: Float64[np.ndarray, "3"]
) -> tuple[float, float]:
    """Return curvature and length of the arc from a pose to a point."""
    away = end[:2] - start[:2]
    chord = float(np.hypot(*away))
    half = wrap_angle(float(np.arctan2(away[1], away[0]) - start[2]))  # of the turn
    curvature = 2 * np.sin(half) / chord
    if abs(curvature) < STRAIGHT:
        return 0.0, chord
    return float(curvature), 2 * half / float(curvature)


def _follows(line: Float64[np.ndarray, "P 3"]) -> bool:
    """Return whether the arc from the first to the last pose of a line follows all of it."""
    curvature, length = _bend(line[0], line[-1])
    x, y, yaw = line[0]
    turned = yaw + curvature * length - line[-1, 2]
    if abs(wrap_angle(turned)) > TURN or length <= 0:
        return False
    points, left = line[:, :2] - [x, y], np.array([-np.sin(yaw), np.cos(yaw)])
    if curvature == 0:
        off = points @ left
    else:
        off = np.hypot(*(points - left / curvature).T) - 1 / abs(curvature)
    return bool(np.abs(off).max() < TOLERANCE)


def _make_arc(start: Float64[np.ndarray, "3"], end: Float64[np.ndarray, "3"]) -> Arc:
    curvature, length = _bend(start, end)
    straight = curvature == 0
    turn, long = curvature * length, round(length, 4)
    return {
        "start_pose": [round(float(v), 4) for v in start],
        "end_pose": [*(round(float(v), 4) for v in end[:2]), round(float(start[2] + turn), 4)],
        "shape": "RSR" if curvature < 0 else "LSL",
        "radius": RADIUS if straight else round(1 / abs(curvature), 4),
        "segment_length": [0.0, long, 0.0] if straight else [long, 0.0, 0.0],
    }
