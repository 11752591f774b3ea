import pytest

pytest.importorskip("nuscenes")

from nuscenes.can_bus.can_bus_api import NuScenesCanBus
from nuscenes.utils.splits import create_splits_scenes

from drivers.nuscenes.schema import LOCATIONS
from drivers.nuscenes.world.write.names import (
    MAP_FILES,
    MISALIGNED,
    WITHOUT_CAN_BUS,
    name_scenes,
)


def test_four_of_five_scenes_are_for_training() -> None:
    names, splits = name_scenes(60, "v1.0-trainval"), create_splits_scenes()
    assert len(set(names)) == 60
    assert [name in splits["val"] for name in names] == [k % 5 == 4 for k in range(60)]
    assert sum(name in splits["train"] for name in names) == 48


def test_the_mini_version_has_ten_scenes() -> None:
    names, splits = name_scenes(10, "v1.0-mini"), create_splits_scenes()
    assert set(names) == {*splits["mini_train"], *splits["mini_val"]}
    with pytest.raises(ValueError, match=r"11 scenes; v1\.0-mini has names for 1 to 10"):
        name_scenes(11, "v1.0-mini")
    with pytest.raises(ValueError, match="0 scenes"):
        name_scenes(0, "v1.0-mini")


def test_all_names_that_are_promised_are_there() -> None:
    with pytest.raises(ValueError, match="has names for 1 to") as error:
        name_scenes(10_000, "v1.0-trainval")
    most = int(str(error.value).partition("1 to ")[2].partition(";")[0])
    assert len(set(name_scenes(most, "v1.0-trainval"))) == most
    with pytest.raises(ValueError, match=f"{most + 1} scenes"):
        name_scenes(most + 1, "v1.0-trainval")


def test_scenes_that_the_devkit_warns_of_are_left_out(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("can")
    (root / "can_bus").mkdir()
    bus = NuScenesCanBus(str(root))
    assert set(bus.can_blacklist) | {419} == WITHOUT_CAN_BUS
    assert set(bus.route_blacklist) <= MISALIGNED
    numbers = {int(name[-4:]) for name in name_scenes(600, "v1.0-trainval")}
    assert not numbers & (WITHOUT_CAN_BUS | MISALIGNED)


def test_each_location_has_a_map_of_its_own() -> None:
    assert set(MAP_FILES) == set(LOCATIONS)
    assert len(set(MAP_FILES.values())) == 4
