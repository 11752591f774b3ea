"""The data set of the tests, written once, and a shorter one that a test may damage."""

import shutil
from pathlib import Path

import pytest
from nuscenes_files import write_data_set


@pytest.fixture(scope="session")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("nuscenes"))


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("short"), keyframes=5)


@pytest.fixture
def copied(short: Path, tmp_path: Path) -> Path:
    """Return a data set of two scenes of five keyframes, of this test alone."""
    return Path(shutil.copytree(short, tmp_path / "copy"))
