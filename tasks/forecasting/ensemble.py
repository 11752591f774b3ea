"""Dense networks of equal shape, each on its own windows, trained side by side.

One batched matrix product computes all networks; each network has its own loss, gradient
clipping, optimizer steps and choice of the kept weights. The training is that of
:func:`neuro.training.fit`: AdamW, a cosine schedule, the weights of the best validation.
Axes: S networks, B samples, L inputs, K bins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.training import TrainError
from neuro.training.plan import scale_lr
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.data import count_steps, order_batches, prepare
from tasks.forecasting.network import cross_entropy
from tasks.forecasting.windows import read_bins
from tasks.runs.task import Split

CLIP = 1.0  # the default of a Plan
Weights = list[tuple[Tensor, Tensor]]  # per layer: S out in, and S out
Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # scores, labels, taught -> S


@dataclass(frozen=True, kw_only=True)
class StackedWindows:
    """Windows of several networks.

    x: S N L. labels: S N. taught: a teacher's scores for each window, S N K, or None.
    """

    x: Float[Tensor, "S N L"]
    labels: Int64[Tensor, "S N"]
    taught: Float[Tensor, "S N K"] | None = None

    def take(self, indices: Int64[Tensor, "S B"]) -> "StackedWindows":
        """Return some windows of each network."""
        networks = torch.arange(len(indices))[:, None]
        return StackedWindows(
            x=self.x[networks, indices],
            labels=self.labels[networks, indices],
            taught=None if self.taught is None else self.taught[networks, indices],
        )


def stack_weights(networks: Sequence[nn.Module]) -> Weights:
    """Return the weights of the dense layers, stacked over all networks."""
    layers = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in networks]
    return [
        (
            torch.stack([layer.weight.detach() for layer in same]),
            torch.stack([layer.bias.detach() for layer in same]),
        )
        for same in zip(*layers, strict=True)
    ]


def put_weights(networks: Sequence[nn.Module], weights: Weights) -> None:
    """Put stacked weights back into the networks."""
    for k, net in enumerate(networks):
        layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
        with torch.no_grad():
            for layer, (weight, bias) in zip(layers, weights, strict=True):
                layer.weight.copy_(weight[k])
                layer.bias.copy_(bias[k])


def run_networks(weights: Weights, x: Float[Tensor, "S B L"]) -> Float[Tensor, "S B K"]:
    """Return the scores of all networks, with tanh between the layers."""
    for k, (weight, bias) in enumerate(weights):
        x = torch.baddbmm(bias[:, None], torch.tanh(x) if k else x, weight.mT)
    return x


@torch.no_grad()
def measure_error(weights: Weights, windows: StackedWindows) -> Float[Tensor, " S"]:
    """Return the mean squared error of the expectation [bins²]."""
    p = run_networks(weights, windows.x).double().softmax(-1)
    answers = read_bins(p.flatten(0, 1)).reshape(windows.labels.shape)
    return (answers - windows.labels).square().mean(1)


def train_networks(
    networks: Sequence[nn.Module],
    configs: Sequence[ForecastConfig],
    train: Callable[[int], StackedWindows],
    val: StackedWindows,
    loss: Loss,
    epochs: int,
) -> None:
    """Train the networks; each keeps the weights of its best validation.

    configs: one per network; they may differ only in ``seed_of_data``, for batch and learning
        rate are read from the first.
    train: returns the windows of an epoch.

    Raises:
        TrainError: the answers of a network are not finite.
        ValueError: a batch is larger than the number of windows.
    """
    count_steps(first := configs[0])  # refuses a batch that is too large
    done = 0
    weights = stack_weights(networks)
    free = [t.requires_grad_() for layer in weights for t in layer]
    optimizer = torch.optim.AdamW(free, lr=first.lr, weight_decay=0.0)
    kept = [t.detach().clone() for t in free]
    best = torch.full((len(networks),), torch.inf, dtype=torch.float64)
    for epoch in range(epochs):
        windows = train(epoch)
        count = windows.labels.shape[1]
        steps = count // first.batch
        orders = [list(order_batches(config, count, epoch)) for config in configs]
        for some in zip(*orders, strict=True):
            batch = windows.take(torch.from_numpy(np.stack(some)))
            optimizer.param_groups[0]["lr"] = scale_lr(first.lr, 0.0, done / steps / epochs)
            optimizer.zero_grad()
            losses = loss(run_networks(weights, batch.x), batch.labels, batch.taught)
            torch.autograd.backward(losses.sum())
            clip_gradients(free)
            optimizer.step()
            done += 1
        error = measure_error(weights, val)
        if not bool(error.isfinite().all()):
            raise TrainError(
                f"epoch {epoch + 1}: a network of seed_of_data "
                f"{configs[int(error.isfinite().int().argmin())].seed_of_data} answers NaN; "
                "lower the learning rate"
            )
        better = error < best
        best = torch.where(better, error, best)
        for own, new in zip(kept, free, strict=True):  # copies: training goes on
            own[better] = new.detach()[better]
    put_weights(networks, [(kept[k], kept[k + 1]) for k in range(0, len(kept), 2)])


def stack_windows(
    configs: Sequence[ForecastConfig], split: Split, later: bool = False
) -> StackedWindows:
    """Return the windows of a split, stacked over networks. later: those that train teachers.

    All configurations must have the same number of windows.
    """
    each = [prepare(config) for config in configs]
    parts = [(own.teaching if later else own.windows)[split] for own in each]
    return StackedWindows(
        x=torch.from_numpy(np.stack([part.own for part in parts])),
        labels=torch.from_numpy(np.stack([part.labels for part in parts])),
    )


def train_teachers(teachers: Sequence[nn.Module], configs: Sequence[ForecastConfig]) -> None:
    """Train teachers on the labels, each on the later windows of its configuration."""
    train, val = (stack_windows(configs, split, later=True) for split in ("train", "val"))
    epochs = configs[0].teacher_epochs
    train_networks(teachers, configs, lambda _: train, val, teach_labels, epochs)


def teach_labels(scores: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:  # noqa: ARG001
    """Return the cross-entropy of each network; ``taught`` is ignored."""
    return cross_entropy(scores, labels)


def clip_gradients(free: Sequence[Tensor]) -> None:
    """Scale the gradient of each network to a norm of at most CLIP."""
    gradients = [t.grad for t in free if t.grad is not None]
    norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    scale = (CLIP / (norm + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(scale.reshape(-1, *[1] * (g.dim() - 1)))
