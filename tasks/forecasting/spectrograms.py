"""Spectrograms of windows of a recording, computed when needed and not stored.

    X[c, t, f] = max(0, log10(|STFT(x[c])| + 1e-6))

Hann frames of 1 s every 0.5 s, so that a bin is about 1 Hz at every sampling rate. Bins 1-56,
64-116 and 124-128 are kept, which excludes the mean and the surroundings of the mains at 60 and
120 Hz (Truong et al. 2018, Neural Networks 105, 104-111). 30 s at 256 Hz become 59 frames of
114 bins. The released code for the Kaggle sets first takes the logarithm of complex numbers, so
that their phase enters it; here the logarithm is taken of the magnitude.
Axes: N windows, C channels, T frames, F bins.
"""

import torch
from jaxtyping import Float
from torch import Tensor

BINS = (*range(1, 57), *range(64, 117), *range(124, 129))
HIGHEST = 128  # Hz, of the last bin
FLOOR = 1e-6


def count_samples(rate: float, seconds: float) -> int:
    """Return the samples per window: whole half seconds, at the rate rounded to an even one."""
    return round(2 * seconds) * (round(rate) // 2)


def compute_spectrogram(x: Float[Tensor, "*C L"], rate: float) -> Float[Tensor, "*C T F"]:
    """Return the spectrograms of signals [uV] at a rate [Hz].

    Raises:
        ValueError: a signal is shorter than 1 s, or the rate is too low for the highest bin.
    """
    frame = 2 * (round(rate) // 2)
    if x.shape[-1] < frame or frame < 2 * HIGHEST:
        raise ValueError(
            f"{x.shape[-1]} samples at {rate:g} Hz: give at least a second, and at least "
            f"{2 * HIGHEST} Hz"
        )
    window = torch.hann_window(frame, dtype=x.dtype, device=x.device)
    found = torch.stft(x, frame, frame // 2, window=window, center=False, return_complex=True)
    size = (found.abs() + FLOOR).log10().clamp(min=0).mT
    return size[..., list(BINS)]
