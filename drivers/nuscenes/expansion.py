"""Read and check the files of the map expansion: layers, links and paths.

In ``maps/expansion/<location>.json``, version 1.3, nodes form lines and polygons, and these
form the layers. The check names every fault that would make
:class:`nuscenes.map_expansion.map_api.NuScenesMap` fail.

Source: nuScenes, "Map expansion" (docs/schema_nuscenes.md and map_api.py of the devkit).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drivers.nuscenes.fields import shorten
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import are_numbers, are_strings, is_number, read_json

VERSION = "1.3"
CURE = "fetch the map expansion 1.3 again"
POLYGON_LAYERS = (
    "drivable_area", "road_segment", "road_block", "lane", "ped_crossing", "walkway",
    "stop_line", "carpark_area", "lane_connector",
)  # fmt: skip
LINE_LAYERS = ("road_divider", "lane_divider", "traffic_light")
LAYERS = ("node", "line", "polygon", *POLYGON_LAYERS, *LINE_LAYERS)
SHAPES = ("LRL", "RLR", "LSL", "LSR", "RSL", "RSR")  # shapes of a lane's path
WIDE = 100_000.0  # [m] largest side of a map
LONG = 10_000.0  # [m] longest path; the reader cuts paths into pieces of half a metre
SHORT = 1e-3  # [m] tolerance for slightly negative lengths
CUES = {  # layer of a stop line's cues, by the type of the stop line
    "PED_CROSSING": "ped_crossing",
    "TURN_STOP": "ped_crossing",
    "TRAFFIC_LIGHT": "traffic_light",
}

Expansion = Mapping[str, Any]
Row = Mapping[str, Any]


def expansion_file(location: str) -> Path:
    """Return the path of a location's map, relative to the root of the data set."""
    return Path("maps") / "expansion" / f"{location}.json"


def read_expansion(root: Path, location: str) -> Expansion:
    """Return the map of a location of the data set in ``root``.

    Raises:
        NuScenesError: the file is missing or damaged; lists all problems.
    """
    name = expansion_file(location)
    try:
        expansion = read_json(root / name)
    except FileNotFoundError:
        cure = "unpack the map expansion 1.3 into maps/"
        raise NuScenesError([_problem(name, "is missing", cure)]) from None
    except ValueError as error:
        raise NuScenesError([_problem(name, str(error), CURE)]) from None
    problems = list(find_problems(name, expansion))
    if problems:
        raise NuScenesError(problems)
    checked: Expansion = expansion
    return checked


def find_problems(name: Path, expansion: object) -> Iterator[Problem]:
    """Yield the problems of a map, whose file is ``name``."""
    if not isinstance(expansion, dict):
        yield _problem(name, "is no JSON object", CURE)
        return
    missing = list(_find_missing(name, expansion))
    yield from missing
    if missing:
        return
    tokens = {layer: {row["token"] for row in expansion[layer]} for layer in LAYERS}
    for layer in LAYERS:
        rows = expansion[layer]
        if len(tokens[layer]) < len(rows):
            yield _problem(
                name, f"{len(rows) - len(tokens[layer])} tokens stand twice", CURE, layer
            )
    reach = max(*expansion["canvas_edge"], 0.0)
    for row in expansion["node"]:
        x, y = row.get("x"), row.get("y")
        if not are_numbers([x, y], 2):
            yield _problem(name, "x or y is no finite number", CURE, "node", row["token"])
        elif not (-reach <= min(x, y) and max(x, y) <= 2 * reach):
            what = f"({x:.4g}, {y:.4g}) m is far outside the canvas"
            yield _problem(name, what, CURE, "node", row["token"])
    yield from _find_bad_links(name, expansion, tokens)
    yield from _find_bad_paths(name, expansion)


def _find_missing(name: Path, expansion: dict[str, Any]) -> Iterator[Problem]:
    version = expansion.get("version", "1.0")
    if not isinstance(version, str) or version < VERSION:
        text = version if isinstance(version, str) else shorten(version)
        yield _problem(name, f"is of version {text}, expected {VERSION}", CURE, "version")
    edge: Any = expansion.get("canvas_edge")
    if not (are_numbers(edge, 2) and min(edge) > 0 and max(edge) <= WIDE):
        what = f"canvas_edge is {shorten(edge)}, expected width, height up to {WIDE:,.0f} m"
        yield _problem(name, what, CURE, "canvas_edge")
    for layer in LAYERS:
        rows = expansion.get(layer)
        if not isinstance(rows, list):
            yield _problem(name, "the layer is missing", CURE, layer)
        elif not all(isinstance(r, dict) and isinstance(r.get("token"), str) for r in rows):
            yield _problem(name, "a record has no token", CURE, layer)
    for layer in ("arcline_path_3", "connectivity"):
        if not isinstance(expansion.get(layer), dict):
            yield _problem(name, "the layer is missing", CURE, layer)


