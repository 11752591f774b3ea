from pathlib import Path

import pytest

from neuro.events import resources
from neuro.events.resources import find_free_memory, require_memory


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of Linux with 3 MB free and 1 MB of swap, in a container without a limit."""
    lines = ["MemTotal:  9000 kB", "MemFree:  1000 kB", "MemAvailable:  3000 kB"]
    (tmp_path / "meminfo").write_text(
        "\n".join([*lines, "SwapTotal: 5 kB", "SwapFree: 1000 kB"])
    )
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(resources, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(resources, "LIMIT", tmp_path / "memory.max")
    return tmp_path


def test_free_is_what_the_system_calls_available_and_swap() -> None:
    assert find_free_memory() == 4000 * 1024


def test_the_limit_of_a_container_holds_where_it_is_less(machine: Path) -> None:
    (machine / "memory.max").write_text("2000000\n")
    assert find_free_memory() == 2_000_000
    (machine / "memory.max").write_text("5000000\n")
    assert find_free_memory() == 4000 * 1024


def test_without_a_file_of_linux_all_memory_counts_as_free(machine: Path) -> None:
    (machine / "meminfo").unlink()
    (machine / "memory.max").unlink()
    assert 2**26 < find_free_memory() < 2**50


def test_what_fits_to_the_byte_is_allowed_and_one_more_is_refused() -> None:
    free = 4000 * 1024
    require_memory({"membranes of out": free - 96, "spikes of x": 96}, "cut it")
    with pytest.raises(ValueError, match="cut it") as error:
        require_memory({"spikes of x": 97, "membranes of out": free - 96}, "cut it")
    assert str(error.value) == (
        "the run needs 0.0041 GB of memory, and 0.0041 GB are free: "
        "membranes of out 0.0041 GB, spikes of x 9.7e-08 GB; cut it"
    )
