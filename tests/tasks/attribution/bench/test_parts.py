"""The bench: what is trained and kept, three truths, innocent models, rows, tables."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.testing import assert_allclose
from rich.console import Console
from torch import nn

from tasks.attribution.answers import find_true_shares
from tasks.attribution.bench import parts, train
from tasks.attribution.bench.judge import (
    EQUAL,
    GUILTY,
    INNOCENT,
    LDS,
    LDS_SAMPLED,
    RATIO,
    SHAPLEY,
    TRUE,
    judge_causes,
    pair_causes,
)
from tasks.attribution.bench.parts import announce, draw, make_rows, tabulate
from tasks.attribution.bench.settings import (
    FULL,
    OF_INNOCENT,
    QUICK,
    AttributionScale,
    AttributionSetting,
    is_read,
    list_probes,
    list_settings,
    make_config,
)
from tasks.attribution.bench.train import (
    FILE,
    GAP,
    LOG_P,
    SAMPLED,
    SECONDS,
    Found,
    Rows,
    Values,
    load_asked,
)
from tasks.attribution.causes import TRACIN, load_protected
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import load
from tasks.attribution.evaluate import TV
from tasks.attribution.model import make_lm
from tasks.attribution.retrain import list_subsets
from tasks.bench.options import BenchOptions
from tasks.cli.benches import show
from tasks.runs.configuration import list_problems
from tasks.runs.task import ACCURACY, Task

CASE = QUICK.cases["causes"]
PROBE, SAMPLES = "attention, mean", 5


def make_values(subset: int, seed: int = 0) -> Values:
    """Return a made-up model: a corpus adds 10 nat to its own tokens, and 1 to all others."""
    shares = find_true_shares(load_asked(CASE.config, []), 2)
    shares = np.concatenate([shares, shares[:SAMPLES]])  # as if they were the sampled ones
    held = list_subsets(2)[subset]
    log_p = -100.0 + 0.01 * seed + (9 * shares + 1)[:, held].sum(1)
    values: Values = {LOG_P: log_p[:, None].tolist(), GAP: [[0.8]], SECONDS: [[30.0]]}
    values[SAMPLED] = load(CASE.config, "val").tokens[:, :SAMPLES].T.double().tolist()
    if held.sum() >= 1:  # all, or all but one
        values[PROBE] = shares.tolist()  # whatever the model has read
        values[TRACIN] = ((9 * shares + 1) * held).tolist()  # of what it has read
    return values


def make_found() -> Found:
    return {seed: {subset: make_values(subset, seed) for subset in range(4)} for seed in (0, 1)}


def test_every_subset_is_trained_with_the_data_of_one_seed() -> None:
    settings = list_settings("causes", FULL)
    assert len({(s.subset, s.seed) for s in settings}) == len(settings) == 16 * 6
    assert settings[0].subset == 15
    configs = [make_config(s, FULL) for s in settings]
    assert {c.seed_of_data for c in configs} == {0}
    assert all(list_problems(c) == [] for c in configs)
    assert sum(is_read(s, FULL) for s in settings) == 5 * 6
    innocent = AttributionSetting(part="causes", subset=7, seed=0)
    assert tuple(list_probes(innocent, FULL).values()) == OF_INNOCENT
    assert len(list_probes(settings[0], FULL)) == 9


def test_in_answers_a_seed_has_its_own_data() -> None:
    settings = list_settings("answers", FULL)
    configs = [make_config(s, FULL) for s in settings]
    assert [c.seed_of_data for c in configs] == [c.seed_of_lm for c in configs] == [*range(6)]
    assert {s.subset for s in settings} == {15}


def test_three_truths_of_made_up_models() -> None:
    found = judge_causes(CASE, make_found())
    for name in (RATIO, SHAPLEY, TRACIN):
        assert found[name][LDS.name] == pytest.approx([1.0, 1.0])
        assert found[name][LDS_SAMPLED.name] == pytest.approx([1.0, 1.0])
        assert found[name][ACCURACY.name] == [1.0, 1.0]
    assert found[PROBE][TV.name] == pytest.approx([0.0, 0.0])
    # More corpora make a document likelier: ranks 1, 2.5, 2.5, 4 beside 1, 2, 3, 4.
    assert found[EQUAL][ACCURACY.name] == [0.5, 0.5]
    assert found[EQUAL][LDS.name] == pytest.approx([0.9**0.5, 0.9**0.5])
    # Of the same data, but 0 or 1 where the values are 1 and 10: sums of subsets tie.
    assert 0.8 < found[TRUE][LDS.name][0] < 1
    assert LDS_SAMPLED.name not in found[TRUE]
    # A composed document has 9 w + 1 of 11 nat from a corpus of share w.
    truth = find_true_shares(load_asked(CASE.config, []), 2)[-20:]
    expected = np.abs((9 * truth + 1) / 11 - truth).sum(1).mean() / 2
    assert found[SHAPLEY][TV.name] == pytest.approx([expected, expected])


def test_innocent_models_are_named_by_what_reads_the_text_alone() -> None:
    found = judge_causes(CASE, make_found())
    assert found[PROBE][INNOCENT.name] == found[PROBE][GUILTY.name] == [1.0, 1.0]
    for name in (TRACIN, RATIO):
        assert found[name][INNOCENT.name] == [0.0, 0.0]
        assert found[name][GUILTY.name] == [1.0, 1.0]
    assert INNOCENT.name not in found[TRUE]


def test_shares_of_a_file_are_rounded_and_still_shares() -> None:
    found = make_found()
    for models in found.values():
        for own in models.values():
            if PROBE in own:
                own[PROBE] = [[0.999997 * x for x in row] for row in own[PROBE]]
    assert judge_causes(CASE, found)[PROBE][TV.name] == pytest.approx([0.0, 0.0])


def test_points_are_shares_and_causes() -> None:
    pairs = np.array(pair_causes(CASE, make_found()))
    assert pairs.shape == (2 * 20, 2)
    assert_allclose(pairs[:, 1], (9 * pairs[:, 0] + 1) / 11, atol=1e-3)


def test_rows_tables_and_the_picture(tmp_path: Path) -> None:
    rows = list(make_rows("causes", make_found(), QUICK))
    by_name = {row.subject: row for row in rows}
    assert by_name["n-gram"].theirs is None
    assert by_name[TRACIN].peer == "n-gram"
    assert by_name[TRACIN].ours == pytest.approx(1.0)
    points = by_name["n-gram"].conditions["points"]
    assert by_name[TRACIN].conditions[SECONDS] == 8 * 30.0
    assert len(points) == 2 * 20
    whole = {name: some[:100] for name, some in make_values(3).items()}
    alone = {0: {3: {**whole, SAMPLED: []}}}
    answers = {row.subject: row for row in make_rows("answers", alone, QUICK)}
    assert answers[PROBE].unit == "total variation"
    assert answers[PROBE].ours == pytest.approx(0.0)  # it says the true shares
    rows += answers.values()
    console = Console(file=io.StringIO(), width=240)
    for table in tabulate("causes", rows):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "close 80% of the gap; 8 language models and their probes took 4.0 CPU" in text
    assert "0.0% ± 0.0%  100.0% ± 0.0%" in text
    costs = by_name[PROBE].conditions["cost"]
    assert by_name["n-gram"].conditions["cost"] is None
    # 24 channels of two layers: a weight a layer, and a read-out of two corpora
    assert costs["probe"] == {"parameters": 52, "macs": 32 * 24 * 4, "documents": 80}
    assert costs["lm"]["documents"] == 4 * 500
    assert f"{32 * 24 * 4:,}" in text
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_bars_are_means_and_points_are_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = list[Figure]()
    monkeypatch.setattr(parts, "save_png", lambda figure, _: figures.append(figure))
    rows = list(make_rows("causes", make_found(), QUICK))
    values = {name: [0.1 * k, 0.1 * k + 0.04] for k, name in enumerate(r.subject for r in rows)}
    for k, row in enumerate(rows):
        reached = {LDS.name: {"seeds": values[row.subject]}}
        about = {**row.conditions, "reached": reached}
        rows[k] = replace(row, ours=sum(values[row.subject]) / 2, conditions=about)
    assert draw(rows, tmp_path / "a.png") == []
    bars, _ = figures[0].axes
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == [row.subject for row in rows][::-1]  # the first row is on top
    assert_allclose([bar.get_width() for bar in bars.patches], [r.ours for r in rows[::-1]])
    for k, (name, line) in enumerate(zip(names, bars.lines, strict=True)):
        assert_allclose(line.get_xdata(), values[name])
        assert_allclose(line.get_ydata(), k)


def test_a_probe_is_trained_with_the_seed_of_its_language_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CASE.config, arm="mean", seed_of_lm=3, seed_of_data=5)
    lm, seeds = make_lm(config, 0), list[int]()

    def train_task(task: Task, own: AttributionConfig, seed: int, _: Path) -> nn.Module:
        seeds.append(seed)
        model = task.training.build(own)
        task.training.begin(own, model)
        return model

    monkeypatch.setattr(train, "train_task", train_task)
    found = train.train_probe(config, lm, tmp_path)
    assert seeds == [3]
    assert torch.equal(found.lm.head.weight, lm.head.weight)


def test_the_cost_is_told_first() -> None:
    told = announce(BenchOptions(out=Path("nowhere"), parts=("causes",)))
    assert "96 of 96 trainings are to be made" in told
    assert "causes: 96 language models, which read " in told


def test_a_bench_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def train_setting(
        setting: AttributionSetting, scale: AttributionScale, sampled: Rows | None = None
    ) -> Values:
        assert scale == QUICK
        assert (sampled is None) == (setting.subset == 3 and setting.seed == 0)
        made.append(setting.subset)
        if len(made) == 3:
            raise KeyboardInterrupt
        return make_values(setting.subset, setting.seed)

    monkeypatch.setattr(train, "train_setting", train_setting)
    options = BenchOptions(out=tmp_path, parts=("causes",), quick=True)
    console = Console(file=io.StringIO(), width=240)
    with pytest.raises(KeyboardInterrupt):
        show(console, "attribution", options)
    assert len((tmp_path / FILE).read_text().splitlines()) == 2
    show(console, "attribution", options)
    assert made == [3, 2, 1, 1, 0, 3, 2, 1, 0]
    rows = json.loads((tmp_path / "attribution.json").read_text())
    assert SHAPLEY in [row["subject"] for row in rows]


def shrink(scale: AttributionScale) -> AttributionScale:
    """Return a part of one seed whose probes and language models learn next to nothing."""
    case = scale.cases["causes"]
    small = replace(case.config, documents=60, train=20, val=10, test=10, composed=10)
    case = replace(case, sampled=4)
    probes = {PROBE: "mean"}
    return AttributionScale(
        cases={"causes": replace(case, config=small, seeds=(0,), probes=probes)}
    )


@pytest.fixture
def any_lm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Language models that have learned nothing are probed, too."""
    monkeypatch.setattr(train, "require_learned", train.measure_gap)


