"""Random networks of SpikingJelly, which test that an import has the spikes of its source."""

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from tasks.imported.tutorials.tutorial import DrawnNetwork

SURROGATES = (surrogate.ATan, surrogate.Sigmoid, surrogate.SuperSpike, surrogate.Erf)


def draw_spikingjelly(rng: np.random.Generator) -> DrawnNetwork:
    """Return a network of one to three layers of random neurons, in step mode "s" or "m".

    Layers are SpikingJelly's, or torch's in SpikingJelly's containers. torch's generator draws
    the weights.
    """
    shape: tuple[int, ...] = (int(rng.integers(3, 12)),)
    if rng.random() < 0.5:
        shape = (int(rng.integers(1, 3)), 8, 8)
    mode = str(rng.choice(["s", "m"]))
    drawer = _Drawer(rng, mode)
    module = nn.Sequential(*drawer.draw_layers(shape))
    functional.set_step_mode(module, mode)
    return DrawnNetwork(module, shape)


class _Residual(nn.Module):
    """The sum of spikes of SEW blocks: 0, 1, 2."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of x and the spikes of the body."""
        y: Tensor = self.body(x)
        return x + y


class _Drawer:
    """Draws the parts of one network."""

    def __init__(self, rng: np.random.Generator, mode: str) -> None:
        self.rng, self.mode = rng, mode

    def draw_layers(self, shape: tuple[int, ...]) -> list[nn.Module]:
        """Return layers for inputs of a shape."""
        rng = self.rng
        layers: list[nn.Module] = []
        for _ in range(rng.integers(1, 4)):
            if len(shape) == 3 and (min(shape[1:]) < 3 or rng.random() < 0.2):
                layers.append(layer.Flatten())
                shape = (int(np.prod(shape)),)
            width = int(rng.integers(3, 10))
            padding = int(rng.integers(2))
            layers += self._draw_weights(shape, width, padding)
            shape = (width, *(n - 2 + 2 * padding for n in shape[1:]))
            layers.append(self._draw_neuron())
            if rng.random() < 0.3:
                inside = nn.Sequential(
                    *self._draw_weights(shape, width, 1), self._draw_neuron()
                )
                layers.append(_Residual(inside))
            elif len(shape) == 3 and min(shape[1:]) > 3 and rng.random() < 0.6:
                pool = layer.MaxPool2d if rng.random() < 0.5 else layer.AvgPool2d
                layers.append(pool(2))
                shape = (shape[0], shape[1] // 2, shape[2] // 2)
            if rng.random() < 0.2:
                layers.append(layer.Dropout(0.5))
        if rng.random() < 0.3:
            layers += [layer.Flatten()] * (len(shape) == 3)
            layers.append(layer.Linear(int(np.prod(shape)), 4))
        return layers

    def _draw_weights(
        self, shape: tuple[int, ...], width: int, padding: int
    ) -> list[nn.Module]:
        """Return a convolution or linear layer, in some cases with a batch norm behind it."""
        rng, bias = self.rng, bool(self.rng.integers(2))
        contained = self.mode == "m" and rng.random() < 0.4
        library = nn if contained else layer
        if len(shape) == 1:
            made: list[nn.Module] = [library.Linear(shape[0], width, bias=bias)]
        else:
            made = [library.Conv2d(shape[0], width, 3, padding=padding, bias=bias)]
            if rng.random() < 0.6:
                made.append(_settle(library.BatchNorm2d(width), rng))
        return [layer.SeqToANNContainer(*made)] if contained else made

    def _draw_neuron(self) -> nn.Module:
        rng = self.rng
        low = [0.0, -float(rng.uniform(0, 0.5)), None][rng.integers(3)]
        high = float(rng.uniform(0.1, 0.6))
        spike = SURROGATES[rng.integers(len(SURROGATES))]()
        shared = {"v_threshold": high, "v_reset": low, "surrogate_function": spike}
        tau, decays = float(rng.uniform(1.1, 6)), bool(rng.integers(2))
        kind = rng.integers(7)
        made: nn.Module
        if kind == 0:
            made = neuron.IFNode(**shared)
        elif kind in (1, 2):
            made = neuron.LIFNode(tau=tau, decay_input=decays, **shared)
        elif kind == 3:
            made = neuron.ParametricLIFNode(init_tau=tau, decay_input=decays, **shared)
        elif kind == 4:
            made = neuron.SimpleIFNode(**shared)
        elif kind == 5:
            shared["v_reset"] = 0.0
            made = neuron.SimpleLIFNode(tau=tau, decay_input=decays, **shared)
        else:
            shared["v_reset"] = None if low is None else 0.0
            decay = rng.uniform(0.05, 0.95, 2)
            made = neuron.CUBALIFNode(float(decay[0]), float(decay[1]), **shared)
        return made


def _settle(norm: nn.Module, rng: np.random.Generator) -> nn.Module:
    """Return a batch norm with statistics and parameters like those of a trained network."""
    with torch.no_grad():
        for name, values in norm.state_dict().items():
            if values.is_floating_point():
                spread = rng.uniform(0.5, 1.5, values.shape)
                drawn = spread if name in ("running_var", "weight") else spread - 1
                values.copy_(torch.as_tensor(drawn))
    return norm
