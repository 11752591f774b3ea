"""The spiking decoder of the bird's-eye map; its time is that of the frames.

    state -> spikes -> conv, stride 2 -> blocks -> blocks, stride 2 -> ... -> spikes
                    \\________________ upsampled, added at each size ______/

One tick is one frame (sequence alignment): membranes carry information from frame to frame,
into the future. It is a U-Net of membrane shortcuts. Upsampling uses nearest neighbours, and
the widest shortcut carries the spikes of the input, so the whole is a Graph with spiking
inputs. SAD upsamples bilinearly, and adds the real-valued state there.
Axes: T frames (ticks), B windows, C channels of the state, X and Y cells.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from neuro.nn import Residual, Stack
from tasks.driving.cells import convolve, make_block, make_cells
from tasks.driving.config import DrivingConfig


def make_decoder_body(config: DrivingConfig) -> Stack:
    """Return the Stack from spikes of states to spikes for the heads, T B C X Y both."""
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
        if not level:  # the current of each spike of a state into its own cell
            conv = nn.Conv2d(outer, outer, 1, bias=False)
            shortcut = Stack(conv=conv, norm=nn.BatchNorm2d(outer))
        inner = Residual(Stack(**layers), shortcut)
    return Stack(levels=inner, spikes=make_cells(cells))  # type: ignore[arg-type]


class Decoder(nn.Module):
    """Turns states into spikes and decodes them; a chip runs only ``body``."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        self.carries = config.decoder.carries
        self.see = Stack(
            norm=nn.BatchNorm2d(config.state_channels), spikes=make_cells(config.cells)
        )
        self.body = make_decoder_body(config)

    def forward(self, states: Float[Tensor, "T B C X Y"]) -> Float[Tensor, "T B C X Y"]:
        """Return the spikes for the heads of each frame, from rest."""
        frames = states if self.carries else states.flatten(0, 1)[None]
        y: Tensor = self.body(self.see(frames)[0])[0]
        return y.reshape(*states.shape[:2], *y.shape[2:])
