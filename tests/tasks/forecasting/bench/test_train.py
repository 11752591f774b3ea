"""Training of the bench: teachers are shared, widths and shares measured; costs."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from neuro.base.seeds import seeded
from neuro.io.run_folder import read_header
from tasks.bench.experiment import Experiment, complete_run
from tasks.forecasting.baselines import list_baselines
from tasks.forecasting.bench import train
from tasks.forecasting.bench.series import AS_WIDE, CHANGES, GATED, GUIDED, SHUFFLED, TWIN
from tasks.forecasting.bench.train import (
    LABELS,
    SHARES,
    TEACHER,
    UPDATES,
    count_cost,
    list_arms,
    make_experiment,
    measure_width,
    train_teacher,
)
from tasks.forecasting.config import ForecastConfig, guided, guided_ann, tiny_ann
from tasks.forecasting.data import prepare
from tasks.forecasting.evaluate import measure
from tasks.forecasting.network import build_student, build_teacher
from tasks.forecasting.teacher import make_teacher_training
from tasks.measures.earlier import train_alone
from tasks.measures.train import build_beginning
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import load_trained_model

SEEDS = (3, 5)
SMALL: dict[str, Any] = {"points": 600, "epochs": 1, "teacher_epochs": 2, "horizon": 3}


def make(config: ForecastConfig, *arms: str) -> Experiment:
    """Return an experiment of one setting, S."""
    changed = list_arms({"S": config}, {arm: CHANGES[arm] for arm in arms})
    return make_experiment(
        changed, SEEDS, title="", run="forecasting:guided", metrics=(UPDATES,)
    )


def run_arms(
    folder: Path, config: ForecastConfig, *arms: str, seed: int = 5
) -> dict[str, TaskRun]:
    """Return the measured runs of a seed by arm."""
    experiment = make(config, *arms)
    runs = experiment.make_runs(folder)
    for arm in arms:
        complete_run(runs[f"S: {arm}", seed], experiment)
    return {arm: runs[f"S: {arm}", seed] for arm in arms}


DENSE = replace(guided_ann(), **SMALL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskRun]:
    return run_arms(tmp_path_factory.mktemp("arms"), DENSE, LABELS, GUIDED, AS_WIDE)


def test_a_teacher_depends_on_seed_and_data_and_on_nothing_of_its_student() -> None:
    own = replace(DENSE, seed_of_data=5)
    teacher = train_teacher(replace(own, arm="none"), 7)
    assert train_teacher(replace(own, temperature=1.0, sigma=2.0, alpha=0.0), 7) is teacher
    assert train_teacher(replace(guided(), **SMALL, seed_of_data=5), 7) is teacher
    with seeded(1_000_007):
        alone = build_teacher(own)
    train_alone(stage := make_teacher_training(own, alone))
    for a, b in zip(teacher.parameters(), stage.model.parameters(), strict=True):
        assert torch.equal(a, b)
    for other in (train_teacher(own, 8), train_teacher(DENSE, 7)):
        assert not torch.equal(next(other.parameters()), next(teacher.parameters()))


def test_a_run_begins_at_the_weights_of_its_seed_and_holds_its_teacher(
    runs: dict[str, TaskRun], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []

    def note(run: TaskRun) -> bool:
        fabric = Fabric(accelerator="cpu", devices=1)
        seen.append(build_beginning(run, fabric, lambda *_: nullcontext())[0])
        return True

    monkeypatch.setattr(train, "train_as_task", note)
    experiment = make(DENSE, LABELS, GUIDED)
    some = experiment.make_runs(tmp_path)
    assert all(experiment.train(run) for run in some.values())  # diverged, as it says
    assert {(run.seed, run.config.seed_of_data) for run in some.values()} == {(3, 3), (5, 5)}
    with seeded(5):
        fresh = build_student(DENSE).state_dict()
    teacher = train_teacher(runs[GUIDED].config, 5).state_dict()
    kept: Any = load_trained_model(runs[GUIDED])
    pairs = [(seen[2].student, fresh), (seen[3].student, fresh)]
    for own, expected in (*pairs, (seen[3].teacher, teacher), (kept.teacher, teacher)):
        assert all(torch.equal(own.state_dict()[k], value) for k, value in expected.items())


def test_teacher_and_baselines_are_measured_beside_labels_alone(
    runs: dict[str, TaskRun],
) -> None:
    assert runs[GUIDED].read("measures.json") == {"": {"updates": 1.0}}
    found = runs[LABELS].read("measures.json")
    assert [*found] == ["", TEACHER, "by constant", "by persistence", "by ridge"]
    assert found[""] == {"updates": 0.0}
    prepared = prepare(runs[LABELS].config)
    part = prepared.windows["test"]
    for name, answers in list_baselines(prepared).items():
        assert found[f"by {name}"] == {"mse": np.mean((answers - part.labels) ** 2)}
    teacher, later = train_teacher(runs[LABELS].config, 5), torch.from_numpy(part.later)
    scores = teacher(later[None])[0][-1]
    assert found[TEACHER] == measure(DENSE, scores, torch.from_numpy(part.labels))


def test_a_smoothing_as_wide_as_the_teachers_takes_the_width_of_all_seeds(
    runs: dict[str, TaskRun],
) -> None:
    sigma = read_header(runs[AS_WIDE].folder)["config"]["sigma"]
    assert sigma == measure_width(DENSE, SEEDS) > 1  # teachers of two epochs are uncertain
    assert runs[AS_WIDE].read("measures.json") == {"": {"updates": 0.0, "sigma": sigma}}


def test_the_width_of_teachers_is_the_mean_deviation_of_their_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two bins, whatever the window: a deviation by hand."""

    def answer(config: ForecastConfig, seed: int) -> torch.nn.Module:
        assert config.seed_of_data == seed
        teacher = build_teacher(config)
        *_, last = (m for m in teacher.modules() if isinstance(m, torch.nn.Linear))
        with torch.no_grad():
            last.weight.zero_()
            last.bias.fill_(-100.0)
            last.bias[[10, 11 + seed]] = torch.log(torch.tensor([0.25, 0.75]))
        return teacher.requires_grad_(False)

    monkeypatch.setattr(train, "train_teacher", answer)
    apart = (0.25 * 0.75) ** 0.5  # of one bin
    assert measure_width(DENSE, (3,)) == pytest.approx(4 * apart)
    assert measure_width(DENSE, (3, 6)) == pytest.approx((4 + 7) / 2 * apart)


