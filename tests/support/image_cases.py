"""The four models of image_generation, small and in float64, each with its course."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from shared_cases import Case
from torch import nn

from neuro.base.seeds import seeded
from neuro.base.units import Ticks
from neuro.training import Batch, Course
from tasks.images.generation.config import GenerationConfig, ann, tiny
from tasks.images.generation.images import batches
from tasks.images.generation.latents import evaluate_mode
from tasks.images.generation.task import build, loss
from tasks.runs.task import Split

# Of two copies one may fire: the noise of scheduled sampling decides.
SMALL = replace(
    tiny(), channels=(4, 6, 8), latent=6, copies=2, ticks=Ticks(12), train=60, held=30, batch=20
)


def case(config: GenerationConfig) -> Case:
    def wide(split: Split, epoch: int) -> Iterator[Batch]:
        for x, labels in batches(config, split, epoch):
            yield x.double(), labels

    def score(net: nn.Module) -> float:
        (batch,) = wide("val", 0)
        with evaluate_mode(net), seeded(0):
            return -float(loss(config, net, batch, 0.0))

    with seeded(0):
        net = build(config).double()
    course = partial(Course, batches=partial(wide, "train"), steps=3, validate=score)
    return net, course(loss=partial(loss, config))


def attention() -> Case:
    return case(SMALL)


def drawn() -> Case:
    return case(replace(SMALL, model="drawn"))


def membrane() -> Case:
    return case(replace(SMALL, model="membrane", distance="kl"))


def gaussian() -> Case:
    return case(ann(SMALL))
