"""The loss of every arm: the mean squared error of the velocity.

Times are uniform and ascend within a sequence, so its first image is the noisiest. Every image
has independent noise. A share of the labels is hidden, always for a whole sequence.
Axes: I images of a sequence, B samples, C channels, Y X pixels or latents.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.io.run_folder import RunError
from neuro.training.distributed import draw_shard
from tasks.flow.config import FlowConfig
from tasks.flow.data import batches
from tasks.flow.model import FlowModel
from tasks.flow.path import draw_times, mix
from tasks.runs.share import track_test
from tasks.runs.task import Metric, Pair, Split

LOSS = Metric(name="loss", better="lower", meaning="squared error of the predicted velocity")


def loss(config: FlowConfig, model: nn.Module, batch: Pair, at: float) -> Tensor:  # noqa: ARG001
    """Return the mean loss of a batch (images I B C Y X, labels I B)."""
    x, labels = batch
    drawn = draw(config, x, model.training)
    told = torch.where(drawn["hidden"], config.classes, hide_labels(config, labels))
    velocity, _ = model(mix(x, drawn["noise"], drawn["t"]), drawn["t"], told)
    return F.mse_loss(velocity, x - drawn["noise"])


def draw(
    config: FlowConfig, x: Float[Tensor, "I B C Y X"], training: bool
) -> dict[str, Tensor]:
    """Draw times t, noise, and which labels are hidden, for this process's samples."""
    images, device = len(x), x.device

    def shard(make: Callable[[int], Tensor]) -> Tensor:
        return draw_shard(make, x.shape[1], axis=1)

    hidden = torch.zeros(images, x.shape[1], dtype=torch.bool, device=device)
    if training and config.dropped:
        together = 1 if config.is_grouped else images
        hidden = shard(lambda n: torch.rand(together, n, device=device) < config.dropped)
    return {
        "t": shard(lambda n: draw_times(images, n, device)),
        "noise": shard(lambda n: torch.randn(images, n, *x.shape[2:], device=device)),
        "hidden": hidden.expand(images, -1),
    }


def hide_labels(config: FlowConfig, labels: Int64[Tensor, "*B"]) -> Int64[Tensor, "*B"]:
    """Return the labels that the network of an arm gets."""
    return labels if config.is_labelled else torch.full_like(labels, config.classes)


def require_flow(model: nn.Module) -> FlowModel:
    """Return the model, unwrapped from the module that parallel training adds."""
    inner = getattr(model, "module", model)
    if not isinstance(inner, FlowModel):
        raise RunError(f"{type(inner).__name__} is no flow; tasks.flow builds one")
    return inner


@torch.no_grad()
def validate(config: FlowConfig, model: nn.Module) -> float:
    """Return the loss on the validation split; times and noise have a fixed seed."""
    return measure_loss(config, model, "val")


@torch.no_grad()
def measure_loss(config: FlowConfig, model: nn.Module, split: Split) -> float:
    """Return the loss on a split with all labels; times and noise have a fixed seed."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    total, count = 0.0, 0
    with seeded(0):
        for x, labels in track_test(batches(config, split, 0), split):
            own = loss(config, model, (x.to(device), labels.to(device)), 1.0)
            total, count = total + float(own) * x.shape[1], count + x.shape[1]
    model.train(training)
    return total / count
