"""A slow twin of :func:`tasks.driving.losses.make_instance_targets`."""

import numpy as np
import torch
from jaxtyping import Int32

from tasks.driving.losses import SIGMA, FrameTargets


def make_window_targets(instance: Int32[np.ndarray, "T X Y"]) -> FrameTargets:
    """Return the targets of one window, vehicle by vehicle."""
    shape = instance.shape
    centre = np.zeros(shape, np.float32)
    offset, flow = np.full((2, shape[0], 2, *shape[1:]), np.nan, np.float32)
    cells = np.stack(np.meshgrid(*map(np.arange, shape[1:]), indexing="ij")).astype(np.float32)
    for number in np.unique(instance[instance > 0]):
        before = None  # mask and middle in the previous frame, if the vehicle is there
        for t, mask in enumerate(instance == number):
            if not mask.any():
                before = None
                continue
            middle = cells[:, mask].mean(axis=1)
            away = middle[:, None, None] - cells
            centre[t] = np.maximum(centre[t], np.exp(-(away**2).sum(axis=0) / SIGMA**2))
            offset[t][:, mask] = away[:, mask]
            if before is not None:
                flow[t - 1][:, before[0]] = (middle - before[1])[:, None]
            before = mask, middle
    return FrameTargets(*map(torch.from_numpy, (centre, offset, flow)))
