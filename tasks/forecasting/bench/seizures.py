"""Part ``seizures`` of the bench: predictors of seizures, arms paired by patient.

A setting is a kind of recording. The patient is the statistical unit: metrics of several
networks of a patient are averaged first. The first metric, fixed before any training, is the
area under the curve (AUC) of a patient's test windows. A setting supports a claim only if the
student on labels alone reaches 0.8: a weaker student is limited by something else than labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tasks.bench.experiment import Experiment, Reached
from tasks.bench.rows import Row
from tasks.forecasting.bench.series import ARMS, GUIDED, SHUFFLED, SMOOTHED
from tasks.forecasting.bench.train import (
    LABELS,
    TEACHER,
    Change,
    list_arms,
    make_experiment,
    make_finding,
)
from tasks.forecasting.seizures import EVENT_METRICS, seizures, seizures_ann
from tasks.measures.statistics import PairedVerdict, judge_pairs

COUPLED = "seizures, DC-coupled, noise 0.1"  # a setting
ORACLE = "labels alone, on the slow variable"
REACH = 0.8  # least AUC of labels alone for a claim
PATIENTS = tuple(range(100, 120))  # the sizes were chosen on other patients
FURTHER = 1000  # distance between the seeds of a patient's networks
EVENT_ARMS: Mapping[str, Change] = {
    **{arm: ARMS[arm] for arm in (LABELS, GUIDED, "future teacher, tau 1")},
    "future teacher, middle of the period": {"arm": "future", "target": "middle"},
    "teacher on the own window": {"arm": "present"},
    **{arm: ARMS[arm] for arm in (SHUFFLED, SMOOTHED, "label in the teacher's place")},
    ORACLE: {"arm": "none", "channel": "z"},
}


def make_seizure_experiment(quick: bool) -> Experiment:
    """Return the experiment: two networks per patient; spiking: one, and fewer patients."""
    seeds, spiking = (*PATIENTS, *(p + FURTHER for p in PATIENTS)), 8
    small: Change = {}
    if quick:
        seeds, spiking, small = (0, 1), 1, {"points": 40_000, "epochs": 2, "teacher_epochs": 2}
    dense, spikes = replace(seizures_ann(), **small), replace(seizures(), **small)
    settings = {
        COUPLED: dense,
        f"{COUPLED}, 20% labelled": replace(dense, labelled=0.2),
        "seizures, baseline of 200 removed, noise 0.3": replace(
            dense, channel="ac", noise=0.3, baseline=200
        ),
    }
    arms, last = list_arms(settings, EVENT_ARMS), f"{COUPLED}, spiking"
    few = {arm: EVENT_ARMS[arm] for arm in (LABELS, GUIDED)}
    return make_experiment(
        {**arms, **list_arms({last: spikes}, few)},
        seeds[:spiking],
        further=dict.fromkeys(arms, seeds[spiking:]),
        unit=lambda seed: seed % FURTHER,
        title="windows before seizures",
        run="forecasting:seizures",
        metrics=EVENT_METRICS,
        judge=partial(judge_settings, (*settings, last)),
    )


def judge_settings(settings: Sequence[str], reached: Reached) -> Iterator[Row]:
    """Yield what each setting shows, as a sentence; no claim if labels alone are below 0.8."""
    for name in settings:
        areas = {
            arm: [*reached[f"{name}: {arm}"]["auc"].values()]
            for arm in EVENT_ARMS
            if f"{name}: {arm}" in reached
        }
        detector = reached[f"{name}: {LABELS}, {TEACHER}"]["auc"]
        judged = judge_pairs(areas[GUIDED], areas[LABELS], "higher")
        note = f"detector {np.mean([*detector.values()]):.3f}, "
        note += describe_students(areas, judged)
        yield make_finding(name, (GUIDED, LABELS), (judged.difference, 0.0), note)


def describe_students(areas: Mapping[str, Sequence[float]], judged: PairedVerdict) -> str:
    """Return a sentence: the AUC of each arm, and the teacher's gain over labels alone."""
    student = float(np.mean(areas[LABELS]))
    text = f"student {student:.3f}"
    if ORACLE in areas:
        text += f", on the slow variable {np.mean(areas[ORACLE]):.3f}"
    if student < REACH:
        return f"{text}; no claim of a student below {REACH:g}"
    text += f"; {GUIDED} {judged.difference:+.3f} by {judged.pairs} patients"
    if judged.p is not None:
        differences = np.subtract(areas[GUIDED], areas[LABELS])
        spread = float(np.std(differences, ddof=1)) / judged.pairs**0.5
        p = f"{judged.p:.3f}" if judged.p >= 0.0005 else "< 0.001"
        text += f" ± {spread:.3f} (standard error), p {p}: {judged.verdict}"
    for control in (SMOOTHED, SHUFFLED):
        if control in areas:
            text += f"; {control} {float(np.mean(areas[control])) - student:+.3f}"
    return text
