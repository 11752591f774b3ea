"""The spiking encoder: from images to features and depth at an eighth of the image size.

    image -> stem -> blocks ... -> near (1/8)  ------------------\\
                               \\-> far (1/16) -> pyramid, mean over T, upsampled -> head

Each image is repeated for T ticks (sequence repetition), or each tick takes the image of its
own time, so that membranes can respond to motion. After the means over T all values are real
and computed on the host, as in SAD. The feature head and the depth head have the same
architecture and separate weights. We place a ReLU between the two convolutions at the end of a
head; SAD has none, so its two convolutions are equivalent to one.
Axes: T ticks, K images, C channels, D bins of depth, H and W of images, h and w of features.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neuro.nn import Residual, Stack
from neuro.nn.recompute import run_in_blocks
from tasks.driving.cells import convolve, make_block, make_cells, run_stack
from tasks.driving.config import DrivingConfig


class Features(NamedTuple):
    """Features of images, and logits of the depth of each feature."""

    features: Float[Tensor, "K C h w"]
    depth: Float[Tensor, "K D h w"]


def make_encoder_block(config: DrivingConfig, channels: int) -> Stack:
    """Return a block of the encoder: three convolutions; the last two enclose a wider layer."""
    cells, middle = config.cells, config.encoder.expansion * channels
    return Stack(
        mix=Residual(Stack(**convolve(cells, channels, channels))),
        widen=make_block(cells, channels, channels, middle),
    )


def make_trunk(config: DrivingConfig) -> Stack:
    """Return the trunk between stem and last block, which returns currents T K C h w."""
    c = config.encoder
    layers: dict[str, nn.Module] = {}
    for level, (channels, blocks) in enumerate(zip(c.channels, c.blocks, strict=True)):
        if level:
            above = c.channels[level - 1]
            layers[f"down{level}"] = Stack(**convolve(config.cells, above, channels, stride=2))
        last = level == len(c.channels) - 1
        for k in range(blocks - last):
            layers[f"block{level}_{k}"] = make_encoder_block(config, channels)
    return Stack(**layers)


class Pyramid(nn.Module):
    """Spatial pyramid on spikes (ASPP): one branch per dilation, and one with the mean."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        c, cells = config.encoder, config.cells
        self.branches = nn.ModuleList()
        for kernel, dilation in [(1, 1), *((3, d) for d in c.dilations)]:
            layers = convolve(cells, c.far, c.aspp, kernel, dilation=dilation)
            del layers["cells"]  # all branches share one layer of neurons
            self.branches.append(Stack(**layers))
        self.mean = nn.Conv2d(c.far, c.aspp, 1)
        joined = (len(self.branches) + 1) * c.aspp
        self.end = Stack(
            join=make_cells(cells),
            project=nn.Conv2d(joined, c.aspp, 1, bias=False),
            project_norm=nn.BatchNorm2d(c.aspp),
            project_cells=make_cells(cells),
            dropout=nn.Dropout(c.dropout),
            conv=nn.Conv2d(c.aspp, c.aspp, 3, padding=1, bias=False),
            conv_norm=nn.BatchNorm2d(c.aspp),
            conv_cells=make_cells(cells),
            widen=nn.Conv2d(c.aspp, c.far, 1),
        )

    def forward(self, x: Float[Tensor, "T K C h2 w2"]) -> Float[Tensor, "T K C h2 w2"]:
        """Return currents for spikes."""
        branches = [branch(x)[0] for branch in self.branches]
        whole = self.mean(x.mean((3, 4), keepdim=True).flatten(0, 1))
        branches.append(whole.unflatten(0, x.shape[:2]).expand_as(branches[0]))
        y: Tensor = self.end(torch.cat(branches, 2))[0]
        return y


class Head(nn.Module):
    """Computes ``channels`` real-valued channels from the spikes of both branches."""

    def __init__(self, config: DrivingConfig, channels: int) -> None:
        super().__init__()
        near, far = config.encoder.channels[-1], config.encoder.far
        self.pyramid = Pyramid(config)
        self.end = nn.Sequential(
            nn.Conv2d(near + far, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(
        self, near: Float[Tensor, "T K C h w"], far: Float[Tensor, "T K C2 h2 w2"]
    ) -> Float[Tensor, "K C3 h w"]:
        """Return the channels at the size of ``near``."""
        wide = self.pyramid(far).mean(0)
        wide = F.interpolate(wide, scale_factor=2.0, mode="bilinear", align_corners=False)
        y: Tensor = self.end(torch.cat([wide, near.mean(0)], 1))
        return y


class Encoder(nn.Module):
    """Trunk and branches are Stacks; the first neurons come after the stem."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        c = config.encoder
        self.ticks, self.recomputes = c.ticks, config.recomputes
        conv = nn.Conv2d(3, c.channels[0], 7, c.stem, padding=3, bias=False)
        self.stem = Stack(conv=conv, norm=nn.BatchNorm2d(c.channels[0]))
        self.trunk = make_trunk(config)
        self.near = Stack(
            block=make_encoder_block(config, c.channels[-1]), spikes=make_cells(config.cells)
        )
        self.far = Stack(
            **convolve(config.cells, c.channels[-1], c.far, stride=2),
            spikes=make_cells(config.cells),
        )
        self.features = Head(config, config.channels)
        self.depth = Head(config, config.depth.bins)

    def forward(self, images: Float[Tensor, "L K 3 H W"]) -> Features:
        """Return features and depth of each image.

        images: one image per tick (L is T), or one (L is 1) that all ticks repeat.
        """
        # One image runs through the stem once, because it is the same at every tick.
        current = self.stem(images)[0]
        run = run_in_blocks if self.recomputes else run_stack
        x = run(self.trunk, current.expand(self.ticks, *current.shape[1:]))
        near, far = run(self.near, x), run_stack(self.far, x)
        return Features(self.features(near, far), self.depth(near, far))
