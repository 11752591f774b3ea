"""Arms are ordinary runs; rows, tables and the picture come from their results files."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import CommandLine
from matplotlib.figure import Figure
from rich.console import Console

from neuro.io.run_folder import RunError
from tasks.bench import experiment as module
from tasks.bench.experiment import (
    CODE,
    Experiment,
    complete_run,
    draw,
    is_measured,
    make_rows,
    name_folder,
    tabulate,
)
from tasks.bench.options import BenchOptions
from tasks.flow.config import tiny
from tasks.runs.find import open_folder

ARMS = {"A": tiny(), "B, wide": replace(tiny(), width=96)}
EXPERIMENT = Experiment(
    title="two arms",
    run="flow:tiny",
    arms=ARMS,
    seeds=(3, 5, 4),
    metrics=("fd", "match"),
    data_varies=True,
    beside={"B, wide": "A"},
    variants="contexts",
    costs=lambda config: {"widths": config.width * 1000},
)
METRICS = {
    "fd": {"better": "lower", "unit": "", "format": ".3f"},
    "match": {"better": "higher", "unit": "", "format": ".2%"},
}


def make_results() -> dict[tuple[str, int], dict[str, Any]]:
    """Return made-up results files; B alone has another use of its weights."""
    fd = {"A": (4.0, 5.0, 7.0), "B, wide": (3.0, 4.5, 6.9)}
    return {
        (arm, seed): {
            **{"fd": value, "match": 0.5, "metrics": METRICS, "notes": {"fd": "80 images"}},
            "contexts": {"reset": {"fd": value + seed}} if arm != "A" else {},
        }
        for arm, values in fd.items()
        for seed, value in zip(EXPERIMENT.seeds, values, strict=True)
    }


def test_a_row_is_an_arm_or_another_use_of_its_weights_beside_its_baseline() -> None:
    first, wide, reset = make_rows("part", EXPERIMENT, make_results())
    assert (first.case, first.subject, first.peer) == ("part: two arms", "A", "")
    assert (first.ours, first.theirs, first.ratio) == (pytest.approx(16 / 3), None, None)
    assert first.conditions["compared"] is None
    assert (wide.subject, wide.peer, wide.unit) == ("B, wide", "A", "fd")
    assert (wide.ours, wide.theirs) == (pytest.approx(4.8), pytest.approx(16 / 3))
    assert wide.ratio == pytest.approx(16 / 3 / 4.8)
    assert wide.conditions["compared"]["difference"] == pytest.approx(-1.6 / 3)
    assert wide.conditions["compared"]["p"] == 0.25  # 2 of 2^3 choices of signs
    assert wide.conditions["reached"]["fd"]["seeds"] == (3.0, 4.5, 6.9)
    assert wide.conditions["cost"] == {"widths": 96_000}
    assert (reset.subject, reset.peer) == ("B, wide, reset", "B, wide")
    assert (reset.ours, reset.theirs) == (pytest.approx(8.8), pytest.approx(4.8))
    assert list(reset.conditions["reached"]) == ["fd"]


def test_a_metric_of_which_more_is_better_has_its_ratio_the_other_way_round() -> None:
    results = {key: {**own, "match": own["fd"] / 10} for key, own in make_results().items()}
    higher = replace(EXPERIMENT, metrics=("match", "fd"), variants="")
    _, wide = make_rows("part", higher, results)
    assert (wide.ours, wide.theirs) == (pytest.approx(0.48), pytest.approx(1.6 / 3))
    assert wide.ratio == pytest.approx(0.48 / (1.6 / 3))
    assert wide.unit == "match"


def test_the_table_shows_mean_and_deviation_and_what_they_stand_beside() -> None:
    rows = list(make_rows("part", EXPERIMENT, make_results()))
    (table,) = tabulate("part", rows)
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["fd"] == ["5.333 ± 1.528", "4.800 ± 1.967", "8.800 ± 2.524"]
    assert cells["match"] == ["50.00% ± 0.00%", "50.00% ± 0.00%", ""]
    assert cells["beside"] == ["", "A", "B, wide"]
    assert cells["difference"] == ["", "-0.533", "+4.000"]
    assert cells["p"] == ["", "0.25", "0.25"]
    assert cells["widths"] == ["48,000", "96,000", "96,000"]
    assert "3 seeds" in str(table.caption)
    assert "fd; 80 images" in str(table.caption)
    alone = replace(EXPERIMENT, seeds=(3,), beside={}, variants="")
    (table,) = tabulate("part", list(make_rows("part", alone, make_results())))
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert (cells["fd"], cells["p"]) == (["4.000", "3.000"], ["", ""])


def test_the_picture_has_a_panel_a_part_and_a_point_a_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(module, "save_png", lambda figure, _: figures.append(figure))
    other = replace(EXPERIMENT, title="other", beside={}, variants="")
    results = make_results()
    draw([*make_rows("a", EXPERIMENT, results), *make_rows("b", other, results)], Path("x"))
    ((first, second),) = (figure.axes for figure in figures)
    assert [ax.get_title("left") for ax in (first, second)] == ["a: two arms", "b: other"]
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names == ["B, wide, reset", "B, wide", "A"]
    widths = [bar.get_width() for bar in first.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx([8.8, 4.8, 16 / 3])
    points = [sorted(map(float, line.get_xdata())) for line in first.lines]  # type: ignore[arg-type]
    assert points[1:] == [[3.0, 4.5, 6.9], [4.0, 5.0, 7.0]]


def test_runs_differ_in_arm_and_seed_and_in_the_data_only_where_they_vary() -> None:
    runs = EXPERIMENT.make_runs(Path("bench"))
    assert list(runs) == [(arm, seed) for seed in (3, 5, 4) for arm in ARMS]
    run = runs["B, wide", 5]
    assert run.folder == Path("bench/b-wide/seed-5")
    assert (run.task, run.name, run.seed) == ("flow", "tiny", 5)
    assert run.config == replace(tiny(), width=96, seed_of_data=5)
    same = replace(EXPERIMENT, data_varies=False).make_runs(Path("bench"))
    assert {r.config.seed_of_data for r in same.values()} == {0}
    assert name_folder("ARFlow, n = 2!") == "arflow-n-2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beside": {"A": "C"}}, "beside names 'C', which is no arm"),
        ({"beside": {"D": "A"}}, "beside names 'D', which is no arm"),
        ({"seeds": ()}, "seeds are empty"),
        ({"metrics": ()}, "metrics are empty"),
        ({"arms": {}, "beside": {}}, "arms are empty"),
        ({"arms": {"a b": 1, "A, b": 2}, "beside": {}}, "two arms have names of the same"),
    ],
)
def test_what_does_not_hold_together_is_refused(
    change: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"experiment 'two arms': .*{message}"):
        replace(EXPERIMENT, **change)


FILE = """
from tasks.bench.experiment import Experiment

