"""All of ``neuro bench driving``, on small untrained networks."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from driving_runs import make_run, put_small
from rich.console import Console
from straight_recording import make_recording

from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row
from tasks.cli.benches import show
from tasks.driving.bench import courses, entrants, recorded_scenes
from tasks.driving.bench.draw import HEADLINES
from tasks.driving.bench.entrants import DISTURBED, MLP
from tasks.driving.bench.parts import (
    MAPS,
    PARTS,
    SCORES,
    TARGET,
    compare_maps,
    drive_courses,
    score_windows,
)
from tasks.driving.bench.recorded_scenes import RecordedDrive
from tasks.driving.closed_loop import Outcome, Trial
from tasks.driving.score import Score

TINY, BLANKED, ANN = "driving:small", "driving:small, cameras blanked", "driving:small_ann"
PLAIN = {"constant velocity", "constant acceleration", "stops", MLP, DISTURBED}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BenchOptions:
    """Ask for two seeds and a twin; recordings are of a free straight road."""
    put_small(monkeypatch)
    monkeypatch.setattr(entrants, "EPOCHS", 2)
    tokens = [f"sample-{40 + k}" for k in (0, 1, 3)]  # one has no 4 s of future
    spans = [
        SimpleNamespace(tokens=("", "", token), scene=f"scene-{k // 2:04}")
        for k, token in zip((0, 1, 3), tokens, strict=True)
    ]
    monkeypatch.setattr(
        recorded_scenes, "open_recordings", lambda _: SimpleNamespace(spans=spans)
    )

    def read_recording(windows: SimpleNamespace, number: int) -> RecordedDrive:
        token = windows.spans[number].tokens[2]
        return replace(make_recording([[]] * 9), token=token)

    monkeypatch.setattr(recorded_scenes, "read_recording", read_recording)
    runs = [("a", "small", 0), ("b", "small", 1), ("c", "small_ann", 0)]
    made = tuple(make_run(tmp_path / f, name, seed) for f, name, seed in runs)
    return BenchOptions(out=tmp_path / "bench", runs=made)


def of(rows: Sequence[Row], case: str) -> dict[str, Row]:
    return {row.peer: row for row in rows if row.case == case}


@pytest.mark.slow
def test_the_closed_loop_has_all_planners(
    asked: BenchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    perfect = Score(**dict.fromkeys(Score.__dataclass_fields__, 1.0))

    def pretend(trial: Trial, seed: int, *_: float) -> Outcome:
        bad = "collision" if trial.blanked else "off road"
        end = "completed" if trial.planner is None or seed % 2 else bad
        share = 1.0 if end == "completed" else 0.5
        return Outcome(
            seed=seed, end=end, share=share, seconds=1.0, collisions=0, segments=(perfect,)
        )

    monkeypatch.setattr(courses, "run_course", pretend)
    rows = list(drive_courses(asked))
    done = of(rows, "closed loop: routes completed")
    assert set(done) == {BLANKED, ANN, "rules (know all)"} | PLAIN
    assert (done[ANN].ours, done[ANN].theirs) == (50.0, 50.0)
    assert done["rules (know all)"].theirs == 100.0
    paired = done["rules (know all)"].conditions["paired"]
    assert (paired["worse"], paired["units"], paired["of"]) == (12, 24, "course")
    assert done[ANN].conditions["run_seeds"] == [0, 1]
    assert len(done["ego-only MLP"].conditions["theirs"]["seeds"]) == 2
    rate = of(rows, "closed loop: collisions at fault a kilometre")[BLANKED]
    assert (rate.unit, rate.conditions["better"], rate.ours) == ("1/km", "lower", 0.0)
    assert rate.theirs == pytest.approx(12 / (0.15 * 18))
    assert len(rate.conditions["theirs"]["seeds"]) == 2
    assert rate.conditions["rates"]["difference"] == pytest.approx(-12 / (0.15 * 18))
    assert rate.conditions["rates"]["high"] < 0
    off = of(rows, "closed loop: off road")["rules (know all)"]
    assert (off.ours, off.theirs, off.conditions["better"]) == (50.0, 0.0, "lower")
    assert of(rows, "closed loop: driving score")[ANN].ours == pytest.approx(75.0)


@pytest.mark.slow
def test_the_open_loop_has_scores_and_distances(asked: BenchOptions) -> None:
    rows = list(score_windows(asked))
    scores = of(rows, "open loop: progress, 4 s")
    assert set(scores) == {BLANKED, ANN, "recorded drive"} | PLAIN
    assert scores["recorded drive"].theirs == pytest.approx(100.0)
    assert scores["stops"].theirs == pytest.approx(100 * 4 / 32, abs=8)  # until it stands
    assert scores["stops"].conditions["windows"] == 3
    assert scores["stops"].conditions["paired"]["units"] == 2  # scenes
    away = of(rows, "open loop: L2, mean to 2 s")
    assert set(away) == {BLANKED, ANN} | PLAIN
    assert away["constant velocity"].theirs == pytest.approx(0, abs=1e-4)
    assert (away["stops"].unit, away["stops"].conditions["windows"]) == ("m", 4)
    at = of(rows, "open loop: L2, at 2 s")["stops"].theirs
    mean = away["stops"].theirs
    assert at is not None
    assert mean is not None
    assert mean / at == pytest.approx(np.mean([1, 2, 3, 4]) / 4)
    assert not of(rows, "open loop: L2, mean to 3 s")  # windows of tests have 2 s


@pytest.mark.slow
def test_maps_stand_beside_what_needs_no_learning(asked: BenchOptions) -> None:
    rows = list(compare_maps(asked))
    classes = of(rows, "maps: IoU of vehicle")
    assert set(classes) == {BLANKED, ANN, "empty", "prior map", TARGET}
    assert classes["prior map"].theirs == 100.0
    assert (classes[TARGET].theirs, classes[TARGET].conditions["target"]) == (35.0, 1.0)
    assert classes[TARGET].reached is False
    future = of(rows, "maps: future IoU of what moves")
    assert future["true present, warped"].theirs == 100.0
    assert future["true present, copied"].theirs == pytest.approx(100 / 15)
    assert {"own present, copied", "own present, warped", "prior map", "empty"} <= set(future)
    assert set(of(rows, "maps: PQ of what moves")) == {
        BLANKED,
        ANN,
        "own present, copied",
        "own present, warped",
        "true present, copied",
        "true present, warped",
        "empty",
    }
    (gain,) = of(
        rows, "maps: future IoU of vehicles, gain over the own present, copied"
    ).values()
    assert gain.theirs == pytest.approx(3.0)


def test_headlines_are_cases_of_the_parts() -> None:
    """A case that no part has any more would be left out of the picture without a word."""
    names = {f"closed loop: {name}" for name in courses.FIGURES}
    names |= {f"open loop: {name}, 4 s" for name in SCORES} | {
        f"maps: {n}" for n in MAPS.values()
    }
    names |= {f"open loop: {kind}, mean to 3 s" for kind in ("L2", "collisions")}
    assert set(HEADLINES) <= names


@pytest.mark.slow
def test_the_verb_writes_figures_and_a_picture(asked: BenchOptions) -> None:
    file = io.StringIO()
    console = Console(file=file, width=400)
    show(console, "driving", replace(asked, parts=("maps",)))
    rows = json.loads((asked.out / "driving.json").read_text())
    assert {row["subject"] for row in rows} == {TINY}
    assert (asked.out / "driving.png").read_bytes().startswith(b"\x89PNG")
    assert "future IoU of vehicles [%]" in file.getvalue()
    assert list(PARTS) == ["closed", "ceiling", "open", "maps"]
