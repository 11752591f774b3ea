"""Checks of the chains of records: prev and next, first and last, and the counts."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator

from drivers.nuscenes.fields import Content, Row, make_problem
from drivers.nuscenes.problem import Problem
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.schema import LIDAR

CURE = "link each record to the ones before and after it in time"


def find_chain_problems(content: Content) -> Iterator[Problem]:
    """Yield the mistakes in the chains of samples, sample data and annotations."""
    samples = content.by_token("sample", "timestamp", "scene_token")
    channels = name_channels(content)

    def sample_time(row: Row) -> int | None:
        sample = samples.get(row["sample_token"])
        return sample["timestamp"] if sample else None

    def sensor_of(row: Row) -> Hashable:
        sample = samples.get(row["sample_token"])
        channel = channels.get(row["calibrated_sensor_token"])
        return (sample["scene_token"], channel) if sample and channel else None

    ends = ("prev", "next")
    rows = content.rows("sample", "timestamp", "scene_token", *ends)
    by_scene = _group(rows, lambda row: row["scene_token"])
    yield from _find_broken("sample", by_scene, lambda row: row["timestamp"])
    rows = content.rows(
        "sample_data", "timestamp", "sample_token", "calibrated_sensor_token", *ends
    )
    yield from _find_broken("sample_data", _group(rows, sensor_of), lambda r: r["timestamp"])
    rows = content.rows("sample_annotation", "instance_token", "sample_token", *ends)
    by_instance = _group(rows, lambda row: row["instance_token"])
    yield from _find_broken("sample_annotation", by_instance, sample_time)
    yield from _find_wrong_ends(
        content, "scene", by_scene, ("first_sample_token", "last_sample_token", "nbr_samples"),
        lambda row: row["timestamp"],
    )  # fmt: skip
    yield from _find_wrong_ends(
        content, "instance", by_instance,
        ("first_annotation_token", "last_annotation_token", "nbr_annotations"), sample_time,
    )  # fmt: skip
    yield from _find_missing_keyframes(content)


def name_channels(content: Content) -> dict[str, str]:
    """Return the channel of each calibrated sensor by its token."""
    sensors = content.by_token("sensor", "channel")
    return {
        row["token"]: sensors[row["sensor_token"]]["channel"]
        for row in content.rows("calibrated_sensor", "sensor_token")
        if row["sensor_token"] in sensors
    }


def _group(rows: list[Row], key: Callable[[Row], Hashable]) -> dict[Hashable, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        if (name := key(row)) is not None:
            groups[name].append(row)
    return groups


def _find_broken(
    table: str, groups: dict[Hashable, list[Row]], time: Callable[[Row], int | None]
) -> Iterator[Problem]:
    for rows in groups.values():
        times = [(t, row) for row in rows if (t := time(row)) is not None]
        ordered = [row for _, row in sorted(times, key=lambda pair: pair[0])]
        moments = sorted(t for t, _ in times)
        tokens = ["", *(row["token"] for row in ordered), ""]
        for k, row in enumerate(ordered):
            for field, wanted in (("prev", tokens[k]), ("next", tokens[k + 2])):
                if row[field] != wanted:
                    what = f"is {row[field]!r}, but in time {wanted!r} is {field}"
                    yield make_problem(table, row, field, what, CURE)
            if k and moments[k] == moments[k - 1]:
                what = f"is at {moments[k]} us, as {tokens[k]}"
                cure = "give each record of a chain a time of its own"
                yield make_problem(table, row, "timestamp", what, cure)


def _find_wrong_ends(
    content: Content,
    table: str,
    groups: dict[Hashable, list[Row]],
    names: tuple[str, str, str],
    time: Callable[[Row], int | None],
) -> Iterator[Problem]:
    """Yield the records whose first, last or count contradicts their chain."""
    first, last, number = names
    for row in content.rows(table, *names):
        members = groups.get(row["token"], [])
        times = [(t, m["token"]) for m in members if (t := time(m)) is not None]
        if not times:
            yield make_problem(table, row, number, "has no record", "leave it out")
            continue
        expected = {first: min(times)[1], last: max(times)[1], number: len(times)}
        for field, value in expected.items():
            if row[field] != value:
                what = f"is {row[field]!r}, but its records say {value!r}"
                yield make_problem(table, row, field, what, f"write {value!r}")


def _find_missing_keyframes(content: Content) -> Iterator[Problem]:
    """Yield the samples without exactly one keyframe of each camera and the lidar."""
    channels = name_channels(content)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    rows = content.rows(
        "sample_data", "sample_token", "calibrated_sensor_token", "is_key_frame"
    )
    for row in rows:
        if row["is_key_frame"]:
            channel = channels.get(row["calibrated_sensor_token"], "")
            counts[row["sample_token"], channel] += 1
    for row in content.rows("sample"):
        for channel in (*CAMERAS, LIDAR):
            count = counts[row["token"], channel]
            if count != 1:
                what = f"has {count} sample_data of {channel} with is_key_frame"
                cure = "give each sample one keyframe of each camera and of LIDAR_TOP"
                yield make_problem("sample", row, "is_key_frame", what, cure)
