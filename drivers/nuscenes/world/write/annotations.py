"""The boxes of a scene as annotations, and the questions of prediction about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

import numpy as np
from jaxtyping import Float64

from drivers.nuscenes.box import Box, name_attribute
from drivers.nuscenes.schema import Instance, SampleAnnotation
from drivers.nuscenes.world.write.files import round_metres, to_quaternion
from drivers.nuscenes.world.write.names import make_token

RANGE = 60.0  # [m] from the ego: farther boxes are not annotated
LEVELS = (0.4, 0.6, 0.8)  # visibility 1 up to the first, then 2, 3, and 4
MOVING = 0.5  # [m/s]
AHEAD = 12  # keyframes of a prediction: 6 s


@dataclass(frozen=True, kw_only=True)
class SeenBox:
    """A box of a keyframe. points: of the lidar. visible: visible fraction in the cameras."""

    box: Box
    points: int
    visible: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneAnnotations:
    """The records of a scene. questions: instance and sample, joined by "_"."""

    instances: Sequence[Instance]
    annotations: Sequence[SampleAnnotation]
    questions: Sequence[str]


def annotate(
    scene: str,
    samples: Sequence[str],
    keyframes: Sequence[Sequence[SeenBox]],
    offset: Float64[np.ndarray, "2"],
) -> SceneAnnotations:
    """Return the records of the boxes of a scene, linked over its keyframes.

    scene: its name. samples: token of each keyframe. keyframes: the boxes of each. offset: from
    the frame of the boxes to that of the map [m].
    """
    tracks: dict[str, dict[int, SeenBox]] = {}
    for k, boxes in enumerate(keyframes):
        for seen in boxes:
            tracks.setdefault(seen.box.instance, {})[k] = seen
    instances, annotations, questions = [], [], []
    for name, track in tracks.items():
        token = make_token("instance", scene, name)
        tokens = {k: make_token("annotation", scene, name, k) for k in track}
        order = list(track)
        instances.append(
            Instance(
                token=token,
                category_token=make_token("category", track[order[0]].box.category),
                nbr_annotations=len(order),
                first_annotation_token=tokens[order[0]],
                last_annotation_token=tokens[order[-1]],
            )
        )
        for i, k in enumerate(order):
            annotations.append(
                SampleAnnotation(
                    token=tokens[k],
                    sample_token=samples[k],
                    instance_token=token,
                    prev=tokens[order[i - 1]] if i else "",
                    next=tokens[order[i + 1]] if i + 1 < len(order) else "",
                    **_describe_box(track[k], offset),
                )
            )
        questions += [f"{token}_{samples[k]}" for k in _find_questions(track)]
    return SceneAnnotations(instances=instances, annotations=annotations, questions=questions)


def _describe_box(seen: SeenBox, offset: Float64[np.ndarray, "2"]) -> dict[str, Any]:
    box = seen.box
    moves = not hypot(box.vx, box.vy) < MOVING  # so does a box without a velocity
    attribute = box.attribute or name_attribute(box.category, moves)
    return {
        "visibility_token": str(1 + sum(seen.visible > level for level in LEVELS)),
        "attribute_tokens": [make_token("attribute", attribute)] if attribute else [],
        "translation": round_metres(box.x + offset[0], box.y + offset[1], box.z),
        "size": round_metres(box.width, box.length, box.height),
        "rotation": to_quaternion(box.yaw),
        "num_lidar_pts": seen.points,
        "num_radar_pts": 0,
    }


def _find_questions(track: Mapping[int, SeenBox]) -> list[int]:
    """Return the keyframes of a moving vehicle with 1 s before them and 6 s after."""
    keyframes = []
    for k, seen in track.items():
        needed = range(k - 2, k + AHEAD + 1)
        if seen.box.is_vehicle and all(i in track for i in needed):
            end = track[k + AHEAD].box
            if hypot(end.x - seen.box.x, end.y - seen.box.y) > MOVING * AHEAD / 2:
                keyframes.append(k)
    return keyframes
