"""Decoder and heads: from bird's-eye states to the maps of each frame.

    state -> spikes -> conv, stride 2 -> blocks -> blocks, stride 2 -> ... -> spikes -> heads
                    \\________________ upsampled, added at each size ______/

One tick of the spiking decoder is one frame (sequence alignment): membranes carry information
from frame to frame, into the future. The decoder is a U-Net with membrane shortcuts. Upsampling
uses nearest neighbours, and the outermost shortcut carries the spikes of the input, so the
decoder is a Graph with spiking inputs. SAD upsamples bilinearly, and its outermost shortcut
adds the real-valued state.

Each head is conv 3x3, norm, ReLU, conv 1x1; it is real-valued and runs on the host. A class has
one logit, whose sigmoid equals the soft-max of SAD's two logits. The head of the cost volume
may have dilated convolutions for a larger view. It then also gets inputs on which the right
place of the car in a frame depends: the position of each cell (which identifies the car's own
lane), the distance of the cell from the place that the car reaches in that frame at its present
speed, the speed, the yaw rate and the navigation.
The head of the drivable area has one channel per part of a cell (sub-pixel convolution, Shi et
al. 2016), so its map may have smaller cells than the states.
Axes: T frames (ticks), B windows, C channels of the state, X and Y cells.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import FRAME
from neuro.nn import Residual, Stack
from tasks.driving.cells import convolve, make_block, make_cells
from tasks.driving.config import CHANNELS, PRESENT_MAPS, DrivingConfig, Navigation
from tasks.driving.sampler import COMMANDS, EgoState


def make_decoder_body(config: DrivingConfig) -> Stack:
    """Return the Stack from spikes of states to spikes for the heads, both T B C X Y."""
    cells, c, outer = config.cells, config.decoder, config.state_channels
    inner: Residual | None = None
    levels = [(c.channels[0], c.channels[0]), *pairwise(c.channels)]
    for level, (above, width) in reversed(list(enumerate(levels))):
        layers: dict[str, nn.Module] = {}
        if level == 0:
            layers["stem"] = nn.Conv2d(outer, width, 7, 2, padding=3, bias=False)
            layers["norm"] = nn.BatchNorm2d(width)
        for k in range(c.blocks):
            start, stride = (above, 2) if level and not k else (width, 1)
            layers[f"block{k}"] = make_block(cells, start, width, width, stride)
        if inner is not None:
            layers["inner"] = inner
        up = above if level else outer
        layers |= {f"up_{name}": m for name, m in convolve(cells, width, up, 1).items()}
        layers["up"] = nn.Upsample(scale_factor=2)
        shortcut = None
        if not level:  # each spike of a state becomes a current into its own cell
            conv = nn.Conv2d(outer, outer, 1, bias=False)
            shortcut = Stack(conv=conv, norm=nn.BatchNorm2d(outer))
        inner = Residual(Stack(**layers), shortcut)
    return Stack(levels=inner, spikes=make_cells(cells))  # type: ignore[arg-type]


class Decoder(nn.Module):
    """Turns states into spikes and decodes the spikes; a chip runs only ``body``."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        self.carries = config.decoder.carries
        self.see = Stack(
            norm=nn.BatchNorm2d(config.state_channels), spikes=make_cells(config.cells)
        )
        self.body = make_decoder_body(config)

    def forward(self, states: Float[Tensor, "T B C X Y"]) -> Float[Tensor, "T B C X Y"]:
        """Return the spikes for the heads of each frame; membranes start from rest."""
        frames = states if self.carries else states.flatten(0, 1)[None]
        y: Tensor = self.body(self.see(frames)[0])[0]
        return y.reshape(*states.shape[:2], *y.shape[2:])


AHEAD, FAST, TURN = 10.0, 10.0, 0.5  # [m], [m/s], [rad/s]: units of distance, speed, yaw rate


