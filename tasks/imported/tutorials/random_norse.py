"""Random networks of Norse, which test that an import has the spikes of its source."""

from typing import Any

import norse.torch as norse
import numpy as np
import torch
from norse.torch.functional.reset import reset_subtract, reset_value
from torch import Tensor, nn

from tasks.imported.tutorials.tutorial import DrawnNetwork

METHODS = ("super", "heaviside", "triangle", "tanh", "circ")


def draw_norse(rng: np.random.Generator) -> DrawnNetwork:
    """Return a network of one to three layers of random neurons.

    The neurons are in a SequentialState, lifted or not, in modules over time, or in a loop of
    the network's own forward. torch's generator draws the weights.
    """
    drawer = _Drawer(rng, dt=float(rng.choice([1e-3, 5e-4])))
    over_time = bool(rng.random() < 0.3)
    layers, shape = drawer.draw_layers(over_time=over_time)
    if over_time:
        parts = [m if _keeps_state(m) else norse.Lift(m) for m in layers]
        return DrawnNetwork(norse.SequentialState(*parts), shape)
    styles = [norse.SequentialState, _lift, _Loop]
    return DrawnNetwork(styles[rng.integers(3)](*layers), shape)


def _lift(*layers: nn.Module) -> nn.Module:
    lifted: nn.Module = norse.Lift(norse.SequentialState(*layers))
    return lifted


def _keeps_state(module: nn.Module) -> bool:
    return type(module).__module__.startswith("norse")


class _Loop(nn.Module):
    """A network with its own forward, whose states are local variables."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all ticks."""
        states: list[Any] = [None] * len(self.layers)
        outputs = []
        for t in range(x.shape[0]):
            z = x[t]
            for k, part in enumerate(self.layers):
                if _keeps_state(part):
                    z, states[k] = part(z, states[k])
                else:
                    z = part(z)
            outputs.append(z)
        return torch.stack(outputs)


