"""Spectrograms of windows, computed when they are needed: no file of them is kept.

    X[c, t, f] = max(0, log10(|STFT(x[c])| + 1e-6))

Frames of a second every half second, Hann; so that a bin is about 1 Hz, whatever the rate. Bins
1-56, 64-116 and 124-128 are kept: without the mean, and the mains at 60 and 120 Hz with its
surroundings (Truong et al. 2018, Neural Networks 105, 104-111). 30 s at 256 Hz become 59 frames
of 114 bins. The released code for the sets of Kaggle takes the logarithm of complex numbers
first, so that their phase enters it; here it is the magnitude's.
Axes: N windows, C channels, T frames, F bins.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from drivers.eeg import PatientRecordings
from tasks.forecasting.recordings.windows import EegWindows

BINS = (*range(1, 57), *range(64, 117), *range(124, 129))
FLOOR = 1e-6


def list_bins(rate: float) -> list[int]:
    """Return the bins that a rate has, of those that are kept."""
    return [k for k in BINS if k <= 2 * (round(rate) // 2) // 2]


def compute_spectrogram(x: Float[Tensor, "*B L"], rate: float) -> Float[Tensor, "*B T F"]:
    """Return the spectrograms of signals [uV].

    rate: samples of a second.

    Raises:
        ValueError: a signal is shorter than a second, or the rate has none of the bins.
    """
    frame = 2 * (round(rate) // 2)
    if frame < 2 or x.shape[-1] < frame or not list_bins(rate):
        raise ValueError(
            f"{x.shape[-1]} samples at {rate:g} Hz: give at least a second, and at least 2 Hz"
        )
    flat = x.reshape(-1, x.shape[-1])
    window = torch.hann_window(frame, dtype=x.dtype, device=x.device)
    found = torch.stft(
        flat, frame, frame // 2, window=window, center=False, return_complex=True
    )
    size = (found.abs() + FLOOR).log10().clamp(min=0).mT
    kept = torch.tensor(list_bins(rate), device=x.device)
    out = size.index_select(-1, kept)
    return out.reshape(*x.shape[:-1], *out.shape[1:])


def read_spectrograms(
    patient: PatientRecordings, windows: EegWindows, indices: Int64[np.ndarray, " N"]
) -> Float32[Tensor, "N 1 C T F"]:
    """Return the spectrograms of some windows.

    Raises:
        ValueError: a channel is constant in one of them; lists every window.
    """
    signals, problems = list[np.ndarray](), list[str]()
    for n in indices:
        try:
            x = patient.read(int(windows.file[n]), int(windows.first[n]), windows.count)
            signals.append(x)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(["windows that cannot be read:", *problems]))
    return compute_spectrogram(torch.from_numpy(np.stack(signals)), patient.rate)[:, None]


def iterate_batches(
    patient: PatientRecordings,
    windows: EegWindows,
    indices: Int64[np.ndarray, " N"],
    batch: int,
) -> Iterator[tuple[Float32[Tensor, "N 1 C T F"], Int64[Tensor, " N"]]]:
    """Yield spectrograms and labels in the order of the indices; the last may be fewer."""
    for first in range(0, len(indices), batch):
        some = indices[first : first + batch]
        yield read_spectrograms(patient, windows, some), torch.from_numpy(windows.label[some])
