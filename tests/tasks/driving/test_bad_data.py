"""Damaged data of the driving task: named, left out only with --skip-bad, counted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import CommandLine
from driving_windows import small_config

pytest.importorskip("nuscenes")

from nuscenes_files import write_data_set

from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.tables import Tables
from drivers.nuscenes.window import ImageSize
from drivers.nuscenes.windows import Skipped
from neuro.io.run_folder import RunError, begin_run
from tasks.driving import data, evaluate
from tasks.driving.config import DrivingConfig, Source
from tasks.runs.find import make_run, name_train_command, open_folder
from tasks.runs.task import Split

SCENES = ("scene-0061", "scene-0553")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set with a scene without a CAN bus and one with a broken image."""
    root = write_data_set(tmp_path_factory.mktemp("nuscenes"), keyframes=8)
    (root / "can_bus" / "scene-0061_pose.json").unlink()
    image = sorted((root / "samples" / "CAM_BACK").glob("scene-0553*"))[0]
    image.write_bytes(image.read_bytes()[:-201])
    return root


@pytest.fixture
def config(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> DrivingConfig:
    """Return a configuration whose splits are both scenes; windows have seven frames."""

    def find_data(source: Source) -> Path:  # noqa: ARG001
        return data_set

    def list_scenes(tables: Tables, source: Source, split: Split) -> tuple[str, ...]:  # noqa: ARG001
        return SCENES

    monkeypatch.setattr(data, "find_data", find_data)
    monkeypatch.setattr(data, "list_scenes", list_scenes)
    data._find_split.cache_clear()
    data._open_tables.cache_clear()
    return replace(
        small_config(),
        image=ImageSize(height=64, width=160, scale=1.0, crop=26),
        source=Source(data="nuscenes", version="v1.0-mini"),
    )


def test_bad_data_are_refused_with_what_leaves_them_out(config: DrivingConfig) -> None:
    with pytest.raises(NuScenesError, match=r"scene-0061.*leave .* out \(neuro train --skip"):
        data.open_split(config, "train")


def test_what_is_left_out_is_counted_by_split_and_scene(config: DrivingConfig) -> None:
    kept = data.skip_bad(config)
    assert kept == replace(config, source=replace(config.source, skip_bad=True))
    assert len(data.open_split(kept, "train")) == 1  # of two windows of scene-0553
    lost = data.list_dropped(kept)
    assert [(split, one.scene, one.windows) for split, one in lost] == [
        (split, scene, windows)
        for split in ("train", "val", "test")
        for scene, windows in zip(SCENES, (2, 1), strict=True)
    ]
    table = evaluate.tabulate_dropped(lost[:2])
    assert [row[:3] for row in table.rows] == [
        ["train", "scene-0061", 2],
        ["train", SCENES[1], 1],
    ]
    assert "can_bus" in table.rows[0][3]
    assert ".jpg" in table.rows[1][3]
    assert table.caption == "3 windows of 2 scenes (--skip-bad)."


def test_more_than_one_reason_is_told() -> None:
    problem = Problem(table="sample", token="abc", what="is missing", cure="mend it")
    some = Skipped(scene="a", windows=4, problems=(problem,) * 3)
    (row,) = evaluate.tabulate_dropped([("test", some)]).rows
    assert row[3] == "sample abc: is missing; mend it (and 2 more)"


def test_a_run_keeps_to_it(tmp_path: Path) -> None:
    run = make_run("driving:small", tmp_path / "a", skip_bad=True)
    assert run.config.source.skip_bad
    assert name_train_command(run).endswith(" --skip-bad")
    begin_run(run)
    assert open_folder(run.folder).config == run.config
    with pytest.raises(RunError, match="holds another run"):
        begin_run(make_run("driving:small", tmp_path / "a"))
    assert "--skip-bad" not in name_train_command(make_run("driving:small", tmp_path / "b"))


def test_a_task_without_files_has_nothing_to_leave_out(
    tmp_path: Path, cli: CommandLine
) -> None:
    argv = ["train", "mnist:tiny", "--out", str(tmp_path / "x"), "--skip-bad"]
    assert "mnist cannot leave out bad samples" in cli.refuse(*argv)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda root: (root / "v1.0-mini" / "sample.json").unlink(), "sample.json"),
        (lambda root: (root / "v1.0-mini" / "scene.json").write_text("{"), "scene.json"),
    ],
)
def test_tables_cannot_be_left_out(
    damage: Callable[[Path], object],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: CommandLine,
) -> None:
    damage(write_data_set(tmp_path / "nuscenes", keyframes=2, scenes=SCENES[:1]))
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    task = tmp_path / "real.py"
    task.write_text(
        '"""Real data."""\n'
        "from dataclasses import replace\n"
        "from tasks import driving\n"
        "from tasks.driving.presets import small, use_nuscenes\n"
        "def tiny():\n"
        '    return use_nuscenes(small(), version="v1.0-mini", scale=1.0)\n'
        'TASK = replace(driving.TASK, configs={"tiny": tiny})\n'
    )
    argv = ["train", str(task), "--out", str(tmp_path / "run"), "--skip-bad"]
    assert expected in cli.refuse(*argv)
