"""Spectrograms: sizes, bins, the same at every rate, the magnitude's logarithm."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from eeg_files import write_chb_mit

from drivers.eeg.chb_mit import read_patient
from tasks.forecasting.patients import read_spectrograms
from tasks.forecasting.recordings import RecordingConfig, label_windows
from tasks.forecasting.spectrograms import (
    BINS,
    compute_spectrogram,
    count_samples,
    list_bins,
)


def test_half_a_minute_at_256_hz_is_59_frames_of_114_bins() -> None:
    x = torch.randn(2, 18, 7680)
    assert compute_spectrogram(x, 256.0).shape == (2, 18, 59, 114)
    assert len(BINS) == 56 + 53 + 5
    assert {0, 57, 60, 63, 117, 120, 123} & set(BINS) == set()


def test_it_is_the_logarithm_of_the_magnitude_by_definition() -> None:
    x = 40 * torch.randn(300, dtype=torch.float64)
    found = compute_spectrogram(x, 256.0)
    n = torch.arange(256, dtype=torch.float64)
    hann = 0.5 - 0.5 * (2 * math.pi * n / 256).cos()
    turns = torch.exp(-2j * math.pi * n[:, None] * n[None, :129] / 256)
    size = ((x[:256] * hann).to(turns) @ turns).abs()
    assert torch.allclose(found[0], (size + 1e-6).log10().clamp(min=0)[list(BINS)])
    # The magnitude has no phase: a signal and its negative are alike.
    assert torch.equal(compute_spectrogram(-x, 256.0), found)


@pytest.mark.parametrize("rate", [256.0, 399.61, 5000.0])
def test_a_sine_is_in_its_bin_at_every_rate(rate: float) -> None:
    """In the released code the window of people's recordings lasts 6 s in the place of 30."""
    count = count_samples(rate, 30.0)
    assert abs(count / rate - 30) < 0.05
    t = torch.arange(count, dtype=torch.float64) / rate
    found = compute_spectrogram((2 * math.pi * 10 * t).sin(), rate)
    assert found.shape == (59, 114)
    assert set(found.argmax(-1).tolist()) == {BINS.index(10)}


def test_a_low_rate_has_fewer_bins_and_too_short_a_signal_none() -> None:
    assert list_bins(200.0) == [k for k in BINS if k <= 100]
    with pytest.raises(ValueError, match="200 samples at 256 Hz: give at least a second"):
        compute_spectrogram(torch.zeros(200), 256.0)


def test_windows_of_files_become_spectrograms(tmp_path: Path) -> None:
    pytest.importorskip("edfio")
    files = [("a.edf", "1:00:00", 30)]
    write_chb_mit(tmp_path / "chb01", files, {"a.edf": [(20, 22)]})
    patient = read_patient(tmp_path / "chb01")
    config = RecordingConfig(seconds=2.0, sph=1.0, sop=6.0, distance=7.0)
    windows, _ = label_windows(patient, config)
    assert windows.label.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert windows.first[-2:].tolist() == [19 * 256, 20 * 256]
    found = read_spectrograms(patient, windows, np.array([7, 0, 3]))
    assert found.shape == (3, 18 * 3 * 114)
    alone = compute_spectrogram(torch.from_numpy(patient.read(0, 6 * 256, 512)), 256.0)
    assert torch.equal(found[2], alone.flatten())
