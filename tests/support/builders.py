"""Networks, stimuli and trainings that several tests share."""

from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.base.units import Seconds, Ticks
from neuro.graph import Graph
from neuro.neurons import ALIF, LI, LIF
from neuro.nn.layers import Delay, Recurrent, Residual, Spiking, Stack
from neuro.training import Batch, Course, Progress


def spikes(*shape: int, seed: int = 0, p: float = 0.4) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < p).float()


def example() -> Stack:
    return Stack(
        conv=nn.Conv2d(1, 3, 3),
        alif=Spiking(ALIF(beta=0.25)),
        res=Residual(Stack(c=nn.Conv2d(3, 3, 3, padding=1), s=Spiking(LIF(tau=0.01)))),
        flat=nn.Flatten(),
        delay=Delay(Ticks(2)),
        fc=nn.Linear(27, 4),
        rec=Recurrent(
            Spiking(LIF(tau=0.01, tau_syn=0.005, reset="hard")), nn.Linear(4, 4), Ticks(3)
        ),
        out=Spiking(LI(tau=0.02)),
    )


def same(one: Graph, other: Graph) -> bool:
    """Say whether two graphs are equal bit for bit."""
    if (one.edges, one.dt, list(one.nodes)) != (other.edges, other.dt, list(other.nodes)):
        return False
    return all(
        type(a) is type(b)
        and all(_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
        for a, b in zip(one.nodes.values(), other.nodes.values(), strict=True)
    )


def _equal(one: object, other: object) -> bool:
    """Say whether two fields are equal, their precision included where they are arrays."""
    both = [value.dtype for value in (one, other) if isinstance(value, np.ndarray)]
    return len(set(both)) < 2 and np.array_equal(one, other)


def model() -> nn.Module:
    with seeded(0):
        return Stack(
            a=nn.Linear(6, 8),
            alif=Spiking(ALIF()),
            b=nn.Linear(8, 3),
            out=Spiking(LI(tau=Seconds(0.02))),
        )


def normed() -> nn.Module:
    """Return a network that normalises by its batch."""
    with seeded(0):
        return Stack(
            a=nn.Linear(6, 8, bias=False),  # a norm would undo it, and leave rounding to Adam
            norm=nn.BatchNorm1d(8),
            alif=Spiking(ALIF()),
            b=nn.Linear(8, 3, bias=False),
            last=nn.BatchNorm1d(3, affine=False, momentum=None),
            out=Spiking(LI(tau=Seconds(0.02))),
        )


def batches(epoch: int) -> Iterator[Batch]:
    rng = torch.Generator().manual_seed(epoch)
    for _ in range(3):
        x = (torch.rand(5, 8, 6, generator=rng) < 0.5).float()
        yield x, (x.sum((0, 2)).long() % 3)


def loss(net: nn.Module, batch: Batch, at: float = 0.0) -> Tensor:  # noqa: ARG001
    return F.cross_entropy(net(batch[0])[0].mean(0), batch[1])


def course(score: float = 0.0) -> Course:
    return Course(batches=batches, steps=3, loss=loss, validate=lambda _: score)


def cpu() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


class Killed(Exception):
    pass


def killed_at(epoch: int, step: int) -> Callable[[Progress, int], None]:
    def kill(progress: Progress, at: int) -> None:
        if (progress.epoch, at) == (epoch, step):
            raise Killed

    return kill


def dyadic(net: Stack) -> Stack:
    """Round weights and biases to multiples of 2^-8, and return the module.

    Sums of their products with dyadic inputs are exact: in whatever order a BLAS adds, which
    depends on its kernels, on threads and on how many rows it is given, all bits are equal.
    """
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                for p in module.parameters():
                    p.copy_((p * 256).round() / 256)
    return net


def dyadic_rand(*shape: int) -> Tensor:
    """Return random float64 multiples of 2^-8 in 0..1."""
    return torch.randint(257, shape).double() / 256
