"""Heads: from spikes of the decoder to maps of each frame.

Each is conv 3x3, norm, ReLU, conv 1x1, real-valued and on the host. A class is one logit:
its sigmoid is the soft-max of the two that SAD has. The head of the cost volume may look
farther, by dilated convolutions, and is then told of each cell where it lies (which lane is its
own, a car knows by where it is), how far that is before the place which the car reaches in that
frame at its present speed, and the speed, the yaw rate and the command: where the car should be
in a frame depends on all of these. Axes: T frames, B windows, X and Y cells.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import FRAME
from tasks.driving.config import CHANNELS, DrivingConfig
from tasks.driving.sampler import COMMANDS, EgoState

PRESENT = ("lane", "drivable")  # maps of the present frame alone
TOLD = 7 + len(COMMANDS)  # channels of what the head of the cost volume is told
AHEAD, FAST, TURN = 10.0, 10.0, 0.5  # [m], [m/s], [rad/s] that are told as 1


class Heads(nn.Module):
    """All heads, by name."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        given, middle = config.state_channels, config.heads
        self.grid = config.grid
        self.told = bool(config.planner.dilations)
        self.parts = nn.ModuleDict()
        for name, channels in CHANNELS.items():
            told = self.told and name == "cost"
            layers = _convolve(given + TOLD * told, middle, 1)
            for dilation in config.planner.dilations if told else ():
                layers += _convolve(middle, middle, dilation)
            self.parts[name] = nn.Sequential(*layers, nn.Conv2d(middle, channels, 1))

    def forward(
        self,
        x: Float[Tensor, "T B C X Y"],
        names: tuple[str, ...],
        ego: EgoState | None = None,
    ) -> dict[str, Float[Tensor, "T2 B K X Y"]]:
        """Return the maps of some heads; the first frame of x is the present one.

        Logits of vehicle, pedestrian, lane and drivable, and of the heat of instances' centres;
        offset to an instance's centre and flow to its next place, along X and Y [cells]; cost.
        Those of PRESENT have one frame. ego: for the cost.

        Raises:
            ValueError: a cost volume that looks far is asked for without the ego.
        """
        out = {}
        for name in names:
            frames = x[:1] if name in PRESENT else x
            if self.told and name == "cost":
                if ego is None:
                    raise ValueError("Heads: the cost volume depends on the ego; pass it")
                frames = torch.cat([frames, tell_ego(ego, self.grid, len(x))], 2)
            y: Tensor = self.parts[name](frames.flatten(0, 1))
            out[name] = y.reshape(*frames.shape[:2], *y.shape[1:])
        return out


def tell_ego(ego: EgoState, grid: GroundGrid, frames: int) -> Float[Tensor, "T B K X Y"]:
    """Return what the head of the cost volume is told of each cell, in each frame.

    Its place along X and Y, from -1 to 1; how far it lies before the place reached at the
    present speed, with its sign and without [10 m]; speed [10 m/s], yaw rate [0.5 rad/s]; the
    time, 1 in the last frame; the command, one channel each. frames: T; the first is now.
    """
    speed = ego.speed
    times = torch.arange(frames).to(speed)[:, None, None, None, None]
    # Of the middles of cells.
    x, y = (torch.linspace(-1 + 1 / n, 1 - 1 / n, n).to(speed) for n in grid.shape)
    middle = grid.x[0] + (x + 1) / 2 * (grid.x[1] - grid.x[0])
    ahead = (middle[:, None] - FRAME * times * speed[:, None, None, None]) / AHEAD
    command = F.one_hot(ego.command, len(COMMANDS)).to(speed)
    told = [speed / FAST, ego.yaw_rate / TURN, *command.unbind(1)]
    planes = [
        *(x[:, None], y, ahead, ahead.abs(), times / max(1, frames - 1)),
        *(value[:, None, None, None] for value in told),
    ]
    shape = (frames, len(speed), 1, *grid.shape)
    return torch.cat([plane.expand(shape) for plane in planes], 2)


def _convolve(given: int, made: int, dilation: int) -> list[nn.Module]:
    return [
        nn.Conv2d(given, made, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(made),
        nn.ReLU(),
    ]
