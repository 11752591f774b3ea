"""Forecasters of series by part of the bench: settings of the windows, arms, findings.

The settings are a grid over lookback and horizon, some with few windows, some with another
series, and one with spiking students. The other students are two layers of tanh.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from tasks.bench.experiment import Experiment, Reached
from tasks.bench.rows import Row
from tasks.forecasting.bench.train import (
    LABELS,
    OPERATIONS,
    SIGMA,
    UPDATES,
    WIDE,
    Change,
    list_arms,
    make_experiment,
    make_finding,
)
from tasks.forecasting.config import ForecastConfig, guided, guided_ann
from tasks.forecasting.evaluate import METRICS

GUIDED = "future teacher"  # Future-Guided Learning
SMOOTHED = "smoothing, no teacher"
AS_WIDE = "smoothing, as wide as the teacher"
SHUFFLED = "shuffled teacher"
POPULATION = "population code, no teacher"
ALONE = "future teacher alone"
TWIN = "labels alone, without spikes"  # compared with spiking students
ARMS: Mapping[str, Change] = {
    LABELS: {"arm": "none"},
    GUIDED: {"arm": "future"},
    "future teacher, tau 1": {"arm": "future", "temperature": 1.0},
    SMOOTHED: {"arm": "smoothing"},
    AS_WIDE: {"arm": "smoothing", "sigma": WIDE},
    POPULATION: {"arm": "population"},
    "teacher on the own window": {"arm": "present"},
    SHUFFLED: {"arm": "shuffled"},
    "label in the teacher's place": {"arm": "oracle"},
}
GATED: Mapping[str, Change] = {
    f"future teacher, above {nats} nats": {"arm": "future", "surprise": nats}
    for nats in (0.01, 0.03, 0.1, 0.3)
}
CHANGES: Mapping[str, Change] = {
    **ARMS,
    **GATED,
    ALONE: {"arm": "future", "alpha": 0.0},
    TWIN: {"arm": "none", "cells": "tanh", "hidden": 48, "lr": 1e-3},
}
ARMS_OF: Mapping[str, Sequence[str]] = {  # by part
    **dict.fromkeys(("grid", "few", "lorenz"), tuple(ARMS)),
    "paper": (LABELS, GUIDED, ALONE, AS_WIDE, POPULATION),
    "gated": (LABELS, GUIDED, *GATED),
    "spiking": (LABELS, GUIDED, SMOOTHED, AS_WIDE, POPULATION, TWIN),
}
SEEDS = tuple(range(8))
SMALL: Change = {"points": 600, "epochs": 2, "teacher_epochs": 2}
READ_OUTS = {"mse": "expectation", "mse_argmax": "arg-max"}


def list_settings(part: str, quick: bool) -> dict[str, ForecastConfig]:
    """Return the settings of a part by name. quick: the first two, too short to judge."""
    dense = guided_ann()
    few = replace(dense, lookback=12, train=600, batch=64)
    found = {
        "grid": [replace(dense, lookback=L, horizon=H) for L in (1, 8) for H in (2, 5, 10, 15)],
        "few": [replace(few, horizon=H) for H in (5, 12)],
        "lorenz": [replace(dense, source="lorenz", horizon=H) for H in (5, 10, 20)],
        "paper": [  # the weights of the labels in the early figures of the authors
            replace(dense, lookback=1, horizon=H, bins=bins)
            for bins in (25, 50)
            for H in (2, 5, 8, 10, 12, 15)
        ],
        "gated": [replace(dense, lookback=L) for L in (1, 8)],
        "spiking": [guided()],
    }[part]
    if quick:
        found = [replace(c, **SMALL, train=min(c.train, 300)) for c in found[:2]]
    return {name_setting(config, part): config for config in found}


def name_setting(config: ForecastConfig, part: str) -> str:
    """Return the name of a setting, such as "mackey glass, L 1, H 5"."""
    name = f"{config.source.replace('_', ' ')}, L {config.lookback}, H {config.horizon}"
    name += f", {config.train} windows" if config.train else ""
    name += f", {config.bins} bins" if part == "paper" else ""
    return f"{name}, {part}" if part in ("gated", "spiking") else name


def make_part(part: str, quick: bool) -> Experiment:
    """Return the experiment of a part."""
    settings = list_settings(part, quick)
    judge = judge_updates if part == "gated" else partial(judge_settings, part)
    seeds = SEEDS[:6] if part == "spiking" else SEEDS  # spiking students take longer
    return make_experiment(
        list_arms(settings, {arm: CHANGES[arm] for arm in ARMS_OF[part]}),
        seeds[:2] if quick else seeds,
        title="settings of the windows",
        run="forecasting:guided",
        metrics=(*METRICS[:2], SIGMA, UPDATES, OPERATIONS),
        judge=partial(judge, tuple(settings)),
    )


def find_mean(reached: Reached, setting: str, arm: str, metric: str) -> float:
    """Return the mean over the seeds of a metric of an arm in a setting."""
    return float(np.mean([*reached[f"{setting}: {arm}"][metric].values()]))


def judge_settings(part: str, settings: Sequence[str], reached: Reached) -> Iterator[Row]:
    """Yield in how many settings one arm errs less than another, as sentences.

    Compares Future-Guided Learning with arms that have no teacher, for both read-outs, and a
    shuffled teacher with none.
    """
    mean, number = partial(find_mean, reached), len(settings)
    for arm, (metric, read_out) in product((SMOOTHED, AS_WIDE, POPULATION), READ_OUTS.items()):
        if arm not in ARMS_OF[part]:
            continue
        won = sum(mean(s, arm, metric) <= mean(s, GUIDED, metric) for s in settings)
        name = f"{part}: {arm}, errs no more than Future-Guided Learning, {read_out}"
        note = f"in {won} of {number} settings"
        yield make_finding(name, (arm, GUIDED), (float(won), float(number)), note)
    if SHUFFLED in ARMS_OF[part]:
        factors = [mean(s, SHUFFLED, "mse") / mean(s, LABELS, "mse") for s in settings]
        worse = sum(factor > 3 for factor in factors)
        name = f"{part}: a shuffled teacher errs more than three times as much"
        note = f"in {worse} of {number} settings, by factors of "
        note += f"{min(factors):.1f} to {max(factors):.1f}"
        yield make_finding(name, (SHUFFLED, LABELS), (float(worse), float(number)), note)


def judge_updates(settings: Sequence[str], reached: Reached) -> Iterator[Row]:
    """Yield the error, and the share of the windows on which the teacher teaches."""
    mean = partial(find_mean, reached)
    for setting, arm in product(settings, GATED):
        share = mean(setting, arm, UPDATES.name)
        change = mean(setting, arm, "mse") / mean(setting, GUIDED, "mse") - 1
        note = f"{share:.1%} of the windows teach, {100 * change:+.0f} % error beside all"
        yield make_finding(f"{setting}: {arm}", (arm, GUIDED), (share, 1.0), note)
