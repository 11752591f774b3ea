"""Scores of planned paths in recorded scenes, stored scene by scene."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from tasks.bench.results import complete_results
from tasks.driving.benchmark.entrants import Entrant
from tasks.driving.benchmark.recorded_scenes import (
    open_recordings,
    read_recording,
    score_path,
)
from tasks.driving.benchmark.window_results import WindowResults, describe_data
from tasks.driving.config import DrivingConfig
from tasks.driving.score import Score

FILE = "driving-scores.jsonl"  # in the folder of the figures
RECORDED = "recorded drive"  # a planner that follows the recording
Scored = tuple[str, str, int]  # scene, planner and its seed
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
    windows = open_recordings(config)
    first = next(iter(next(iter(observed.values())).values()))
    place = {token: k for k, token in enumerate(first.token)}
    spans: dict[str, list[int]] = {}
    for number, span in enumerate(windows.spans):
        if span.tokens[config.past - 1] in place:
            spans.setdefault(span.scene, []).append(number)
    recorded = {"planner": RECORDED, "seed": 0, "digest": RECORDED}
    common = describe_data(config)
    about = {
        (scene, who["planner"], who["seed"]): {**who, "scene": scene, **common}
        for scene in spans
        for who in (recorded, *(e.identity for e in entrants))
    }

    def score(missing: list[Scored]) -> Iterator[tuple[Scored, Any]]:
        for scene, of_scene in groupby(missing, itemgetter(0)):
            recordings = [read_recording(windows, number) for number in spans[scene]]
            for _, name, seed in of_scene:
                paths = (
                    r.path
                    if name == RECORDED
                    else np.array(observed[name][seed].path[place[r.token]])
                    for r in recordings
                )
                scores = map(score_path, recordings, paths)
                yield (scene, name, seed), [asdict(s) for s in scores]

    scores: Scores = {}
    found = complete_results(folder / FILE, about, list[Score], score)
    for (_, name, seed), of_scene in found.items():
        scores.setdefault(name, {}).setdefault(seed, []).extend(of_scene)
    return [scene for scene, numbers in spans.items() for _ in numbers], scores
