"""Random networks of snnTorch, written in the styles of its users."""

from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded

KINDS = ("Leaky", "Synaptic", "RLeaky", "RSynaptic", "Lapicque")


class RandomLoop(nn.Module):
    """A network with a loop over ticks, whose states are local variables.

    ticks: number of ticks for which one image is shown; None: x has an axis of ticks.
    """

    def __init__(
        self, layers: list[nn.Module], neurons: list[nn.Module], ticks: int | None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.neurons = nn.ModuleList(neurons)
        self.ticks = ticks

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of the last neurons, T B *N."""
        states: list[tuple[Any, ...]] = [() for _ in self.neurons]
        out = []
        for t in range(self.ticks or x.size(0)):
            spikes = x if self.ticks else x[t]
            for k, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                spikes, *rest = neuron(layer(spikes), *states[k])
                own = isinstance(neuron, snn.RLeaky | snn.RSynaptic)
                states[k] = (spikes, *rest) if own else tuple(rest)
            out.append(spikes)
        return torch.stack(out)


def draw_network(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network whose neurons fire, and the shape of its input in one tick."""
    with seeded(seed):
        return _draw(np.random.default_rng(seed))


def _draw(rng: np.random.Generator) -> tuple[nn.Module, tuple[int, ...]]:
    images = bool(rng.random() < 0.3)
    shape: tuple[int, ...] = (int(rng.integers(1, 3)), 6, 6) if images else (_few(rng),)
    style = str(rng.choice(["loop", "hidden", "static"]))
    layers: list[nn.Module] = []
    neurons: list[nn.Module] = []
    size = shape
    for _ in range(int(rng.integers(1, 4))):
        layer, size = _draw_layer(rng, size)
        layers.append(layer)
        neurons.append(_draw_neuron(rng, size, hidden=style == "hidden"))
    if style == "hidden":
        pairs = [part for pair in zip(layers, neurons, strict=True) for part in pair]
        return nn.Sequential(*pairs), shape
    ticks = int(rng.integers(8, 20)) if style == "static" else None
    return RandomLoop(layers, neurons, ticks), shape


def _few(rng: np.random.Generator) -> int:
    return int(rng.integers(3, 9))


def _draw_layer(
    rng: np.random.Generator, size: tuple[int, ...]
) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a layer with weights that let the next population fire, and its output shape."""
    flat = len(size) == 1 or bool(rng.random() < 0.4)
    parts: list[nn.Module] = []
    if flat:
        parts += [nn.Flatten()] if len(size) > 1 else []
        weighted: Any = nn.Linear(int(np.prod(size)), _few(rng), bias=bool(rng.random() < 0.7))
        size = (weighted.out_features,)
    else:
        weighted = nn.Conv2d(size[0], int(rng.integers(1, 4)), 3, padding=1)
        size = (weighted.out_channels, *size[1:])
    weighted.weight.data *= float(rng.uniform(1, 5))
    parts.append(weighted)
    if rng.random() < 0.3:
        norm: Any = nn.BatchNorm1d(size[0]) if flat else nn.BatchNorm2d(size[0])
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 1.5)
        parts.append(norm)
    if rng.random() < 0.3:
        parts.append(nn.Dropout(0.5))
    if len(size) == 3 and size[1] % 2 == 0 and rng.random() < 0.4:
        parts.append(nn.MaxPool2d(2) if rng.random() < 0.5 else nn.AvgPool2d(2))
        size = (size[0], size[1] // 2, size[2] // 2)
    return nn.Sequential(*parts), size


def _draw_neuron(rng: np.random.Generator, size: tuple[int, ...], *, hidden: bool) -> nn.Module:
    """Return a neuron of a random class with random parameters."""
    kind = str(rng.choice(KINDS))
    reset = str(rng.choice(["subtract", "zero", "none"]))
    wide = (size[0], *[1] * (len(size) - 1)) if rng.random() < 0.5 else ()
    beta: Any = torch.as_tensor(rng.uniform(0.3, 1.0, wide), dtype=torch.float32)
    settings: dict[str, Any] = {
        "threshold": torch.as_tensor(rng.uniform(0.4, 1.5, wide), dtype=torch.float32),
        "reset_mechanism": reset,
        "init_hidden": hidden,
        "learn_threshold": bool(rng.random() < 0.5),
    }
    if kind == "Lapicque":
        beta = float(rng.uniform(0.5, 0.95))
    else:
        settings["learn_beta"] = bool(rng.random() < 0.5)
    if "Synaptic" in kind:
        settings["alpha"] = float(rng.uniform(0, 0.95))
    if kind == "Leaky" and rng.random() < 0.3:
        settings["graded_spikes_factor"] = float(rng.uniform(0.3, 2))
    if kind in ("Leaky", "Synaptic", "RLeaky") and reset != "subtract":
        settings["reset_delay"] = bool(rng.random() < 0.7)
    if kind.startswith("R"):
        if rng.random() < 0.4:
            settings |= {"all_to_all": False, "V": float(rng.uniform(-1, 1))}
        elif len(size) == 1:
            settings["linear_features"] = size[0]
        else:
            settings |= {"conv2d_channels": size[0], "kernel_size": 3}
    neuron: nn.Module = getattr(snn, kind)(beta=beta, **settings)
    return neuron
