import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from straight_road import pretend_to_make_roads, pretend_to_simulate

pytest.importorskip("nuscenes")

from drivers.nuscenes.check import check_nuscenes
from drivers.nuscenes.world import make
from drivers.nuscenes.world.instant import WorldScene
from drivers.nuscenes.world.make import GeneratorSettings, find_cached_nuscenes, make_nuscenes
from drivers.nuscenes.world.render import ground

FIVE = GeneratorSettings(scenes=5, keyframes=2)


@pytest.fixture(scope="module")
def small() -> Iterator[pytest.MonkeyPatch]:
    """Make generation fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "make_roads", pretend_to_make_roads)
        patch.setattr(make, "simulate_scene", pretend_to_simulate)
        patch.setattr(ground, "MARGIN", 10.0)  # less to paint
        yield patch


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small: pytest.MonkeyPatch) -> Path:
    assert small
    return make_nuscenes(tmp_path_factory.mktemp("made") / "data", FIVE)


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a data set be a folder without scenes."""
    monkeypatch.setattr(make, "write_nuscenes", lambda *_, **__: [])
    monkeypatch.setattr(make, "_plan_scenes", lambda *_: [])


def read_table(root: Path, name: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(
        (root / "v1.0-trainval" / f"{name}.json").read_text()
    )
    return rows


@pytest.mark.slow
def test_a_generated_data_set_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "MARGIN", 10.0)
    make_nuscenes(tmp_path / "data", GeneratorSettings(scenes=1, keyframes=2))
    assert check_nuscenes(tmp_path / "data") == ()
    assert len(read_table(tmp_path / "data", "sample_annotation")) > 20


def test_scenes_of_validation_lie_on_roads_of_their_own(made: Path) -> None:
    assert len(read_table(made, "sample")) == 2 * len(read_table(made, "scene")) == 10
    logs = {row["token"]: row["location"] for row in read_table(made, "log")}
    place = {str(row["name"]): logs[row["log_token"]] for row in read_table(made, "scene")}
    assert list(place.values())[:3] == ["boston-seaport"] * 3
    validation = place["scene-0003"]
    assert [name for name, where in place.items() if where == validation] == ["scene-0003"]


@pytest.mark.parametrize(
    ("share", "train", "val"), [(1, [1] * 8, [1] * 2), (3, [3, 3, 2], [2])]
)
def test_some_scenes_of_a_split_share_a_place(
    share: int, train: list[int], val: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    roads = {}

    def remember(place: Sequence[int]) -> SimpleNamespace:
        roads[tuple(place)] = pretend_to_make_roads(place)
        return roads[tuple(place)]

    monkeypatch.setattr(make, "make_roads", remember)
    monkeypatch.setattr(make, "simulate_scene", pretend_to_simulate)
    settings = GeneratorSettings(scenes=10, keyframes=2, share=share)
    scenes = make._plan_scenes(settings, workers=1)
    for of_val, sizes in ((False, train), (True, val)):
        own = [scene.road_map for k, scene in enumerate(scenes) if (k % 5 == 4) is of_val]
        places = [r for place, r in roads.items() if place[1] is of_val]
        assert [sum(one is r.map for one in own) for r in places] == sizes


def test_more_sweeps_than_instants_between_keyframes_are_refused() -> None:
    assert GeneratorSettings(sweeps=4).sweeps == 4
    for sweeps in (-1, 5):
        with pytest.raises(ValueError, match=f"sweeps must be 0 to 4, .* got {sweeps}; 0 wr"):
            GeneratorSettings(sweeps=sweeps)


def test_a_generated_data_set_holds_the_sweeps_that_are_asked_for(
    tmp_path: Path, small: pytest.MonkeyPatch
) -> None:
    assert small
    root = make_nuscenes(tmp_path / "data", GeneratorSettings(scenes=1, keyframes=3, sweeps=3))
    assert len(list((root / "sweeps").rglob("*.jpg"))) == 6 * 2 * 3


def test_a_place_without_scenes_is_refused() -> None:
    with pytest.raises(ValueError, match="share must be >= 1, got 0; 1 gives each scene"):
        GeneratorSettings(share=0)


def test_it_is_made_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "write_nuscenes", None)
    assert make_nuscenes(made, FIVE) == made
    assert [path.name for path in made.parent.iterdir()] == ["data"]


def test_other_settings_do_not_overwrite_it(made: Path) -> None:
    with pytest.raises(FileExistsError, match=r"other settings .*\(scenes 5, keyframes 2"):
        make_nuscenes(made, GeneratorSettings(scenes=5, keyframes=2, seed=1))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="holds something else; name a folder that"):
        make_nuscenes(tmp_path, GeneratorSettings(scenes=6))
    (tmp_path / "generated.json").write_text("{")
    with pytest.raises(FileExistsError, match=r"its generated\.json is damaged"):
        make_nuscenes(tmp_path, GeneratorSettings(scenes=6))


