"""Small narrow networks, for tests of bottlenecks."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.nn.layers import Stack, list_steps
from tasks.bottlenecks import task
from tasks.bottlenecks.config import BottleneckConfig, BoundaryConfig, Link


def small(**changes: object) -> BottleneckConfig:
    """Return two blocks of 4 and 6 channels over two ticks, on few embedded digits."""
    config = BottleneckConfig(
        **{
            **{"channels": (4, 6), "ticks": 2, "train": 40, "held": 20, "test": 20},
            **{"batch": 20, "epochs": 1, "compared": 5},
            **changes,
        }  # type: ignore[arg-type]
    )
    return config


def narrow(link: Link, *cuts: tuple[int, int], **more: object) -> BottleneckConfig:
    """Return the same with cuts (blocks in front, width)."""
    after, widths = zip(*cuts, strict=True)
    boundary = BoundaryConfig(after=after, widths=widths, link=link)
    return small(narrow=replace(boundary, **more))  # type: ignore[arg-type]


def build_alive(config: BottleneckConfig) -> Stack:
    """Return a network whose norms have seen digits, in evaluation, so that it fires."""
    x = draw_digits(config)
    with seeded(0), torch.no_grad():
        model = task.build(config)
        for _ in range(20):
            model(x)
    return model.eval()


def draw_digits(config: BottleneckConfig, split: str = "train") -> Tensor:
    x, _ = next(task.batches(config, split, 0))  # type: ignore[arg-type]
    return x


def take(model: nn.Module, name: str) -> Stack:
    """Return a module of a network by its name."""
    module = dict(list_steps(model))[name]
    assert isinstance(module, Stack)
    return module
