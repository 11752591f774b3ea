"""EDF: samples in their units, and damage that is named."""

from pathlib import Path

import numpy as np
import pytest
from eeg_files import make_noise, write_edf
from hypothesis import given, settings, strategies as st

from drivers.eeg.edf import EdfFile, read_edf
from drivers.eeg.recordings import require_signals

LABELS = ("FP1-F7", "-", "T8-P8", "T8-P8")
NOISE = make_noise(5, 4, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_edf(tmp_path / "a.edf", NOISE, LABELS)
    return tmp_path / "a.edf"


def test_the_header_says_what_was_written(path: Path) -> None:
    edf = read_edf(path)
    assert [c.label for c in edf.channels] == list(LABELS)
    assert (edf.records, edf.seconds, edf.duration, edf.width) == (5, 1.0, 5.0, 4 * 256)
    assert [c.at for c in edf.channels] == [0, 256, 512, 768]
    assert {c.unit for c in edf.channels} == {"uV"}
    assert edf.channels[0].gain == pytest.approx(0.1)
    assert edf.start == 5 * 256


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


def test_channels_of_other_rates_are_read_apart(tmp_path: Path) -> None:
    path, noise = tmp_path / "a.edf", make_noise(2, 3, 0, rate=8)
    write_edf(path, noise, ("x", "y", "z"), rate=8)
    data, at = bytearray(path.read_bytes()), 256 + 3 * 216
    data[at : at + 24] = b"4       12      8       "  # samples, as many together
    path.write_bytes(data)
    edf = read_edf(path)
    assert edf.width == 24
    assert [(c.at, c.samples) for c in edf.channels] == [(0, 4), (4, 12), (16, 8)]
    records = noise.reshape(3, 2, 8).transpose(1, 0, 2).reshape(2, 24)
    for k, (first, stop) in enumerate([(0, 4), (4, 16), (16, 24)]):
        own = records[:, first:stop].reshape(-1)
        assert abs(edf.read([k], 1, 7)[0] - own[1:7]).max() < 1e-3
    with pytest.raises(ValueError, match="one rate are read together, not x 4 Hz, z 8 Hz"):
        edf.read([0, 2], 0, 4)


def test_another_range_is_another_gain(tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf", make_noise(1, 1, 0), ("x",), physical_min="0")
    read = read_edf(tmp_path / "a.edf").read([0], 0, 256)
    stored = np.round(make_noise(1, 1, 0) * 10)
    assert np.allclose(read, (stored + 32768) * 3276.7 / 65535, atol=1e-3)


def test_a_truncated_file_is_refused_with_its_size(path: Path) -> None:
    data = path.read_bytes()
    for cut, why in (
        (len(data) - 1, r"truncated: 5 records of 2048 bytes end at byte 11520, and .* 11519"),
        (700, "truncated: the header of 4 channels has 700 bytes of 1280; fetch"),
        (100, "no EDF: it begins with b'0       '.*should have 256 bytes"),
        (0, "no EDF: it begins with b''"),
    ):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match=why) as error:
            read_edf(path)
        assert "fetch the file again" in str(error.value)
    path.write_bytes(data + b"\0")
    with pytest.raises(ValueError, match="too long: 5 records"):
        read_edf(path)


def test_all_that_is_wrong_in_a_header_is_said_at_once(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at, text in (
        (184, "99"),
        (192, "EDF+D"),
        (236, "-1"),
        (244, "0"),
        (1280 - 4 * 40, "x"),
    ):
        data[at : at + 8] = text.ljust(8).encode()
    path.write_bytes(data)
    with pytest.raises(ValueError, match="the header says") as error:
        read_edf(path)
    for word in ("number of records is b'-1", "lasts b'0", "EDF+D", "channel 1 has b'x"):
        assert word in str(error.value)


def test_many_wrong_channels_are_told_in_few_words(tmp_path: Path) -> None:
    names, flat = tuple(f"c{k}" for k in range(20)), np.zeros((20, 2))
    write_edf(tmp_path / "a.edf", flat, names, rate=1, samples="0")
    with pytest.raises(ValueError, match=r"channel 8 has b'0       ' samples a record; and 12"):
        read_edf(tmp_path / "a.edf")
    with pytest.raises(ValueError, match=r"^x: channel c0 .*c7 is constant; and 12 more; lea"):
        require_signals(flat.astype(np.float32), names, "x")


def test_channels_that_do_not_go_together_are_refused(path: Path, tmp_path: Path) -> None:
    write_edf(tmp_path / "b.edf", make_noise(1, 2, 0), ("x", "-"), digital_max="-32768")
    edf = read_edf(tmp_path / "b.edf")
    with pytest.raises(ValueError, match=r"channel x has no range.*; samples 0 to 999 are not"):
        edf.read([0], 0, 999)
    with pytest.raises(ValueError, match="samples 1270 to 1281 are not among the 1280"):
        read_edf(path).read([0], 1270, 1281)


def test_other_readers_read_the_same(path: Path) -> None:
    edfio = pytest.importorskip("edfio")
    theirs = edfio.read_edf(path)
    ours = read_edf(path).read([0, 1, 2, 3], 0, 1280)
    for k, signal in enumerate(theirs.signals):
        assert np.allclose(signal.data, ours[k], atol=1e-3)
