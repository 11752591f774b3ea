"""Forecasters: the student, spiking or not, and its teacher, which never leaves the training.

    spiking    events - dense - LIF or ALIF, recurrent - dense - leaky read-out of each bin
    tanh       window - dense - tanh - ... - dense
    teacher    as tanh, two layers

The scores of the bins are the membranes of the read-out at the last tick. Every sample is
answered on its own: no state goes from one to the next. Axes: T ticks, B batch, K bins.
"""

import math
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.neurons import ALIF, LI, LIF
from neuro.nn.layers import Recurrent, Spiking, Stack
from neuro.nn.spiking import DT
from tasks.forecasting.config import ForecastConfig, require_sound
from tasks.forecasting.data import count_channels

GAIN = 1.0  # standard deviation of the first weights: some spikes of an event


class GuidedForecaster(nn.Module):
    """A student, and its teacher if it has one; only the student answers.

    The teacher's weights require no gradient.
    """

    def __init__(self, student: Stack, teacher: Stack | None) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            teacher.requires_grad_(False)

    def forward(self, x: Float[Tensor, "T B N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return what the student answers, T B K, and its state."""
        out: tuple[Tensor, Any] = self.student(x, state)
        return out


def build(config: ForecastConfig) -> GuidedForecaster:
    """Return a fresh forecaster. The student's weights do not depend on the arm.

    Raises:
        ValueError: the configuration does not hold together; lists every problem.
    """
    require_sound(config)
    student = build_student(config)
    return GuidedForecaster(student, build_teacher(config) if config.taught else None)


def build_student(config: ForecastConfig) -> Stack:
    """Return a fresh student: T B C to T B K, or 1 B L to 1 B K without spikes."""
    if config.cells == "tanh":
        inputs = config.lookback * config.signals
        return build_layers(inputs, (config.hidden,) * config.layers, config.bins)
    hidden, tau = config.hidden, config.tau
    first = nn.Linear(count_channels(config), hidden, bias=False)
    nn.init.normal_(first.weight, std=GAIN)
    feedback = nn.Linear(hidden, hidden, bias=False)
    nn.init.normal_(feedback.weight, std=0.5 / math.sqrt(hidden))
    return Stack(
        fc1=first,
        hidden=Recurrent(Spiking(make_cells(config)), feedback),
        fc2=nn.Linear(hidden, config.bins, bias=False),
        readout=Spiking(LI(tau=Seconds(tau * DT))),
    )


def make_cells(config: ForecastConfig) -> LIF | ALIF:
    """Return the neurons of the hidden layer, with a time constant of tau ticks."""
    if config.cells == "lif":
        return LIF(tau=Seconds(config.tau * DT), reset="hard")
    keep = math.exp(-1 / config.tau)
    return ALIF(leak=1 - keep, threshold=1 - keep, beta=0.2 * (1 - keep), rho=keep)


def build_teacher(config: ForecastConfig) -> Stack:
    """Return a fresh teacher: 1 B L to 1 B K; of events, 1 B F to 1 B 2."""
    return build_layers(config.teacher_inputs, (config.teacher_hidden,) * 2, config.bins)


def build_layers(inputs: int, hidden: tuple[int, ...], outputs: int) -> Stack:
    """Return dense layers with tanh between them."""
    sizes = (inputs, *hidden, outputs)
    layers: dict[str, nn.Module] = {}
    for k in range(1, len(sizes)):
        layers[f"fc{k}"] = nn.Linear(sizes[k - 1], sizes[k])
        if k < len(sizes) - 1:
            layers[f"tanh{k}"] = nn.Tanh()
    return Stack(**layers)
