"""The plan of a place: its junctions, the roads between them, and their lanes.

Nine crossroads of a grid are shifted, turned and joined by curved roads; a few roads are left
out. At a node of only two roads one curved road continues. All coordinates are in [m].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
import numpy as np
from jaxtyping import Float64
from scipy.ndimage import gaussian_filter1d
from shapely.geometry import LineString, Polygon

from drivers.nuscenes.road_map import Lane

SIDE = 3  # nodes along each side of the grid
SPACING = (95.0, 120.0)  # [m] between nodes
JITTER = 7.0  # [m], of a node, and of the middle of a road
SMOOTH = 36.0  # [m]: standard deviation of the smoothing; bends have a radius >= 17 m
STEP = 0.5  # [m] between points of a line
PAINT = 0.5  # [m], depth of a stop line

Node = tuple[int, int]
Line = Float64[np.ndarray, "_ 3"]  # points (x, y, yaw); lines differ in their number
Section = list[Lane]  # lanes beside each other, from the middle of the road outward


@dataclass(frozen=True, kw_only=True, eq=False)
class Road:
    """A road from one junction to another, with traffic in both directions, on the right.

    start, end: numbers of its junctions. line: its middle, (x, y, yaw) every 0.5 m, from node
    to node. lanes: their numbers along the line and against it. width: of a lane. median:
    width between the directions, 0 for a painted line. speed: limit [m/s].
    """

    start: int
    end: int
    line: Line
    lanes: tuple[int, int]
    width: float
    median: float
    speed: float

    @property
    def half_widths(self) -> tuple[float, float]:
        """Distance from the middle to the right edge and to the left edge [m]."""
        along, against = self.lanes
        return self.median / 2 + along * self.width, self.median / 2 + against * self.width


@dataclass(frozen=True, kw_only=True, eq=False)
class RoadNetwork:
    """junctions: their positions. roads: between them."""

    junctions: Float64[np.ndarray, "J 2"]
    roads: Sequence[Road]


def make_network(rng: np.random.Generator) -> RoadNetwork:
    """Return a network around (0, 0)."""
    # Up to two inner roads less; every node keeps two roads.
    graph = nx.grid_2d_graph(SIDE, SIDE)
    edges = sorted(graph.edges)
    for k in rng.permutation(len(edges))[: rng.integers(0, 4)]:
        if all(graph.degree[node] > 2 for node in edges[k]):
            graph.remove_edge(*edges[k])
    at = _place_nodes(rng)
    junctions = sorted(node for node, degree in graph.degree if degree > 2)
    number = {node: i for i, node in enumerate(junctions)}
    roads = []
    for chain in _chains(graph, junctions):
        line = resample(_bend(rng, np.stack([at[node] for node in chain])))
        lanes = rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2])
        roads.append(
            Road(
                start=number[chain[0]],
                end=number[chain[-1]],
                line=line,
                lanes=(int(lanes), int(lanes if rng.random() < 0.7 else rng.integers(1, 3))),
                width=float(rng.uniform(3.3, 3.7)),
                median=float(rng.uniform(1.5, 3.0)) if rng.random() < 0.3 else 0.0,
                speed=float(rng.uniform(9.0, 14.0)),
            )
        )
    return RoadNetwork(junctions=np.stack([at[node] for node in junctions]), roads=roads)


def _place_nodes(rng: np.random.Generator) -> dict[Node, Float64[np.ndarray, "2"]]:
    spacing = rng.uniform(*SPACING, 2)
    angle = rng.uniform(-np.pi, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = (SIDE - 1) / 2
    return {
        (i, j): ((np.array([i, j]) - middle) * spacing + rng.uniform(-JITTER, JITTER, 2)) @ turn
        for i in range(SIDE)
        for j in range(SIDE)
    }


def _chains(graph: nx.Graph, junctions: Sequence[Node]) -> list[list[Node]]:
    """Return the nodes of each road from junction to junction."""
    chains, used = [], set()
    for start in junctions:
        for after in sorted(graph[start]):
            if frozenset((start, after)) in used:
                continue
            chain = [start, after]
            while chain[-1] not in junctions:
                chain += [n for n in sorted(graph[chain[-1]]) if n != chain[-2]]
            used |= {frozenset(pair) for pair in pairwise(chain)}
            chains.append(chain)
    return chains


def _bend(
    rng: np.random.Generator, nodes: Float64[np.ndarray, "N 2"]
) -> Float64[np.ndarray, "M 2"]:
    """Return a smooth line over the nodes, with a shifted point in the middle of each part."""
    parts = np.diff(nodes, axis=0)
    length = np.linalg.norm(parts, axis=1, keepdims=True)
    across = np.stack([-parts[:, 1], parts[:, 0]], 1) / length
    middle = nodes[:-1] + parts / 2 + across * rng.uniform(-JITTER, JITTER, (len(parts), 1))
    points = np.empty((2 * len(nodes) - 1, 2))
    points[::2], points[1::2] = nodes, middle
    fine = resample(points)[:, :2]
    # The line continues beyond its ends as its mirror image, so that both ends stay.
    margin = min(round(4 * SMOOTH / STEP), len(fine) - 1)
    padded = np.pad(fine, ((margin, margin), (0, 0)), "reflect", reflect_type="odd")
    return gaussian_filter1d(padded, SMOOTH / STEP, axis=0)[margin:-margin]


def reverse(line: Line) -> Line:
    """Return the line in the opposite driving direction."""
    turned: Line = line[::-1] + np.array([0, 0, np.pi])
    return turned


def resample(points: Float64[np.ndarray, "M 2"]) -> Line:
    """Return the line as evenly spaced points (x, y, yaw), including its two ends."""
    along = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    at = np.linspace(0, along[-1], max(2, round(along[-1] / STEP) + 1))
    dx, dy = np.gradient(points, along, axis=0).T
    yaw = np.unwrap(np.arctan2(dy, dx))
    return np.stack([np.interp(at, along, values) for values in (*points.T, yaw)], 1)


def shift(line: Line, left: float) -> Float64[np.ndarray, "P 2"]:
    """Return the points of a line moved to its left by ``left`` [m]."""
    x, y, yaw = line.T
    return np.stack([x - left * np.sin(yaw), y + left * np.cos(yaw)], 1)


def lay_lanes(
    road: Road,
    line: Line,
    along: bool,
    name: str,
    stops: Sequence[tuple[float, float]],
) -> list[Section]:
    """Return the lanes of one direction of a road: by section, from its middle outward.

    line: the middle of the road in driving direction. along: whether that is the road's own
    direction. name: the beginning of the tokens. stops: for each section the distance of its
    end along the line, and of the waiting place before that end [m].
    """
    width = road.width
    edges = [-road.median / 2 - i * width for i in range(road.lanes[not along] + 1)]
    sections, first = [], 0
    scale = (len(line) - 1) / measure(line)  # points a metre
    for number, (end, gap) in enumerate(stops):
        last = round(end * scale)
        piece = line[first : last + 1]
        first = last
        lanes = []
        for i, (inner, outer) in enumerate(pairwise(edges)):
            centreline = resample(shift(piece, (inner + outer) / 2))
            outermost = i == len(edges) - 2
            lanes.append(
                Lane(
                    token=f"{name}-{number}-{i}",
                    polygon=make_strip(piece, inner, outer),
                    centreline=centreline,
                    left=LineString(shift(piece, inner)),
                    right=None if outermost else LineString(shift(piece, outer)),
                    speed_limit=road.speed,
                    stop_line=measure(centreline) - gap,
                )
            )
        sections.append(lanes)
    return sections


def measure(line: Line) -> float:
    """Return the length of a line [m]."""
    return float(np.hypot(*np.diff(line[:, :2], axis=0).T).sum())


def make_strip(line: Line, left: float, right: float) -> Polygon:
    """Return the ground along a line between two distances to its left [m]."""
    return Polygon(np.concatenate([shift(line, right), shift(line, left)[::-1]]))


def paint_stop_line(lane: Lane, width: float) -> Polygon:
    """Return the stop line across a lane, at which drivers wait."""
    i = round(lane.stop_line / STEP)
    return make_strip(lane.centreline[i : i + round(PAINT / STEP) + 1], width / 2, -width / 2)
