"""Prediction: two spiking pathways that run on without input after the present frame.

    a[t] = LIF(W_a s[t] + V_a c[t-1] + U z)            c = a + b ("add"), a b ("multiply"),
    h[t] = LIF(W_h s[t] + V_h c[t-1] + R h[t-1])           or g_a a + g_b b ("gate")
    b[t] = LIF(W_b h[t])
    state[S - 1 + k] = move(state[S - 1], k u) + norm(W c[S - 1 + k])   for k = 1 ... F
    u = W_u c[S - 1]

s: spikes of the states of past and present frames, then silence.
z: random numbers whose distribution depends on the present state (the uncertainty).

One tick is one frame. As published, pathway a carries the uncertainty, and pathway b its own
memory h. The published sum ("add") needs only spikes; the product of the released code
("multiply") and the gates need host nodes. The loop has no norm, because a norm with running
statistics goes silent in evaluation.

Unlike in the paper, future states start from the present state: the features of each cell move
by its u [cells per frame], which is trained as the flow of vehicles (without ``moves``, u is
0). The ego motion in a state does not move. If cells of the pathways are larger than those of
the states (stride), W outputs all state cells of a pathway cell. Residual blocks over all
frames follow.
Axes: T = S + F frames (ticks), B windows, C channels of a state, Q of the pathways, Z numbers,
X and Y cells of a state, X2 and Y2 of the pathways.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.base.units import Ticks
from neuro.graph import Concat, Conv2d, Edge, Graph, Input, Multiply, Node, Pointwise, Upsample
from neuro.nn import Net, Stack
from neuro.nn.layers import DT
from neuro.nn.recompute import run_in_blocks
from neuro.training.distributed import draw_shard
from tasks.driving.cells import (
    convolve,
    draw_weights,
    make_block,
    make_cells,
    make_neuron,
    run_stack,
)
from tasks.driving.config import MOTION, DrivingConfig

NEXT = Ticks(1)
CURRENT = 0.5  # scale of initial weights: at 1, small differences in spikes grow to large ones
SPREAD = -2.0  # logarithm of the initial standard deviation of the latent


def make_pathways(config: DrivingConfig) -> Net:
    """Return the loop of both pathways.

    Inputs: "frames" T B C X Y and "latent" T B Z 1 1. Outputs: the activity of all nodes; for
    "add" the fused map is the sum of the nodes "a" and "b".
    """
    c, state, shape = config.prediction, config.state_channels, config.grid.shape
    nodes: dict[str, Node] = {
        "frames": Input(shape=(state, *shape)),
        "a_frames": _convolution(state, c.hidden, c.kernel, c.stride),
        "h_frames": _convolution(state, c.hidden, c.kernel, c.stride),
        "a_fused": _convolution(c.hidden, c.hidden, c.kernel),
        "h_fused": _convolution(c.hidden, c.hidden, c.kernel),
        "h_self": _convolution(c.hidden, c.hidden, c.kernel),
        "b_h": _convolution(c.hidden, c.hidden, c.kernel),
        **{name: make_neuron(config.cells) for name in "ahb"},
    }
    edges = [Edge("frames", "a_frames"), Edge("frames", "h_frames")]
    edges += [Edge("a_frames", "a"), Edge("a_fused", "a"), Edge("h_frames", "h")]
    edges += [Edge("h_fused", "h"), Edge("h", "h_self", NEXT), Edge("h_self", "h")]
    edges += [Edge("h", "b_h"), Edge("b_h", "b")]
    if c.latent:
        nodes["latent"] = Input(shape=(c.latent, 1, 1))
        nodes["a_latent"] = _convolution(c.latent, c.hidden, 1)
        nodes["a_spread"] = Upsample(scale=(shape[0] // c.stride, shape[1] // c.stride))
        edges += [Edge("latent", "a_latent"), Edge("a_latent", "a_spread")]
        edges += [Edge("a_spread", "a")]
    fused, more_nodes, more_edges = _FUSIONS[c.fusion](c.hidden)
    nodes |= more_nodes
    edges += more_edges
    edges += [Edge(end, f"{way}_fused", NEXT) for way in "ah" for end in fused]
    net = Net(Graph(nodes=nodes, edges=tuple(edges), dt=DT))
    for part in net.parts.values():
        weight = getattr(part, "weight", None)
        if isinstance(weight, Tensor):
            draw_weights(weight, CURRENT)
    return net


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Conv2d:
    weight = np.zeros((outputs, inputs, kernel, kernel), np.float32)
    bias = np.zeros(outputs, np.float32)
    padding = (kernel // 2, kernel // 2)
    return Conv2d(weight=weight, bias=bias, padding=padding, stride=(stride, stride))


Parts = tuple[tuple[str, ...], dict[str, Node], list[Edge]]  # fused nodes, new nodes, edges


def _gate(hidden: int) -> Parts:
    nodes: dict[str, Node] = {"both": Concat()}
    edges = [Edge("a", "both"), Edge("b", "both")]
    for way in "ab":
        nodes |= {
            f"{way}_weigh": _convolution(2 * hidden, hidden, 1),
            f"{way}_gate": Pointwise(function="sigmoid"),
            f"{way}_and_gate": Concat(),
            f"{way}_gated": Multiply(),
        }
        edges += [Edge("both", f"{way}_weigh"), Edge(f"{way}_weigh", f"{way}_gate")]
        edges += [Edge(f"{way}_gate", f"{way}_and_gate"), Edge(way, f"{way}_and_gate")]
        edges += [Edge(f"{way}_and_gate", f"{way}_gated")]
    return ("a_gated", "b_gated"), nodes, edges


_FUSIONS: dict[str, Callable[[int], Parts]] = {
    "add": lambda _: (("a", "b"), {}, []),  # their currents add up
    "multiply": lambda _: (
        ("fused",),
        {"both": Concat(), "fused": Multiply()},
        [Edge("a", "both"), Edge("b", "both"), Edge("both", "fused")],
    ),
    "gate": _gate,
}


class Uncertainty(nn.Module):
    """Samples the latent, whose mean and spread depend on the present state.

    Four spiking convolutions of stride 2, the mean over the map, and a linear layer compute
    both. In evaluation the latent is its mean. As in SAD, only the task's loss trains it.
    """

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        half, latent = config.state_channels // 2, config.prediction.latent
        layers: dict[str, nn.Module] = {}
        for k in range(4):
            inputs = half if k else config.state_channels
            level = convolve(config.cells, inputs, half, stride=2)
            layers |= {f"{name}{k}": module for name, module in level.items()}
        self.shrink = Stack(**layers, spikes=make_cells(config.cells))
        self.end = nn.Linear(half, 2 * latent)
        nn.init.constant_(self.end.bias[latent:], SPREAD)

    def forward(self, present: Float[Tensor, "B C X Y"]) -> Float[Tensor, "B Z"]:
        """Return the latent; samples come from torch's global generator."""
        spikes, _ = self.shrink(present[None])
        y: Tensor = self.end(spikes[0].mean((2, 3)))
        mean, spread = y.chunk(2, 1)
        if not self.training:
            return mean

        def draw(samples: int) -> Tensor:
            return torch.randn(samples, mean.shape[1])

        noise = draw_shard(draw, len(mean)).to(mean)
        return mean + spread.clamp(-5, 5).exp() * noise


