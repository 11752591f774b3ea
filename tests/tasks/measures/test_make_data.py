import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import CommandLine
from straight_road import pretend_to_make_roads, pretend_to_simulate

pytest.importorskip("nuscenes")

from drivers.nuscenes.world import make
from drivers.nuscenes.world.difficulty import forecast_scene
from tasks.cli import main


def test_a_data_set_is_made_from_the_command_line(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "make_roads", pretend_to_make_roads)
    monkeypatch.setattr(
        make, "simulate_scene", lambda seed, _, roads: pretend_to_simulate(seed, 2, roads)
    )
    path = tmp_path / "data"
    argv = ["data", "make", "nuscenes", str(path), "--scenes", "1", "--seed", "7"]
    told = cli.run(*argv)
    assert told.startswith("✓ 1 scenes, ")
    assert told.endswith(f" MB, in {path}\n")
    before = sorted(path.rglob("*"))
    main(argv)  # it is there already
    assert sorted(path.rglob("*")) == before
    assert "other settings" in cli.refuse(*argv[:-1], "8")


def record(_: Path, scenes: list[Any], **__: object) -> list[SimpleNamespace]:
    return [SimpleNamespace(forecasts=forecast_scene(scene.simulate())) for scene in scenes]


def test_it_is_told_how_badly_trivial_forecasts_do(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "make_roads", pretend_to_make_roads)
    monkeypatch.setattr(
        make, "simulate_scene", lambda seed, _, roads: pretend_to_simulate(seed, 7, roads)
    )
    monkeypatch.setattr(make, "write_nuscenes", record)
    path = tmp_path / "data"
    for _ in range(2):  # what is there already tells it, too
        told = cli.run("data", "make", "nuscenes", path, "--scenes", "1").splitlines()
        # The ego drives 8 m/s all the time, behind a car of 7 m/s that it does not reach.
        assert told[1].startswith("  constant velocity: 0.00 m off over 3 s, collides")
        assert told[2].startswith("  vehicles 2 s later: IoU 0.")
    note = path / "generated.json"
    note.write_text(note.read_text().replace('"seed": 0', '"seed": 1'))
    cli.refuse("data", "make", "nuscenes", path, "--scenes", "1")


def test_what_cannot_be_made_is_told(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "_plan_scenes", None)  # all is told before it
    (tmp_path / "file").write_text("")
    for words, told in (
        ("nuscnes a", "no kind of data set 'nuscnes'; did you mean"),
        ("nuscenes a --scenes 0", "0 scenes; v1.0-trainval has"),
        ("nuscenes a --scenes -1", "-1 scenes; v1.0-trainval has"),
        ("nuscenes a --scenes 999999", "; ask for so many"),
        ("nuscenes a --seed -1", "--seed must be >= 0 and < 2^63"),
        ("nuscenes a --workers 0", "workers must be >= 1, got 0; 1"),
        ("nuscenes [/b] --seed -1", "--seed must be >= 0"),
        ("nuscenes file/a", "file: is a file, and not a folder"),
    ):
        kind, path, *flags = words.split()
        assert told in cli.refuse("data", "make", kind, tmp_path / path, *flags)


def test_without_the_devkit_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    monkeypatch.setitem(sys.modules, make.__name__, None)
    told = cli.refuse("data", "make", "nuscenes", tmp_path / "new")
    assert told.startswith("neuro: nuScenes needs its devkit (")
    assert "; pip install -e '.[driving]' && pip install" in told
    assert not (tmp_path / "new").exists()
