"""The part ``seizures`` of the bench: rows, a table and what the arms show, by patient.

The first metric, fixed before any training, is the area under the curve of a patient's test
windows. Of a setting nothing is claimed unless the student of labels alone reaches 0.8: what
limits a weaker one is not its labels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from neuro.plot import ACCENT, LINE, MUTED
from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.forecasting.bench.seizures import (
    DETECTOR,
    FULL_SEIZURES,
    KEPT,
    ORACLE,
    QUICK_SEIZURES,
    REACH,
    SeizureScale,
    SeizureSetting,
    list_missing_seizures,
    make_seizure_config,
    train_all_seizures,
)
from tasks.forecasting.bench.settings import GUIDED, LABELS, SHUFFLED, SMOOTHED
from tasks.forecasting.bench.train import SECONDS, Reached, count_training
from tasks.measures.statistics import judge_pairs, summarise_seeds
from tasks.report.tables import make_table

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
