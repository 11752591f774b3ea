"""The thirteen tables of nuScenes: fields, types and links, for writing and checking.

A table is a JSON list of flat records in ``<root>/<version>/<table>.json``. One dataclass
declares each table: :func:`make_record` converts an instance to a record, :func:`list_fields`
lists the fields. Times are [us] since 1970, lengths [m], rotations quaternions (w, x, y, z). A
pose or calibration transforms from its own frame to the outer one: sensor to ego, ego to
global. ``prev`` and ``next`` are "" at the ends of a chain.

Source: nuScenes, "Schema" (docs/schema_nuscenes.md of the nuscenes-devkit).
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from drivers.nuscenes.rig import CAMERAS

LIDAR = "LIDAR_TOP"
RADARS = (
    "RADAR_FRONT", "RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT", "RADAR_BACK_LEFT",
    "RADAR_BACK_RIGHT",
)  # fmt: skip
LOCATIONS = (
    "boston-seaport", "singapore-hollandvillage", "singapore-onenorth", "singapore-queenstown",
)  # fmt: skip
# The order is that of the indices in lidarseg and panoptic; boxes have indices 1 to 23.
CATEGORIES = (
    "noise", "animal", "human.pedestrian.adult", "human.pedestrian.child",
    "human.pedestrian.construction_worker", "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer", "human.pedestrian.stroller",
    "human.pedestrian.wheelchair", "movable_object.barrier", "movable_object.debris",
    "movable_object.pushable_pullable", "movable_object.trafficcone",
    "static_object.bicycle_rack", "vehicle.bicycle", "vehicle.bus.bendy", "vehicle.bus.rigid",
    "vehicle.car", "vehicle.construction", "vehicle.emergency.ambulance",
    "vehicle.emergency.police", "vehicle.motorcycle", "vehicle.trailer", "vehicle.truck",
    "flat.driveable_surface", "flat.other", "flat.sidewalk", "flat.terrain",
    "static.manmade", "static.other", "static.vegetation", "vehicle.ego",
)  # fmt: skip
ATTRIBUTES = (
    "vehicle.moving", "vehicle.stopped", "vehicle.parked", "cycle.with_rider",
    "cycle.without_rider", "pedestrian.sitting_lying_down", "pedestrian.standing",
    "pedestrian.moving",
)  # fmt: skip
LEVELS = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}  # visibility, by token


@dataclass(frozen=True)
class Link:
    """A field with tokens of ``table``; if ``optional``, it may be ""."""

    table: str
    optional: bool = False


@dataclass(frozen=True)
class Numbers:
    """A field with numbers in a list of ``shape``; if ``optional``, the list may be empty."""

    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class OneOf:
    """A field whose value is one of ``names``."""

    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a table.

    kind: str, int, bool, or list. rule: additional condition on the value.
    required: whether every record must have the field.
    """

    name: str
    kind: type
    rule: Link | Numbers | OneOf | None
    required: bool


Vector = Annotated[Sequence[float | int], Numbers((3,))]
Rotation = Annotated[Sequence[float | int], Numbers((4,))]


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A changeable property of a road user, such as parked."""

    token: str
    name: Annotated[str, OneOf(ATTRIBUTES)]
    description: str


@dataclass(frozen=True, kw_only=True)
class Category:
    """The class of a road user or thing; ``index`` is its label in lidarseg and panoptic."""

    token: str
    name: Annotated[str, OneOf(CATEGORIES)]
    description: str
    index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """The share of a box that the cameras see; the token is "1" (smallest share) to "4"."""

    token: Annotated[str, OneOf(tuple(LEVELS))]
    level: Annotated[str, OneOf(tuple(LEVELS.values()))]
    description: str


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """A kind of sensor on the car."""

    token: str
    channel: Annotated[str, OneOf((*CAMERAS, LIDAR, *RADARS))]
    modality: Annotated[str, OneOf(("camera", "lidar", "radar"))]


@dataclass(frozen=True, kw_only=True)
class CalibratedSensor:
    """The pose of a sensor on a car: transforms from the sensor's frame to the ego frame."""

    token: str
    sensor_token: Annotated[str, Link("sensor")]
    translation: Vector
    rotation: Rotation
    camera_intrinsic: Annotated[Sequence[Sequence[float | int]], Numbers((3, 3), optional=True)]


@dataclass(frozen=True, kw_only=True)
class EgoPose:
    """The pose of the car at a time: transforms from the ego frame to the global frame."""

    token: str
    translation: Vector
    rotation: Rotation
    timestamp: int


