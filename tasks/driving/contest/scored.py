"""Scores of planned paths in recorded scenes, kept scene by scene."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from neuro.io.pytree import digest
from tasks.bench.results import append_result, make_key, read_results, read_value
from tasks.driving.config import DrivingConfig
from tasks.driving.contest.contest import Entrant, describe_windows
from tasks.driving.contest.observe import Observed, digest_tables
from tasks.driving.contest.recorded import (
    RecordedDrive,
    open_recordings,
    read_recording,
    score_path,
)
from tasks.driving.score import Score

FILE = "driving-scores.jsonl"  # beside the figures
RECORDED = "recorded drive"  # a planner that knows what the car did
Scores = dict[str, dict[int, list[Score]]]  # by planner and its seed, in order of windows


def score_all(
    entrants: Sequence[Entrant],
    observed: Mapping[str, Mapping[int, Observed]],
    config: DrivingConfig,
    folder: Path,
) -> tuple[list[str], Scores]:
    """Return (scene of each window, scores) of the windows that have 4 s of future.

    The recorded drive is one more planner.
    """
    path = folder / FILE
    known = read_results(path)
    windows = open_recordings(config)
    first = next(iter(next(iter(observed.values())).values()))
    place = {token: k for k, token in enumerate(first.token)}
    past = config.past
    spans: dict[str, list[int]] = {}
    for number, span in enumerate(windows.spans):
        if span.tokens[past - 1] in place:
            spans.setdefault(span.scene, []).append(number)
    common = {"windows": digest(describe_windows(config)), "data": digest_tables(config.source)}
    who = [(RECORDED, 0, RECORDED), *((e.name, e.seed, e.digest) for e in entrants)]
    scenes: list[str] = []
    scores: Scores = {}
    for scene, numbers in spans.items():
        about = {
            (name, seed): {
                "planner": name,
                "seed": seed,
                "digest": own,
                "scene": scene,
                **common,
            }
            for name, seed, own in who
        }
        keys = {one: make_key(told) for one, told in about.items()}
        missing = [one for one, key in keys.items() if key not in known]
        if missing:
            recordings = [read_recording(windows, number) for number in numbers]
            for one in missing:
                own = None if one[0] == RECORDED else observed[one[0]][one[1]]
                values = [asdict(_score(r, own, place)) for r in recordings]
                known[keys[one]] = append_result(path, keys[one], about[one], values)
        scenes += [scene] * len(numbers)
        for name, seed in about:
            found = read_value(path, known[keys[name, seed]], list[Score])
            scores.setdefault(name, {}).setdefault(seed, []).extend(found)
    return scenes, scores


def _score(recording: RecordedDrive, own: Observed | None, place: Mapping[str, int]) -> Score:
    path = recording.path if own is None else np.array(own.path[place[recording.token]])
    return score_path(recording, path)