def _find_bad_links(
    name: Path, expansion: Expansion, tokens: Mapping[str, set[str]]
) -> Iterator[Problem]:
    for layer in LAYERS:
        for row in expansion[layer]:
            for field, table, least, linked in _list_links(layer, row):
                if not are_strings(linked):
                    what = "is missing" if linked is None else "is no list of tokens"
                    yield _problem(name, f"{field} {what}", CURE, layer, row["token"])
                    continue
                lost = [token for token in linked if token not in tokens[table]]
                if lost:
                    what = f"{field} names {lost[0]}, which is no {table}"
                    yield _problem(name, what, CURE, layer, row["token"])
                elif len(linked) < least and not (linked == [] and layer == "line"):
                    what = f"{field} has {len(linked)} nodes, expected {least} or more"
                    yield _problem(name, what, CURE, layer, row["token"])


def _list_links(layer: str, row: Row) -> Iterator[tuple[str, str, int, Any]]:
    """Yield (field, linked layer, least number of tokens, tokens) of a record."""
    if layer == "line":
        yield "node_tokens", "node", 2, row.get("node_tokens")
    elif layer == "polygon":
        yield "exterior_node_tokens", "node", 3, row.get("exterior_node_tokens")
        for nodes in _parts_of(row, "holes", "node_tokens"):
            yield "holes", "node", 3 if nodes else 0, nodes
    elif layer == "drivable_area":
        yield "polygon_tokens", "polygon", 0, row.get("polygon_tokens")
    elif layer in POLYGON_LAYERS:
        yield "polygon_token", "polygon", 1, [row.get("polygon_token")]
    elif layer in LINE_LAYERS:
        yield "line_token", "line", 1, [row.get("line_token")]
    yield from _list_further_links(layer, row)


def _list_further_links(layer: str, row: Row) -> Iterator[tuple[str, str, int, Any]]:
    """Yield the links of lane dividers and of stop lines' cues, as :func:`_list_links`."""
    if layer == "lane":
        for field in ("left_lane_divider_segments", "right_lane_divider_segments"):
            for token in _parts_of(row, field, "node_token"):
                yield field, "node", 1, [token]
    kind = row.get("stop_line_type")
    if layer == "stop_line" and isinstance(kind, str) and kind in CUES:
        cue = CUES[kind]
        yield f"{cue}_tokens", cue, 0, row.get(f"{cue}_tokens")


def _parts_of(row: Row, field: str, key: str) -> list[Any]:
    """Return the value of ``key`` in each part of the list in ``field``; [None] if invalid."""
    parts = row.get(field)
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return [None]
    return [part.get(key) for part in parts]


def _find_bad_paths(name: Path, expansion: Expansion) -> Iterator[Problem]:
    for token, paths in expansion["arcline_path_3"].items():
        if not isinstance(paths, list) or not all(map(_is_path, paths)):
            what = "is no list of start_pose, shape, radius and segment_length"
            yield _problem(name, what, CURE, "arcline_path_3", token)
    for token, ends in expansion["connectivity"].items():
        if not isinstance(ends, dict) or not all(
            are_strings(ends.get(key)) for key in ("incoming", "outgoing")
        ):
            what = "has no lists of incoming and outgoing lanes"
            yield _problem(name, what, CURE, "connectivity", token)


def _is_path(path: object) -> bool:
    if not isinstance(path, dict):
        return False
    radius: Any = path.get("radius")
    lengths: Any = path.get("segment_length")
    return (
        are_numbers(path.get("start_pose"), 3)
        and path.get("shape") in SHAPES
        and is_number(radius)
        and radius > 0
        and are_numbers(lengths, 3)
        and min(lengths) > -SHORT
        and sum(lengths) < LONG
    )


def _problem(name: Path, what: str, cure: str, field: str = "", token: str = "") -> Problem:
    return Problem(table=str(name), token=token, field=field, what=what, cure=cure)


def list_nodes(expansion: Expansion) -> Mapping[str, tuple[float, float]]:
    """Return the position (x, y) [m] of every node by its token."""
    return {row["token"]: (float(row["x"]), float(row["y"])) for row in expansion["node"]}
