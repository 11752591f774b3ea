import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from straight_road import pretend_to_make_roads, pretend_to_simulate

pytest.importorskip("nuscenes")

from drivers.nuscenes.check import check_nuscenes
from drivers.nuscenes.world import make
from drivers.nuscenes.world.make import GeneratorSettings, find_cached_nuscenes, make_nuscenes
from drivers.nuscenes.world.render import ground


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "make_roads", pretend_to_make_roads)
        patch.setattr(make, "simulate_scene", pretend_to_simulate)
        patch.setattr(ground, "MARGIN", 10.0)  # less to paint
        return make_nuscenes(path, GeneratorSettings(scenes=5, keyframes=2))


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a data set be a folder without scenes."""
    monkeypatch.setattr(make, "write_nuscenes", lambda part, *_, **__: part.mkdir())
    monkeypatch.setattr(make, "_simulate_all", lambda *_: [])


def read_table(root: Path, name: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(
        (root / "v1.0-trainval" / f"{name}.json").read_text()
    )
    return rows


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
    scenes = make._simulate_all(settings, workers=1)
    for of_val, sizes in ((False, train), (True, val)):
        own = [scene.road_map for k, scene in enumerate(scenes) if (k % 5 == 4) is of_val]
        places = [r for place, r in roads.items() if place[1] is of_val]
        assert [sum(one is r.map for one in own) for r in places] == sizes


def test_a_place_without_scenes_is_refused() -> None:
    with pytest.raises(ValueError, match="share must be >= 1, got 0; 1 gives each scene"):
        GeneratorSettings(share=0)


def test_it_is_made_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "write_nuscenes", None)
    assert make_nuscenes(made, GeneratorSettings(scenes=5, keyframes=2)) == made
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


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 scenes"):
        make_nuscenes(tmp_path / "data", GeneratorSettings(scenes=0))
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_be_faster(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it made stays; what this one made is thrown away."""
    path = tmp_path / "data"
    note = (made / "generated.json").read_text()

    def write(part: Path, *_: object, **__: object) -> None:
        part.mkdir()
        path.mkdir()
        (path / "generated.json").write_text(note)
        (path / "theirs").touch()

    monkeypatch.setattr(make, "write_nuscenes", write)
    monkeypatch.setattr(make, "_simulate_all", lambda *_: [])
    assert make_nuscenes(path, GeneratorSettings(scenes=5, keyframes=2)) == path
    assert (path / "theirs").exists()
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

    def simulate(*_: object) -> list[object]:
        calls.append(time.sleep(0.3))
        return []

    monkeypatch.setattr(make, "_simulate_all", simulate)
    monkeypatch.setenv("HOME", str(tmp_path))
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(find_cached_nuscenes, [GeneratorSettings(scenes=6)] * 3))
    assert len(set(folders)) == len(calls) == 1


def test_the_digest_changes_with_every_setting() -> None:
    base = {"scenes": 6, "keyframes": 20, "seed": 0, "version": "v1.0-trainval"}
    changes = [{"scenes": 7}, {"keyframes": 21}, {"seed": 1}, {"version": "v1.0-mini"}]
    changes += [{}, {"share": 1}]
    digests = {GeneratorSettings(**(base | change)).digest for change in changes}
    assert len(digests) == 6
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
