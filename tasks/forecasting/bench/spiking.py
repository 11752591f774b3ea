"""Training of the spiking students of the bench, one by one, and what an answer costs them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.energy import count
from neuro.nn import replay
from neuro.nn.layers import Stack
from neuro.nn.trace import trace
from neuro.spikes import to_events
from neuro.training import Course, fit, get_best_weights_path, load_weights
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.data import batches, count_steps
from tasks.forecasting.evaluate import measure, score_split, validate
from tasks.forecasting.network import GuidedForecaster, build_student
from tasks.forecasting.task import TASK, loss

OPERATIONS = "synaptic_operations"  # of a window, as NeuroBench counts them: additions


def train_spiking(config: ForecastConfig, teacher: Stack) -> dict[str, float]:
    """Return the metrics of a spiking student on the test split, and its operations.

    The teacher is trained already. The seed is that of the series.
    """
    with seeded(config.seed_of_data):
        student = build_student(config)
    train_student(config, student, teacher)
    model = GuidedForecaster(student, None)
    values = measure(config, *score_split(config, model, "test"))
    return {**values, OPERATIONS: count_synaptic_operations(config, model)}


def train_student(config: ForecastConfig, student: Stack, teacher: Stack) -> None:
    """Train a student by a trained teacher; it keeps the weights of its best validation."""
    model = GuidedForecaster(student, teacher if config.taught else None)

    def compute(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor], at: float) -> Tensor:
        return loss(config, net, batch, at)

    course = Course(
        batches=lambda epoch: batches(config, "train", epoch),
        steps=count_steps(config),
        loss=compute,
        validate=lambda net: validate(config, net),
        better="lower",
        seed=config.seed_of_data,
        batch_axis=TASK.training.batch_axis,
    )
    with TemporaryDirectory() as folder:
        fabric = Fabric(accelerator="cpu", devices=1)
        fit(model, course, TASK.training.plan(config), fabric, Path(folder))
        load_weights(get_best_weights_path(Path(folder)), model)
    model.eval()


@torch.no_grad()
def count_synaptic_operations(config: ForecastConfig, model: GuidedForecaster) -> float:
    """Return the additions of a window: spikes times fan-out, mean of the first test batch."""
    x, labels, _ = next(batches(config, "test", 0))
    graph = trace(model.student, tuple(x.shape[2:]))
    counts = count(graph, replay(graph, {"input": to_events(x)}))
    return sum(own.synaptic_events for own in counts.values()) / len(labels)
