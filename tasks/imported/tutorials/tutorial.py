"""A network from a library's own tutorial: how it is built, run and trained.

Axes: T ticks, B samples, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.training.shuffle import shuffle_batches

Coding = Literal["static", "rate"]


@dataclass(frozen=True, kw_only=True)
class Tutorial:
    """One network, with the code of its library's authors.

    library: its package. source: URL of the page. make: builds a network with random weights.
    run: (network, stimulus T B *N) -> outputs T B K, spikes or membranes, from rest.
    input_shape: of one tick of one sample. ticks: length of a stimulus.
    coding: "static" shows the pixels in every tick, "rate" draws a spike with the probability
    of the pixel's value.
    changed: what differs from the page, such as a smaller width; "": nothing.
    trains: whether the benchmark trains it on digits, with Adam at learning rate ``lr``;
    otherwise it keeps its random weights.
    """

    name: str
    library: str
    source: str
    make: Callable[[], nn.Module]
    run: Callable[[nn.Module, Tensor], Tensor]
    input_shape: tuple[int, ...]
    coding: Coding
    ticks: int
    changed: str = ""
    trains: bool = True
    lr: float = 1e-3

    def encode(self, images: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Return the stimulus of digits (B 1 28 28, pixels 0 to 255), T B *N float32."""
        pixels: np.ndarray = np.broadcast_to(images / 255, (self.ticks, *images.shape))
        if self.coding == "rate":
            pixels = rng.random(pixels.shape) < pixels
        shape = (self.ticks, len(images), *self.input_shape)
        return torch.from_numpy(pixels.astype(np.float32)).reshape(shape)


class DrawnNetwork(NamedTuple):
    """A random network. input_shape: of one tick of one sample."""

    module: nn.Module
    input_shape: tuple[int, ...]


def train_tutorial(
    tutorial: Tutorial, net: nn.Module, images: np.ndarray, labels: np.ndarray, *, seed: int
) -> None:
    """Train a network for one pass over digits, on the cross-entropy of its summed outputs."""
    net.train()
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=tutorial.lr)
    for chosen in shuffle_batches(len(labels), 64, rng):
        outputs = tutorial.run(net, tutorial.encode(images[chosen], rng))
        loss = F.cross_entropy(outputs.sum(0), torch.from_numpy(labels[chosen]).long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    net.eval()
