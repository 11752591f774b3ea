"""Spectrograms: sizes, bins, the same at every rate, the magnitude's logarithm."""

import math

import pytest
import torch

from tasks.forecasting.spectrograms import (
    BINS,
    compute_spectrogram,
    count_samples,
)


def test_half_a_minute_at_256_hz_is_59_frames_of_114_bins() -> None:
    assert compute_spectrogram(torch.randn(18, 7680), 256.0).shape == (18, 59, 114)
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


def test_a_low_rate_and_a_short_signal_are_refused() -> None:
    compute_spectrogram(torch.zeros(256), 256.0)
    for count, rate in ((255, 256), (400, 255)):
        with pytest.raises(ValueError, match=f"{count} samples at {rate} Hz: give at least a"):
            compute_spectrogram(torch.zeros(count), float(rate))
