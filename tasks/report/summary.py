"""The top of a report: what the system does, an example, and how well beside its baselines."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from tasks.report import html as page, tables as show
from tasks.runs.task import ACCURACY, Html, Metric

OURS = "this run"
MOST_METRICS = 6  # in the table of baselines; the others stand in the details
UNDECIDED = "no measurable difference to"
Z = NormalDist().inv_cdf(0.975)  # standard errors on each side of a 95 % interval


def list_standings(
    evaluation: Mapping[str, Any], metrics: Sequence[Metric]
) -> dict[str, dict[str, float]]:
    """Return the metrics in ``eval.json`` of this run, and then of its baselines, by name."""
    own = {m.name: evaluation[m.name] for m in metrics if m.name in evaluation}
    return {OURS: own, **evaluation.get("beside", {})}


def choose_metrics(
    evaluation: Mapping[str, Any], metrics: Sequence[Metric]
) -> tuple[Metric, ...]:
    """Return the metrics that the table shows: those of a baseline, or else the first three."""
    own, *others = list_standings(evaluation, metrics).values()
    known = [m for m in metrics if m.name in own]
    shared = [m for m in known if any(m.name in row for row in others)]
    return tuple(shared[:MOST_METRICS] or known[:3])


def find_best(rows: Mapping[str, Mapping[str, float]], metric: Metric) -> list[str]:
    """Return who has the best value of a metric, as it is printed; all if several have it."""
    values = {who: row[metric.name] for who, row in rows.items() if metric.name in row}
    best = min(values.values(), key=lambda x: metric.loss(x, 0.0))
    return [who for who, x in values.items() if metric.text(x) == metric.text(best)]


def find_shown_best(
    rows: Mapping[str, Mapping[str, float]], metric: Metric, n: int, errors: Mapping[str, Any]
) -> list[str]:
    """Return the best, or no one if the difference of this run to it is not measurable."""
    best, key = find_best(rows, metric), metric.name
    rivals = [k for k in (rows.keys() - best if OURS in best else best) if key in rows[k]]
    pairs = [(rows[OURS][key], rows[k][key], n, errors.get(k, {}).get(key)) for k in rivals]
    return [] if any(_judge(metric, *pair) == UNDECIDED for pair in pairs) else best


def state_value(metric: Metric, value: float, n: int) -> str:
    """Return a value as text, with the interval of :func:`split_value` in brackets."""
    text, interval = split_value(metric, value, n)
    return f"{text} ({interval})" if interval else text


def split_value(metric: Metric, value: float, n: int) -> tuple[str, str]:
    """Return a value as text, and the 95 % interval of an accuracy; "" for other metrics."""
    if metric != ACCURACY:
        return metric.text(value), ""
    low, high = find_interval(value, n)
    digits = min(2, max(0, -math.floor(math.log10(50 * (high - low)))))
    return f"{value:.{digits}%}", f"{100 * low:.{digits}f} to {high:.{digits}%}"


def find_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n samples, which lies within 0 to 1.

    Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2) / (1 + Z**2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def show_standings(evaluation: Mapping[str, Any], metrics: Sequence[Metric]) -> Html:
    """Return the table of this run beside its baselines, and what its metrics mean."""
    rows, shown = list_standings(evaluation, metrics), choose_metrics(evaluation, metrics)
    alone, n = len(rows) == 1, evaluation["n"]
    errors = evaluation.get("errors", {})
    best = {m.name: [] if alone else find_shown_best(rows, m, n, errors) for m in shown}
    cells = [
        [who, *(state_value(m, row[m.name], n) if m.name in row else "" for m in shown)]
        for who, row in rows.items()
    ]
    bold = {
        (i, j)
        for i, who in enumerate(rows)
        for j, m in enumerate(shown, 1)
        if who in best[m.name]
    }
    notes = evaluation.get("notes", {})
    labels: dict[str, list[str]] = {}
    for m in shown:
        note = f" ({notes[m.name]})" if m.name in notes else ""
        meaning = f"{m.meaning or 'see below'}; {m.better} is better{note}"
        labels.setdefault(meaning, []).append(m.label)
    spread = " In brackets: the 95 % interval (Wilson)." * (ACCURACY in shown)
    if not (alone or all(best.values())):
        spread += " Without bold: the difference to the best is not measurable."
    measured = f"Measured on {show.count_samples(evaluation)}.{spread}"
    lines = [measured, *(f"{', '.join(own)}: {meaning}." for meaning, own in labels.items())]
    return page.join(
        (
            page.table(["", *(m.label for m in shown)], cells, bold),
            *(page.paragraph(line, "caption") for line in lines),
        )
    )


def state_quality(evaluation: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """Say in one sentence how this run stands beside its baselines, in the first shared metric.

    Names the best baseline, and the best that this run beats. A difference below two standard
    errors counts as none: those of accuracies, and those that ``eval.json`` has.
    """
    shown, rows = choose_metrics(evaluation, metrics), list_standings(evaluation, metrics)
    if not shown:
        return ""
    metric, n = shown[0], evaluation["n"]
    own = rows.pop(OURS)[metric.name]
    ours = f"{metric.label} {state_value(metric, own, n)}"
    others = {who: row for who, row in rows.items() if metric.name in row}
    if not others:
        return f"{ours} on {show.count_samples(evaluation)}"
    errors = {who: row.get(metric.name) for who, row in evaluation.get("errors", {}).items()}
    words = {
        who: _judge(metric, own, row[metric.name], n, errors.get(who))
        for who, row in others.items()
    }
    beaten = {who: row for who, row in others.items() if words[who] == "better than"}
    named = [find_best(rows, metric)[0] for rows in (others, beaten) if rows]
    verdicts = [
        f"{words[who]} {who} ({split_value(metric, others[who][metric.name], n)[0]})"
        for who in dict.fromkeys(named)
    ]
    return f"{ours}: {', '.join(verdicts)}"


def state_controls(
    evaluation: Mapping[str, Any],
    metrics: Sequence[Metric],
    controls: Mapping[str, Mapping[str, float]],
) -> str:
    """Return the first shown metric of the controls that have it; "" if none has."""
    told = [
        f"{who} {state_value(metric, own[metric.name], evaluation['n'])}"
        for metric in choose_metrics(evaluation, metrics)[:1]
        for who, own in controls.items()
        if metric.name in own
    ]
    if not told:
        return ""
    return (
        f"Trained beside it with the same seed: {', '.join(told)}. A difference between two "
        "trainings may be chance; neuro compare judges it over several seeds."
    )


def _judge(metric: Metric, ours: float, theirs: float, n: int, error: float | None) -> str:
    """Word a difference. error: its standard error, if known; unknown counts as none."""
    lost = metric.loss(ours, theirs)
    if error is None:
        error = 0.0
        if metric == ACCURACY:
            error = math.hypot(_estimate_error(ours, n), _estimate_error(theirs, n))
    if abs(lost) < 2 * error or metric.text(ours) == metric.text(theirs):
        return UNDECIDED
    return "worse than" if lost > 0 else "better than"


def _estimate_error(share: float, n: int) -> float:
    return math.sqrt(share * (1 - share) / n)
