"""What is trained: settings of the windows, and in each of them every arm by seed.

The settings are a grid over lookback and horizon, some of few windows, some of another series,
and one of spiking students. The others have no spikes: two layers of tanh.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tasks.forecasting.config import Cells, ForecastConfig, Source, guided, guided_ann

Part = Literal["grid", "few", "lorenz", "paper", "gated", "spiking"]
LABELS = "labels alone"  # the baseline that all others stand beside
GUIDED = "future teacher"  # Future-Guided Learning
SMOOTHED = "smoothing, no teacher"
AS_WIDE = "smoothing, as wide as the teacher"
SHUFFLED = "shuffled teacher"
POPULATION = "population code, no teacher"
TWIN = "labels alone, without spikes"  # beside spiking students


@dataclass(frozen=True, kw_only=True)
class ForecastSetting:
    """Windows of a series; see :class:`tasks.forecasting.config.ForecastConfig`.

    gated: its arms are a teacher that teaches only where it surprises. published: those are the
        weights of the labels in the early figures of the authors, beside codes without teacher.
    """

    source: Source = "mackey_glass"
    lookback: int
    horizon: int
    bins: int = 25
    train: int = 0
    cells: Cells = "tanh"
    gated: bool = False
    published: bool = False

    @property
    def name(self) -> str:
        """What tells it from others: "mackey glass, L 1, H 5"."""
        few = f", {self.train} windows" if self.train else ""
        few += "" if self.cells == "tanh" else ", spiking"
        few += f", {self.bins} bins" if self.published else ""
        few += ", gated" if self.gated else ""
        series = self.source.replace("_", " ")
        return f"{series}, L {self.lookback}, H {self.horizon}{few}"


@dataclass(frozen=True, kw_only=True)
class ForecastScale:
    """How much is trained. points: of a series. epochs: of student and of teacher.

    spiking_seeds: how many of the seeds train spiking students, which takes longer.
    """

    seeds: tuple[int, ...] = tuple(range(8))
    spiking_seeds: int = 6
    points: int = 10_000
    epochs: int = 40
    settings: dict[Part, tuple[ForecastSetting, ...]]


FULL = ForecastScale(
    settings={
        "grid": tuple(
            ForecastSetting(lookback=L, horizon=H) for L in (1, 8) for H in (2, 5, 10, 15)
        ),
        "few": tuple(ForecastSetting(lookback=12, horizon=H, train=600) for H in (5, 12)),
        "lorenz": tuple(
            ForecastSetting(source="lorenz", lookback=8, horizon=H) for H in (5, 10, 20)
        ),
        "paper": tuple(
            ForecastSetting(lookback=1, horizon=H, bins=bins, published=True)
            for bins in (25, 50)
            for H in (2, 5, 8, 10, 12, 15)
        ),
        "gated": tuple(ForecastSetting(lookback=L, horizon=5, gated=True) for L in (1, 8)),
        "spiking": (ForecastSetting(lookback=8, horizon=5, cells="lif"),),
    }
)
QUICK = ForecastScale(
    seeds=(0, 1),
    points=600,
    epochs=2,
    settings={
        part: tuple(replace(s, train=min(s.train, 300)) for s in own[:2])
        for part, own in FULL.settings.items()
    },
)

Change = dict[str, object]
ARMS: dict[str, Change] = {
    LABELS: {"arm": "none"},
    GUIDED: {"arm": "future"},
    "future teacher, tau 1": {"arm": "future", "temperature": 1.0},
    SMOOTHED: {"arm": "smoothing"},
    AS_WIDE: {"arm": "smoothing"},  # sigma: of the teachers, once they are trained
    POPULATION: {"arm": "population"},
    "teacher on the own window": {"arm": "present"},
    SHUFFLED: {"arm": "shuffled"},
    "label in the teacher's place": {"arm": "oracle"},
}


GATED: dict[str, Change] = {
    f"future teacher, above {nats} nats": {"arm": "future", "surprise": nats}
    for nats in (0.01, 0.03, 0.1, 0.3)
}
UNLABELLED: dict[str, Change] = {"future teacher alone": {"arm": "future", "alpha": 0.0}}


def list_arms(setting: ForecastSetting) -> tuple[str, ...]:
    """Return the arms that are trained in a setting."""
    if setting.gated:
        return (LABELS, GUIDED, *GATED)
    if setting.published:
        return (LABELS, GUIDED, *UNLABELLED, AS_WIDE, POPULATION)
    if setting.cells == "tanh":
        return tuple(ARMS)
    return (LABELS, GUIDED, SMOOTHED, AS_WIDE, POPULATION)


def list_seeds(setting: ForecastSetting, scale: ForecastScale) -> tuple[int, ...]:
    """Return the seeds of a setting."""
    return scale.seeds if setting.cells == "tanh" else scale.seeds[: scale.spiking_seeds]


def make_config(
    setting: ForecastSetting, scale: ForecastScale, arm: str, seed: int
) -> ForecastConfig:
    """Return the configuration of one training; the seed is also that of the series.

    The sigma of ``AS_WIDE`` is not known before the teachers are trained.
    """
    if arm == TWIN:
        setting, arm = replace(setting, cells="tanh"), LABELS
    base = replace(
        guided_ann() if setting.cells == "tanh" else replace(guided(), cells=setting.cells),
        source=setting.source,
        lookback=setting.lookback,
        horizon=setting.horizon,
        bins=setting.bins,
        train=setting.train,
        points=scale.points,
        epochs=scale.epochs,
        teacher_epochs=scale.epochs,
        batch=64 if setting.train else 256,
        seed_of_data=seed,
    )
    return replace(base, **(ARMS | GATED | UNLABELLED)[arm])  # type: ignore[arg-type]
