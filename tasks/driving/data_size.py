"""The data that a training needs, described without generating or opening a data set."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

from drivers.nuscenes.devkit import require_devkit
from tasks.driving.config import DrivingConfig
from tasks.driving.data import (
    find_real_data,
    limit_windows,
    list_scenes,
    make_generator_settings,
    require_images,
)
from tasks.runs.task import Split

SCENE = 1.6  # [MB] per generated scene with 20 keyframes and its own place
SWEEP = 0.3  # [MB] per generated scene for one sweep image per camera and keyframe
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def describe_data(config: DrivingConfig) -> tuple[str, ...]:
    """Return lines of text: the data a training has, what it would generate, and its steps.

    The function reads at most the table of scenes.

    Raises:
        ValueError: the training could not start, because there are too few scenes or windows,
            or the generated world cannot supply the sweeps or images of this size.
    """
    source = config.source
    try:
        if source.data == "nuscenes":
            from drivers.nuscenes.tables import find_version

            root = find_real_data()
            version = find_version(root, source.version)
            keyframes = _read_keyframes(root / version)
        with require_devkit():
            from drivers.nuscenes.world.make import find_cache
            from drivers.nuscenes.world.write.names import name_scenes
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        return (f"data: not counted: {error}",)
    if source.data == "nuscenes":
        return f"data: {version} in {root}", *_count(config, root, keyframes)
    settings = make_generator_settings(source)
    if config.sees == "cameras":
        require_images(source, config.image)
    folder = find_cache(settings)
    names = name_scenes(settings.scenes, settings.version)
    size = f"{settings.scenes} generated scenes of {settings.keyframes} keyframes"
    there = (
        f"data: {size} are in {folder}"
        if folder.exists()
        else f"data: {size} are missing; a training generates them first, up to "
        f"{settings.scenes * (SCENE + settings.sweeps * SWEEP):,.0f} MB in {folder}"
    )
    return there, *_count(config, folder, dict.fromkeys(names, settings.keyframes))


def _read_keyframes(folder: Path) -> Mapping[str, int]:
    """Return the number of keyframes of each scene by name, according to the table of scenes.

    Raises:
        ValueError: the table is missing or damaged.
    """
    from drivers.nuscenes.fields import describe_rows, find_bad_fields
    from drivers.nuscenes.reading import LARGEST_TABLE, read_json

    path = folder / "scene.json"
    try:
        rows = read_json(path, LARGEST_TABLE)
    except (FileNotFoundError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise ValueError(f"{path} {'is missing' if missing else error}") from None
    fault = describe_rows("scene", rows)
    fault = fault or next((str(p) for row in rows for p in find_bad_fields("scene", row)), "")
    if fault:
        raise ValueError(f"{path} {fault}; neuro data check nuscenes lists all mistakes")
    return {row["name"]: row["nbr_samples"] for row in rows}


def _count(config: DrivingConfig, root: Path, keyframes: Mapping[str, int]) -> tuple[str, ...]:
    """Return lines of text with the windows of each split and the steps of the training.

    root: folder of the data set. keyframes: number of keyframes of each scene by name.
    """
    from drivers.nuscenes.tables import Tables

    rows = [{"name": name, "token": name} for name in keyframes]
    scenes_only = SimpleNamespace(scene=rows)
    tables = Tables(root=root, version=config.source.version, nuscenes=scenes_only)
    length = config.past + config.future
    steps, parts = 0, []
    for split in SPLITS:
        try:
            names = list_scenes(tables, config.source, split)
        except ValueError as error:
            if split != "test":  # a training does not need the test split, only neuro eval
                raise
            parts.append(f"{split} none: {error}")
            continue
        found = sum(max(keyframes[name] - length + 1, 0) for name in names)
        count = limit_windows(config.source, split, found)
        parts.append(f"{split} {count:,} of {len(names)} scenes")
        if split == "train":
            steps = count // config.batch
            if not steps:
                raise ValueError(
                    f"{root}: the training has {count} windows of {len(names)} scenes, fewer "
                    f"than a batch of {config.batch}; reduce batch, or take more scenes"
                )
    most = " at most, before --skip-bad leaves any out" if config.source.skip_bad else ""
    lines = [
        f"computed, not read: windows of {length} keyframes{most}: {', '.join(parts)}; "
        f"{steps:,} steps of {config.batch} an epoch, {steps * config.epochs:,} in "
        f"{config.epochs} epochs"
    ]
    driven = sum(p.driven * p.epochs * steps * config.batch for p in config.phases)
    if driven:
        lines.append(
            f"about {driven:,.0f} windows of disturbed drives are generated while it trains"
        )
    return tuple(lines)
