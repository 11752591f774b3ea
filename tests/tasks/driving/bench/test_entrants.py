import pickle
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from driving_runs import SMALL, make_run, plan_off_the_way, put_small
from driving_windows import make_window

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.window import Window
from neuro.io.run_folder import Run, RunError, begin_run
from neuro.training.threads import limit_threads
from tasks.driving import TASK, data, drives
from tasks.driving.batch import make_batch, make_blank
from tasks.driving.bench import entrants
from tasks.driving.bench.entrants import (
    Drives,
    join_drives,
    list_plain,
    list_trained,
    load_planner,
    open_comparison,
    read_disturbed,
    read_recorded,
    train_ego_mlps,
)
from tasks.driving.config import DrivingConfig
from tasks.driving.data import read_batches
from tasks.driving.drives import DisturbedWindow
from tasks.driving.planners import Blanked
from tasks.runs import find


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    put_small(monkeypatch)
    monkeypatch.setattr(entrants, "EPOCHS", 2)


@pytest.mark.slow
def test_runs_are_grouped_by_configuration_and_the_first_is_the_subject(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", seed=3),
        make_run(tmp_path / "b", "small_ann"),
        make_run(tmp_path / "c", seed=1),
    ]
    found = open_comparison(runs)
    assert found.subject == "driving:small"
    assert found.seeds == (3, 1)
    assert [run.name for run in found.runs["driving:small_ann"]] == ["small_ann"]
    assert found.config == SMALL
    quick = open_comparison(runs, quick=True).config.source
    assert (quick.train, quick.test) == (40, 8)
    names = [(e.name, e.seed) for e in [*list_trained(found), *list_plain(found)]]
    assert names == [
        ("driving:small", 3),
        ("driving:small, cameras blanked", 3),
        ("driving:small", 1),
        ("driving:small, cameras blanked", 1),
        ("driving:small_ann", 0),
        ("constant velocity", 0),
        ("constant acceleration", 0),
        ("stops", 0),
        ("ego-only MLP", 3),
        ("ego-only MLP", 1),
        ("ego-only MLP, disturbed drives too", 3),
        ("ego-only MLP, disturbed drives too", 1),
    ]
    digests = [e.digest for e in [*list_trained(found), *list_plain(found)]]
    assert len(set(digests)) == len(digests)


def test_without_runs_it_is_told_how_to_make_some() -> None:
    with pytest.raises(RunError, match=r"--runs RUN .*neuro train driving:small --seed 1"):
        open_comparison(())


def test_runs_that_do_not_belong_together_are_all_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    other = replace(SMALL, grid=GroundGrid(x=(0.0, 32.0), y=(-16.0, 16.0), step=2.0))
    monkeypatch.setitem(TASK.configs, "small_gate", lambda: other)  # type: ignore[arg-type]
    run = Run(folder=tmp_path / "c", task="driving", name="small_gate", seed=0, config=other)
    begin_run(run)
    with pytest.raises(RunError) as told:
        open_comparison((first, again, run.folder))
    assert "b and " in str(told.value)
    assert "a are both driving:small of seed 0" in str(told.value)
    assert "c sees other windows than" in str(told.value)


def test_runs_of_a_task_file_take_part_and_those_of_other_tasks_do_not(tmp_path: Path) -> None:
    file = tmp_path / "my_drive.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from tasks import driving\n"
        "from driving_windows import small_config\n"
        "TASK = replace(driving.TASK, configs={'short': small_config})\n"
    )
    run = find.make_run(f"{file}:short", tmp_path / "mine", pin=False)
    begin_run(run)
    find.keep_task_file(run)
    found = open_comparison([run.folder, make_run(tmp_path / "ours")])
    assert list(found.runs) == ["my_drive.py:short", "driving:small"]
    other = find.make_run("yinyang:tiny", tmp_path / "other")
    begin_run(other)
    with pytest.raises(RunError, match="other is a run of yinyang; name only runs of driving"):
        open_comparison([run.folder, other.folder])