class _Drawer:
    """Draws the parts of one network."""

    def __init__(self, rng: np.random.Generator, dt: float) -> None:
        self.rng, self.dt = rng, dt

    def draw_layers(self, *, over_time: bool) -> tuple[list[nn.Module], tuple[int, ...]]:
        """Return layers, and the shape of their input in one tick."""
        rng = self.rng
        layers: list[nn.Module] = []
        shape: tuple[int, ...] = (int(rng.integers(3, 12)),)
        if rng.random() < 0.4:
            shape = (int(rng.integers(1, 3)), 8, 8)
        entry = shape
        for _ in range(rng.integers(1, 4)):
            if len(shape) == 3 and rng.random() < 0.3:
                layers.append(nn.Flatten())
                shape = (int(np.prod(shape)),)
            width = int(rng.integers(3, 12))
            if len(shape) == 3 and min(shape[1:]) > 2:
                padding = int(rng.integers(2))
                layers.append(nn.Conv2d(shape[0], width, 3, padding=padding))
                grown = 2 * padding - 2
                shape = (width, shape[1] + grown, shape[2] + grown)
            elif len(shape) == 3:
                layers.append(nn.Flatten())
                shape = (int(np.prod(shape)),)
            if len(shape) == 1:
                recurrent = rng.random() < 0.3
                if recurrent:
                    layers.append(self._draw_recurrent(shape[0], width, over_time=over_time))
                    shape = (width,)
                    continue
                layers.append(nn.Linear(shape[0], width, bias=bool(rng.integers(2))))
                shape = (width,)
            layers.append(self._draw_cell(shape, over_time=over_time))
            if len(shape) == 3 and min(shape[1:]) > 3 and rng.random() < 0.5:
                layers.append(nn.MaxPool2d(2) if rng.random() < 0.5 else nn.AvgPool2d(2))
                shape = (shape[0], shape[1] // 2, shape[2] // 2)
        return layers + self._draw_end(shape, over_time=over_time), entry

    def _draw_end(self, shape: tuple[int, ...], *, over_time: bool) -> list[nn.Module]:
        """Return a read-out behind the last spikes, or no layer."""
        kind = self.rng.integers(4)
        if kind == 0 or len(shape) == 3:
            return []
        p = norse.LIParameters(self._rate(), self._rate())
        if kind == 1 and not over_time:
            return [norse.LILinearCell(shape[0], 4, p, dt=self.dt)]
        module = norse.LI if over_time else norse.LICell
        end: nn.Module = module(p, dt=self.dt)
        if kind == 2 and not over_time:
            end = norse.LIBoxCell(norse.LIBoxParameters(self._rate()), dt=self.dt)
        return [nn.Linear(shape[0], 4), end]

    def _draw_cell(self, shape: tuple[int, ...], *, over_time: bool) -> Any:
        rng = self.rng
        if over_time:
            if rng.random() < 0.3:
                return norse.IAF(self._draw_iaf(), dt=self.dt)
            return norse.LIF(norse.LIFParameters(**self._draw_lif(())), dt=self.dt)
        # One value per neuron or channel, in two cases of five.
        own = shape if rng.random() < 0.2 else (shape[0], *[1] * (len(shape) - 1))
        size: tuple[int, ...] = own if rng.random() < 0.4 else ()
        kind = rng.integers(4)
        if kind == 0:
            return norse.LIFCell(norse.LIFParameters(**self._draw_lif(size)), dt=self.dt)
        if kind == 1:
            p = self._draw_lif(size)
            del p["tau_syn_inv"]
            subtracts = bool((p["v_th"] > 0).all()) and rng.random() < 0.5
            reset = reset_subtract if subtracts else reset_value
            box = norse.LIFBoxParameters(**p, reset_method=reset)
            return norse.LIFBoxCell(box, dt=self.dt)
        if kind == 2:
            return norse.LIFRefracCell(self._draw_refractory(), dt=self.dt)
        return norse.IAFCell(self._draw_iaf(), dt=self.dt)

    def _draw_recurrent(self, inputs: int, width: int, *, over_time: bool) -> nn.Module:
        held = self.rng.random() < 0.5
        p = self._draw_refractory() if held else norse.LIFParameters(**self._draw_lif(()))
        kinds = (norse.LIFRecurrentCell, norse.LIFRefracRecurrentCell)
        if over_time:
            kinds = (norse.LIFRecurrent, norse.LIFRefracRecurrent)
        autapses = bool(self.rng.integers(2))
        cell: nn.Module = kinds[held](inputs, width, p, autapses=autapses, dt=self.dt)
        return cell

    def _draw_refractory(self) -> Any:
        rho = torch.as_tensor(float(self.rng.uniform(0, 6)))
        return norse.LIFRefracParameters(norse.LIFParameters(**self._draw_lif(())), rho)

    def _draw_iaf(self) -> Any:
        low = float(self.rng.normal())
        high = low + float(self.rng.uniform(0.3, 1.5))
        return norse.IAFParameters(torch.as_tensor(high), torch.as_tensor(low))

    def _draw_lif(self, size: tuple[int, ...]) -> dict[str, Any]:
        """Return parameters; those of ``size`` differ from neuron to neuron."""
        rng = self.rng
        leak = float(rng.choice([0.0, rng.normal()]))
        high = torch.as_tensor(leak + rng.uniform(0.05, 0.4, size), dtype=torch.float32)
        low = leak if rng.random() < 0.5 else leak - float(rng.uniform(0, 0.5))
        return {
            "tau_syn_inv": self._rate(size),
            "tau_mem_inv": self._rate(size),
            "v_leak": torch.as_tensor(leak),
            "v_th": high,
            "v_reset": torch.as_tensor(low),
            "method": str(rng.choice(METHODS)),
        }

    def _rate(self, size: tuple[int, ...] = ()) -> Tensor:
        """Return 1 / tau [1/s], with which a neuron's state decays by 2 to 95 % per tick."""
        return torch.as_tensor(
            self.rng.uniform(0.02, 0.95, size) / self.dt, dtype=torch.float32
        )