EXPERIMENTS = {
    "digits": Experiment(
        title="digits to learn from",
        run="my_task.py:tiny",
        arms={"few": Config(train=60, epochs=1), "many": Config(train=200, epochs=2)},
        seeds=(0, 1),
        beside={"many": "few"},
        metrics=("accuracy",),
    )
}
"""


def test_experiments_of_a_users_file_are_runs_that_every_verb_takes(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.run("new", "my_task.py")
    path = Path("my_task.py")
    assert "defines no experiments" in cli.refuse("bench", "my_task.py")
    path.write_text(path.read_text() + FILE)
    assert "--quick is for" in cli.refuse("bench", "my_task.py", "--quick")
    assert "not use --workers" in cli.refuse("bench", "my_task.py", "--workers", 2)
    text = cli.run("bench", "my_task.py", "--out", "b")
    assert "4 of 4 trainings are to be made; each is a run in b/my_task" in text
    few, many = json.loads(Path("b/my_task.json").read_text())
    assert (few["subject"], many["subject"], many["peer"]) == ("few", "many", "few")
    assert Path("b/my_task.png").read_bytes().startswith(b"\x89PNG")
    folder = Path("b/my_task/digits/many/seed-1")
    run = open_folder(folder)
    assert (run.seed, run.config.train) == (1, 200)
    result = run.read("eval.json")
    assert many["conditions"]["reached"]["accuracy"]["seeds"][1] == result["accuracy"]
    before = {p: p.stat().st_mtime_ns for p in Path("b/my_task").rglob("*") if p.is_file()}
    assert "0 of 4 trainings are to be made" in cli.run("bench", "my_task.py", "--out", "b")
    assert {p: p.stat().st_mtime_ns for p in before} == before
    (folder / "eval.json").unlink()
    assert not is_measured(run)
    complete_run(run)
    assert run.read("eval.json")["accuracy"] == result["accuracy"]
    run.write(CODE, "another")
    with pytest.raises(RunError, match="was trained by another version of the code; delete"):
        complete_run(run)


def test_a_training_that_diverged_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = next(iter(EXPERIMENT.make_runs(tmp_path).values()))
    monkeypatch.setattr(module, "launch_fabric", lambda *_: None)
    monkeypatch.setattr(module, "train_run", lambda *_: SimpleNamespace(has_diverged=True))
    with pytest.raises(RunError, match="a/seed-3: the training has diverged"):
        complete_run(run)
    assert not is_measured(run)


def test_the_line_before_the_work_counts_the_chosen_parts_alone(tmp_path: Path) -> None:
    def make(_: bool) -> Mapping[str, Experiment]:
        return {"a": EXPERIMENT, "b": replace(EXPERIMENT, seeds=(0,))}

    options = BenchOptions(out=tmp_path, parts=("b",), quick=True)
    text = module.announce(make, "flow", options)
    assert text.startswith(f"2 of 2 trainings are to be made; each is a run in {tmp_path}/flow")
    assert text.endswith("; trainings too short to judge")
    console = Console(file=io.StringIO())
    console.print(module.announce(make, "flow", replace(options, parts=(), quick=False)))
    assert "8 of 8" in console.file.getvalue()  # type: ignore[attr-defined]
