import sys
from pathlib import Path

import pytest
from straight_road import pretend_to_make_roads, pretend_to_simulate

pytest.importorskip("nuscenes")

from drivers.nuscenes.world import make
from tasks.cli import main


def test_a_data_set_is_made_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "make_roads", pretend_to_make_roads)
    monkeypatch.setattr(
        make, "simulate_scene", lambda seed, _, roads: pretend_to_simulate(seed, 2, roads)
    )
    path = tmp_path / "data"
    argv = ["data", "make", "nuscenes", str(path), "--scenes", "1", "--seed", "7"]
    main(argv)
    told = capsys.readouterr().out
    assert told.startswith("✓ 1 scenes, ")
    assert told.endswith(f" MB, in {path}\n")
    before = sorted(path.rglob("*"))
    main(argv)  # it is there already
    assert sorted(path.rglob("*")) == before
    with pytest.raises(SystemExit) as e:
        main([*argv[:-1], "8"])
    assert e.value.code == 2
    assert "other settings" in capsys.readouterr().err


def test_it_is_told_how_badly_trivial_forecasts_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "make_roads", pretend_to_make_roads)
    monkeypatch.setattr(
        make, "simulate_scene", lambda seed, _, roads: pretend_to_simulate(seed, 7, roads)
    )
    monkeypatch.setattr(make, "write_nuscenes", lambda part, *_, **__: part.mkdir())
    path = tmp_path / "data"
    for _ in range(2):  # what is there already tells it, too
        main(["data", "make", "nuscenes", str(path), "--scenes", "1"])
        told = capsys.readouterr().out.splitlines()
        # The ego drives 8 m/s all the time, behind a car of 7 m/s that it does not reach.
        assert told[1].startswith("  constant velocity: 0.00 m off over 3 s, collides")
        assert told[2].startswith("  vehicles 2 s later: IoU 0.")
    note = path / "generated.json"
    note.write_text(note.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(SystemExit):
        main(["data", "make", "nuscenes", str(path), "--scenes", "1"])


def test_what_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "_simulate_all", None)  # all is told before it
    (tmp_path / "file").write_text("")
    for argv, told in (
        (["nuscnes", str(tmp_path / "a")], "no kind of data set 'nuscnes'; did you mean"),
        (["nuscenes", str(tmp_path / "a"), "--scenes", "0"], "0 scenes; v1.0-trainval has"),
        (["nuscenes", str(tmp_path / "a"), "--scenes", "-1"], "-1 scenes; v1.0-trainval has"),
        (["nuscenes", str(tmp_path / "a"), "--scenes", "999999"], "; ask for so many"),
        (["nuscenes", str(tmp_path / "a"), "--seed", "-1"], "--seed must be >= 0 and < 2^63"),
        (["nuscenes", str(tmp_path / "a"), "--workers", "0"], "workers must be >= 1, got 0; 1"),
        (["nuscenes", str(tmp_path / "[/b]"), "--seed", "-1"], "--seed must be >= 0"),
        (["nuscenes", str(tmp_path / "file" / "a")], "file: is a file, and not a folder"),
    ):
        with pytest.raises(SystemExit) as e:
            main(["data", "make", *argv])
        assert e.value.code == 2
        assert told in capsys.readouterr().err


def test_without_the_devkit_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, make.__name__, None)
    with pytest.raises(SystemExit) as e:
        main(["data", "make", "nuscenes", str(tmp_path / "new")])
    assert e.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("neuro: nuScenes needs its devkit (")
    assert "; pip install -e '.[driving]' in a clone of neuro brings it" in told
    assert not (tmp_path / "new").exists()
