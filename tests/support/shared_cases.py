"""Networks that look at, or draw for, a whole batch, each with its course; float64.

In float64 the order of sums moves no membrane across a threshold; neurons learn in float32.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import builders
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.neurons import ALIF, LI, LIF
from neuro.nn.layers import Recurrent, Spiking, Stack
from neuro.spikes.codes import direct
from neuro.training import Batch, Course
from neuro.training.distributed import draw_shard, get_rank_and_world_size, list_own_samples

Case = tuple[nn.Module, Course]


def batches(epoch: int) -> Iterator[Batch]:
    return ((x.double(), labels) for x, labels in builders.batches(epoch))


COURSE = Course(batches=batches, steps=3, loss=builders.loss, validate=lambda _: 0.0)


def plain() -> Case:
    return builders.model().double(), COURSE


def normed() -> Case:
    return builders.normed().double(), COURSE


def dropping() -> Case:
    """Dropouts in a Stack: of maps, channels last, and of a vector."""

    def images(epoch: int) -> Iterator[Batch]:
        for x, labels in batches(epoch):
            image = x[0][:, None, None].expand(-1, 1, 6, 6).contiguous()
            yield direct(image, Ticks(20)), labels

    with seeded(0):
        net = Stack(
            conv=nn.Conv2d(1, 4, 3),
            drop=nn.Dropout(0.3),
            alif=Spiking(ALIF(threshold=0.2)),
            maps=nn.Dropout2d(0.3),
            flat=nn.Flatten(),
            alpha=nn.AlphaDropout(0.2),
            fc=nn.Linear(64, 3),
            out=Spiking(LI(tau=0.02)),
        ).double()
    return net, replace(COURSE, batches=images)


def nested() -> Case:
    """Norms and dropouts inside other modules, and noise that the loss draws."""

    def noisy(net: nn.Module, batch: Batch, at: float) -> Tensor:  # noqa: ARG001
        x, labels = batch
        noise = draw_shard(lambda samples: torch.randn(len(x), samples, 6), x.shape[1], axis=1)
        return F.cross_entropy(net(x + noise.double())[0].mean(0), labels)

    def inner(bias: bool) -> nn.Sequential:
        return nn.Sequential(nn.Linear(8, 8, bias=bias), nn.BatchNorm1d(8), nn.Dropout(0.2))

    with seeded(0):
        net = Stack(
            a=nn.Linear(6, 8),
            rec=Recurrent(Spiking(LIF(tau=0.01, threshold=0.3)), inner(False)),
            body=inner(False),
            b=nn.Linear(8, 3),
            out=Spiking(LI(tau=0.02)),
        ).double()
    return net, replace(COURSE, loss=noisy)


def staged() -> Case:
    """Layers that freeze and thaw inside an epoch, updates of two batches (two.PLANS)."""
    return builders.model().double(), COURSE


def streamed() -> Case:
    """Named tensors, and states that are handed on from batch to batch and over epochs."""

    def named(epoch: int) -> Iterator[dict[str, Tensor]]:
        return ({"x": x, "y": y, "scale": torch.ones(1)} for x, y in batches(epoch))

    def stream(net: nn.Module, batch: dict[str, Tensor], at: float, state: Any) -> Any:  # noqa: ARG001
        y, state = net(batch["x"] * batch["scale"], state)
        return F.cross_entropy(y.mean(0), batch["y"]), state

    axes = {"x": 1, "y": 0, "scale": None}
    course = replace(COURSE, batches=named, loss=stream, batch_axis=axes, carry="training")
    return builders.model().double(), course


def driving() -> Case:
    """The driver through its three stages (two.plan), with norms and drawn numbers.

    Without the loss of depth, whose mean over what was measured is not that of its shards.
    Each process makes its own windows alone.
    """
    from driving_windows import make_window, small_config

    from tasks.driving.batch import make_batch
    from tasks.driving.model import Driver
    from tasks.driving.task import compute_loss

    config = replace(small_config(), depth_loss=False)

    def batches(_: int) -> Iterator[Any]:
        own = make_batch([make_window(config, k) for k in list_own_samples(4)])
        yield tree_map(lambda x: x.double() if x.is_floating_point() else x, own)

    def loss(net: nn.Module, batch: Any, at: float) -> Tensor:
        return compute_loss(config, net, batch, at)

    with seeded(0):
        net = Driver(config).double()
        nn.init.normal_(net.planner.refinement.end.weight)
    return net, Course(
        batches=batches, steps=1, loss=loss, validate=lambda _: 0.0, batch_axis=0, sharded=True
    )


def language() -> Case:
    """A ternary language model, with states that go on from batch to batch."""
    from tasks.language import TASK
    from tasks.language.config import LanguageConfig

    config = LanguageConfig(stack="mlgru+rwkv6", width=16, hidden=24, heads=2, linear="ternary")
    with seeded(0):
        net = TASK.training.build(config).double()
        text = torch.randint(256, (4, 9, 4))

    def lanes(_: int) -> Iterator[Batch]:
        return ((part[:-1], part[1:]) for part in text)

    course = replace(
        COURSE,
        batches=lanes,
        loss=partial(TASK.training.loss, config),
        batch_axis=1,
        carry="training",
        carry_types=TASK.training.carry_types,
    )
    return net, course


def spoilt() -> Case:
    """A loss that is not finite in the second process alone."""

    def broken(net: nn.Module, batch: Batch, at: float) -> Tensor:
        return builders.loss(net, batch, at) * (
            torch.nan if get_rank_and_world_size()[0] == 1 else 1
        )

    return builders.model().double(), replace(COURSE, loss=broken)
