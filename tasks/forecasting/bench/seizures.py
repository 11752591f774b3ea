"""Predictors of seizures of the bench: every arm in pairs, patient by patient.

A setting is a kind of recording. The patient is the unit: what several networks of a patient
reach is averaged first. All networks of an arm are trained side by side.

The part ``seizures`` of the bench: rows, a table and what the arms show, by patient.

The first metric, fixed before any training, is the area under the curve of a patient's test
windows. Of a setting nothing is claimed unless the student of labels alone reaches 0.8: what
limits a weaker one is not its labels.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.figure import Figure
from rich.table import Table
from torch import nn

from neuro.base.seeds import seeded
from neuro.nn.layers import Stack
from neuro.plot import ACCENT, LINE, MUTED
from neuro.training.threads import limit_threads
from tasks.bench.options import BenchOptions
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.forecasting.alarms import compute_auc
from tasks.forecasting.bench.settings import GUIDED, LABELS, SHUFFLED, SMOOTHED, Change
from tasks.forecasting.bench.train import (
    SECONDS,
    Reached,
    count_training,
    train_student,
    train_students,
)
from tasks.forecasting.config import Cells
from tasks.forecasting.data import make_stimulus, prepare
from tasks.forecasting.ensemble import train_teachers
from tasks.forecasting.network import build_student, build_teacher
from tasks.forecasting.seizures import (
    Channel,
    PreparedSeizures,
    SeizureConfig,
    measure_events,
    seizures,
    seizures_ann,
)
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.report.tables import make_table
from tasks.runs.task import Split

KEPT = "forecasting-seizures.jsonl"  # beside the figures
DETECTOR = "detector, which sees seizures"
ORACLE = "labels alone, on the slow variable"
REACH = 0.8  # least AUC of labels alone, below which nothing is claimed


@dataclass(frozen=True, kw_only=True)
class SeizureSetting:
    """A kind of recording, see :class:`tasks.forecasting.seizures.SeizureConfig`."""

    channel: Channel = "dc"
    noise: float = 0.1
    baseline: int = 1000
    labelled: float = 1.0
    cells: Cells = "tanh"

    @property
    def name(self) -> str:
        """What tells it from others: "seizures, DC-coupled, noise 0.1"."""
        coupled = (
            "DC-coupled" if self.channel == "dc" else f"baseline of {self.baseline} removed"
        )
        some = "" if self.labelled == 1 else f", {self.labelled:.0%} labelled"
        cells = "" if self.cells == "tanh" else ", spiking"
        return f"seizures, {coupled}, noise {self.noise:g}{some}{cells}"


@dataclass(frozen=True, kw_only=True)
class SeizureScale:
    """How much is trained. patients: their seeds. networks: of each patient and arm.

    spiking: patients of spiking students, the first ones, with one network each.
    """

    patients: tuple[int, ...] = tuple(range(100, 120))  # sizes were chosen on others
    networks: int = 2
    spiking: int = 8
    points: int = 80_000
    epochs: int = 30
    teacher_epochs: int = 10
    settings: tuple[SeizureSetting, ...] = (
        SeizureSetting(),
        SeizureSetting(labelled=0.2),
        SeizureSetting(channel="ac", noise=0.3, baseline=200),
        SeizureSetting(cells="lif"),
    )


FULL_SEIZURES = SeizureScale()
QUICK_SEIZURES = SeizureScale(
    patients=(0, 1), networks=1, spiking=1, points=40_000, epochs=2, teacher_epochs=2
)

EVENT_ARMS: dict[str, Change] = {
    LABELS: {"arm": "none"},
    GUIDED: {"arm": "future"},
    "future teacher, tau 1": {"arm": "future", "temperature": 1.0},
    "future teacher, middle of the period": {"arm": "future", "target": "middle"},
    "teacher on the own window": {"arm": "present"},
    SHUFFLED: {"arm": "shuffled"},
    SMOOTHED: {"arm": "smoothing"},
    "label in the teacher's place": {"arm": "oracle"},
    ORACLE: {"arm": "none", "channel": "z"},
}


def list_event_arms(setting: SeizureSetting) -> tuple[str, ...]:
    """Return the arms that are trained in a setting."""
    return tuple(EVENT_ARMS) if setting.cells == "tanh" else (LABELS, GUIDED)


def make_seizure_config(
    setting: SeizureSetting, scale: SeizureScale, arm: str, patient: int
) -> SeizureConfig:
    """Return the configuration of one training."""
    base = replace(
        seizures_ann() if setting.cells == "tanh" else replace(seizures(), cells=setting.cells),
        seed_of_data=patient,
        channel=setting.channel,
        noise=setting.noise,
        baseline=setting.baseline,
        labelled=setting.labelled,
        points=scale.points,
        epochs=scale.epochs,
        teacher_epochs=scale.teacher_epochs,
    )
    return replace(base, **EVENT_ARMS[arm])  # type: ignore[arg-type]


def train_seizures(setting: SeizureSetting, scale: SeizureScale) -> Reached:
    """Return what every arm and the detector reach on the test split, one value a patient."""
    dense = setting.cells == "tanh"
    patients = scale.patients if dense else scale.patients[: scale.spiking]
    units = [(k, p) for k in range(scale.networks if dense else 1) for p in patients]
    plain = [make_seizure_config(setting, scale, LABELS, p) for _, p in units]
    with limit_threads(1):
        teachers = _build_teachers(plain, units)
        begin = time.process_time()
        train_teachers(teachers, plain)
        found: Reached = {
            DETECTOR: {
                "auc": _average(
                    [_measure_detector(t, own) for t, own in zip(teachers, plain, strict=True)],
                    units,
                ),
                SECONDS: [time.process_time() - begin],
            }
        }
        for arm in list_event_arms(setting):
            begin = time.process_time()
            configs = [make_seizure_config(setting, scale, arm, p) for _, p in units]
            students = [
                _build_student(own, k) for own, (k, _) in zip(configs, units, strict=True)
            ]
            if dense:
                train_students(students, configs, teachers)
            else:
                for own, student, teacher in zip(configs, students, teachers, strict=True):
                    train_student(own, student, teacher)
            each = [_measure_student(s, c) for s, c in zip(students, configs, strict=True)]
            found[arm] = {
                name: _average([own[name] for own in each], units) for name in each[0]
            }
            found[arm][SECONDS] = [time.process_time() - begin]
    return found


def _build_teachers(
    configs: Sequence[SeizureConfig], units: Sequence[tuple[int, int]]
) -> list[Stack]:
    teachers = []
    for config, (k, patient) in zip(configs, units, strict=True):
        with seeded(patient + 1000 * k + 1_000_000):
            teachers.append(build_teacher(config))
    return teachers


def _build_student(config: SeizureConfig, number: int) -> Stack:
    with seeded(config.seed_of_data + 1000 * number):
        return build_student(config)


def _average(values: Sequence[float], units: Sequence[tuple[int, int]]) -> list[float]:
    """Return the mean of the networks of each patient."""
    patients = list(dict.fromkeys(patient for _, patient in units))
    return [
        float(np.mean([v for v, (_, own) in zip(values, units, strict=True) if own == patient]))
        for patient in patients
    ]


@torch.no_grad()
def _measure_detector(teacher: Stack, config: SeizureConfig) -> float:
    """Return its area under the curve on all test windows."""
    part = prepare(config).teaching["test"]
    scores = teacher(torch.from_numpy(part.own)[None])[0][-1].double().softmax(1)[:, 1]
    return compute_auc(scores.numpy(), part.labels)


@torch.no_grad()
def _measure_student(student: nn.Module, config: SeizureConfig) -> dict[str, float]:
    """Return the metrics of events on the test split."""
    prepared = prepare(config)
    if not isinstance(prepared, PreparedSeizures):
        raise TypeError(f"{type(prepared).__name__} has no events")
    splits: tuple[Split, ...] = ("val", "test")
    answers: dict[Split, Float64[np.ndarray, " N"]] = {}
    for split in splits:
        own = torch.from_numpy(prepared.windows[split].own)
        scores = student(make_stimulus(config, prepared, own))[0][-1]
        answers[split] = scores.double().softmax(1)[:, 1].numpy()
    return measure_events(config, prepared, answers).list_values()


def train_all_seizures(
    scale: SeizureScale, folder: Path, workers: int
) -> dict[SeizureSetting, Reached]:
    """Return what the settings reach; what is in the folder is not trained again.

    Raises:
        StoreError: a result in the folder's file is damaged.
    """
    about = {s: asdict(s) for s in scale.settings}

    train = share_work(train_seizures, workers, scale)
    return complete_results(folder / KEPT, about, Reached, train, _describe(scale))


def _describe(scale: SeizureScale) -> dict[str, str]:
    """Return what the figures of all settings depend on, beside the code."""
    return {"scale": str(replace(scale, settings=())), "torch": str(torch.__version__)}


def list_missing_seizures(scale: SeizureScale, folder: Path) -> list[SeizureSetting]:
    """Return the settings that are still to be trained."""
    about = {s: asdict(s) for s in scale.settings}
    return list_missing_results(folder / KEPT, about, _describe(scale))


UNIT = "AUC"
SHARES = ("sensitivity", "warning", "improvement")
COSTS = ("parameters", "macs", "samples", "calls")


def choose_seizure_scale(options: BenchOptions) -> SeizureScale:
    """Return how much is trained."""
    return QUICK_SEIZURES if options.quick else FULL_SEIZURES


def announce_seizures(options: BenchOptions) -> str:
    """Return what is about to be trained, and where it is kept."""
    scale = choose_seizure_scale(options)
    return (
        f"{len(list_missing_seizures(scale, options.out))} settings of seizures, by "
        f"{len(scale.patients)} patients, kept in {options.out / KEPT}; "
    )


def measure_seizures(options: BenchOptions) -> Iterator[Row]:
    """Yield a row an arm and setting, and what each setting shows."""
    scale = choose_seizure_scale(options)
    found = train_all_seizures(scale, options.out, options.workers)
    for setting, reached in found.items():
        yield from make_event_rows(setting, reached, scale)
        yield tell_setting(setting, reached)


def make_event_rows(
    setting: SeizureSetting, reached: Reached, scale: SeizureScale
) -> Iterator[Row]:
    """Yield a row an arm, beside labels alone, and one of the detector.

    Its cost is that of one network of the first patient.
    """
    plain = reached[LABELS]["auc"]
    for arm, own in reached.items():
        judged = judge_pairs(own["auc"], plain, "higher")
        ours, theirs = float(np.mean(own["auc"])), float(np.mean(plain))
        yield Row(
            case=setting.name,
            subject=arm,
            peer=LABELS,
            unit=UNIT,
            ours=ours,
            theirs=theirs,
            ratio=find_ratio(ours, theirs, "higher"),
            conditions={
                "patients": {k: list(v) for k, v in own.items() if k != SECONDS},
                "difference": judged.difference,
                "p": judged.p,
                "test": judged.test,
                **({} if arm == DETECTOR else {"cost": _count_cost(setting, scale, arm)}),
                SECONDS: own[SECONDS][0],
                "versions": list_versions("torch"),
            },
        )


def _count_cost(setting: SeizureSetting, scale: SeizureScale, arm: str) -> dict[str, int]:
    config = make_seizure_config(setting, scale, arm, scale.patients[0])
    return count_training(config, config.taught)


def tell_setting(setting: SeizureSetting, reached: Reached) -> Row:
    """Return what a setting shows, as a sentence; nothing of students below 0.8."""
    plain, guided = (reached[arm]["auc"] for arm in (LABELS, GUIDED))
    judged, student = judge_pairs(guided, plain, "higher"), float(np.mean(plain))
    told = f"detector {np.mean(reached[DETECTOR]['auc']):.3f}, student {student:.3f}"
    if ORACLE in reached:
        told += f", on the slow variable {np.mean(reached[ORACLE]['auc']):.3f}"
    if student < REACH:
        told += f"; no claim of a student below {REACH:g}"
    else:
        told += f"; {GUIDED} {judged.difference:+.3f} by {judged.pairs} patients"
        if judged.p is not None:
            spread = float(np.std(np.subtract(guided, plain), ddof=1)) / judged.pairs**0.5
            told += f" ± {spread:.3f} (standard error), p {_format_p(judged.p)}: "
            told += judged.verdict
        for control in (SMOOTHED, SHUFFLED):
            if control in reached:
                beside = float(np.mean(reached[control]["auc"])) - student
                told += f"; {control} {beside:+.3f}"
    name = f"{setting.name}"
    return Row(
        case=f"finding: {name}",
        subject=GUIDED,
        peer=LABELS,
        unit="settings",
        ours=judged.difference,
        theirs=0.0,
        ratio=None,
        note=f"{name}: {told}",
    )


def tabulate_seizures(rows: Sequence[Row]) -> Iterator[Table]:
    """Yield a table a setting: a line an arm, means over patients."""
    shown = [row for row in rows if "patients" in row.conditions]
    for case in dict.fromkeys(row.case for row in shown):
        own = [row for row in shown if row.case == case]
        head = ("AUC", "difference", "p", "sensitivity", "false alarms", "warning", "gain")
        out = make_table(case, "", *head, *COSTS)
        for row in own:
            out.add_row(row.subject, *_list_cells(row))
        patients = len(own[0].conditions["patients"]["auc"])
        out.caption = (
            f"means ± deviation of {patients} patients; difference and p beside {LABELS}: "
            f"{own[0].conditions['test']}; false alarms in 1000 units of time; warning: share "
            "of time; gain: sensitivity beyond that of chance; costs of one network: samples "
            "that the student sees, calls of student and teacher"
        )
        yield out


def draw_areas(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw the area under the curve of each patient, by arm, a panel a setting."""
    shown = [row for row in rows if "patients" in row.conditions]
    cases = list(dict.fromkeys(row.case for row in shown))
    figure.set_size_inches(9.58, 2.6 * len(cases))
    panels = figure.subplots(len(cases), 1, squeeze=False)[:, 0]
    for ax, case in zip(panels, cases, strict=True):
        own = [row for row in shown if row.case == case]
        for k, row in enumerate(own):
            values = row.conditions["patients"]["auc"]
            ax.plot(values, [k] * len(values), ".", color=MUTED, markersize=4)
            ax.plot(row.ours, k, "|", color=ACCENT, markersize=12)
        ax.axvline(REACH, color=LINE, linewidth=0.8)
        ax.set_yticks(range(len(own)), [row.subject for row in own], fontsize=7)
        ax.set_title(f"{case}: AUC of each patient, and the mean", fontsize=8)


def _list_cells(row: Row) -> Iterator[str]:
    reached, p = row.conditions["patients"], row.conditions["p"]
    found = summarise_seeds(reached["auc"])
    yield f"{found.mean:.3f}" + ("" if found.sd is None else f" ± {found.sd:.3f}")
    if row.subject in (LABELS, DETECTOR):
        yield from ("", "")
    else:
        yield f"{row.conditions['difference']:+.3f}"
        yield "" if p is None else _format_p(p)
    for name in ("sensitivity", "false_alarms", "warning", "improvement"):
        if name not in reached:
            yield ""
        else:
            mean = float(np.mean(reached[name]))
            yield f"{mean:.0%}" if name in SHARES else f"{mean:.2f}"
    cost = row.conditions.get("cost", {})
    yield from (f"{cost[name]:,}" if cost else "" for name in COSTS)


def _format_p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"