def test_runs_of_one_name_have_one_configuration(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a")
    changed = replace(SMALL, planner=replace(SMALL.planner, caution=5.0))
    begin_run(Run(folder=tmp_path / "b", task="driving", name="small", seed=1, config=changed))
    what = "b and .*a are both driving:small, but their configurations differ"
    with pytest.raises(RunError, match=what):
        open_comparison([first, tmp_path / "b"])


def test_a_run_that_plans_nothing_is_left_to_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(SMALL, phases=SMALL.phases[:2])
    monkeypatch.setitem(TASK.configs, "small_gate", lambda: other)  # type: ignore[arg-type]
    begin_run(Run(folder=tmp_path, task="driving", name="small_gate", seed=0, config=other))
    with pytest.raises(RunError, match=r"\(driving:small_gate\) plans no path"):
        open_comparison([tmp_path])


@pytest.mark.slow
def test_weights_that_change_meanwhile_are_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    entrant = list_trained(open_comparison([folder]))[0]
    (folder / "best.safetensors").unlink()
    make_run(folder, seed=0)
    assert entrant.make() is not None  # the same again
    load_planner.cache_clear()
    make_run(folder, drawn=5)
    with pytest.raises(RunError, match="its weights changed during the benchmark"):
        entrant.make()


def test_planners_can_be_sent_to_processes_and_the_blanked_one_sees_nothing(
    tmp_path: Path,
) -> None:
    found = open_comparison([make_run(tmp_path / "a")])
    seen = make_blank(SMALL)
    bright = seen._replace(images=seen.images + 99)
    paths = []
    for entrant in [*list_trained(found), *list_plain(found)]:
        planner = pickle.loads(pickle.dumps(entrant.make))()
        paths.append(planner(bright))
        assert paths[-1].shape == (1, SMALL.future, 3)
        assert isinstance(planner, Blanked) == entrant.blanked
        if entrant.size is None:
            assert torch.equal(planner(bright), planner(seen))
    assert torch.equal(paths[1], list_trained(found)[0].make()(seen))  # type: ignore[misc]


def test_perceptrons_learn_from_their_seed() -> None:
    truths = read_recorded(SMALL)
    one, again = (train_ego_mlps(SMALL, truths, (0, 4)) for _ in range(2))
    weights = [
        [p for p in models[seed].parameters()] for models in (one, again) for seed in (0, 4)
    ]
    assert all(map(torch.equal, weights[0], weights[2]))
    assert all(map(torch.equal, weights[1], weights[3]))
    assert not torch.equal(weights[0][0], weights[1][0])


def test_a_perceptron_may_learn_from_the_windows_of_the_planner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = plan_off_the_way(displaced=0.5, driven=0.5)
    last = replace(config.last, epochs=2)
    config = replace(config, phases=(*config.phases[:-1], last))

    def close_eyes(window: Window) -> Window:
        names = ("images", "sweeps", "intrinsic", "to_ego", "depth")
        return replace(window, **{name: getattr(window, name)[:, :0] for name in names})

    def drive(
        _: DrivingConfig, seed: Sequence[int], looks: bool = True
    ) -> list[DisturbedWindow]:
        windows = [make_window(SMALL, 1000 * sum(seed) + k) for k in range(4)]
        made = [make_batch([w if looks else close_eyes(w)]) for w in windows]
        return [DisturbedWindow(seen, truth.path) for seen, truth in made]

    monkeypatch.setattr(drives, "drive_disturbed", drive)
    monkeypatch.setattr(data, "open_truth", lambda *a: [*map(close_eyes, data.open_split(*a))])
    seen, path = read_disturbed(config)
    epochs = range(config.epochs - 2, config.epochs)
    batches = [b for epoch in epochs for b in read_batches(config, "train", epoch)]
    assert torch.equal(path, torch.cat([truth.path for _, truth in batches]))
    for k, found in enumerate(seen.ego):
        assert torch.equal(found, torch.cat([b.seen.ego[k] for b in batches]))
    assert torch.equal(seen.to_present, torch.cat([b.seen.to_present for b in batches]))
    assert seen.images.numel() == 0
    recorded = read_recorded(config)[1]
    assert len(path) == 2 * len(recorded)
    assert not torch.equal(path[: len(recorded)], recorded)


def test_perceptrons_take_as_many_steps_on_more_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = []

    def count(model: object, batches: Iterable[object]) -> None:  # noqa: ARG001
        steps.append(len(list(batches)))

    monkeypatch.setattr(entrants, "train_ego_mlp", count)
    monkeypatch.setattr(entrants, "EPOCHS", 6)
    monkeypatch.setattr(entrants, "BATCH", 1)
    once = read_recorded(SMALL)
    train_ego_mlps(SMALL, once, (0,))
    train_ego_mlps(SMALL, join_drives([once] * 3), (0,))
    assert steps[0] == steps[1] == 6 * len(once[1])


def test_each_epoch_of_a_perceptron_takes_every_window_once_in_an_order_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[Drives] = []
    monkeypatch.setattr(entrants, "train_ego_mlp", lambda _, batches: found.extend(batches))
    monkeypatch.setattr(entrants, "BATCH", 2)
    seen, path = read_recorded(SMALL)
    train_ego_mlps(SMALL, (seen, path), (0,))
    orders = []
    for first, second in (found[:2], found[2:]):
        drawn = join_drives([first, second])
        order = [int((path == one).flatten(1).all(1).nonzero()) for one in drawn[1]]
        assert sorted(order) == [0, 1, 2, 3]
        assert torch.equal(drawn[0].to_present, seen.to_present[order])
        orders.append(order)
    assert orders[0] != orders[1]


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    with limit_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
