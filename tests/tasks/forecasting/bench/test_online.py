"""The part in which students go on learning: series, learners, findings by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.bench.experiment import Reached, complete_run
from tasks.forecasting.bench import online
from tasks.forecasting.bench.online import BEHIND, LEARNERS, RATE, STOPPED
from tasks.forecasting.bench.series import AS_WIDE, GUIDED
from tasks.forecasting.bench.train import LABELS, measure_width
from tasks.forecasting.config import guided_ann
from tasks.forecasting.data import make_series, prepare
from tasks.forecasting.online import PageHinkley

LORENZ = f"lorenz, L 8, H 5: {LABELS}"
CHANGING = f"lorenz, L 8, H 5, changes: {LABELS}"


def test_students_are_of_labels_alone_on_three_series_with_eight_seeds() -> None:
    experiment = online.make_online_experiment(quick=False)
    plain = replace(guided_ann(), arm="none")
    lorenz = replace(plain, source="lorenz")
    expected = {LORENZ: lorenz, CHANGING: lorenz, f"mackey glass, L 8, H 5: {LABELS}": plain}
    assert dict(experiment.arms) == expected
    assert (plain.lookback, plain.horizon, plain.points, RATE) == (8, 5, 10_000, 0.01)
    assert experiment.seeds == tuple(range(8))


def test_the_series_is_that_of_training_until_it_changes() -> None:
    config = replace(guided_ann(), source="lorenz", seed_of_data=3, points=400)
    plain, moved = make_series("lorenz", 3, 400), online.make_changing_series(config)
    assert len(moved) == 400
    assert np.array_equal(moved[:360], plain[:360])
    # Behind the change, two samples are as far apart in time as three were before.
    assert np.allclose(moved[359:][::2][:10], plain[359:][::3][:10], atol=1e-3)
    assert abs(moved[361:] - plain[361:]).max() > 1


def test_all_learners_begin_at_the_student_and_learn_as_their_names_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, learn_online = list[Any](), online.learn_online

    def note(weights: Any, windows: Any, loss: Any, rules: Any) -> Any:
        config, is_taught = loss.args[0], windows.taught is not None
        asked.append((config.arm, config.sigma, is_taught, rules.rate, rules.drift is not None))
        return learn_online(weights, windows, loss, rules)

    monkeypatch.setattr(online, "learn_online", note)
    experiment = online.make_online_experiment(quick=True)
    runs = experiment.make_runs(tmp_path)
    for arm in (LORENZ, CHANGING):
        complete_run(runs[arm, 1], experiment)
    wide = measure_width(experiment.arms[LORENZ], (0, 1))
    assert dict(zip(LEARNERS, asked, strict=False)) == {
        name: (
            arm,
            wide if name == AS_WIDE else 1.0,
            arm == "future",
            0.0 if name == STOPPED else RATE,
            name.endswith(BEHIND),
        )
        for name, arm in LEARNERS.items()
    }
    still, moved = (runs[arm, 1].read("measures.json") for arm in (LORENZ, CHANGING))
    assert [*still] == ["", *(f"then {name}" for name in LEARNERS if name != LABELS)]
    assert still[f"then {STOPPED}"]["updates"] == 0
    assert still[""]["updates"] == still[f"then {GUIDED}"]["updates"] > 0.8
    error = runs[LORENZ, 1].read("eval.json")["mse"]
    assert still[f"then {STOPPED}"]["mse"] == pytest.approx(error, rel=1e-6)
    for other in (still[""], moved[f"then {STOPPED}"]):
        assert other["mse"] != pytest.approx(error, rel=1e-3)


def test_late_errors_are_of_the_second_half_and_alarms_are_fitted_on_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(guided_ann(), arm="none", points=600, teacher_epochs=1)
    weights = [(torch.zeros(1, 25, 8), torch.randn(1, 25))]  # one answer to every window
    windows = online.make_windows(config, 0, changes=False)
    values = online.learn(STOPPED, config, weights, windows, None)
    bin_ = (weights[0][1][0].double().softmax(0) * torch.arange(25)).sum()
    errors = (bin_ - windows.labels[0]).square()
    assert values["mse"] == pytest.approx(float(errors.mean()))
    assert values["mse_late"] == pytest.approx(float(errors[len(errors) // 2 :].mean()))
    fitted: Any = []
    monkeypatch.setattr(online, "fit_test", lambda e: fitted.append(e) or PageHinkley(e, e))
    online.fit_drift(config, weights)
    labels = torch.from_numpy(prepare(config).windows["val"].labels)
    assert torch.allclose(fitted[0][0], (bin_ - labels).square())


def test_a_finding_is_an_error_beside_another_with_the_share_of_steps() -> None:
    plain, reached = "A: labels alone", Reached()
    for name in (plain, *(f"{plain}, then {learner}" for learner in LEARNERS)):
        reached[name] = {"mse": {0: 10.0, 1: 30.0}, "updates": {0: 0.25, 1: 0.5}}
    reached[f"{plain}, then {STOPPED}"]["mse"] = {0: 12.0, 1: 38.0}
    reached[f"{plain}, then {GUIDED}"]["mse"] = {0: 11.0, 1: 28.0}
    first, second, *_, last = online.judge_learners(("A",), reached)
    told = "-20 % error, p = 0.500; learns at 38% of the steps"
    assert first.note == f"online: {plain}, beside no learning: {told}"
    assert (first.subject, first.peer, first.ours, first.theirs) == (LABELS, STOPPED, 20, 25)
    assert "future teacher, beside smoothing, no teacher: -2 % error, p = 1" in second.note
    assert "future teacher, behind an alarm, beside future teacher: +3 % error" in last.note
    alone = {name: {k: {0: v[0]} for k, v in own.items()} for name, own in reached.items()}
    only, *_ = online.judge_learners(("A",), alone)
    assert "-17 % error; learns at 25% of" in only.note
