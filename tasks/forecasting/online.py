"""Learning while a series continues: a window's label arrives one horizon after its answer.

    step k    the student answers window k, whose last sample is the present one
              the present sample is the target of window k - H: its label arrives
              the teacher has seen the later window of k - H, which ends h samples ago
              the student learns from the last windows up to k - H, which it has kept

Only in this setting does a deployed student have a teacher. Labels and the teacher's answers
for windows after k - H are not used. The released code learns from a label when its window
arrives, H samples before the target exists.

Dense networks of one shape run side by side, by one batched matrix product per layer; each
learns by gradient descent, without momentum.
Axes: S networks, B samples, N windows in order, L inputs, K bins.

The Page-Hinkley test: has the mean of a sequence of errors risen?

    G(t) = max(0, G(t-1) + e(t) - mean(e(1) ... e(t)) - delta),   alarm where G > threshold

Page 1954 (Biometrika 41, 100-115), Hinkley 1971 (Biometrika 58, 509-523). The test gets an
error as soon as it is known, which for a forecaster is one horizon after its answer. After an
alarm the test restarts. Axes: S sequences side by side, V errors per sequence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from tasks.forecasting.windows import read_bins

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


def run_networks(weights: Weights, x: Float[Tensor, "S B L"]) -> Float[Tensor, "S B K"]:
    """Return the scores of all networks, with tanh between the layers."""
    for k, (weight, bias) in enumerate(weights):
        x = torch.baddbmm(bias[:, None], torch.tanh(x) if k else x, weight.mT)
    return x


class PageHinkley(NamedTuple):
    """A test of S sequences. delta: tolerated rise of the mean. threshold: of G."""

    delta: Float64[Tensor, " S"]
    threshold: Float64[Tensor, " S"]


class DriftState(NamedTuple):
    """The state of the test: number and mean of the errors since its start, and G."""

    number: Float64[Tensor, " S"]
    mean: Float64[Tensor, " S"]
    height: Float64[Tensor, " S"]


def begin_test(sequences: int) -> DriftState:
    """Return the state before any error."""
    zero = torch.zeros(sequences, dtype=torch.float64)
    return DriftState(number=zero, mean=zero, height=zero)


def observe(
    test: PageHinkley, state: DriftState, errors: Float[Tensor, " S"]
) -> tuple[Bool[Tensor, " S"], DriftState]:
    """Return which sequences raise an alarm at their error, and the state after it."""
    number = state.number + 1
    mean = state.mean + (errors - state.mean) / number
    height = (state.height + errors - mean - test.delta).clamp(min=0)
    alarm = height > test.threshold
    kept = (torch.where(alarm, 0.0, value) for value in (number, mean, height))
    return alarm, DriftState(*kept)


def fit_test(errors: Float[Tensor, "S V"], tolerance: float = 0.1) -> PageHinkley:
    """Return the most sensitive test that raises no alarm on validation errors.

    delta is ``tolerance`` standard deviations of these errors, the threshold their largest G.

    Raises:
        ValueError: there are fewer than two errors, or some are not finite.
    """
    if errors.shape[1] < 2 or not bool(errors.isfinite().all()):
        raise ValueError(
            f"{errors.shape[1]} errors of validation; give at least two, and finite ones"
        )
    known = errors.double()
    delta = tolerance * known.std(1)
    never = PageHinkley(delta=delta, threshold=torch.full_like(delta, torch.inf))
    state, largest = begin_test(len(known)), torch.zeros_like(delta)
    for k in range(known.shape[1]):
        _, state = observe(never, state, known[:, k])
        largest = torch.maximum(largest, state.height)
    return PageHinkley(delta=delta, threshold=largest)


@dataclass(frozen=True, kw_only=True)
class OnlineRules:
    """How a student learns. horizon: H. rate: learning rate. kept: windows per step, the last.

    drift: learn only for ``steps`` steps after an alarm of this test; None: at every step.
    """

    horizon: int
    rate: float = 0.03
    kept: int = 16
    drift: PageHinkley | None = None
    steps: int = 200

    def __post_init__(self) -> None:
        wrong = {
            f"horizon is {self.horizon}; give at least 1": self.horizon < 1,
            f"rate is {self.rate}; give a number >= 0": not self.rate >= 0,
            f"kept is {self.kept}; give at least 1": self.kept < 1,
            f"steps is {self.steps}; give at least 1": self.steps < 1,
        }
        if problems := [text for text, is_so in wrong.items() if is_so]:
            raise ValueError("\n".join(["the rules do not hold together:", *problems]))


@dataclass(frozen=True, kw_only=True, eq=False)
class OnlineAnswers:
    """The scores of each window, given before its label is known, and the steps that learnt."""

    scores: Float[Tensor, "S N K"]
    learnt: Bool[Tensor, "S N"]


def list_released(step: int, horizon: int, kept: int) -> range:
    """Return the last windows whose labels are known at a step, at most ``kept``."""
    return range(max(0, step - horizon - kept + 1), max(0, step - horizon + 1))


def learn_online(
    weights: Weights, windows: StackedWindows, loss: Loss, rules: OnlineRules
) -> OnlineAnswers:
    """Return the answers of students that learn as labels arrive.

    weights: initial weights of the students; left unchanged. windows: in the order of time,
    each one sample later than the one before.
    """
    own = [(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in weights]
    free = [t for layer in own for t in layer]
    networks, count = windows.labels.shape
    left = torch.zeros(networks, dtype=torch.int64)  # steps left to learn after an alarm
    state, scores, learnt = begin_test(networks), list[Tensor](), list[Tensor]()
    for k in range(count):
        with torch.no_grad():
            scores.append(run_networks(own, windows.x[:, k : k + 1])[:, 0])
        released = list_released(k, rules.horizon, rules.kept)
        learns = torch.full((networks,), len(released) > 0)
        if released and rules.drift is not None:
            old = released[-1]
            error = measure_squares(scores[old], windows.labels[:, old])
            alarm, state = observe(rules.drift, state, error)
            left = torch.where(alarm, rules.steps, (left - 1).clamp(min=0))
            learns = left > 0
        learnt.append(learns)
        if bool(learns.any()) and rules.rate > 0:
            _step(own, free, _take(windows, released), loss, learns, rules.rate)
    return OnlineAnswers(scores=torch.stack(scores, 1), learnt=torch.stack(learnt, 1))


def measure_squares(scores: Float[Tensor, "S K"], labels: Tensor) -> Float[Tensor, " S"]:
    """Return the squared error of the expectation [bins²]."""
    return (read_bins(scores.double().softmax(-1)) - labels).square()


def _take(windows: StackedWindows, some: range) -> StackedWindows:
    part = slice(some.start, some.stop)
    return StackedWindows(
        x=windows.x[:, part],
        labels=windows.labels[:, part],
        taught=None if windows.taught is None else windows.taught[:, part],
    )


def _step(
    own: Weights,
    free: list[Tensor],
    batch: StackedWindows,
    loss: Loss,
    learns: Bool[Tensor, " S"],
    rate: float,
) -> None:
    """Take one gradient step in the networks that learn."""
    losses = loss(run_networks(own, batch.x), batch.labels, batch.taught)
    torch.autograd.backward(torch.where(learns, losses, 0.0).sum(), inputs=free)
    clip_gradients(free)
    with torch.no_grad():
        for t in free:
            if t.grad is not None:
                t.sub_(t.grad, alpha=rate)
                t.grad = None


def clip_gradients(free: Sequence[Tensor]) -> None:
    """Scale the gradient of each network to a norm of at most CLIP."""
    gradients = [t.grad for t in free if t.grad is not None]
    norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
    scale = (CLIP / (norm + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(scale.reshape(-1, *[1] * (g.dim() - 1)))
