"""Networks to train, by neuro and by other libraries, with the same layers and weights.

LIF without current: half of the membrane is left after a tick, threshold 1, hard reset, arctan
surrogate. Loss: mean squared error of the output rates. If all ticks of the input are equal,
every subject computes its first layers once. Memory is the growth during a step, in a process
that has already made a step with two samples: code, weights and Adam's states are not counted.
Axes: T ticks, B samples, K classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.base.units import Seconds
from neuro.neurons import LIF
from neuro.nn.layers import Spiking, Stack
from neuro.ops.sparse_linear import store_by_input
from tasks.bench.harness import Run
from tasks.bench.stopwatch import repeat

CELLS: Final = "cells"  # marks a layer of neurons among plain modules
TAU = 2.0  # ticks: a membrane keeps 1 - 1 / TAU

Layer = nn.Module | Literal["cells"]
Forward = Callable[[Tensor], Tensor]  # T B ... -> spikes T B K


@dataclass(frozen=True, kw_only=True)
class Work:
    """A network, its input, and its task.

    name: of the network, see LAYERS.
    share: of inputs that spike per tick; 0: an analog image, the same at every tick.
    trains: forward, backward and a step of Adam; otherwise only forward.
    """

    name: str
    ticks: int
    batch: int
    share: float = 0.0
    trains: bool = False

    def stimulus(self) -> Tensor:
        """Return the input, T B ..., the same for every subject."""
        g = torch.Generator().manual_seed(0)
        shape = INPUTS[self.name]
        if self.share:
            drawn = torch.rand(self.ticks, self.batch, *shape, generator=g)
            return (drawn < self.share).float()
        image = torch.rand(self.batch, *shape, generator=g)
        return image.expand(self.ticks, *image.shape)

    def labels(self) -> Tensor:
        """Return targets for the rates, B K."""
        return F.one_hot(torch.arange(self.batch) % 10, 10).float()

    def layers(self) -> list[Layer]:
        """Return the layers in order, with their initial weights."""
        with seeded(0):
            return LAYERS[self.name]()


def _conv(inputs: int, outputs: int, gain: float) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.normal_(conv.weight, std=gain / math.sqrt(9 * inputs))
    return conv


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=gain / math.sqrt(inputs))
    return linear


def digits() -> list[Layer]:
    """Return two convolutions with pools, 28 x 28."""
    return [
        *(_conv(1, 32, 2.0), CELLS, nn.AvgPool2d(2)),
        *(_conv(32, 64, 4.0), CELLS, nn.AvgPool2d(2)),
        *(nn.Flatten(), _linear(64 * 49, 10, 6.0), CELLS),
    ]


def dense() -> list[Layer]:
    """Return 784-512-10."""
    return [_linear(784, 512, 6.0), CELLS, _linear(512, 10, 6.0), CELLS]


def tiny() -> list[Layer]:
    """Return a network that a test runs quickly: one layer of each kind."""
    return [
        *(_conv(1, 4, 2.0), CELLS, nn.AvgPool2d(2)),
        *(_conv(4, 4, 4.0), nn.BatchNorm2d(4), CELLS, nn.MaxPool2d(2)),
        *(nn.Flatten(), _linear(4 * 49, 10, 6.0), CELLS),
    ]


def cifar() -> list[Layer]:
    """Return the network of Qiu et al. 2024 for CIFAR-10, at full size, without dropout."""
    out: list[Layer] = []
    for given in (3, 256, 256, 0, 256, 256, 256, 0):
        if given:
            out += [_conv(given, 256, 1.0), nn.BatchNorm2d(256), CELLS]
        else:
            out += [nn.MaxPool2d(2)]
    out += [nn.Flatten(), _linear(256 * 64, 2048, 2.0), CELLS, _linear(2048, 100, 2.0), CELLS]
    return [*out, nn.Unflatten(1, (1, 100)), nn.AvgPool1d(10), nn.Flatten()]


LAYERS: dict[str, Callable[[], list[Layer]]]
LAYERS = {make.__name__: make for make in (digits, dense, cifar, tiny)}
INPUTS = {"digits": (1, 28, 28), "dense": (784,), "cifar": (3, 32, 32), "tiny": (1, 28, 28)}


def neuro(work: Work, threads: int) -> Run:
    """Return a run of our Stack."""
    cells = LIF(tau=Seconds(1e-3 / math.log(TAU)), reset="hard")
    layers = (x if isinstance(x, nn.Module) else Spiking(cells) for x in work.layers())
    net = store_by_input(Stack(*layers))
    return timed(work, threads, net, lambda x: net(x)[0])


def floor(work: Work, threads: int) -> Run:
    """Return a run of everything except neurons, densely, with all ticks in one batch."""
    net = nn.Sequential(*(x for x in work.layers() if isinstance(x, nn.Module)))
    return timed(work, threads, net, lambda x: net(x.flatten(0, 1)).unflatten(0, x.shape[:2]))


def spikingjelly_multi(work: Work, threads: int) -> Run:
    """Return SpikingJelly, layer by layer over all ticks."""
    from spikingjelly.activation_based import functional, layer

    layers = work.layers()
    net = nn.Sequential(
        *(_jelly("m") if x == CELLS else layer.SeqToANNContainer(x) for x in layers)
    )
    once = count_constant_layers(work, layers)

    def forward(x: Tensor) -> Tensor:
        functional.reset_net(net)
        if once:
            first = net[:once](x[:1])
            x = first.expand(len(x), *first.shape[1:])
        y: Tensor = net[once:](x)
        return y

    return timed(work, threads, net, forward)


def spikingjelly_step(work: Work, threads: int) -> Run:
    """Return SpikingJelly, tick by tick."""
    from spikingjelly.activation_based import functional

    parts = [x if isinstance(x, nn.Module) else _jelly("s") for x in work.layers()]

    def reset() -> None:
        for part in parts:
            functional.reset_net(part)

    return _by_ticks(work, threads, parts, reset)


def _jelly(mode: str) -> nn.Module:
    from spikingjelly.activation_based import neuron, surrogate

    cells: nn.Module = neuron.LIFNode(
        TAU,
        decay_input=False,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode=mode,
    )
    return cells


class _Stateful(nn.Module):
    """A neuron layer of a library that keeps its state until it is reset."""

    def __init__(self, cell: nn.Module, start: Callable[[], Any]) -> None:
        super().__init__()
        self.cell, self.start = cell, start
        self.state = start()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor
        y, self.state = self.cell(x, self.state)
        return y


def snntorch(work: Work, threads: int) -> Run:
    """Return snnTorch's Leaky, tick by tick."""
    import snntorch as snn

    def cells() -> nn.Module:
        leaky = snn.Leaky(
            beta=1 - 1 / TAU,
            reset_mechanism="zero",
            reset_delay=False,
            spike_grad=snn.surrogate.atan(),
        )
        return _Stateful(leaky, leaky.init_leaky)

    return _forgetful(work, threads, cells)


