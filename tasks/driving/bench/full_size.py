"""A data set with files of nuScenes' size: a generated one whose images and scans repeat.

Tables, maps and CAN bus are those of a generated data set. Its small images are enlarged ten
times to 1600 x 900 pixels, with noise, so that a file has as many bytes as one of nuScenes. A
few such files lie under all names, as hard links. So windows have the right cost, and the wrong
content.
"""

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.world.write.files import encode_image

FACTOR = 10  # of width and height
POINTS = 34_720  # of a scan of nuScenes' lidar
FILES = 8  # of a sensor
NOISE = 9.0  # of images, of 255; with it a file has about 110 kB


def write_full_size(source: Path, target: Path) -> Path:
    """Write a copy of a generated data set with large files into a new folder; return it.

    Links maps, CAN bus and labels of points to the ``source``, which must stay.
    """
    (version,) = (p.name for p in source.glob("v1.0-*"))
    for name in ("maps", "can_bus", "lidarseg", "panoptic"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(source / name)
    tables = target / version
    tables.mkdir()
    for path in sorted((source / version).glob("*.json")):
        if path.name not in ("sample_data.json", "calibrated_sensor.json"):
            (tables / path.name).symlink_to(path)
    rows = json.loads((source / version / "sample_data.json").read_bytes())
    sensors = json.loads((source / version / "calibrated_sensor.json").read_bytes())
    for row in rows:
        row["width"], row["height"] = FACTOR * row["width"], FACTOR * row["height"]
    for sensor in sensors:
        sensor["camera_intrinsic"] = [
            [v if i == 2 else FACTOR * v for v in line]
            for i, line in enumerate(sensor["camera_intrinsic"])
        ]
    for name, content in (("sample_data", rows), ("calibrated_sensor", sensors)):
        (tables / f"{name}.json").write_text(json.dumps(content))
    for channel in (*CAMERAS, LIDAR):
        _repeat(
            source, target, [r["filename"] for r in rows if f"/{channel}/" in r["filename"]]
        )
    return target


def _repeat(source: Path, target: Path, names: list[str]) -> None:
    """Write FILES large files, and link them under all names."""
    (target / names[0]).parent.mkdir(parents=True)
    enlarge = enlarge_scan if LIDAR in names[0] else enlarge_image
    kept = names[:: max(1, len(names) // FILES)][:FILES]
    for name in kept:
        (target / name).write_bytes(enlarge((source / name).read_bytes()))
    for k, name in enumerate(names):
        if name not in kept:
            os.link(target / kept[k % len(kept)], target / name)


def enlarge_image(data: bytes) -> bytes:
    """Return a JPEG of FACTOR times the size, with noise."""
    with Image.open(BytesIO(data)) as small:
        large = small.resize((FACTOR * small.width, FACTOR * small.height))
    noise = np.random.default_rng(0).normal(0.0, NOISE, (large.height, large.width, 3))
    noisy: UInt8[np.ndarray, "H W 3"] = np.clip(np.asarray(large) + noise, 0, 255).astype(
        np.uint8
    )
    return encode_image(noisy)


def enlarge_scan(data: bytes) -> bytes:
    """Return POINTS points of a scan, repeated."""
    points = np.frombuffer(data, "<f4").reshape(-1, 5)
    return bytes(points[np.arange(POINTS) % len(points)].tobytes())