class Heads(nn.Module):
    """All heads, by name."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        inputs, middle = config.state_channels, config.heads
        self.grid, self.road_cells = config.grid, config.road_cells
        self.sees_ego = bool(config.planner.dilations)
        self.navigation = config.planner.navigation
        ego_channels = 7 + len(COMMANDS) + 2 * (self.navigation == "target")
        self.parts = nn.ModuleDict()
        for name, channels in CHANNELS.items():
            sees_ego = self.sees_ego and name == "cost"
            layers = _convolve(inputs + ego_channels * sees_ego, middle, 1)
            for dilation in config.planner.dilations if sees_ego else ():
                layers += _convolve(middle, middle, dilation)
            parts = self.road_cells**2 if name == "drivable" else 1
            self.parts[name] = nn.Sequential(*layers, nn.Conv2d(middle, channels * parts, 1))

    def forward(
        self,
        x: Float[Tensor, "T B C X Y"],
        names: tuple[str, ...],
        ego: EgoState | None = None,
    ) -> dict[str, Float[Tensor, "T2 B K _ _"]]:
        """Return the maps of the heads ``names``; the first frame of x is the present.

        vehicle, pedestrian, lane, drivable, centre: logits.
        offset, flow: vector to the centre of an instance, and to its next place [cells].
        cost: the cost volume, which may need ``ego``.
        Maps of PRESENT_MAPS have one frame.

        Raises:
            ValueError: the cost volume needs ``ego``, which is missing.
        """
        out = {}
        for name in names:
            frames = x[:1] if name in PRESENT_MAPS else x
            if self.sees_ego and name == "cost":
                if ego is None:
                    raise ValueError("Heads: the cost volume depends on the ego; pass it")
                frames = torch.cat(
                    [frames, encode_ego(ego, self.grid, len(x), self.navigation)], 2
                )
            y: Tensor = self.parts[name](frames.flatten(0, 1))
            if name == "drivable":
                y = F.pixel_shuffle(y, self.road_cells)
            out[name] = y.reshape(*frames.shape[:2], *y.shape[1:])
        return out


def encode_ego(
    ego: EgoState, grid: GroundGrid, frames: int, navigation: Navigation
) -> Float[Tensor, "T B K X Y"]:
    """Return the additional inputs of the cost head for each cell and frame.

    The channels are: position along X and Y, from -1 to 1; signed and absolute distance ahead
    of the place reached at the present speed [10 m]; time, 1 in the last frame; speed [10 m/s];
    yaw rate [0.5 rad/s]; one channel per command; and, if the planner knows a target, the
    vector from the cell to it along X and Y [10 m]. frames: T; the first is the present.
    """
    speed = ego.speed
    times = torch.arange(frames).to(speed)[:, None, None, None, None]
    # Positions are those of the middles of cells.
    x, y = (torch.linspace(-1 + 1 / n, 1 - 1 / n, n).to(speed) for n in grid.shape)
    middle = grid.x[0] + (x + 1) / 2 * (grid.x[1] - grid.x[0])
    left = grid.y[0] + (y + 1) / 2 * (grid.y[1] - grid.y[0])
    ahead = (middle[:, None] - FRAME * times * speed[:, None, None, None]) / AHEAD
    command = F.one_hot(ego.command, len(COMMANDS)).to(speed)
    state = [speed / FAST, ego.yaw_rate / TURN, *command.unbind(1)]
    planes = [
        *(x[:, None], y, ahead, ahead.abs(), times / max(1, frames - 1)),
        *(value[:, None, None, None] for value in state),
    ]
    if navigation == "target":
        target = ego.target[:, :, None, None, None] / AHEAD
        planes += [target[:, 0] - middle[:, None] / AHEAD, target[:, 1] - left / AHEAD]
    shape = (frames, len(speed), 1, *grid.shape)
    return torch.cat([plane.expand(shape) for plane in planes], 2)


def _convolve(inputs: int, outputs: int, dilation: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
