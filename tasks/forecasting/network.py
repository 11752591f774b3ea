"""Forecasters: the student, spiking or not, and its teacher, which never leaves the training.

    spiking    events - dense - LIF or ALIF, recurrent - dense - leaky read-out of each bin
    tanh       window - dense - tanh - ... - dense
    teacher    as tanh, with two layers

The scores of the bins are the membranes of the read-out at the last tick. Samples are answered
independently: no state passes from one to the next. Axes: T ticks, B batch, K bins.

The loss of Future-Guided Learning and of its controls.

    loss = alpha CE(y, student) + (1 - alpha) tau^2 KL(target^(1/tau) || student^(1/tau))

Gunasekaran et al. 2025 (Nature Communications 16, 8645). y: the bin of the true value. The
target, and the student's answer, are distributions over the bins at temperature tau:

    none         no target: alpha is 1
    future       the answer of a teacher, whose window is later than the student's
    present      the answer of that teacher to the student's own window, as in the released code
                 for EEG
    shuffled     the answer of the teacher to the later window of another sample
    smoothing    a Gaussian around y, of sigma bins at tau = 1: no teacher
    oracle       y, at every temperature
    population   a Gaussian around y replaces both terms: each neuron of the read-out has a
                 receptive field of sigma bins, and no label is hard

A window without a label (-1) has no first term, and no second term that needs y: only a teacher
contributes to its loss. Axes: B samples, K bins, M windows that a teacher sees per sample.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.neurons import ALIF, LI, LIF
from neuro.nn.layers import Recurrent, Spiking, Stack
from neuro.nn.spiking import DT
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.data import count_channels
from tasks.forecasting.published import SpectrogramNetwork
from tasks.forecasting.recordings import RecordingConfig
from tasks.runs.configuration import require_sound

GAIN = 1.0  # standard deviation of the first weights, so that an event causes some spikes


class GuidedForecaster(nn.Module):
    """A student, and its teacher if it has one; only the student answers.

    The teacher's weights require no gradient.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module | None) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> "GuidedForecaster":
        """Set the mode of the student; the teacher always answers as in evaluation."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def forward(self, x: Float[Tensor, "T B N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return the student's answer, T B K, and its state."""
        out: tuple[Tensor, Any] = self.student(x, state)
        return out


def build(config: ForecastConfig) -> GuidedForecaster:
    """Return a fresh forecaster. The student's weights do not depend on the arm.

    Raises:
        ValueError: the configuration is wrong; lists every problem.
    """
    require_sound(config)
    if isinstance(config, RecordingConfig):
        sizes = (config.hidden, *([config.teacher_hidden] if config.taught else []))
        nets = [SpectrogramNetwork(config.shape, n, config.layers) for n in sizes]
        return GuidedForecaster(nets[0], nets[1] if config.taught else None)
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
    """Return a fresh teacher: 1 B L to 1 B K; for events, 1 B F to 1 B 2."""
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


def compute_loss(
    config: ForecastConfig,
    scores: Float[Tensor, "*S B K"],
    labels: Int64[Tensor, "*S B"],
    taught: Float[Tensor, "*S B K"] | None,
) -> Float[Tensor, "*S"]:
    """Return the mean loss of a batch, or one per network of S networks side by side.

    scores: of the student. taught: scores of the teacher if the arm has one; they get no
    gradient.

    Raises:
        ValueError: the arm has a teacher but ``taught`` is None, or the reverse.
    """
    if (taught is not None) != config.taught:
        raise ValueError(
            f'arm "{config.arm}" has {"a" if config.taught else "no"} teacher: give its scores '
            "where it has one, and only there"
        )
    tau, hard = config.temperature, cross_entropy(scores, labels)
    if config.arm == "none":
        return hard
    if config.arm == "population":
        return diverge(measure_distance(labels, scores, config.sigma), scores, 1.0)
    if config.arm == "oracle":
        soft = tau**2 * cross_entropy(scores / tau, labels)
    elif taught is not None:
        soft = diverge(taught.detach(), scores, tau, config.surprise)
    else:
        soft = diverge(measure_distance(labels, scores, config.sigma), scores, tau)
    return config.alpha * hard + (1 - config.alpha) * soft


def cross_entropy(
    scores: Float[Tensor, "*S B K"], labels: Int64[Tensor, "*S B"]
) -> Float[Tensor, "*S"]:
    """Return the mean cross-entropy over B; a window without a label (-1) counts as 0."""
    log_q = F.log_softmax(scores, -1)
    own = log_q.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return -torch.where(labels >= 0, own, 0.0).mean(-1)


def diverge(
    target: Float[Tensor, "*S B K"],
    scores: Float[Tensor, "*S B K"],
    temperature: float,
    surprise: float = 0.0,
) -> Float[Tensor, "*S"]:
    """Return the mean divergence of the target from the scores, times the squared temperature.

    Both sides are logits. surprise: samples whose divergence is no larger count as 0.
    """
    each = measure_divergence(target, scores, temperature)
    if surprise > 0:
        each = torch.where(each > surprise, each, 0.0)
    return temperature**2 * each.mean(-1)


def measure_divergence(
    target: Float[Tensor, "*S B K"], scores: Float[Tensor, "*S B K"], temperature: float
) -> Float[Tensor, "*S B"]:
    """Return each sample's divergence of the target from the scores [nat]; both are logits."""
    log_p, log_q = (F.log_softmax(s / temperature, -1) for s in (target, scores))
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def measure_distance(
    labels: Int64[Tensor, "*S B"], scores: Float[Tensor, "*S B K"], sigma: float
) -> Float[Tensor, "*S B K"]:
    """Return the logits of a Gaussian of sigma bins around each label.

    A window without a label (-1) gets the scores themselves, so that its divergence is 0.
    """
    bins = torch.arange(scores.shape[-1], device=scores.device)
    around = -0.5 * ((bins - labels[..., None]).to(scores) / sigma).square()
    return torch.where(labels[..., None] >= 0, around, scores.detach())


def ask_teacher(teacher: nn.Module, later: Float[Tensor, "B *M L"]) -> Float[Tensor, "B K"]:
    """Return the teacher's scores for the later window of each sample.

    If it sees several windows of an occurrence period, :func:`reduce_period` chooses one.
    """
    scores: Tensor = teacher(later.flatten(0, -2)[None])[0][-1]
    scores = scores.reshape(*later.shape[:-1], -1)
    return scores if later.dim() == 2 else reduce_period(scores)


def reduce_period(scores: Float[Tensor, "*S B M K"]) -> Float[Tensor, "*S B K"]:
    """Return the event target: a detector's scores for its most certain window.

    Among the windows that tile the occurrence period, that one has the largest probability of
    the last class, "yes".
    """
    best = scores.softmax(-1)[..., -1].argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, scores.shape[-1])
    return scores.gather(-2, index)[..., 0, :]