def list_files(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_an_interrupted_generation_goes_on_with_the_next_scene(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated: list[int] = []

    def simulate(seed: list[int], keyframes: int, roads: Any) -> WorldScene:
        simulated.append(seed[-1])
        if simulated == [0, 1, 2]:
            raise KeyboardInterrupt
        return pretend_to_simulate(seed, keyframes, roads)

    monkeypatch.setattr(make, "simulate_scene", simulate)
    path, part = tmp_path / "data", tmp_path / ".data.part"
    with pytest.raises(KeyboardInterrupt):
        make_nuscenes(path, FIVE)
    assert not path.exists()
    assert sorted(p.name for p in (part / "scenes").iterdir()) == ["scene-0001", "scene-0002"]
    make_nuscenes(path, FIVE)
    assert simulated == [0, 1, 2, 2, 3, 4]
    assert list_files(path) == list_files(made)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_scenes_of_other_settings_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def write(part: Path, *_: object, **__: object) -> list[object]:
        scenes = part / "scenes"
        calls.append(len(list(scenes.glob("*"))))
        (scenes / str(len(calls))).mkdir(parents=True)
        if len(calls) < 4:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(make, "write_nuscenes", write)
    monkeypatch.setattr(make, "_plan_scenes", lambda *_: [])
    for seed in (0, 0, 1):
        with pytest.raises(KeyboardInterrupt):
            make_nuscenes(tmp_path / "data", GeneratorSettings(seed=seed))
    make_nuscenes(tmp_path / "data", GeneratorSettings(seed=1))
    assert calls == [0, 1, 0, 1]


@pytest.mark.slow
def test_a_generation_that_is_killed_anywhere_is_resumed_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    """In or after any file operation: at most one of two scenes is simulated again."""
    support = Path(__file__).parents[3] / "support"
    path = os.pathsep.join([str(support.parents[1]), str(support)])
    subprocess.run(
        [sys.executable, str(support / "killed_generation.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        timeout=600,
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found == {"points": 38, "equal": 38, "simulated": 3, "left": [], "files": 18}


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 scenes"):
        make_nuscenes(tmp_path / "data", GeneratorSettings(scenes=0))
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_be_faster(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While this one waits for it, it makes the data set."""
    path = tmp_path / "data"

    class Lock(FileLock):
        def acquire(self, *args: Any, **options: Any) -> Any:
            shutil.copytree(made, path)
            return super().acquire(*args, **options)

    monkeypatch.setattr(make, "FileLock", Lock)
    monkeypatch.setattr(make, "write_nuscenes", None)
    assert make_nuscenes(path, FIVE) == path
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


@pytest.mark.usefixtures("empty")
def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert make_nuscenes(tmp_path / "new", GeneratorSettings(scenes=6)) == tmp_path / "new"
    (tmp_path / "empty").mkdir()
    make_nuscenes(tmp_path / "empty", GeneratorSettings(scenes=6))
    assert [p.name for p in (tmp_path / "empty").iterdir()] == ["generated.json"]


@pytest.mark.usefixtures("empty")
def test_the_cache_has_a_folder_for_each_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folders = [find_cached_nuscenes(GeneratorSettings(seed=seed)) for seed in (0, 1, 0)]
    assert folders[0] == folders[2] != folders[1]
    assert folders[0].parent == tmp_path / ".cache" / "neuro"
    assert folders[0].name.startswith("nuscenes-")


@pytest.mark.usefixtures("empty")
def test_one_process_makes_the_cache_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def plan(*_: object) -> list[object]:
        calls.append(time.sleep(0.3))
        return []

    monkeypatch.setattr(make, "_plan_scenes", plan)
    monkeypatch.setenv("HOME", str(tmp_path))
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(find_cached_nuscenes, [GeneratorSettings(scenes=6)] * 3))
    assert len(set(folders)) == len(calls) == 1


def test_the_digest_changes_with_every_setting() -> None:
    base = {"scenes": 6, "keyframes": 20, "seed": 0, "version": "v1.0-trainval"}
    changes = [{"scenes": 7}, {"keyframes": 21}, {"seed": 1}, {"version": "v1.0-mini"}]
    changes += [{}, {"share": 1}, {"sweeps": 1}]
    digests = {GeneratorSettings(**(base | change)).digest for change in changes}
    assert len(digests) == 7
    assert all(len(digest) == 16 for digest in digests)


def test_the_digest_changes_with_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "__file__", str(tmp_path / "make.py"))
    made = GeneratorSettings(scenes=6, keyframes=20, seed=0, version="v1.0-trainval")
    digests = set()
    for name, content in (("a.py", "x = 1"), ("a.py", "x = 2"), ("deep/b.py", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
        digests.add(made.digest)
    assert len(digests) == 3