class Predicted(NamedTuple):
    """States of past, present and future frames; motion u [cells per frame] if states move."""

    states: Float[Tensor, "T B C X Y"]
    motion: Float[Tensor, "B 2 X Y"] | None


def move_cells(
    features: Float[Tensor, "B C X Y"], motion: Float[Tensor, "B 2 X Y"], frames: int
) -> Float[Tensor, "F B C X Y"]:
    """Return features after 1 to ``frames`` frames, in which each cell moves steadily.

    Each moved cell is divided among the four nearest cells with bilinear weights. Features that
    reach the same cell add up; those that leave the grid are lost. motion: along X and Y [cells
    per frame].
    """
    b, c, nx, ny = features.shape
    axes = [torch.arange(n, device=features.device) for n in (nx, ny)]
    start = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).to(motion)
    steps = torch.arange(1, frames + 1, device=features.device).to(motion)
    end = start + steps.view(-1, 1, 1, 1, 1) * motion.movedim(1, -1)  # F B X Y 2
    corner = end.detach().floor()
    share = end - corner
    row = torch.arange(frames * b, device=features.device).view(frames, b, 1, 1)
    values = features.movedim(1, -1)  # B X Y C
    out = values.new_zeros(frames * b * nx * ny, c)
    for dx in (0, 1):
        for dy in (0, 1):
            i, j = (corner + corner.new_tensor((dx, dy))).long().unbind(-1)
            inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
            x, y = share.unbind(-1)
            weight = (x if dx else 1 - x) * (y if dy else 1 - y) * inside
            place = (row * nx + i.clamp(0, nx - 1)) * ny + j.clamp(0, ny - 1)
            part = weight[..., None] * values
            out = out.index_add(0, place.flatten(), part.flatten(0, -2))
    return out.view(frames, b, nx, ny, c).movedim(-1, 2)


