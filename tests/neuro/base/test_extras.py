import tomllib
from pathlib import Path
from typing import get_args

import pytest

from neuro.base.extras import Extra, name_install_command, require_extra

ROOT = Path(__file__).parents[3]
DEFINED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


def test_what_is_not_installed_is_told_with_the_command_for_a_clone() -> None:
    with (
        pytest.raises(RuntimeError) as e,
        require_extra("cluster", "The samples need a cluster"),
    ):
        import no_such_package  # noqa: F401
    assert str(e.value) == (
        "The samples need a cluster (No module named 'no_such_package'); "
        "pip install -e '.[cluster]' in a clone of neuro brings it"
    )
    assert isinstance(e.value.__cause__, ModuleNotFoundError)


def test_other_errors_of_the_block_pass() -> None:
    with pytest.raises(KeyError), require_extra("cluster", "This"):
        raise KeyError("a")


def test_every_extra_that_a_message_names_is_one_of_the_project() -> None:
    assert set(get_args(Extra)) <= set(DEFINED)


def test_nobody_is_told_to_install_an_extra_from_an_index() -> None:
    """neuro is on no index of packages: only the command for a clone works."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    sources = [
        p
        for at in ("neuro", "drivers", "tasks", "lava_export")
        for p in (ROOT / at).rglob("*.py")
    ]
    assert not [p.name for p in [*pages, *sources] if "neuro[" in p.read_text()]
    for path in sources:
        if path.name != "extras.py":
            assert "pip install -e" not in path.read_text(), path
    assert name_install_command("eeg") == "pip install -e '.[eeg]'"


def test_a_package_that_declares_too_little_is_installed_alone() -> None:
    devkit = "nuscenes-devkit==1.2.0"
    alone = f"pip install -e '.[driving]' && pip install --no-deps {devkit}"
    assert name_install_command("driving") == alone
    assert f"DEVKIT := {devkit}\n" in (ROOT / "Makefile").read_text()
    assert not [need for need in DEFINED["driving"] if "devkit" in need]
