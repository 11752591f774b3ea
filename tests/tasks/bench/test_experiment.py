"""Arms are ordinary runs; rows, tables and the picture come from their results files."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
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
    MADE_BY,
    Experiment,
    Reached,
    complete_run,
    draw,
    is_measured,
    list_arms,
    make_rows,
    name_folder,
    tabulate,
)
from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row
from tasks.flow.config import tiny
from tasks.runs.find import open_folder
from tasks.runs.task import Metric

RECIPE = Path(__file__).parents[3] / "docs" / "recipes" / "experiment.md"
ARMS = {"A": tiny(), "B, wide": replace(tiny(), width=96), "C": replace(tiny(), depth=1)}
FD = Metric(name="fd", better="lower", format=".3f")
MATCH = Metric(name="match", format=".2%")
EXPERIMENT = Experiment(
    title="three arms",
    run="flow:tiny",
    arms=ARMS,
    seeds=(3, 5, 4),
    further={"C": (9,)},
    metrics=(FD, MATCH),
    seed_fields=("seed_of_data",),
    beside={"B, wide": ("A",), "C": ("B, wide", "A")},
    measures=lambda run: {"": {"seed": run.seed}},
    costs=lambda config, means: {"widths": config.width * 1000, "rounded": round(means["fd"])},
)
REACHED = {"A": (4.0, 5.0, 7.0), "B, wide": (3.0, 4.5, 6.9), "C": (6.0, 8.0, 9.5, 2.5)}


def make_results() -> dict[tuple[str, int], dict[str, Any]]:
    """Return made-up results; B alone has another use of its weights, and a further value."""
    return {
        (arm, seed): {
            **{"fd": value, "match": 0.5, "metrics": {"fd": {}, "match": {}, "unknown": {}}},
            "notes": {"fd": "80 images"},
            "variants": {"reset": {"fd": value + seed}, "": {"twice": 2 * value}}
            if arm == "B, wide"
            else {},
        }
        for arm, values in REACHED.items()
        for seed, value in zip((3, 5, 4, 9), values, strict=False)
    }


def test_a_row_is_an_arm_or_another_use_of_its_weights_beside_its_baselines() -> None:
    first, wide, reset, third = make_rows("part", EXPERIMENT, make_results())
    assert (first.case, first.subject, first.peer) == ("part: three arms", "A", "")
    assert (first.ours, first.theirs, first.ratio) == (pytest.approx(16 / 3), None, None)
    assert first.conditions["compared"] == {}
    assert (wide.subject, wide.peer, wide.unit) == ("B, wide", "A", "FD")
    assert (wide.ours, wide.theirs) == (pytest.approx(4.8), pytest.approx(16 / 3))
    assert wide.ratio == pytest.approx(16 / 3 / 4.8)
    assert [*wide.conditions["compared"]] == ["A"]
    assert wide.conditions["compared"]["A"]["difference"] == pytest.approx(-1.6 / 3)
    assert wide.conditions["compared"]["A"]["p"] == 0.25  # 2 of 2^3 choices of signs
    assert wide.conditions["reached"]["fd"]["seeds"] == (3.0, 4.5, 6.9)
    assert wide.conditions["reached"]["twice"]["mean"] == pytest.approx(9.6)
    assert wide.conditions["cost"] == {"widths": 96_000, "rounded": 5}
    assert (reset.subject, reset.peer) == ("B, wide, reset", "B, wide")
    assert (reset.ours, reset.theirs) == (pytest.approx(8.8), pytest.approx(4.8))
    assert list(reset.conditions["reached"]) == ["fd"]
    assert reset.conditions["cost"] == {"widths": 96_000, "rounded": 9}
    assert (third.peer, third.theirs) == ("B, wide", pytest.approx(4.8))
    assert (third.ours, third.conditions["seeds"]) == (6.5, [3, 5, 4, 9])


def test_pairs_are_the_seeds_that_both_arms_have() -> None:
    *_, third = make_rows("part", EXPERIMENT, make_results())
    compared = third.conditions["compared"]
    assert {peer: own["pairs"] for peer, own in compared.items()} == {"B, wide": 3, "A": 3}
    assert compared["B, wide"]["difference"] == pytest.approx((3.0 + 3.5 + 2.6) / 3)
    assert compared["A"]["difference"] == pytest.approx((2.0 + 3.0 + 2.5) / 3)
    shared = replace(EXPERIMENT, beside={"A": ("C",)}, measures=None)
    first, *_ = make_rows("part", shared, make_results())
    assert first.conditions["compared"]["C"]["difference"] == pytest.approx(-7.5 / 3)
    assert (first.theirs, first.ratio) == (6.5, pytest.approx(6.5 / (16 / 3)))


def test_seeds_of_a_unit_share_its_data_and_are_averaged_before_arms_are_compared() -> None:
    units = replace(
        EXPERIMENT, unit=lambda seed: seed % 4, measures=None
    )  # of 3 5 4 9: 3 1 0 1
    runs = units.make_runs(Path("bench"))
    assert {(run.seed, run.config.seed_of_data) for run in runs.values()} == {
        *((3, 3), (5, 1), (4, 0), (9, 1))
    }
    *_, third = make_rows("part", units, make_results())
    assert third.conditions["reached"]["fd"]["seeds"] == (6.0, (8.0 + 2.5) / 2, 9.5)
    assert third.conditions["seeds"] == [3, 1, 0]
    assert third.conditions["compared"]["A"]["difference"] == pytest.approx(4.75 / 3)


def test_a_metric_of_which_more_is_better_has_its_ratio_the_other_way_round() -> None:
    results = {key: {**own, "match": own["fd"] / 10} for key, own in make_results().items()}
    results = {key: {**own, "variants": {}} for key, own in results.items()}
    _, wide, _ = make_rows("part", replace(EXPERIMENT, metrics=(MATCH, FD)), results)
    assert (wide.ours, wide.theirs) == (pytest.approx(0.48), pytest.approx(1.6 / 3))
    assert wide.ratio == pytest.approx(0.48 / (1.6 / 3))
    assert wide.unit == "match"


def test_findings_read_what_every_arm_and_variant_reaches() -> None:
    def judge(reached: Reached) -> list[Row]:
        least = min(reached["C"]["fd"].items(), key=itemgetter(1))
        names = ", ".join(reached)
        return [replace(first, case="finding", note=f"{names}: {least}", conditions={})]

    first = next(make_rows("part", EXPERIMENT, make_results()))
    *_, row = make_rows("part", replace(EXPERIMENT, judge=judge), make_results())
    assert row.note == "A, B, wide, B, wide, reset, C: (9, 2.5)"
    assert list_arms([first, row]) == [first]


def test_the_table_shows_mean_and_deviation_and_what_they_stand_beside() -> None:
    rows = list(make_rows("part", EXPERIMENT, make_results()))
    (table,) = tabulate("part", rows)
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["FD"][:4] == [
        *("5.333 ± 1.528", "4.800 ± 1.967", "8.800 ± 2.524", "6.500 ± 3.028"),
    ]
    assert cells["match"] == ["50.00% ± 0.00%", "50.00% ± 0.00%", "", "50.00% ± 0.00%"]
    assert cells["beside"] == ["", "A", "B, wide", "B, wide\nA"]
    assert cells["difference"] == ["", "-0.533", "+4.000", "+3.033\n+2.500"]
    assert cells["p"] == ["", "0.25", "0.25", "0.25\n0.25"]
    assert cells["widths"] == ["48,000", "96,000", "96,000", "48,000"]
    assert "3 or 4 seeds" in str(table.caption)
    assert "FD; 80 images" in str(table.caption)
    alone = replace(EXPERIMENT, seeds=(3,), beside={"B, wide": ("A",)}, further={})
    some = {key: own for key, own in make_results().items() if key[1] == 3}
    some = {key: {**own, "variants": {}} for key, own in some.items()}
    third = replace(MATCH, name="third")
    alone = replace(alone, metrics=(FD, third))
    (table,) = tabulate("part", list(make_rows("part", alone, some)))
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert (cells["FD"], cells["p"]) == (["4.000", "3.000", "6.000"], ["", "", ""])
    assert "third" not in cells  # no arm has it


def test_arms_of_several_settings_have_a_table_per_setting_and_a_unit_stands_once() -> None:
    names = {"A": "X: A", "B, wide": "X: B", "C": "Y: A"}
    metre = replace(FD, unit="m")
    experiment = replace(
        EXPERIMENT,
        arms={names[arm]: config for arm, config in ARMS.items()},
        **{"beside": {"X: B": ("X: A",)}, "further": {}, "metrics": (metre, MATCH)},
        costs=lambda _, means: {} if "twice" in means else {"one": 1},
    )
    results = {(names[arm], s): own for (arm, s), own in make_results().items() if s < 9}
    first, second = tabulate("part", list(make_rows("part", experiment, results)))
    assert (first.title, second.title) == ("part: three arms, X", "part: three arms, Y")
    cells = {str(column.header): list(column.cells) for column in first.columns}
    assert cells[""] == ["A", "B", "B, reset"]
    assert cells["FD"] == ["5.333 ± 1.528 m", "4.800 ± 1.967 m", "8.800 ± 2.524 m"]
    assert cells["beside"] == ["", "A", "B"]
    assert cells["one"] == ["1", "", "1"]  # no cost: nothing is shown


def test_the_picture_has_a_panel_a_part_and_a_point_a_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(module, "save_png", lambda figure, _: figures.append(figure))
    other = replace(EXPERIMENT, title="other", beside={})
    results = make_results()
    rows = [*make_rows("a", EXPERIMENT, results), *make_rows("b", other, results)]
    draw([*rows, replace(rows[0], conditions={})], Path("x"))  # the last: a finding
    ((first, second),) = (figure.axes for figure in figures)
    assert [ax.get_title("left") for ax in (first, second)] == ["a: three arms", "b: other"]
    names = [label.get_text() for label in first.get_yticklabels()]
    assert names == ["C", "B, wide, reset", "B, wide", "A"]
    widths = [bar.get_width() for bar in first.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx([6.5, 8.8, 4.8, 16 / 3])
    points = [sorted(map(float, line.get_xdata())) for line in first.lines]  # type: ignore[arg-type]
    assert points[2:] == [[3.0, 4.5, 6.9], [4.0, 5.0, 7.0]]
    assert points[0] == [2.5, 6.0, 8.0, 9.5]


def test_shares_are_drawn_in_percent_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(module, "save_png", lambda figure, _: figures.append(figure))
    results = {key: {**own, "match": own["fd"] / 10} for key, own in make_results().items()}
    results = {key: {**own, "variants": {}} for key, own in results.items()}
    shares = replace(EXPERIMENT, metrics=(MATCH, FD), further={})
    draw(list(make_rows("a", shares, results)), Path("x"))
    (ax,) = figures[0].axes
    assert (ax.get_xlabel(), ax.get_xlim()) == ("match [%]", (0, 100))
    widths = [bar.get_width() for bar in ax.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx([65.0, 48.0, 160 / 3])
    points = [sorted(map(float, line.get_xdata())) for line in ax.lines]  # type: ignore[arg-type]
    assert points[1] == pytest.approx([30.0, 45.0, 69.0])


def test_runs_differ_in_arm_and_seed_and_in_the_data_only_where_they_vary() -> None:
    runs = EXPERIMENT.make_runs(Path("bench"))
    assert list(runs) == [*((arm, seed) for seed in (3, 5, 4) for arm in ARMS), ("C", 9)]
    run = runs["B, wide", 5]
    assert run.folder == Path("bench/b-wide/seed-5")
    assert (run.task, run.name, run.seed) == ("flow", "tiny", 5)
    assert run.config == replace(tiny(), width=96, seed_of_data=5)
    same = replace(EXPERIMENT, seed_fields=()).make_runs(Path("bench"))
    assert {r.config.seed_of_data for r in same.values()} == {0}
    assert name_folder("ARFlow, n = 2!") == "arflow-n-2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beside": {"A": ("C", "E")}}, "beside names 'E', which is no arm"),
        ({"beside": {"D": ("A",)}}, "beside names 'D', which is no arm"),
        ({"further": {"F": (3,)}}, "further names 'F', which is no arm"),
        ({"sources": {"A": "F"}}, "sources names 'F', which is no arm"),
        ({"sources": {"F": "A"}}, "sources names 'F', which is no arm"),
        ({"sources": {"C": "C"}}, "'C' begins from 'C', which must stand before it"),
        ({"sources": {"A": "C"}}, "'A' begins from 'C', which must stand before it"),
        ({"baseline": "D"}, r"baseline is 'D'; it must be an arm: \['A', 'B, wide', 'C'\]"),
        ({"seeds": ()}, "seeds are empty"),
        ({"metrics": ()}, "metrics are empty"),
        ({"arms": {}, "beside": {}, "further": {}}, "arms are empty"),
        (
            {"arms": {"a b": 1, "A, b": 2}, "beside": {}, "further": {}},
            "two arms have names of the same",
        ),
    ],
)
def test_what_does_not_hold_together_is_refused(
    change: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"experiment 'three arms': .*{message}"):
        replace(EXPERIMENT, **change)


def test_a_baseline_is_an_arm_or_a_method_without_training() -> None:
    assert replace(EXPERIMENT, baseline="C").baseline == "C"
    assert replace(EXPERIMENT, baseline="D", together=lambda _: {"": {}}).baseline == "D"


def test_an_arm_is_trained_behind_the_arm_that_it_begins_from() -> None:
    assert EXPERIMENT.list_stages() == [["A", "B, wide", "C"]]
    two = replace(EXPERIMENT, sources={"C": "A"})
    assert two.list_stages() == [["A", "B, wide"], ["C"]]
    three = replace(EXPERIMENT, sources={"B, wide": "A", "C": "B, wide"})
    assert three.list_stages() == [["A"], ["B, wide"], ["C"]]


@pytest.mark.slow
def test_experiments_of_a_users_file_are_runs_that_every_verb_takes(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.run("new", "my_task.py")
    path = Path("my_task.py")
    assert "defines no experiments" in cli.refuse("bench", "my_task.py")
    (block,) = re.findall(r"```python\n(.*?)```", RECIPE.read_text(), re.DOTALL)
    path.write_text(f"{path.read_text()}\n{block}")
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
    assert run.read("measures.json") == {"": {"twice": 2 * result["accuracy"]}}
    assert many["conditions"]["reached"]["twice"]["seeds"][1] == 2 * result["accuracy"]
    before = {p: p.stat().st_mtime_ns for p in Path("b/my_task").rglob("*") if p.is_file()}
    assert "0 of 4 trainings are to be made" in cli.run("bench", "my_task.py", "--out", "b")
    assert {p: p.stat().st_mtime_ns for p in before} == before
    experiment = replace(EXPERIMENT, measures=lambda _: {"": {"twice": 7.0}})
    assert is_measured(run, experiment)
    for file in ("eval.json", "measures.json"):
        (folder / file).unlink()
        assert not is_measured(run, experiment)
        assert is_measured(run, replace(experiment, measures=None)) is (file != "eval.json")
        complete_run(run, experiment)
        assert run.read("eval.json")["accuracy"] == result["accuracy"]
        assert run.read("measures.json") == {"": {"twice": 7.0}}
    longer = replace(run, config=replace(run.config, epochs=3))
    assert not is_measured(longer, experiment)
    with pytest.raises(RunError, match="was trained by another configuration; delete"):
        complete_run(longer, experiment)
    run.write(MADE_BY, {**run.read(MADE_BY), "code": "another"})
    assert not is_measured(run, experiment)
    with pytest.raises(RunError, match="was trained by another version of the code; delete"):
        complete_run(run, experiment)


def test_a_training_that_diverged_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = next(iter(EXPERIMENT.make_runs(tmp_path).values()))
    monkeypatch.setattr(module, "launch_fabric", lambda *_: None)
    monkeypatch.setattr(module, "train_run", lambda *_: SimpleNamespace(has_diverged=True))
    with pytest.raises(RunError, match="a/seed-3: the training has diverged"):
        complete_run(run, EXPERIMENT)
    assert not is_measured(run, EXPERIMENT)


def test_the_line_before_the_work_counts_the_chosen_parts_alone(tmp_path: Path) -> None:
    def make(_: bool) -> Mapping[str, Experiment]:
        return {"a": EXPERIMENT, "b": replace(EXPERIMENT, seeds=(0,))}

    options = BenchOptions(out=tmp_path, parts=("b",), quick=True)
    text = module.announce(make, "flow", options)
    assert text.startswith(f"4 of 4 trainings are to be made; each is a run in {tmp_path}/flow")
    assert text.endswith("; trainings too short to judge")
    console = Console(file=io.StringIO())
    console.print(module.announce(make, "flow", replace(options, parts=(), quick=False)))
    assert "14 of 14" in console.file.getvalue()  # type: ignore[attr-defined]
