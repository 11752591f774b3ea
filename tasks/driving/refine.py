"""Refinement of a path by a spiking GRU with features of the front camera.

    r = H(W_r x + U_r h), z = H(W_z x + U_z h), n = H(W_n x + U_n (r and h))
    h' = (z and h) or (n and not z)          speed[k] += sum over j <= k of (W h'[j])_0
                                             curvature[k] += (W h'[k])_1

H fires for arguments >= 0. Every value is a spike, so neurons without memory compute the
products of a GRU as logic gates with weights of one, and the whole GRU is a spiking Graph. SAD
multiplies, keeps a real-valued state, and adds W h' to x and y. x: the path to refine, speed,
yaw rate and navigation. h starts as spikes computed from the features of the front camera. One
tick is one future frame. The ANN twin has a standard GRU.
Axes: T = F frames (ticks), B windows, C channels, h and w of features, Q neurons.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from drivers.nuscenes.window import FRAME
from neuro.base.units import Seconds, Ticks
from neuro.graph import Conv2d, Edge, Graph, Input, Node
from neuro.neurons import LIF
from neuro.nn import Net, Stack
from neuro.nn.layers import DT
from tasks.driving.cells import SURROGATES, convolve, draw_weights, make_cells
from tasks.driving.config import Cells, DrivingConfig, Navigation
from tasks.driving.sampler import NAVIGATION, EgoState, encode_navigation, find_moves

NEXT = Ticks(1)
KNOWN = 6  # inputs before the navigation: position and step of a frame, speed, yaw rate
SIZES = (20.0, 5.0, 5.0, 1.0, 10.0, 0.5)  # units of these inputs
CHANGES = (1.0, 0.05)  # [m/s^2], [1/m]: acceleration and curvature that W h' = 1 adds
FORGETFUL = Seconds(DT / 1000)  # exp(-1000) is 0 in every precision


def make_spiking_gru(cells: Cells, inputs: int, hidden: int) -> Net:
    """Return the GRU as a Net over T frames.

    Inputs: "x" T B I 1 1, and "start" T B Q 1 1: spikes of the state before the first tick,
    then silence. Outputs: "keep" and "new", of which at most one fires; their sum is h'.
    """
    nodes: dict[str, Node] = {
        "x": Input(shape=(inputs, 1, 1)),
        "start": Input(shape=(hidden, 1, 1)),
        "not_z": Conv2d(weight=np.full((hidden, 1, 1, 1), -1.0, np.float32), groups=hidden),
    }
    state = ("start", Ticks(0)), ("keep", NEXT), ("new", NEXT)
    edges = []
    for gate in "rzn":
        nodes[f"{gate}_x"] = _dense(inputs, hidden, bias=1.0)
        nodes[f"{gate}_h"] = _dense(hidden, hidden)
        nodes[gate] = _neurons(cells, 1.0)
        edges += [Edge("x", f"{gate}_x"), Edge(f"{gate}_x", gate), Edge(f"{gate}_h", gate)]
    for name in ("r_and_h", "keep", "new"):
        nodes[name] = _neurons(cells, 0.5 if name == "new" else 1.5)
    edges += [Edge(h, f"{gate}_h", delay) for gate in "rz" for h, delay in state]
    edges += [Edge(h, "r_and_h", delay) for h, delay in state] + [Edge("r", "r_and_h")]
    edges += [Edge("r_and_h", "n_h")]
    edges += [Edge(h, "keep", delay) for h, delay in state] + [Edge("z", "keep")]
    edges += [Edge("n", "new"), Edge("z", "not_z"), Edge("not_z", "new")]
    net = Net(Graph(nodes=nodes, edges=tuple(edges), dt=DT))
    for name, part in net.parts.items():
        if name == "node_not_z":
            part.requires_grad_(False)
        elif isinstance(weight := getattr(part, "weight", None), Tensor):
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return net


def _neurons(cells: Cells, threshold: float) -> LIF:
    surrogate = SURROGATES[cells.surrogate]
    return LIF(tau=FORGETFUL, threshold=threshold, reset="hard", surrogate=surrogate)


def _dense(inputs: int, outputs: int, bias: float | None = None) -> Conv2d:
    """Return a dense layer, a 1 x 1 convolution of values (C, 1, 1), with zero weights."""
    weight = np.zeros((outputs, inputs, 1, 1), np.float32)
    offset = None if bias is None else np.full(outputs, bias, np.float32)
    return Conv2d(weight=weight, bias=offset)


class Refinement(nn.Module):
    """Refines a path by changes of speed and curvature, computed by a GRU."""

    def __init__(self, config: DrivingConfig) -> None:
        super().__init__()
        hidden, (height, width) = config.planner.hidden, config.feature_size
        self.spiking = config.cells.kind == "lif"
        self.navigation = config.planner.navigation
        number = KNOWN + NAVIGATION[self.navigation]
        middle = max(8, config.channels // 4)
        layers: dict[str, nn.Module] = {}
        for k, inputs in enumerate((config.channels, middle, middle)):
            level = convolve(config.cells, inputs, middle, stride=2)
            layers |= {f"{name}{k}": module for name, module in level.items()}
            height, width = (height + 1) // 2, (width + 1) // 2
        layers |= {
            "cells": make_cells(config.cells),
            "flat": nn.Flatten(),
            "dense": nn.Linear(middle * height * width, hidden),
            "start": make_cells(config.cells),
        }
        self.start = Stack(**layers)
        draw_weights(self.start.get_parameter("dense.weight"))
        self.gru: nn.Module = (
            make_spiking_gru(config.cells, number, hidden)
            if self.spiking
            else nn.GRU(number, hidden)
        )
        self.end = nn.Linear(hidden, 2)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    def forward(
        self, path: Float[Tensor, "B F 3"], front: Float[Tensor, "B C h w"], ego: EgoState
    ) -> Float[Tensor, "B F 3"]:
        """Return the path with a changed speed and curvature."""
        states = self.run_gru(
            make_inputs(path, ego, self.navigation), self.start(front[None])[0]
        )
        change = self.end(states).transpose(0, 1) * torch.tensor(CHANGES, device=path.device)
        return steer_path(path, FRAME * change[..., 0].cumsum(1), change[..., 1])

    def run_gru(
        self, x: Float[Tensor, "T B I"], start: Float[Tensor, "1 B Q"]
    ) -> Float[Tensor, "T B Q"]:
        """Return the state of the GRU after each tick."""
        if not self.spiking:
            states: Tensor = self.gru(x, start)[0]
            return states
        first = torch.cat([start, start.new_zeros(len(x) - 1, *start.shape[1:])])
        out, _ = self.gru({"x": x[..., None, None], "start": first[..., None, None]})
        state: Tensor = out["keep"] + out["new"]
        return state[..., 0, 0]


def make_inputs(
    path: Float[Tensor, "B F 3"], ego: EgoState, navigation: Navigation
) -> Float[Tensor, "F B I"]:
    """Return the inputs of the GRU for each frame."""
    frames = path.shape[1]
    xy = path[..., :2]
    motion = torch.stack([ego.speed, ego.yaw_rate], -1)[:, None].expand(-1, frames, -1)
    values = torch.cat([xy, find_moves(xy), motion], -1)
    sizes = torch.tensor(SIZES, device=path.device)
    way = encode_navigation(ego, navigation)[:, None].expand(-1, frames, -1)
    inputs = torch.cat([values / sizes, way], -1)
    return inputs.transpose(0, 1)


def steer_path(
    path: Float[Tensor, "B F 3"], speed: Float[Tensor, "B F"], curvature: Float[Tensor, "B F"]
) -> Float[Tensor, "B F 3"]:
    """Add speed and curvature to a path, without driving backwards.

    speed [m/s], curvature [1/m]: changes in each frame; zeros keep the path.
    """
    moves = find_moves(path[..., :2])
    length = moves.norm(dim=-1)
    long = length > 1e-3  # below a millimetre, a step has the direction of the car
    x, y = torch.where(long, moves[..., 0], 1), torch.where(long, moves[..., 1], 0)
    course = torch.where(long, torch.atan2(y, x), path[..., 2])
    driven = F.relu(length + FRAME * speed)
    turn = curvature * driven
    turned = turn.cumsum(1)
    along = course + turned - turn / 2
    steps = driven[..., None] * torch.stack([along.cos(), along.sin()], -1)
    return torch.cat([steps.cumsum(1), (path[..., 2] + turned)[..., None]], -1)
