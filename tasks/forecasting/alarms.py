"""Alarms of a predictor of events, and how good they are, event by event.

A score of at least the threshold at time t raises an alarm: it says that an event begins in the
occurrence period t + sph ... t + sph + sop, the end excluded. No further alarm is raised for a
time of sop (the refractory period). An event is predicted if it begins in the period of an
alarm; an alarm is false if no event begins in its period.

    sensitivity   share of the events predicted, among those that some answer could predict
    false rate    false alarms per time in which answers are given
    warning       share of the answers at whose time + sph an occurrence period is running
    chance        sensitivity of a random predictor, a Poisson process that warns for as long:
                  1 - exp(-rate * sop) = warning (Snyder et al. 2008, Journal of Neuroscience
                  Methods 172, 301-312)
    improvement   sensitivity - chance
    p             probability that chance predicts at least this number of events, binomial

A chance of 1 - exp(-false rate * sop) would be too low where many alarms are right by luck.

Times are in any unit, the same for all. Axes: N answers, A alarms, E events.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

TRIED = 200  # thresholds tried, at most


@dataclass(frozen=True, kw_only=True)
class Warnings:
    """How far ahead an alarm warns, and the time that each answer covers."""

    sph: float
    sop: float
    every: float


@dataclass(frozen=True, kw_only=True)
class AlarmScore:
    """The score of some alarms. alarms, false, events, predicted: counts."""

    alarms: int
    false: int
    events: int
    predicted: int
    sensitivity: float
    false_rate: float
    warning: float
    chance: float
    improvement: float
    p: float


def compute_auc(scores: Float64[np.ndarray, " N"], labels: Int64[np.ndarray, " N"]) -> float:
    """Return the probability that a window of class 1 has a larger score than one of class 0.

    Equal scores count as half.

    Raises:
        ValueError: one of the classes has no window.
    """
    yes, no = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(yes) or not len(no):
        raise ValueError(
            f"{len(yes)} windows of class 1 and {len(no)} of class 0 have no area under the "
            "curve; give windows of both"
        )
    below, up_to = (np.searchsorted(no, yes, side).sum() for side in ("left", "right"))
    return float((below + up_to) / 2 / (len(yes) * len(no)))


def raise_alarms(
    now: Float64[np.ndarray, " N"],
    scores: Float64[np.ndarray, " N"],
    threshold: float,
    refractory: float,
) -> Float64[np.ndarray, " A"]:
    """Return the times of the alarms, which scores of at least the threshold raise."""
    alarms = list[float]()
    for t in now[scores >= threshold].tolist():
        if not alarms or t >= alarms[-1] + refractory:
            alarms.append(t)
    return np.array(alarms, np.float64)


def list_predictable(
    now: Float64[np.ndarray, " N"], onsets: Float64[np.ndarray, " E"], about: Warnings
) -> Float64[np.ndarray, " P"]:
    """Return the onsets of the events that begin in the occurrence period of some answer."""
    return np.asarray(onsets[_find_hits(now, onsets, about).any(0)])


def score_alarms(
    alarms: Float64[np.ndarray, " A"],
    now: Float64[np.ndarray, " N"],
    onsets: Float64[np.ndarray, " E"],
    about: Warnings,
) -> AlarmScore:
    """Return the score of alarms. now: times of the answers. onsets: of all events.

    Raises:
        ValueError: no event could be predicted, or no answer was given.
    """
    known = list_predictable(now, onsets, about)
    if not len(known):
        raise ValueError(
            f"none of {len(onsets)} events begins in the occurrence period of one of "
            f"{len(now)} answers; give a recording with an event that can be predicted"
        )
    predicted = int(_find_hits(alarms, known, about).any(0).sum())
    false = int((~_find_hits(alarms, onsets, about).any(1)).sum())
    past = np.concatenate([[-np.inf], np.sort(alarms)])
    last = past[np.searchsorted(past, now, "right") - 1]
    chance = float((now - last < about.sop).mean())
    return AlarmScore(
        alarms=len(alarms),
        false=false,
        events=len(known),
        predicted=predicted,
        sensitivity=predicted / len(known),
        false_rate=false / (len(now) * about.every),
        warning=chance,
        chance=chance,
        improvement=predicted / len(known) - chance,
        p=_find_tail(predicted, len(known), chance),
    )


def choose_threshold(
    now: Float64[np.ndarray, " N"],
    scores: Float64[np.ndarray, " N"],
    onsets: Float64[np.ndarray, " E"],
    about: Warnings,
) -> float:
    """Return the threshold with the largest improvement over chance; of several, the largest.

    Call it with validation data only. At most 200 scores are tried, evenly spread over all.
    """
    tried = np.unique(scores)
    if len(tried) > TRIED:
        tried = tried[np.linspace(0, len(tried) - 1, TRIED).round().astype(int)]

    def improve(threshold: float) -> float:
        alarms = raise_alarms(now, scores, threshold, about.sop)
        return score_alarms(alarms, now, onsets, about).improvement

    largest_first: list[float] = tried.tolist()[::-1]
    return max(largest_first, key=improve)


def _find_hits(
    now: Float64[np.ndarray, " N"], onsets: Float64[np.ndarray, " E"], about: Warnings
) -> Bool[np.ndarray, "N E"]:
    """Return which events begin in which occurrence periods."""
    ahead = onsets - now[:, None] - about.sph
    return np.asarray((ahead >= 0) & (ahead < about.sop))


def _find_tail(hits: int, events: int, chance: float) -> float:
    """Return the binomial probability of at least ``hits`` hits among the events."""
    return sum(
        math.comb(events, k) * chance**k * (1 - chance) ** (events - k)
        for k in range(hits, events + 1)
    )
