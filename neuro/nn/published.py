"""A published network that was measured on Loihi, to be trained, lowered and priced here.

It has the shape only, no weights. Axes: T ticks, B samples, C channels, H height, W width.
"""

import math

from torch import nn

from neuro.base.units import Seconds
from neuro.neurons import LI, Delta, SigmaDelta
from neuro.nn.layers import Spiking, Stack
from neuro.nn.spiking import DT

FRAME = (3, 33, 100)  # (C, H, W) of a frame of PilotNet
CHANNELS = (24, 36, 64, 64)
HIDDEN = (100, 50, 10)


def build_pilotnet_sdnn(
    *,
    frame: tuple[int, int, int] = FRAME,
    channels: tuple[int, int, int, int] = CHANNELS,
    hidden: tuple[int, ...] = HIDDEN,
    threshold: float = 0.1,
    dt: Seconds = DT,
) -> Stack:
    """Return PilotNet as a sigma-delta network: frames (T B C H W) to steering angles (T B 1).

    Four convolutions and three hidden layers of ReLUs run on the changes of the frames and send
    changes; the angle at each frame is the sum of the changes that reached it.

    threshold: threshold of all changes, in units of a ReLU.
    frame, channels, hidden: sizes; tests use smaller ones.

    Source: the sigma-delta tutorial of lava-dl (tutorials/lava/lib/dl/slayer/pilotnet,
    BSD-3-Clause), whose network is a smaller version of Bojarski et al. 2016, arXiv 1604.07316.
    """
    kernels: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = (
        ((2, 2), (0, 0)), ((2, 2), (0, 0)), ((2, 1), (1, 0)), ((1, 1), (0, 0)),
    )  # fmt: skip
    layers: dict[str, nn.Module] = {"frames": Spiking(Delta(threshold=threshold), dt)}
    before = frame[0]
    size: tuple[int, ...] = frame[1:]
    for k, (stride, padding) in enumerate(kernels):
        conv = nn.Conv2d(before, channels[k], 3, stride=stride, padding=padding, bias=False)
        layers |= {f"conv{k + 1}": conv, f"relu{k + 1}": _relu(threshold, dt)}
        before = channels[k]
        pairs = zip(size, padding, stride, strict=True)
        size = tuple((n + 2 * p - 3) // s + 1 for n, p, s in pairs)
    layers["flat"] = nn.Flatten()
    before *= math.prod(size)
    for k, width in enumerate(hidden):
        layers[f"dense{k + 1}"] = nn.Linear(before, width, bias=False)
        layers[f"dense_relu{k + 1}"] = _relu(threshold, dt)
        before = width
    layers["steer"] = nn.Linear(before, 1, bias=False)
    layers["angle"] = Spiking(LI(tau=math.inf), dt)
    return Stack(**layers)


def _relu(threshold: float, dt: Seconds) -> Spiking:
    return Spiking(SigmaDelta(threshold=threshold), dt)
