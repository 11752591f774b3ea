"""What a window of a recording is described by: twelve features, and its mean.

    0       log of the variance
    1       log of the line length, the mean of |x[t] - x[t - 1]|
    2       excess kurtosis
    3-6     autocorrelation at lags of 1, 2, 4 and 8 samples
    7-11    log of the power in five bands, behind a Hann taper: periods a window of 1-2, 3-4,
            5-8, 9-16 and 17-32 where it has 64 samples, of the same length in others
    12      mean of the window in the recording as measured (DC-coupled)

All but the last are of the recording without its baseline, the mean of the samples up to now: a
slow drift, which tells much, is nearly gone from it. Axes: N windows, W samples of a window.
"""

import numpy as np
from jaxtyping import Float64, Int64

LAGS = (1, 2, 4, 8)
BANDS = ((1, 3), (3, 5), (5, 9), (9, 17), (17, 33))  # of 64 samples
NAMES = (
    *("log variance", "log line length", "kurtosis"),
    *(f"autocorrelation {lag}" for lag in LAGS),
    *(f"power of band {k + 1}" for k in range(len(BANDS))),
    "mean",
)
LEAST = 1e-12  # of a power: the log of silence is finite


def remove_baseline(x: Float64[np.ndarray, " T"], length: int) -> Float64[np.ndarray, " T"]:
    """Return a signal without the mean of the last so many samples, the present one included.

    It is causal: at the start the mean is of the samples so far.
    """
    total = np.concatenate([[0.0], np.cumsum(x)])
    stop = np.arange(1, len(x) + 1)
    start = np.maximum(stop - length, 0)
    return np.asarray(x - (total[stop] - total[start]) / (stop - start))


def describe_windows(
    x: Float64[np.ndarray, " T"], starts: Int64[np.ndarray, " N"], size: int, baseline: int
) -> Float64[np.ndarray, "N 13"]:
    """Return the features of windows that start at some samples, all of one size."""
    where = starts[:, None] + np.arange(size)
    own, raw = remove_baseline(x, baseline)[where], x[where].mean(1)
    own = own - own.mean(1, keepdims=True)
    variance = np.maximum(np.square(own).mean(1), LEAST)
    line = np.maximum(np.abs(np.diff(own, axis=1)).mean(1), LEAST)
    kurtosis = (own**4).mean(1) / variance**2 - 3.0
    lagged = [(own[:, lag:] * own[:, :-lag]).sum(1) / size / variance for lag in LAGS]
    taper = np.hanning(size + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft(own * taper, axis=1)))
    edges = [(low * size // 64, high * size // 64) for low, high in BANDS]
    bands = [np.log(np.maximum(power[:, a:b].sum(1), LEAST)) for a, b in edges]
    return np.stack([np.log(variance), np.log(line), kurtosis, *lagged, *bands, raw], 1)