def norse_box(work: Work, threads: int) -> Run:
    """Return Norse's LIF without current, tick by tick; its input leaks in."""
    from norse.torch import LIFBoxCell, LIFBoxParameters

    p = LIFBoxParameters(tau_mem_inv=torch.tensor(1 / TAU), v_th=torch.tensor(1 / TAU))
    return _forgetful(work, threads, lambda: _Stateful(LIFBoxCell(p, dt=1.0), lambda: None))


def norse_lif(work: Work, threads: int) -> Run:
    """Return Norse's LIF, which also has a synaptic current, tick by tick."""
    from norse.torch import LIFCell

    return _forgetful(work, threads, lambda: _Stateful(LIFCell(), lambda: None))


def _forgetful(work: Work, threads: int, cells: Callable[[], nn.Module]) -> Run:
    parts = [x if isinstance(x, nn.Module) else cells() for x in work.layers()]

    def reset() -> None:
        for part in parts:
            if isinstance(part, _Stateful):
                part.state = part.start()

    return _by_ticks(work, threads, parts, reset)


def _by_ticks(
    work: Work, threads: int, parts: Sequence[nn.Module], reset: Callable[[], None]
) -> Run:
    net = nn.Sequential(*parts)
    once = count_constant_layers(work, work.layers())

    def forward(x: Tensor) -> Tensor:
        reset()
        inputs = [net[:once](x[0])] * len(x) if once else list(x)
        return torch.stack([net[once:](now) for now in inputs])

    return timed(work, threads, net, forward)


def count_constant_layers(work: Work, layers: list[Layer]) -> int:
    """Return the number of layers whose input is the same at every tick."""
    return 0 if work.share else layers.index(CELLS)


def timed(
    work: Work, threads: int, net: nn.Module, forward: Forward, *, before: int = 2
) -> Run:
    """Return a run of a training or inference step, which counts output spikes.

    before: samples of a preceding step, which loads the code so that it is not counted as
    memory.
    """
    torch.set_num_threads(threads)
    net.train(work.trains)
    adam = torch.optim.Adam(net.parameters(), lr=1e-4)

    def once(x: Tensor, labels: Tensor) -> tuple[int, int]:
        if not work.trains:
            with torch.no_grad():
                return int(forward(x).sum()), 0
        y = forward(x)
        adam.zero_grad()
        F.mse_loss(y.mean(0), labels).backward()  # type: ignore[no-untyped-call]
        adam.step()
        return int(y.detach().sum()), 0

    few = replace(work, batch=before)
    once(few.stimulus(), few.labels())
    return repeat(partial(once, work.stimulus(), work.labels()))
