import sys
from collections.abc import Callable

import pytest

from tasks.driving.config import Source, tiny
from tasks.driving.data import find_data, list_scenes


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("drivers.nuscenes.world.make", find_data),
        ("drivers.nuscenes.tables", lambda source: list_scenes(None, source, "train")),
    ],
)
def test_without_the_devkit_the_extra_is_named(
    module: str, call: Callable[[Source], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeError, match="nuScenes needs its devkit") as e:
        call(tiny().source)
    assert "; pip install -e '.[driving]' in a clone of neuro brings it" in str(e.value)
