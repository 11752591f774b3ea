"""Scores of planned paths in recorded scenes, stored scene by scene."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from neuro.io.pytree import digest
from tasks.bench.results import append_result, make_key, read_results, read_value
from tasks.driving.benchmark.entrants import Entrant, describe_windows
from tasks.driving.benchmark.recorded_scenes import (
    RecordedDrive,
    open_recordings,
    read_recording,
    score_path,
)
from tasks.driving.benchmark.window_results import WindowResults, digest_tables
from tasks.driving.config import DrivingConfig
from tasks.driving.score import Score

FILE = "driving-scores.jsonl"  # in the folder of the figures
RECORDED = "recorded drive"  # a planner that follows the recording
Scores = dict[str, dict[int, list[Score]]]  # by planner and its seed, in order of windows


def score_all(
    entrants: Sequence[Entrant],
    observed: Mapping[str, Mapping[int, WindowResults]],
    config: DrivingConfig,
    folder: Path,
) -> tuple[list[str], Scores]:
    """Return (scene of each window, scores) for the windows with 4 s of future.

    The recorded drive is an additional planner.
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
    planners = [(RECORDED, 0, RECORDED), *((e.name, e.seed, e.digest) for e in entrants)]
    scenes: list[str] = []
    scores: Scores = {}
    for scene, numbers in spans.items():
        about = {
            (name, seed): {
                "planner": name,
                "seed": seed,
                "digest": identity,
                "scene": scene,
                **common,
            }
            for name, seed, identity in planners
        }
        keys = {planner: make_key(conditions) for planner, conditions in about.items()}
        missing = [planner for planner, key in keys.items() if key not in known]
        if missing:
            recordings = [read_recording(windows, number) for number in numbers]
            for planner in missing:
                name, seed = planner
                results = None if name == RECORDED else observed[name][seed]
                values = [asdict(_score(r, results, place)) for r in recordings]
                key = keys[planner]
                known[key] = append_result(path, key, about[planner], values)
        scenes += [scene] * len(numbers)
        for name, seed in about:
            of_scene = read_value(path, known[keys[name, seed]], list[Score])
            scores.setdefault(name, {}).setdefault(seed, []).extend(of_scene)
    return scenes, scores


def _score(
    recording: RecordedDrive, results: WindowResults | None, place: Mapping[str, int]
) -> Score:
    path = recording.path if results is None else np.array(results.path[place[recording.token]])
    return score_path(recording, path)
