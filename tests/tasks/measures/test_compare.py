"""What `neuro compare` says of runs, from their files alone."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from neuro.io.run_folder import RunError
from tasks.cli import main
from tasks.measures import compare
from tasks.measures.compare import compare_runs, list_differences
from tasks.runs.provenance import describe_trained
from tasks.runs.task import Metric

ACCURACY = {"better": "higher", "unit": "", "format": ".2%"}
FAST = {0: 0.9942, 1: 0.9943, 2: 0.9945}
FIXED = {0: 0.9954, 1: 0.9955, 2: 0.9948}


def run(folder: Path, name: str, seed: int, accuracy: float, **header: Any) -> Path:
    path = folder / f"{name}-{seed}"
    path.mkdir()
    known = {"neuro": "0", "task": "mnist", "name": name, "seed": seed, "config": {"lr": 0.1}}
    known |= {"gradient": "surrogate", "digest": ""}
    (path / "config.json").write_text(json.dumps({**known, **header}))
    found = {"accuracy": accuracy, "n": 10_000, "metrics": {"accuracy": ACCURACY}}
    write(path, "eval", found | {"seed_changes": "the first weights"})
    return path


def write(path: Path, verb: str, found: dict[str, Any], **measured_on: str) -> None:
    """Write results as a verb does that measures now."""
    now = {**describe_trained(path), "data": "d", **measured_on}
    (path / f"{verb}.json").write_text(json.dumps({**found, "measured_on": now}))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, found in (("fast", FAST), ("fast_fixed", FIXED)):
        for seed, accuracy in found.items():
            run(tmp_path, name, seed, accuracy)
    return tmp_path


def test_means_and_paired_differences_are_those_of_numpy(runs: Path) -> None:
    out = runs / "out"
    main(["compare", str(runs / "fast-*"), str(runs / "fast_fixed-*"), "--out", str(out)])
    found = json.loads((out / "compare.json").read_text())
    one, other = found["groups"]
    assert (one["group"], other["group"]) == ("mnist:fast", "mnist:fast_fixed")
    assert one["seeds"] == {str(k): v for k, v in FAST.items()}
    assert one["mean"] == pytest.approx(np.mean(list(FAST.values())), rel=1e-15)
    assert one["sd"] == pytest.approx(np.std(list(FAST.values()), ddof=1), rel=1e-15)
    (apart,) = found["differences"]
    d = [FIXED[k] - FAST[k] for k in FAST]
    assert (apart["group"], apart["baseline"]) == ("mnist:fast_fixed", "mnist:fast")
    assert apart["mean"] == pytest.approx(np.mean(d), rel=1e-12)
    assert apart["sd"] == pytest.approx(np.std(d, ddof=1), rel=1e-12)
    assert (apart["better_on"], apart["p"]) == (3, 0.25)
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_markdown_is_a_table_of_results_md(runs: Path, cli: CommandLine) -> None:
    out = str(runs / "out")
    assert cli.run(
        "compare", runs / "fast-*", runs / "fast_fixed-*", "--out", out, "--markdown"
    ) == (
        "accuracy (higher is better):\n\n"
        "| configuration | seed 0 | seed 1 | seed 2 | seeds | mean ± sd |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| mnist:fast | 99.42% | 99.43% | 99.45% | 3 | 99.43% ± 0.02% |\n"
        "| mnist:fast_fixed | 99.54% | 99.55% | 99.48% | 3 | 99.52% ± 0.04% |\n\n"
        "Paired differences: configuration minus mnist:fast:\n\n"
        "| configuration | metric | mean ± sd | better on | p |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| mnist:fast_fixed | accuracy | +0.09 points ± 0.05 points | 3 of 3 seeds | 0.25 |\n\n"
        "mnist:fast, mnist:fast_fixed: a seed changes the first weights\n\n"
        "p: exact sign-flip test, two-sided; with these seeds it cannot be below 0.25\n"
    )


def test_a_lower_error_is_better_and_other_executors_and_joules_stand_beside_it(
    runs: Path,
) -> None:
    error = {"better": "lower", "unit": "m", "format": ".4g"}
    for name, shift in (("fast", 0.0), ("fast_fixed", 0.5)):
        for seed in FAST:
            path = runs / f"{name}-{seed}"
            evaluation = {"error": 2.0 + shift, "n": 5, "metrics": {"error": error}}
            write(path, "eval", evaluation)
            by = {"torch": 2.0, "events": 2.0, "integers": 2.5 + shift}
            write(path, "verify", {"metrics": {"error": by}})
            tier = {"low": 1e-6, "nominal": 2e-6, "high": 3e-6}
            joules = {
                "loihi1": {"core": tier, "chip": tier, "layers": {}},
                "host": [],
                "conventional45nm": {},
            }
            write(path, "energy", joules)
    found = compare_runs([runs / "fast*"], runs / "out")
    of = {(d.metric.name): d for d in found.differences}
    assert set(of) == {
        *("error", "error, events", "error, integers"),
        *("energy, loihi1 core", "energy, loihi1 chip"),
    }
    assert of["error"].better_on == 0
    assert of["error"].values == {0: 0.5, 1: 0.5, 2: 0.5}
    (joules,) = {
        s.summary.mean for s in found.summaries if s.metric.name == "energy, loihi1 core"
    }
    assert joules == pytest.approx(2.0)


def test_a_seed_on_which_both_are_equal_is_no_better(tmp_path: Path) -> None:
    for seed, other in enumerate((0.9, 0.5, 0.2)):
        run(tmp_path, "one", seed, 0.5)
        run(tmp_path, "other", seed, other)
    (found,) = compare_runs([tmp_path / "one*", tmp_path / "other*"], tmp_path).differences
    assert found.better_on == 1


def test_runs_of_another_content_of_a_task_s_file_are_not_one_group(tmp_path: Path) -> None:
    run(tmp_path, "one", 0, 0.5, task="mine.py", digest="a")
    run(tmp_path, "one", 1, 0.5, task="mine.py", digest="b")
    with pytest.raises(RunError, match="two contents of the task's file: it has changed"):
        compare_runs([tmp_path / "one*"], tmp_path)


def test_figures_that_depend_on_other_things_are_not_compared(runs: Path) -> None:
    for seed in FIXED:
        path = runs / f"fast_fixed-{seed}" / "eval.json"
        evaluation = json.loads(path.read_text()) | {"notes": {"accuracy": "another set"}}
        path.write_text(json.dumps(evaluation))
    found = compare_runs([runs / "fast*"], runs / "out")
    assert found.differences == []
    assert found.remarks == [
        "accuracy: not compared, for it depends on ; another set",
        "mnist:fast, mnist:fast_fixed: a seed changes the first weights",
    ]


def test_what_a_seed_changes_is_said_of_groups_of_several_seeds(tmp_path: Path) -> None:
    for name, seeds, changes in (
        ("one", (0,), "nothing"),
        ("two", (0, 1), "the first weights"),
        ("old", (0, 1, 2), ""),
        ("as_two", (1, 3), "the first weights"),
    ):
        for seed in seeds:
            path = run(tmp_path, name, seed, 0.5) / "eval.json"
            found = json.loads(path.read_text())
            path.write_text(json.dumps(found | {"seed_changes": changes}))
    paths = [tmp_path / f"{name}-*" for name in ("one", "two", "old", "as_two")]
    found = compare_runs(paths, tmp_path / "out").remarks
    assert [told for told in found if "seed changes" in told] == [
        "mnist:two, mnist:as_two: a seed changes the first weights",
        "mnist:old: what a seed changes is unknown: set Training.seed_changes of the task, and "
        "run neuro eval again",
    ]


def test_chip_files_of_one_name_and_other_content_are_not_compared(
    runs: Path, cli: CommandLine
) -> None:
    tier = {"low": 1e-6, "nominal": 2e-6, "high": 3e-6}
    priced = {"mine": {"core": tier, "chip": tier, "layers": {}}, "conventional45nm": {}}
    for seed, chip in enumerate(("mine 1", "mine 1", "other 3")):
        write(runs / f"fast-{seed}", "energy", priced, chip_file=chip)
    compare_runs([runs / "fast-*"], runs / "out")
    write(runs / "fast-0", "energy", priced, chip_file="mine 2")
    text = cli.refuse("compare", runs / "fast-*", "--out", runs / "o")
    assert "their energy is of chip files of one name and different content" in text


def test_a_digest_that_is_no_text_is_refused(runs: Path, cli: CommandLine) -> None:
    path = runs / "fast-0" / "eval.json"
    found = json.loads(path.read_text())
    found["measured_on"]["data"] = ["d"]
    path.write_text(json.dumps(found))
    text = cli.refuse("compare", runs / "fast-*", "--out", runs / "o")
    assert text.startswith(f"neuro: {path}: is not as this version writes it: measured_on.data")
    assert text.endswith("is ['d'], expected text; neuro eval writes it again")


def test_problems_are_told_together(runs: Path, cli: CommandLine) -> None:
    (runs / "fast-0" / "eval.json").unlink()
    twin = run(runs, "twin", 1, 0.5)
    header = json.loads((runs / "fast-1" / "config.json").read_text()) | {"config": {"lr": 0.2}}
    (twin / "config.json").write_text(json.dumps(header))
    text = cli.refuse("compare", runs / "fast-*", twin, "--out", runs / "o")
    assert f"{runs / 'fast-0'}: not evaluated" in text
    assert f"{runs / 'fast-1'} and {twin}: both are mnist:fast, seed 1" in text
    assert "differ in lr (0.1 and 0.2): only the seed may differ; leave one out" in text
    assert "or make the settings arms of an Experiment (docs/recipes/experiment.md)" in text
    assert not (runs / "o").exists()
    assert "is no run" in cli.refuse("compare", runs)
    assert "no run of that name" in cli.refuse("compare", runs / "nothing*")
    assert "nothing to compare" in cli.refuse("compare")


def test_results_of_other_weights_or_configurations_are_not_compared(
    runs: Path, cli: CommandLine
) -> None:
    one, other, old = runs / "fast-0", runs / "fast-1", runs / "fast-2"
    (one / "best.safetensors").write_bytes(b"trained on")
    write(other, "verify", {"metrics": {}}, configuration="c")
    (old / "eval.json").write_text(
        json.dumps({"accuracy": 0.5, "n": 1, "metrics": {"accuracy": ACCURACY}})
    )
    text = cli.refuse("compare", runs / "fast-*", "--out", runs / "o")
    assert f"{one}: eval.json is of earlier weights; neuro eval {one} first" in text
    assert f"{other}: verify.json is of another configuration; neuro verify {other}" in text
    assert f"{old}: eval.json is of unknown weights, measured by an earlier version" in text


def test_seeds_measured_on_different_test_data_are_not_compared(runs: Path) -> None:
    path = runs / "fast-1"
    write(path, "eval", json.loads((path / "eval.json").read_text()), data="other")
    with pytest.raises(RunError, match=f"fast-0 and {path}: measured on different test data"):
        compare_runs([runs / "fast-*"], runs / "out")


def test_groups_measured_on_other_test_data_are_compared_with_a_remark(runs: Path) -> None:
    told = "mnist:fast_fixed: of other test data, or of other batches of them, than mnist:fast"
    assert told not in compare_runs([runs / "fast*"], runs / "o").remarks
    for seed in FIXED:
        path = runs / f"fast_fixed-{seed}"
        write(path, "eval", json.loads((path / "eval.json").read_text()), data="other")
    found = compare_runs([runs / "fast*"], runs / "out")
    assert told in found.remarks
    assert found.differences


def test_results_of_different_versions_of_the_code_are_compared_with_a_remark(
    runs: Path,
) -> None:
    assert not any("code" in r for r in compare_runs([runs / "fast-*"], runs / "o").remarks)
    path = runs / "fast-1"
    write(path, "eval", json.loads((path / "eval.json").read_text()), code="other")
    remarks = compare_runs([runs / "fast-*"], runs / "out").remarks
    assert "measured by different versions of the code; measure again to be sure" in remarks


@pytest.mark.parametrize("found", [(0.789, 0.779, 0.79), (0.98765, 0.98771, 0.98768)])
def test_the_labels_of_a_scale_are_whole_and_do_not_overlap(
    found: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(compare, "save_png", lambda figure, _: drawn.append(figure))
    metric = Metric(name="accuracy", better="higher", unit="", format=".2%")
    values = dict(enumerate(found))
    some = compare.GroupValues(
        group="my_task:tiny", metric=metric, values=values, notes=frozenset()
    )
    compare.draw([some], tmp_path / "compare.png")
    canvas = FigureCanvasAgg(drawn[0])
    canvas.draw()
    (ax,) = drawn[0].axes
    labels = [label for label in ax.get_xticklabels() if label.get_text()]
    assert len(labels) >= 3
    shares = [float(label.get_text().removesuffix("%")) for label in labels]
    assert shares == [pytest.approx(100 * label.get_position()[0]) for label in labels]
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 + 6 < right.x0 for left, right in pairwise(boxes))  # [pixels]


def test_energy_of_a_chip_that_does_not_fit_comes_with_a_remark(runs: Path) -> None:
    joules = {"low": 1e-6, "nominal": 2e-6, "high": 3e-6}
    chip = {"layers": {}, "core": joules, "chip": joules}
    for seed in FAST:
        write(
            runs / f"fast-{seed}",
            "energy",
            {"loihi1": {**chip, "misfits": ["soft reset"]}, "loihi2": chip},
        )
    assert compare_runs([runs / "fast-*"], runs / "out").remarks == [
        "mnist:fast does not fit loihi1: its energy there is of a network that would; "
        "neuro energy says why",
        "mnist:fast: a seed changes the first weights",
    ]


def test_a_run_that_is_named_twice_is_refused_but_a_pattern_may_hold_it(
    runs: Path, cli: CommandLine
) -> None:
    one = str(runs / "fast-0")
    text = cli.refuse("compare", one, one, "--out", runs / "out")
    assert f"{one}: named twice; a run is compared with others, once" in text
    found = compare_runs([Path(one), runs / "fast-*"], runs / "out")
    assert list(found.summaries[0].values) == [0, 1, 2]


def test_the_fields_that_differ_are_named_with_both_values() -> None:
    one = {"lr": 0.1, "source": {"data": "a", "held": 2}, "blocks": [4, 0], "old": 1}
    other = {"lr": 0.1, "source": {"data": "b", "held": 3}, "blocks": [4], "new": None}
    assert list_differences(one, other) == [
        *("source.data (a and b)", "source.held (2 and 3)", "blocks ([4, 0] and [4])"),
        *("old (1 and none)", "new (none and null)"),
    ]
    assert list_differences(one, dict(one)) == []


def test_networks_that_no_metric_covers_come_with_a_remark(runs: Path) -> None:
    by = {"torch": 0.5, "events": 0.5, "integers": 0.5}
    for seed in FAST:
        result = {"metrics": {"accuracy": by}, "without_metric": ["encoder", "GRU"]}
        write(runs / f"fast-{seed}", "verify", result)
    remark = "mnist:fast: metrics by events and integers do not cover encoder, GRU"
    assert remark in compare_runs([runs / "fast-*"], runs / "out").remarks
