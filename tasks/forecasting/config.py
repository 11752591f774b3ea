"""Configurations of forecasters: the series, the windows, who teaches, the network."""

from dataclasses import dataclass, replace
from typing import Literal

from tasks.runs.soundness import list_low_fields, refuse_problems

Source = Literal["mackey_glass", "lorenz", "epileptor", "chb_mit", "kaggle"]
Arm = Literal[
    "none", "future", "present", "shuffled", "smoothing", "population", "oracle"
]  # what each does: tasks.forecasting.network
TAUGHT = ("future", "present", "shuffled")  # arms that have a teacher
Cells = Literal["lif", "alif", "tanh"]


@dataclass(frozen=True, kw_only=True)
class ForecastConfig:
    """One forecaster of a series, and how it is taught.

    source: the series. seed_of_data: where it starts, and the order of the windows. points: its
        samples, of which the first 60 % train, the next 20 % validate, the last 20 % test.
    lookback: samples that a window holds. horizon: by how many samples the target is later than
        the last of them; of the teacher's window, teacher_horizon, which is less.
    bins: classes of equal width, into which the targets fall.
    arm: what the student learns from beside the labels, see :mod:`tasks.forecasting.network`.
        alpha: weight of the labels. temperature: of both sides of the other part. sigma:
        standard deviation [bins] of the distributions that need no teacher. surprise: the
        teacher teaches only where its divergence from the student is above it [nats].
    cells: spiking neurons, whose window enters tick by tick, as changes; or "tanh", a network
        without spikes that sees it at once. layers: of the latter; a spiking one has one layer,
        which is recurrent. hidden: neurons of a layer.
    step: change of the series that makes an event [of its range in training]. settle: ticks
        without input behind a window. tau: of membranes and read-out [ticks].
    teacher_hidden, teacher_epochs: of the teacher, which has no spikes.
    train: largest number of windows to train on, the last ones before validation (0: all).
    compared: test windows that other executors run (0: all).
    """

    source: Source = "mackey_glass"
    seed_of_data: int = 0
    points: int = 10_000
    lookback: int = 8
    horizon: int = 5
    teacher_horizon: int = 1
    bins: int = 25
    arm: Arm = "future"
    alpha: float = 0.5
    temperature: float = 4.0
    sigma: float = 1.0
    surprise: float = 0.0
    cells: Cells = "lif"
    layers: int = 2
    hidden: int = 64
    step: float = 0.02
    settle: int = 2
    tau: float = 8.0
    teacher_hidden: int = 48
    teacher_epochs: int = 40
    train: int = 0
    compared: int = 100
    batch: int = 256
    epochs: int = 40
    lr: float = 3e-3

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return self.arm in TAUGHT

    @property
    def signals(self) -> int:
        """Values of a sample of a window."""
        return 1

    @property
    def teacher_inputs(self) -> int:
        """Values that the teacher sees at once."""
        return self.lookback

    def list_further_problems(self) -> list[str]:
        """Return what does not fit beside the fields that all forecasters have, with cures."""
        trains = {"epileptor": "seizures", "chb_mit": "chb_mit", "kaggle": "kaggle"}
        if self.source not in trains:
            return []
        return [
            f"source is {self.source}, a recording with events; train "
            f"forecasting:{trains[self.source]}"
        ]


def require_sound(config: ForecastConfig) -> None:
    """Raise a ValueError that lists what does not fit in a configuration, each with its cure.

    Fields are set one by one, so it is checked where data or a network are made of them.
    """
    refuse_problems(list_problems(config))


def list_problems(config: ForecastConfig) -> list[str]:
    """Return what does not fit, each with its cure."""
    sizes = ("points", "lookback", "horizon", "hidden", "layers", "batch", "epochs")
    counts = (*sizes, "teacher_hidden", "teacher_epochs")
    problems = list_low_fields(config, dict.fromkeys(counts, 1))
    wrong = {
        f"bins is {config.bins}; give at least 2": config.bins < 2,
        f"alpha is {config.alpha}; give a share, 0 to 1": not 0 <= config.alpha <= 1,
        f"temperature is {config.temperature}; give a number > 0": not config.temperature > 0,
        f"surprise is {config.surprise}; give a number of nats >= 0": not config.surprise >= 0,
        f'surprise is {config.surprise}, and arm "{config.arm}" has no teacher that could '
        "surprise; leave it out, or set arm=future": config.surprise > 0 and not config.taught,
        f"sigma is {config.sigma}; give a number of bins > 0": not config.sigma > 0,
        f"step is {config.step}; give a share of the range, above 0 and at most 1": not 0
        < config.step
        <= 1,
        f"tau is {config.tau}; give a number of ticks > 0": not config.tau > 0,
        f"settle is {config.settle}; give a whole number >= 0": config.settle < 0,
        f"train is {config.train}; give a whole number >= 0, 0 for all": config.train < 0,
        f"compared is {config.compared}; give a whole number >= 0, 0 for all": config.compared
        < 0,
        f"teacher_horizon is {config.teacher_horizon}; give a whole number >= 1, or the "
        "teacher's window would hold the target": config.teacher_horizon < 1,
        f"teacher_horizon is {config.teacher_horizon} and horizon {config.horizon}: the "
        "teacher's window is not later than the student's; give a smaller "
        "teacher_horizon, or a larger horizon": config.teacher_horizon >= config.horizon
        and config.taught,
    }
    found = [*problems, *(text for text, is_so in wrong.items() if is_so)]
    return [*found, *config.list_further_problems()]


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
