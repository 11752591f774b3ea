from pathlib import Path

import numpy as np
import pytest
from fake_data_sets import write_vowels

from drivers.vowels import FOLDERS, load


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_vowels(tmp_path)
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    return tmp_path / FOLDERS[0] / "JapaneseVowels_TEST.ts"


def test_utterances_are_read_frame_by_frame(file: Path) -> None:
    found = load("test")
    assert found.values.shape == (370, 29, 12)
    line = file.read_text().splitlines()[2 + 30]  # behind a comment and @data
    assert found.values[30, 2, 11] == float(line.split(":")[11].split(",")[2])
    assert np.isnan(found.values[30]).any(1).tolist() == [False] * 14 + [True] * 15
    assert np.bincount(found.labels).tolist() == [42] + [41] * 8


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (":1\n", ":10\n", "line 3: no utterance"),
        (":1\n", ":0\n", r"line 3: no utterance \(12 series, speaker 0\)"),
        (":1\n", ":x\n", "line 3: no utterance"),
        (":", ",0:", "line 3: no utterance"),
        (":", ":1:", "line 3: no utterance"),
        (None, "inf", r"line 3: no utterance \(12 series, speaker 1\)"),
        ("@data\n", "@data\n1:1\n", "371 utterances; there must be 370; pip install"),
    ],
)
def test_damage_is_told_by_line(file: Path, old: str | None, new: str, said: str) -> None:
    text = file.read_text()
    first = text.splitlines()[2].partition(",")[0]
    file.write_text(text.replace(old or first, new, 1))
    with pytest.raises(ValueError, match=said):
        load("test")


def test_a_missing_file_is_told_with_its_cure(file: Path) -> None:
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"TEST.ts is missing; pip install --no-deps"):
        load("test")
