"""Spectrograms of windows of a recording, computed when they are needed: no file keeps them.

    X[c, t, f] = max(0, log10(|STFT(x[c])| + 1e-6))

Frames of a second every half second, Hann; so that a bin is about 1 Hz, whatever the rate. Bins
1-56, 64-116 and 124-128 are kept: without the mean, and the mains at 60 and 120 Hz with its
surroundings (Truong et al. 2018, Neural Networks 105, 104-111). 30 s at 256 Hz become 59 frames
of 114 bins. The released code for the sets of Kaggle takes the logarithm of complex numbers
first, so that their phase enters it; here it is the magnitude's.
Axes: N windows, C channels, T frames, F bins.
"""

import torch
from jaxtyping import Float
from torch import Tensor

BINS = (*range(1, 57), *range(64, 117), *range(124, 129))
HIGHEST = 128  # Hz, of the last bin
FLOOR = 1e-6


def count_samples(rate: float, seconds: float) -> int:
    """Return the samples of a window: whole half seconds of a rate that is rounded to even."""
    return round(2 * seconds) * (round(rate) // 2)


def compute_spectrogram(x: Float[Tensor, "*C L"], rate: float) -> Float[Tensor, "*C T F"]:
    """Return the spectrograms of signals [uV] at a rate [Hz].

    Raises:
        ValueError: a signal is shorter than a second, or the rate has not all of the bins.
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
