"""EDF: samples in their units, and damage that is named. The files are written by hand."""

from pathlib import Path

import numpy as np
import pytest
from eeg_files import make_noise, write_edf
from hypothesis import given, settings, strategies as st

from drivers.eeg.edf import EdfFile, has_range, read_edf
from drivers.eeg.recordings import require_signals

pytest.importorskip("edfio")
LABELS = ("FP1-F7", "-", "T8-P8", "T8-P8")
NOISE = make_noise(5, 4, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_edf(tmp_path / "a.edf", NOISE, LABELS)
    return tmp_path / "a.edf"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> EdfFile:
    path = tmp_path_factory.mktemp("edf") / "a.edf"
    write_edf(path, NOISE, LABELS)
    return read_edf(path)


@given(st.integers(0, 1270), st.integers(1, 700), st.permutations(range(4)))
@settings(max_examples=20)
def test_samples_come_back_in_microvolts(
    whole: EdfFile, first: int, count: int, order: list[int]
) -> None:
    stop = min(first + count, 5 * 256)
    assert abs(whole.read(order, first, stop) - NOISE[order, first:stop]).max() < 1e-3
    assert whole.duration == 5.0


def test_channels_of_other_rates_are_read_apart(tmp_path: Path) -> None:
    path, noise = tmp_path / "a.edf", make_noise(2, 3, 0, rate=8)
    write_edf(path, noise, ("x", "y", "z"), rate=8)
    data, at = bytearray(path.read_bytes()), 256 + 3 * 216
    data[at : at + 24] = b"4       12      8       "  # samples, as many together
    path.write_bytes(data)
    edf = read_edf(path)
    records = noise.reshape(3, 2, 8).transpose(1, 0, 2).reshape(2, 24)
    for k, (first, stop) in enumerate([(0, 4), (4, 16), (16, 24)]):
        own = records[:, first:stop].reshape(-1)
        assert abs(edf.read([k], 1, 7)[0] - own[1:7]).max() < 1e-3
    with pytest.raises(ValueError, match=r"samples 0 to 4 of channels at \[4.0, 8.0\] Hz are"):
        edf.read([0, 2], 0, 4)


def test_another_range_is_another_gain(tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf", make_noise(1, 1, 0), ("x",), physical_min="0")
    read = read_edf(tmp_path / "a.edf").read([0], 0, 256)
    stored = np.round(make_noise(1, 1, 0) * 10)
    assert np.allclose(read, (stored + 32768) * 3276.7 / 65535, atol=1e-3)


@pytest.mark.parametrize("cut", [1, 2048, 10_900, 11_420, 11_520])
def test_a_truncated_file_is_refused(path: Path, cut: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - cut])
    with pytest.raises(ValueError, match=r"a.edf: no EDF file that .*; fetch the file again"):
        read_edf(path)


def test_a_file_that_is_too_long_or_missing_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"a.edf: no EDF file that can be read"):
        read_edf(path)
    with pytest.raises(FileNotFoundError, match=r"b.edf: no such file; fetch the file again"):
        read_edf(path.with_name("b.edf"))


@pytest.mark.parametrize(
    ("at", "text", "why"),
    [
        (192, "EDF+D", r"interrupted \(EDF\+D\)"),
        (236, "-1", "header indicates -1 data records"),
        (244, "0", ""),
        (1280 - 4 * 40, "x", "x"),
        (1280 - 4 * 40, "0", "truncated"),
    ],
)
def test_a_damaged_header_is_refused(path: Path, at: int, text: str, why: str) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + 8] = text.ljust(8).encode()
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"a.edf: no EDF file .*{why}.*; fetch"):
        read_edf(path)


def test_samples_that_are_not_there_are_refused(path: Path) -> None:
    edf = read_edf(path)
    assert edf.read([0], 1270, 1280).shape == (1, 10)
    for first, stop in ((1270, 1281), (-1, 5), (5, 5)):
        with pytest.raises(ValueError, match=f"samples {first} to {stop} .* among 1280"):
            edf.read([0], first, stop)


@pytest.mark.parametrize(
    ("field", "text"),
    [("digital_max", "-32768"), ("physical_max", "-3276.8"), ("physical_min", "")],
)
def test_a_channel_without_a_range_is_told(tmp_path: Path, field: str, text: str) -> None:
    write_edf(tmp_path / "a.edf", make_noise(1, 1, 0), ("x",), **{field: text})
    write_edf(tmp_path / "b.edf", make_noise(1, 1, 0), ("x",))
    ranges = [has_range(read_edf(tmp_path / name).signals[0]) for name in ("a.edf", "b.edf")]
    assert ranges == [False, True]


def test_many_constant_channels_are_told_in_few_words() -> None:
    names, flat = tuple(f"c{k}" for k in range(20)), np.zeros((20, 2), np.float32)
    with pytest.raises(ValueError, match=r"^x: channel c0 .*c7 is constant; and 12 more; lea"):
        require_signals(flat, names, "x")