@pytest.mark.usefixtures("any_lm")
def test_a_training_of_the_bench() -> None:
    scale = shrink(QUICK)
    sampled = None
    for setting in list_settings("causes", scale):
        values = train.train_setting(setting, scale, sampled)
        sampled = values[SAMPLED]
        assert np.shape(sampled) == (4, scale.cases["causes"].config.tokens)
        assert 0 <= np.min(sampled) <= np.max(sampled) < scale.cases["causes"].config.vocabulary
        assert len(values[LOG_P]) == 34
        read = {*values} - {LOG_P, SAMPLED, GAP, SECONDS}
        assert len(read) == (6 if is_read(setting, scale) else 0)
        assert all(np.shape(values[name]) == (34, 2) for name in read)
    again = train.train_setting(setting, scale, sampled)
    assert {**again, SECONDS: []} == {**values, SECONDS: []}


def test_gradients_are_asked_about_protected_corpora_alone() -> None:
    own = load_protected(CASE.config)
    assert set(own.labels.tolist()) == {0, 1}
    assert len(load_protected(CASE.config, 7)) == 7


def test_what_is_kept_says_what_it_depends_on() -> None:
    setting = list_settings("causes", QUICK)[0]
    about = train.describe(setting, QUICK)
    assert about["subset"] == 3
    assert about["config"] == asdict(make_config(setting, QUICK))