@dataclass(frozen=True, kw_only=True)
class Log:
    """A recording: car, time and place."""

    token: str
    logfile: str
    vehicle: str
    date_captured: str
    location: Annotated[str, OneOf(LOCATIONS)]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A part of a log, about 20 s."""

    token: str
    name: str
    description: str
    log_token: Annotated[str, Link("log")]
    nbr_samples: int
    first_sample_token: Annotated[str, Link("sample")]
    last_sample_token: Annotated[str, Link("sample")]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A keyframe: all sensors and boxes at one time; keyframes are 0.5 s apart."""

    token: str
    timestamp: int
    scene_token: Annotated[str, Link("scene")]
    prev: Annotated[str, Link("sample", optional=True)]
    next: Annotated[str, Link("sample", optional=True)]


@dataclass(frozen=True, kw_only=True)
class SampleData:
    """A measurement of a sensor; width and height are those of an image, otherwise 0."""

    token: str
    sample_token: Annotated[str, Link("sample")]
    ego_pose_token: Annotated[str, Link("ego_pose")]
    calibrated_sensor_token: Annotated[str, Link("calibrated_sensor")]
    filename: str
    fileformat: str
    width: int
    height: int
    timestamp: int
    is_key_frame: bool
    prev: Annotated[str, Link("sample_data", optional=True)]
    next: Annotated[str, Link("sample_data", optional=True)]


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A road user or thing, in all keyframes of a scene in which it has a box."""

    token: str
    category_token: Annotated[str, Link("category")]
    nbr_annotations: int
    first_annotation_token: Annotated[str, Link("sample_annotation")]
    last_annotation_token: Annotated[str, Link("sample_annotation")]


@dataclass(frozen=True, kw_only=True)
class SampleAnnotation:
    """The box of an instance in one keyframe, in the global frame.

    translation: middle of the box. size: width, length, height. attribute_tokens: at most one.
    """

    token: str
    sample_token: Annotated[str, Link("sample")]
    instance_token: Annotated[str, Link("instance")]
    visibility_token: Annotated[str, Link("visibility")]
    attribute_tokens: Annotated[Sequence[str], Link("attribute")]
    translation: Vector
    size: Vector
    rotation: Rotation
    prev: Annotated[str, Link("sample_annotation", optional=True)]
    next: Annotated[str, Link("sample_annotation", optional=True)]
    num_lidar_pts: int
    num_radar_pts: int


@dataclass(frozen=True, kw_only=True)
class Map:
    """The image of the ground of one location, and the logs recorded there."""

    token: str
    log_tokens: Annotated[Sequence[str], Link("log")]
    category: str
    filename: str


Record = (
    Attribute | Category | Visibility | Sensor | CalibratedSensor | EgoPose | Log | Scene
    | Sample | SampleData | Instance | SampleAnnotation | Map
)  # fmt: skip
TABLES: Mapping[str, type[Record]] = {
    "attribute": Attribute,
    "category": Category,
    "visibility": Visibility,
    "sensor": Sensor,
    "calibrated_sensor": CalibratedSensor,
    "ego_pose": EgoPose,
    "log": Log,
    "scene": Scene,
    "sample": Sample,
    "sample_data": SampleData,
    "instance": Instance,
    "sample_annotation": SampleAnnotation,
    "map": Map,
}


def make_record(row: Record) -> dict[str, Any]:
    """Return a row as the record that a table's file contains."""
    return {name: value for name, value in vars(row).items() if value is not None}


@cache
def list_fields(table: str) -> tuple[Field, ...]:
    """Return the fields of a table of :data:`TABLES`.

    >>> [(f.name, f.kind.__name__, f.required) for f in list_fields("category")][2:]
    [('description', 'str', True), ('index', 'int', False)]
    """
    record = TABLES[table]
    hints = get_type_hints(record, include_extras=True)
    required = {f.name for f in fields(record) if f.default is MISSING}
    return tuple(_describe(name, hints[name], name in required) for name in hints)


def _describe(name: str, hint: Any, required: bool) -> Field:
    rule = None
    if get_origin(hint) is Annotated:
        hint, rule = get_args(hint)
    if not required:
        hint = get_args(hint)[0]  # of "int | None"
    kind = list if get_origin(hint) is Sequence else hint
    return Field(name=name, kind=kind, rule=rule, required=required)