def test_a_larger_surprise_teaches_less_and_an_interrupted_training_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(guided_ann(), points=500, lookback=2, horizon=3, batch=64, epochs=4)
    config = replace(config, teacher_epochs=10, lr=1e-2)
    some = [*GATED][::3]
    found = run_arms(tmp_path, config, *some)
    first, last = found.values()
    share = first.read(SHARES)
    assert 0 <= last.read("measures.json")[""]["updates"] < share < 1
    (first.folder / SHARES).unlink()  # as if killed before the end
    experiment = make(config, *some)
    assert not experiment.train(first)
    assert first.read(SHARES) == share
    monkeypatch.setattr(train, "loss", None)
    assert not experiment.train(first)  # a finished training does not change
    assert first.read(SHARES) == share


def test_spiking_students_are_trained_beside_their_twin(tmp_path: Path) -> None:
    config = replace(guided(), **{**SMALL, "lookback": 4})
    found = run_arms(tmp_path, config, LABELS, TWIN)
    own, twin = (run.read("measures.json") for run in found.values())
    assert own[""]["synaptic_operations"] > 64  # the first event alone reaches all neurons
    assert len(own) == 5
    assert twin == {"": {"updates": 0.0}}  # no second row of the baselines
    spiking, dense = (count_cost(run.config, {"updates": 0.0}) for run in found.values())
    assert spiking["parameters"] == 14 * 64 + 64 * 64 + 64 * 25
    assert (spiking["MACs"], dense["MACs"]) == (0, 4 * 48 + 48 * 48 + 48 * 25)


@pytest.mark.slow
def test_a_shuffled_teacher_ruins_the_student(tmp_path: Path) -> None:
    """The windows of teacher and student belong together: this is how one sees it."""
    sizes = {"points": 2000, "lookback": 8, "horizon": 2, "batch": 64, "lr": 1e-2}
    config = replace(tiny_ann(), **sizes, epochs=15, teacher_epochs=15)  # type: ignore[arg-type]
    found = run_arms(tmp_path, config, GUIDED, SHUFFLED)
    guided_error, shuffled = (run.read("eval.json")["mse"] for run in found.values())
    assert shuffled > 3 * guided_error
    assert guided_error < 3


def test_costs_are_those_of_a_student_and_its_teacher() -> None:
    config = replace(guided_ann(), points=2000, horizon=2, epochs=12, teacher_epochs=7)
    names = (LABELS, GUIDED, AS_WIDE)
    plain, taught, wide = (
        count_cost(own, {"updates": 0.0}) for own in make(config, *names).arms.values()
    )
    steps = (1200 - 9) // 256
    assert plain == {
        "parameters": 8 * 48 + 48 + 48 * 48 + 48 + 48 * 25 + 25,
        "MACs": 8 * 48 + 48 * 48 + 48 * 25,
        "samples": 12 * steps * 256,
        "calls": 12 * steps,
    }
    assert taught == {**plain, "calls": (12 + 12 + 7) * steps}
    assert wide == {**plain, "calls": (12 + 7) * steps}  # no answers, a width
    assert count_cost(config, {"mse": 1.0}) == {}  # a baseline
