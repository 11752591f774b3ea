"""The bench of hybrids: its arms, verdicts on published findings, the picture."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from neuro.mixers import parse_stack
from tasks.bench.claim import FAILS, HOLDS, OPEN
from tasks.bench.experiment import Reached, make_rows
from tasks.bench.rows import Row
from tasks.language import bench_hybrids as bench
from tasks.language.bench_hybrids import (
    RATIOS,
    VARIANTS,
    draw,
    judge_recall,
    judge_text,
    list_experiments,
    make_stack,
)
from tasks.language.recall import TASKS

MIXERS = tuple(VARIANTS.values())
SEEDS = (5, 3, 8)
Means = dict[tuple[str, str], float]  # percent by mixer and ratio


def test_a_task_has_six_mixers_in_four_ratios_and_softmax_alone_by_three_seeds() -> None:
    recall, text = list_experiments(quick=False).values()
    stacks = ["softmax", *(f"{mixer} {ratio}" for ratio in RATIOS for mixer in MIXERS)]
    assert list(text.arms) == [f"text, {name}" for name in stacks]
    assert list(recall.arms) == [f"{task}, {name}" for task in TASKS for name in stacks]
    assert recall.seeds == text.seeds == (0, 1, 2)
    assert (recall.seed_fields, text.seed_fields) == (("seed_of_data",), ())
    assert recall.beside["needles, GLA 3:1"] == ("needles, softmax",)
    assert len(recall.beside) == len(recall.arms) - 3
    one, other = recall.arms["tracking, HGRN-2 7:1"], text.arms["text, softmax"]
    assert (one.task, one.stack) == ("tracking", "hgrn2*7+softmax")
    assert (one.width, one.hidden, one.heads, one.lanes, one.steps) == (48, 48, 2, 32, 1000)
    assert (one.tokens, one.vocabulary, one.tested, one.lr) == (32, 36, 200, 3e-3)
    assert (other.task, other.stack) == ("text", "softmax*8")
    assert (other.tokens, other.lanes, other.steps, other.held_out) == (64, 32, 200, 60_000)
    assert (other.vocabulary, other.lr, other.validations) == (256, 5e-3, 1)
    assert bench.count_guesses(recall.arms["needles, GLA pure"], {}) == {"values": 4}
    assert bench.count_guesses(other, {}) == {}


@pytest.mark.parametrize(
    ("ratio", "softmax"), [("pure", 0), ("7:1", 1), ("3:1", 2), ("1:1", 4)]
)
def test_softmax_layers_are_evenly_spread_and_end_the_stack(ratio: str, softmax: int) -> None:
    layers = parse_stack(make_stack("gla", ratio, 8))
    places = [k for k, name in enumerate(layers, 1) if name == "softmax"]
    assert (len(layers), {*layers} - {"softmax"}) == (8, {"gla"})
    assert places == [8 // softmax * (k + 1) for k in range(softmax)]


def reach(values: Means, ratios: tuple[str, ...] = RATIOS) -> Reached:
    """Return accuracies that differ slightly between seeds and between tasks.

    values: mean in percent by mixer and ratio; all others are 50.
    """
    return {
        f"{task}, {mixer} {ratio}": {
            "accuracy": {
                seed: values.get((mixer, ratio), 50.0) / 100 + shift + 0.001 * k
                for k, seed in enumerate(SEEDS)
            }
        }
        for task, shift in (("MQAR", 0.0), ("needles", 0.1), ("tracking", -0.1))
        for mixer in MIXERS
        for ratio in ratios
    }


def find(values: Means, start: str) -> Row:
    rows = list(judge_recall(reach(values)))
    (found,) = [row for row in rows if row.case.startswith(f"finding: {start}")]
    return found


def test_recall_that_rises_and_saturates_is_found() -> None:
    level = dict(zip(RATIOS, (20.0, 60.0, 90.0, 91.0), strict=True))
    rows = list(judge_recall(reach({(m, r): level[r] for m in MIXERS for r in RATIOS})))
    whole, most, first, second, flat = rows[:5]
    sides = [(row.subject, row.peer) for row in (whole, most, first, second, flat)]
    assert sides == [
        *(("3:1", "pure"), ("1:1", "pure"), ("7:1", "pure"), ("3:1", "7:1"), ("1:1", "3:1")),
    ]
    assert [whole.ours, whole.theirs] == pytest.approx([90.1, 20.1])  # means of tasks and seeds
    assert [most.ours, flat.ours] == pytest.approx([91.1, 91.1])
    assert {r.conditions["pairs"] for r in rows[:5]} == {18}
    assert {r.conditions["verdict"] for r in rows[:5]} == {HOLDS}
    assert (rows[-1].ours, rows[-1].note.endswith("all mixers are alike")) == (None, True)
    few = list(judge_recall(reach({}, ("pure", "3:1", "1:1"))))
    assert [row.case.startswith("finding: recall rises with each") for row in few] == [
        False
    ] * 9


@pytest.mark.parametrize(
    ("start", "better", "worse", "ratios", "pairs"),
    [
        ("selective gates", ("GLA", "HGRN-2", "GatedDeltaNet"), ("RetNet",), RATIOS[1:], 9),
        ("hierarchical", ("HGRN-2",), ("GLA",), RATIOS[1:], 9),
        ("controlled forgetting", ("GatedDeltaNet",), ("DeltaNet",), RATIOS[1:], 9),
        ("MQAR", ("DeltaNet", "GatedDeltaNet"), ("RetNet", "GLA"), ("pure",), 6),
        ("pure stacks: a matrix", ("HGRN-2",), ("HGRN",), ("pure",), 9),
    ],
)
def test_mixers_are_compared_where_the_page_says(
    start: str,
    better: tuple[str, ...],
    worse: tuple[str, ...],
    ratios: tuple[str, ...],
    pairs: int,
) -> None:
    values = {(m, r): 80.0 for m in better for r in ratios}
    values |= {(m, r): 30.0 for m in worse for r in ratios}
    row = find(values, start)
    assert (row.subject, row.peer) == (", ".join(better), ", ".join(worse))
    assert [row.ours, row.theirs] == pytest.approx([80.1, 30.1])
    assert (row.conditions["pairs"], row.conditions["verdict"]) == (pairs, HOLDS)
    assert find({}, start).conditions["verdict"] == OPEN


def test_ranks_of_pure_mixers_are_correlated_with_those_at_three_to_one() -> None:
    rising = {(mixer, "pure"): 10.0 + k for k, mixer in enumerate(MIXERS)}
    falling = {(mixer, "3:1"): 60.0 - k for k, mixer in enumerate(MIXERS)}
    row = find(rising | falling, "ranks")
    assert row.ours == pytest.approx(-1)
    assert "Spearman -1.00 (p = 0.0028)" in row.note
    assert find(rising, "ranks").ours is None


def reach_bits() -> Reached:
    """Return bits per byte: 3 for HGRN up to 8, slightly less by ratio, and 9 for softmax."""
    factors = dict(zip(RATIOS, (1.0, 0.995, 1.0, 0.97), strict=True))
    bits = {f"{m} {r}": (3.0 + k) * factors[r] for k, m in enumerate(MIXERS) for r in RATIOS}
    return {
        f"text, {name}": {"bits_per_byte": dict.fromkeys(SEEDS, value)}
        for name, value in {**bits, "softmax": 9.0}.items()
    }


def test_bits_per_byte_are_compared_in_percent_of_the_pure_stack() -> None:
    rows = list(judge_text(reach_bits()))
    assert [(r.subject, r.peer) for r in rows] == [(ratio, "pure") for ratio in RATIOS[1:]]
    assert [r.ours for r in rows] == pytest.approx([99.5, 100, 97])
    assert [r.conditions["verdict"] for r in rows] == [HOLDS, HOLDS, FAILS]
    assert {r.conditions["pairs"] for r in rows} == {18}


def test_the_picture_shows_means_seeds_and_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(bench, "save_png", lambda figure, _: figures.append(figure))
    rows: list[Row] = []
    for part, experiment in list_experiments(quick=True).items():
        (metric,) = experiment.metrics
        results = {
            (arm, seed): {
                **{metric.name: 0.1 * k + 0.01 * seed, "metrics": {metric.name: {}}},
                "variants": {},
            }
            for k, arm in enumerate(experiment.arms)
            for seed in (0, 4)
        }
        rows += make_rows(part, experiment, results)
    draw(rows, Path("none"))
    panels = figures[0].axes
    assert [panel.get_title("left") for panel in panels] == [*TASKS, "text"]
    panel = panels[0]
    assert [t.get_text() for t in panel.get_xticklabels()] == ["pure", "3:1", "1:1", "softmax"]
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in panel.lines}
    assert lines["GLA"] == pytest.approx([0.32, 0.92, 1.52])  # arms 3, 9 and 15
    assert lines["softmax"] == pytest.approx([0.02, 0.02])
    assert lines["guess"] == pytest.approx([0.25, 0.25])
    marks = [np.asarray(line.get_ydata()).tolist() for line in panel.lines]
    assert pytest.approx([0.9, 0.94]) in marks
    assert "guess" not in {line.get_label() for line in panels[-1].lines}
