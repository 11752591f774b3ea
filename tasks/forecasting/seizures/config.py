"""Configurations of predictors of seizures: recording, windows, occurrence period."""

from dataclasses import dataclass, fields, replace
from typing import Literal

from tasks.forecasting.config import ForecastConfig, Source
from tasks.forecasting.seizures.features import NAMES
from tasks.forecasting.seizures.periods import PeriodSizes

Channel = Literal["dc", "ac", "z"]
Target = Literal["event", "middle"]
SIGNALS: dict[Channel, int] = {"dc": len(NAMES), "ac": len(NAMES) - 1, "z": 1}
FIXED = ("source", "horizon", "teacher_horizon", "bins")  # of a series


@dataclass(frozen=True, kw_only=True)
class SeizureConfig(ForecastConfig):
    """A predictor of seizures in the recording of one generated patient.

    The student sees windows up to now, and says whether a seizure begins in the occurrence
    period, which begins ``sph`` units of time from now and is ``sop`` long. The teacher is a
    detector: it sees one window, and says whether that is in a seizure.

    seed_of_data: the patient. points: length of the recording, one sample a unit of time.
    noise: of its measurement, standard deviation. baseline: samples whose mean is removed.
    channel: "dc": all features; "ac": those without the mean of a window, which tells most of
        the slow variable; "z": that variable itself, which nobody measures, in their place.
    window: samples of a window. hop: from one to the next. lookback: windows that a student
        sees.
    target: what the teacher looks at: "event", the largest answer to the windows of the
        occurrence period; "middle", the one in the middle of it.
    labelled: share of the training part that has labels, the first one. Behind it the student
        has the teacher's answers alone.
    train: not more windows than these, the last ones, are trained on (0: all).
    bins: two, for no and yes. horizon, teacher_horizon, sigma: as of a series; the first two
        are not used.
    """

    source: Source = "epileptor"
    points: int = 80_000
    bins: int = 2
    cells: Literal["lif", "alif", "tanh"] = "lif"
    step: float = 0.05
    noise: float = 0.1
    baseline: int = 1000
    channel: Channel = "dc"
    window: int = 64
    hop: int = 32
    sph: int = 50
    sop: int = 250
    target: Target = "event"
    labelled: float = 1.0
    batch: int = 64
    epochs: int = 30
    teacher_epochs: int = 10
    lr: float = 3e-3

    @property
    def signals(self) -> int:
        """Features of a window."""
        return SIGNALS[self.channel]

    @property
    def teacher_inputs(self) -> int:
        """What the detector sees: one window."""
        return self.signals

    @property
    def sizes(self) -> PeriodSizes:
        """Of windows and periods."""
        return PeriodSizes(
            window=self.window,
            hop=self.hop,
            lookback=self.lookback,
            sph=self.sph,
            sop=self.sop,
        )

    def list_further_problems(self) -> list[str]:
        """Return what does not fit of the fields that others do not have, with cures."""
        default = {field.name: field.default for field in fields(self)}
        sizes = ("baseline", "hop", "sop")
        problems = [
            f"{name} is {getattr(self, name)}; give a whole number >= 1"
            for name in sizes
            if getattr(self, name) < 1
        ]
        problems += [
            f"{name} is {getattr(self, name)}, which a predictor of seizures does not use; "
            f"leave it at {default[name]}, or train forecasting:tiny on a series"
            for name in FIXED
            if getattr(self, name) != default[name]
        ]
        wrong = {
            f"noise is {self.noise}; give a standard deviation >= 0": not 0 <= self.noise < 1e6,
            f"window is {self.window}; give at least 64 samples": self.window < 64,
            f"sph is {self.sph}; give a whole number >= 0": self.sph < 0,
            f"labelled is {self.labelled}; give a share, above 0 and at most 1": not 0
            < self.labelled
            <= 1,
            'arm is "population", and two classes have no places between them; use '
            "arm=smoothing": self.arm == "population",
        }
        problems += [text for text, is_so in wrong.items() if is_so]
        if min(self.hop, self.sop, self.window, self.sph + 1) >= 1:
            try:
                self.sizes.list_offsets()
            except ValueError as error:
                problems.append(str(error))
        return problems


def seizures() -> SeizureConfig:
    """A spiking predictor of seizures, taught by a detector that sees later: some minutes."""
    return SeizureConfig()


def seizures_ann() -> SeizureConfig:
    """Its twin without spikes, as large as in the bench."""
    return replace(seizures(), cells="tanh", hidden=32, lr=1e-3)


def tiny_seizures() -> SeizureConfig:
    """A spiking predictor of seizures in a short recording: trains in seconds."""
    return replace(seizures(), points=40_000, hidden=32, epochs=4, lr=1e-2, compared=50)
