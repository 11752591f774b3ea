"""What a dry run says of its data is what a training finds, and takes no data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from nuscenes_files import write_data_set

pytest.importorskip("nuscenes")

from drivers.nuscenes.world.make import find_cache
from drivers.nuscenes.world.write.names import name_scenes
from neuro.base.units import Ticks
from tasks.driving.config import EncoderConfig
from tasks.driving.data import count_windows, make_generator_settings
from tasks.driving.data_size import describe_data
from tasks.driving.presets import paper, small, small_sweeps, use_nuscenes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NEURO_DATA", raising=False)
    return tmp_path


def test_the_scenes_that_a_training_would_generate_are_told_and_not_generated(
    home: Path,
) -> None:
    folder = find_cache(make_generator_settings(small().source))
    size = "data: 150 generated scenes of 20 keyframes are"
    # 30 scenes of test, 8 of validation, and twelve windows of nine keyframes a scene.
    counted = (
        "computed, not read: windows of 9 keyframes: train 1,344 of 112 scenes, val 96 of 8 "
        "scenes, test 360 of 30 scenes; 336 steps of 4 an epoch, 4,368 in 13 epochs",
        "about 2,016 windows of disturbed drives are generated while it trains",
    )
    missing = f"{size} missing; a training generates them first, up to 240 MB in {folder}"
    assert describe_data(small()) == (missing, *counted)
    with_sweeps = describe_data(small_sweeps())
    assert "generates them first, up to 285 MB in" in with_sweeps[0]
    assert with_sweeps[1:] == counted
    assert list(home.iterdir()) == []
    folder.mkdir(parents=True)
    assert describe_data(small()) == (f"{size} in {folder}", *counted)


def test_windows_that_are_not_used_are_not_counted() -> None:
    source = replace(small().source, train=100, test=7, skip_bad=True)
    line = describe_data(replace(small(), source=source))[1]
    assert "train 100 of 112 scenes, val 96 of 8 scenes, test 7 of 30 scenes; 25 st" in line
    assert "keyframes at most, before --skip-bad leaves any out: train" in line


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"scenes": 3}, "the training split has 3 scenes, and validation takes held=8 of them"),
        ({"held": 500}, "the training split has 120 scenes, and validation takes held=500 of"),
        ({"sweeps": 9}, "sweeps must be 0 to 4, the instants between keyframes, got 9"),
        ({"train": 3}, "the training has 3 windows of 112 scenes, fewer than a batch of 4; re"),
    ],
)
def test_data_with_which_no_training_can_start_are_refused_once(
    source: dict, told: str
) -> None:
    config = replace(small(), source=replace(small().source, **source), encoder=ticks(source))
    with pytest.raises(ValueError, match=told) as e:
        describe_data(config)
    assert str(e.value).count("; ") == 1


def ticks(source: dict) -> EncoderConfig:
    return replace(small().encoder, ticks=Ticks(source.get("sweeps", 1) + 1))


def test_images_that_the_generated_world_does_not_have_are_refused() -> None:
    """By a dry run, and by a training before it generates anything."""
    high = replace(small(), image=replace(small().image, crop=2000))
    what = "160 x 90 pixels, scaled by 1.0 and cut by 2000 rows, are 160 x -1910, asked for 160"
    with pytest.raises(ValueError, match=what):
        describe_data(high)
    with pytest.raises(ValueError, match=what):
        count_windows(high, "train")


def write_scenes(root: Path, counts: list[int]) -> None:
    """Write a table of scenes alone."""
    fields = ("token", "description", "log_token", "first_sample_token", "last_sample_token")
    rows = [
        dict.fromkeys(fields, "x") | {"name": name, "nbr_samples": count}
        for name, count in zip(name_scenes(len(counts), "v1.0-mini"), counts, strict=True)
    ]
    (root / "v1.0-mini").mkdir(parents=True, exist_ok=True)
    (root / "v1.0-mini" / "scene.json").write_text(json.dumps(rows))


def test_of_real_data_the_table_of_scenes_says_how_many_windows_there_are(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = use_nuscenes(small(), "v1.0-mini", held=1, scale=1.0)
    assert describe_data(config)[0].startswith(
        "data: not counted: nuScenes must be in $NEURO_DATA/nuscenes"
    )
    monkeypatch.setenv("NEURO_DATA", str(home))
    root = home / "nuscenes"
    write_scenes(root, [40, 39, 8, 41, 40])
    assert describe_data(config) == (
        f"data: v1.0-mini in {root}",
        "computed, not read: windows of 9 keyframes: train 63 of 3 scenes, val 33 of 1 "
        "scenes, test 32 of 1 scenes; 15 steps of 4 an epoch, 195 in 13 epochs",
    )
    assert "expected v1.0-trainval, found v1.0-mini" in describe_data(paper())[0]
    (root / "v1.0-mini" / "scene.json").write_text('[{"name": 1}]')
    assert "scene.json scene token: is missing" in describe_data(config)[0]
    (root / "v1.0-mini" / "scene.json").unlink()
    assert describe_data(config) == (
        f"data: not counted: {root}/v1.0-mini/scene.json is missing",
    )


def test_windows_are_counted_as_a_training_counts_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURO_DATA", str(home))
    write_data_set(home / "nuscenes")
    config = use_nuscenes(small(), "v1.0-mini", held=1, scale=1.0)
    config = replace(config, past=2, batch=3)
    train, val = count_windows(config, "train"), count_windows(config, "val")
    told = describe_data(config)[1]
    assert f"train {train} of 1 scenes, val {val} of 1 scenes, test none: " in told
    assert "holds no scene of split 'mini_val'; there are 2 scenes" in told
    assert (train, val) == (3, 3)