class Prediction(nn.Module):
    """Predicts future states from the states of past and present, and refines all of them."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        c, state = config.prediction, config.state_channels
        self.config = config
        self.see = Stack(norm=nn.BatchNorm2d(state), spikes=make_cells(config.cells))
        self.uncertainty = Uncertainty(config) if c.latent else None
        self.pathways = make_pathways(config)
        self.fused = _FUSIONS[c.fusion](c.hidden)[0]
        finer = state * c.stride**2
        self.project = nn.Sequential(
            nn.Conv2d(c.hidden, finer, 1, bias=False),
            nn.BatchNorm2d(finer),
            nn.PixelShuffle(c.stride),
        )
        self.motion: nn.Module | None = None
        if c.moves:
            flow = nn.Conv2d(c.hidden, 2 * c.stride**2, 3, padding=1)
            nn.init.zeros_(flow.weight)
            nn.init.zeros_(flow.bias)  # type: ignore[arg-type]
            self.motion = nn.Sequential(flow, nn.PixelShuffle(c.stride))
        blocks = {
            f"block{k}_{i}": make_block(config.cells, state, state, middle)
            for k, middle in enumerate(c.refine)
            for i in range(2)
        }
        self.refine = Stack(**blocks)
        # At first, every cell keeps its features in all future frames, which is right for most.
        last = [block.get_parameter("body.norm2.weight") for block in blocks.values()]
        for gain in (self.project[1].get_parameter("weight"), *last):
            nn.init.zeros_(gain)

    def forward(self, states: Float[Tensor, "S B C X Y"], futures: int) -> Predicted:
        """Return the refined states and ``futures`` further ones; pathways start from rest."""
        past, present = len(states), states[-1]
        fused = self.run_pathways(states, futures)
        change = self.project(fused[past:].flatten(0, 1)).unflatten(0, (futures, -1))
        moved, motion = present.expand_as(change), None
        if self.motion is not None:
            motion = self.motion(fused[past - 1]).to(states.dtype)
            features, ego = present[:, :-MOTION], moved[:, :, -MOTION:]
            moved = torch.cat([move_cells(features, motion, futures), ego], 2)
        run = run_in_blocks if self.config.recomputes else run_stack
        return Predicted(run(self.refine, torch.cat([states, moved + change])), motion)

    def run_pathways(
        self, states: Float[Tensor, "S B C X Y"], futures: int
    ) -> Float[Tensor, "T B Q X2 Y2"]:
        """Return the fused map of both pathways for each frame."""
        out, _ = self.pathways(self.make_inputs(states, futures))
        return torch.stack([out[name] for name in self.fused]).sum(0)

    def make_inputs(
        self, states: Float[Tensor, "S B C X Y"], futures: int
    ) -> dict[str, Tensor]:
        """Return the inputs of the pathways by name, T B ..."""
        spikes, _ = self.see(states)
        silence = spikes.new_zeros(futures, *spikes.shape[1:])
        inputs = {"frames": torch.cat([spikes, silence])}
        if self.uncertainty is not None:
            z = self.uncertainty(states[-1])[..., None, None]
            inputs["latent"] = z.expand(len(states) + futures, *z.shape)
        return inputs
