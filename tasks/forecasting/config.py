"""Configurations of forecasters: the series, the windows, who teaches, the network."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from neuro.base.bounds import Count, Natural, NotNegative, Positive, Share
from tasks.runs.configuration import TrainingConfig

Source = Literal["mackey_glass", "lorenz", "epileptor", "chb_mit", "kaggle"]
RECORDED = {"epileptor": "seizures", "chb_mit": "chb_mit", "kaggle": "kaggle"}
Arm = Literal[
    "none", "future", "present", "shuffled", "smoothing", "population", "oracle"
]  # explained in tasks.forecasting.network
TAUGHT = ("future", "present", "shuffled")  # arms that have a teacher
Cells = Literal["lif", "alif", "tanh"]


@dataclass(frozen=True, kw_only=True)
class ForecastConfig(TrainingConfig):
    """One forecaster of a series, and how it is taught."""

    source: Source = "mackey_glass"
    """System that generates the series."""
    seed_of_data: Natural = 0
    """Seed of the start of the series and of the order of its windows."""
    points: Count = 10_000
    """Samples of the series: 60 % to train, 20 % to validate, the last 20 % to test."""
    lookback: Count = 8
    """Samples in a window."""
    horizon: Count = 5
    """Samples between the last one of the student's window and the target."""
    teacher_horizon: Count = 1
    """Samples between the last one of the teacher's window and the target."""
    bins: Annotated[int, Ge(2)] = 25
    """Classes of equal width that divide the targets."""
    arm: Arm = "future"
    """What the student learns from beside the labels (tasks.forecasting.network)."""
    alpha: Share = 0.5
    """Share of the labels in the loss; the rest comes from the teacher."""
    temperature: Positive = 4.0
    """Temperature of the answers of teacher and student in the loss."""
    sigma: Positive = 1.0
    """Standard deviation of the distributions that need no teacher [bins]."""
    surprise: NotNegative = 0.0
    """Divergence from the student above which the teacher teaches [nats]."""
    cells: Cells = "lif"
    """Spiking neurons that read a window tick by tick, or "tanh" without spikes."""
    layers: Count = 2
    """Layers of a "tanh" network; a spiking one has one recurrent layer."""
    hidden: Count = 64
    """Neurons per layer."""
    step: Annotated[float, Gt(0), Le(1)] = 0.02
    """Change of the series that makes an event, as a share of its range in training."""
    settle: Natural = 2
    """Ticks without input after a window, in which late spikes still count."""
    tau: Positive = 8.0
    """Time constant of membranes and read-out [ticks]."""
    teacher_hidden: Count = 48
    """Neurons in each of the two layers of the teacher."""
    teacher_epochs: Count = 40
    """Epochs of the teacher's training."""
    train: Natural = 0
    """Largest number of training windows, the last ones before validation; 0 takes all."""
    compared: Natural = 100
    """Test windows that other executors run; 0 takes all."""
    batch: Count = 256
    epochs: Count = 40
    lr: Positive = 3e-3

    @property
    def taught(self) -> bool:
        """Whether the arm has a teacher."""
        return self.arm in TAUGHT

    @property
    def signals(self) -> int:
        """Values per sample of a window."""
        return 1

    @property
    def teacher_inputs(self) -> int:
        """Number of the teacher's inputs."""
        return self.lookback

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        wrong = {
            f'surprise is {self.surprise}; it must be 0 for arm "{self.arm}", which has no '
            "teacher. Use --set arm=future.": self.surprise > 0 and not self.taught,
            f"teacher_horizon is {self.teacher_horizon}; it must be < horizon, {self.horizon}, "
            "so that the teacher sees later values. Use a larger horizon.": (
                self.teacher_horizon >= self.horizon and self.taught
            ),
            f"source is {self.source}; it must be a series. Use neuro train "
            f"forecasting:{RECORDED.get(self.source)}.": (
                type(self) is ForecastConfig and self.source in RECORDED
            ),
        }
        return [text for text, is_so in wrong.items() if is_so]


def tiny() -> ForecastConfig:
    """A spiking student of a teacher without spikes, on a short series: trains in seconds."""
    return ForecastConfig(
        points=3000, hidden=32, batch=64, epochs=6, lr=1e-2, teacher_epochs=10, compared=50
    )


def tiny_ann() -> ForecastConfig:
    """A student without spikes."""
    return ann(tiny())


def tiny_population() -> ForecastConfig:
    """A spiking student without a teacher, whose bins are a population code."""
    return replace(tiny(), arm="population")


def guided() -> ForecastConfig:
    """A spiking student of a teacher, on the Mackey-Glass series: some minutes."""
    return ForecastConfig()


def guided_ann() -> ForecastConfig:
    """Its twin without spikes, as large as in the bench."""
    return ann(guided())


def lorenz() -> ForecastConfig:
    """A spiking student of a teacher, on the x of the Lorenz system."""
    return replace(guided(), source="lorenz")


def ann(config: ForecastConfig) -> ForecastConfig:
    """Return the twin without spikes."""
    return replace(config, cells="tanh", hidden=48, lr=1e-3)
