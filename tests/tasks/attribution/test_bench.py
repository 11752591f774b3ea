"""What is trained, what runs of a seed share and keep, three truths, rows of all methods."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from neuro.io.run_folder import RunError
from tasks.attribution import bench, truths
from tasks.attribution.answers import find_true_shares, measure_gap
from tasks.attribution.bench import FIRST, PROBES, SMALL, TITLES
from tasks.attribution.causes import TRACIN
from tasks.attribution.documents import Documents, load
from tasks.attribution.evaluate import TV
from tasks.attribution.model import SourceModel, compute_log_likelihood, make_lm
from tasks.attribution.retrain import list_subsets
from tasks.attribution.truths import GUILTY, INNOCENT, LDS, LDS_SAMPLED, RATIO, SHAPLEY
from tasks.bench.experiment import Reached, make_rows, tabulate
from tasks.runs.configuration import list_problems
from tasks.runs.task import ACCURACY, TaskRun
from tasks.runs.trained_run import load_trained_model

FULL, QUICK = bench.list_experiments(False), bench.list_experiments(True)
TITLE, MEAN, RESIDUAL, UNTRAINED = (
    TITLES[arm] for arm in (FIRST, "mean", "residual", "random_lm")
)
METHODS = {"TracIn", "TracIn, cosine", "TRAK", "group influence", "k-NN"}
SHRUNKEN = {"documents": 60, "train": 20, "val": 10, "test": 10, "composed": 10, "epochs": 2}


def make_runs(folder: Path, part: str, *titles: str) -> dict[tuple[str, int], TaskRun]:
    """Return runs of some arms whose networks learn next to nothing."""
    arms: Any = {title: replace(SMALL, arm=PROBES[title], **SHRUNKEN) for title in titles}
    return replace(QUICK[part], arms=arms).make_runs(folder)


@pytest.fixture
def any_lm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Language models that have learned nothing are probed, too."""
    monkeypatch.setattr(bench, "require_learned", measure_gap)


def test_parts_have_the_arms_seeds_and_sizes_that_the_results_name() -> None:
    full = {"causes": (6, 0.6), "answers": (6, 0.6), "near": (3, 0.3), "far": (3, 0.9)}
    for part, (seeds, delta) in full.items():
        arms: Any = FULL[part].arms
        assert FULL[part].seeds == tuple(range(seeds))
        assert {title: config.arm for title, config in arms.items()} == PROBES
        for config in arms.values():
            assert (config.delta, config.gamma, config.documents) == (delta, 0.6, 6000)
            assert (config.protected, config.free, config.train) == (4, 1, 1200)
            assert config.shares == (0.25, 0.2, 0.15, 0.1, 0.3)
        assert [config.arm for config in QUICK[part].arms.values()] == [*bench.OF_INNOCENT]
    outside: Any = FULL["outside"].arms
    assert (FULL["outside"].seeds, [*outside]) == (tuple(range(8)), [TITLE])
    assert (outside[TITLE].documents, outside[TITLE].shares) == (4000, ())
    assert (outside[TITLE].outside, outside[TITLE].test, outside[TITLE].arm) == (
        300,
        500,
        FIRST,
    )
    seeds = {part: e.seeds for part, e in QUICK.items() if e.seeds != (0,)}
    assert seeds == {"causes": (0, 1), "outside": (0, 1)}
    assert {part: (e.metrics[0].name, e.baseline) for part, e in FULL.items()} == {
        **dict.fromkeys(("answers", "near", "far"), ("total_variation", "n-gram")),
        **{"causes": ("lds", "n-gram"), "outside": ("auroc", "k-NN")},
    }


@pytest.mark.parametrize("part", FULL)
def test_seeds_of_causes_share_the_documents_and_others_draw_their_own(part: str) -> None:
    for experiment in (FULL[part], QUICK[part]):
        for (_, seed), run in experiment.make_runs(Path("x")).items():
            assert list_problems(run.config) == []
            data = 0 if part == "causes" else seed
            own = (run.seed, run.config.seed_of_lm, run.config.seed_of_data)
            assert own == (seed, seed, data)


@pytest.mark.usefixtures("any_lm")
def test_arms_of_a_seed_read_one_language_model_and_keep_their_last_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain, trained = bench.retrain_with_checkpoints, list[int]()

    def count(*words: Any) -> Any:
        trained.append(words[2])
        return retrain(*words)

    monkeypatch.setattr(bench, "retrain_with_checkpoints", count)
    bench._retrain.cache_clear()
    runs = make_runs(tmp_path, "answers", TITLE, MEAN, UNTRAINED)
    for run in runs.values():
        assert bench.train_probe(run) is False
        bench.keep_answers(run)
    assert trained == [0]
    config = runs[TITLE, 0].config
    lm, initial = bench.read_lm(config)[0], make_lm(config, 0)
    for (title, _), run in runs.items():
        kept: Any = load_trained_model(run)
        own = initial if title == UNTRAINED else lm
        assert torch.equal(kept.lm.head.weight, own.head.weight)
        last = load_file(run.folder / "last.safetensors")
        weight = next(v for k, v in last.items() if k.endswith("probe.head.weight"))
        assert torch.equal(kept.probe.head.weight, weight)
        rows = run.read(bench.SAID)["rows"]
        assert {*rows} == {title, *(METHODS if title == TITLE else ())}
        assert {np.shape(own) for own in rows.values()} == {(30, 2)}
    found = bench.judge_runs(runs)[""]
    assert {name for name, own in found.items() if [*own[TV.name]] == [0]} == {
        *(TITLE, MEAN, UNTRAINED, "n-gram", "naive Bayes", "oracle", "equal shares"),
        *METHODS,
    }
    assert not any(LDS.name in own for own in found.values())


def test_a_language_model_that_has_not_learned_is_not_probed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it is probed from 50% on"):
        bench.train_probe(make_runs(tmp_path, "answers", TITLE)[TITLE, 0])


@pytest.mark.slow
@pytest.mark.usefixtures("any_lm")
def test_causes_are_judged_by_all_subsets_of_all_seeds(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, "causes", TITLE, RESIDUAL)
    for run in runs.values():
        bench.train_probe(run)
        bench.keep_causes(run, sampled=4)
    said = {key: run.read(bench.SAID) for key, run in runs.items()}
    config = runs[TITLE, 1].config
    drawn = bench.draw_samples(replace(config, arm="lm", seed_of_lm=0), 4)
    assert (drawn.min() >= 0, drawn.max() < 8, drawn.shape) == (True, True, (32, 4))
    assert all(own["sampled"] == drawn.tolist() for own in said.values())
    first, asked = said[TITLE, 1], truths.load_asked(config, drawn)
    assert len(asked) == len(first["rows"][TITLE]) == 34
    assert {*first["innocent"]} == {TITLE, *METHODS}
    assert {*said[RESIDUAL, 1]} == {"rows", "sampled"}
    values = [compute_log_likelihood(bench.read_lm(config, k)[0], asked) for k in range(4)]
    assert first["log_p"] == torch.stack(values).tolist()
    found = bench.judge_runs(runs)[""]
    assert INNOCENT.name not in found[RESIDUAL]
    assert [*found[RESIDUAL][LDS.name]] == [0, 1]
    assert found[TITLE][INNOCENT.name][1] == first["innocent"][TITLE]


def test_a_corpus_is_asked_for_behind_a_model_that_never_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_runs(tmp_path, "causes", TITLE)[TITLE, 1]
    read, test = list[int | None](), load(run.config, "test")
    answers = {0: [[1.0, 0.0], [0.0, 1.0]], 1: [[0.0, 1.0], [0.0, 1.0]]}

    def read_lm(_: Any, subset: int | None = None) -> tuple[SourceModel, list[Any]]:
        read.append(subset)
        return make_lm(run.config, 0), []

    def ask(_: TaskRun, asked: Documents, *_others: Any) -> dict[str, Any]:
        (corpus,) = set(asked.labels.tolist())
        assert len(asked) == int((test.labels == corpus).sum())
        return {"a method": np.array(answers[corpus])}

    for name, function in (("read_lm", read_lm), ("ask_methods", ask)):
        monkeypatch.setattr(bench, name, function)
    monkeypatch.setattr(bench, "train_behind", lambda *_: False)
    assert bench.name_innocents(run) == {"a method": 0.75}  # 1 of 2, and 2 of 2
    assert read == [2, 1]  # the subsets without corpus 0, and without corpus 1
    monkeypatch.setattr(bench, "train_behind", lambda *_: True)
    with pytest.raises(RunError, match="seed-1: the training without corpus 0 has diverged"):
        bench.name_innocents(run)


def make_answers(extra: float, swapped: bool = False) -> truths.SeedAnswers:
    """A corpus adds 9 nat to its own tokens (swapped: to the other's), and ``extra`` to all."""
    sampled = load(SMALL, "val").tokens[:, :5]  # as if a model had drawn them
    shares = find_true_shares(truths.load_asked(SMALL, sampled[:, :0]), 2)
    shares = np.concatenate([shares, shares[:5]])
    gains = 9 * (shares[:, ::-1] if swapped else shares) + extra
    return truths.SeedAnswers(
        config=SMALL,
        rows={MEAN: shares, TRACIN: gains},
        sampled=sampled,
        log_p=np.stack([-100.0 + gains[:, held].sum(1) for held in list_subsets(2)]),
        innocent={MEAN: 0.75, TRACIN: 0.0},
    )


def test_three_truths() -> None:
    found = truths.judge_seeds({3: make_answers(1.0), 5: make_answers(2.0)})
    for name in (RATIO, SHAPLEY, TRACIN):
        for metric in (LDS, LDS_SAMPLED, ACCURACY, truths.RANKS_OF_CAUSES):
            assert found[name][metric.name] == pytest.approx({3: 1.0, 5: 1.0})
    assert found[MEAN][TV.name] == pytest.approx({3: 0.0, 5: 0.0})
    # More corpora make a document likelier: ranks 1, 2.5, 2.5, 4 beside 1, 2, 3, 4.
    assert found[truths.EQUAL][ACCURACY.name] == {3: 0.5, 5: 0.5}
    assert found[truths.EQUAL][LDS.name][3] == pytest.approx(0.9**0.5)
    # True shares of pure documents are 0 or 1 where the values differ: sums of subsets tie.
    assert 0.8 < found[truths.TRUE][LDS.name][3] < 1
    assert {LDS_SAMPLED.name, TV.name} & {*found[truths.TRUE]} == set()
    # A composed document has 9 w + e of 9 + 2 e nat from a corpus of share w.
    truth = find_true_shares(load(SMALL, "composed"), 2)
    for seed, extra in ((3, 1.0), (5, 2.0)):
        expected = np.abs((9 * truth + extra) / (9 + 2 * extra) - truth).sum(1).mean() / 2
        assert found[SHAPLEY][TV.name][seed] == pytest.approx(expected)


def test_a_method_is_judged_by_the_language_models_of_all_other_seeds() -> None:
    seeds = {0: make_answers(1.0, swapped=True), 1: make_answers(1.0), 2: make_answers(1.0)}
    # Values of a pure document by subset: 0, 10, 1, 11; swapped 0, 1, 10, 11; their mean is
    # 0, 5.5, 5.5, 11, whose ranks 1, 2.5, 2.5, 4 stand beside 1, 3, 2, 4.
    found = truths.judge_seeds(seeds)[RATIO][LDS_SAMPLED.name]
    assert found == pytest.approx({0: 0.8, 1: 0.9**0.5, 2: 0.9**0.5})
    assert truths.judge_seeds({0: seeds[0]})[RATIO][LDS_SAMPLED.name] == {0: pytest.approx(1)}


def test_models_that_never_read_a_corpus_and_models_that_did() -> None:
    found = truths.judge_seeds({0: make_answers(1.0)})
    rates = {
        name: (own.get(INNOCENT.name), own.get(GUILTY.name)) for name, own in found.items()
    }
    assert rates[MEAN] == ({0: 0.75}, {0: 1.0})
    assert rates[TRACIN] == rates[RATIO] == ({0: 0.0}, {0: 1.0})
    assert rates["n-gram"][0] == rates["n-gram"][1] != {0: 0.0}
    assert {rates[name] for name in (truths.TRUE, SHAPLEY, truths.EQUAL)} == {(None, None)}
    rows = np.array([[0.0, -1.0], [2.0, 1.0], [1.0, 2.0], [0.1, 0.0]])
    assert truths.measure_named(rows, 0) == 0.5  # the first is no larger than 0
    assert truths.measure_named(rows, 1) == 0.25


def make_results(part: str, *seeds: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Return made-up evaluations of the arms: the more, the later an arm."""
    return {
        (arm, seed): {TV.name: 0.25 + k / 10, "metrics": {TV.name: {}}, "variants": {}}
        for k, arm in enumerate(QUICK[part].arms)
        for seed in seeds
    }


def test_probes_and_methods_stand_beside_the_text_seed_by_seed() -> None:
    experiment, seeds = QUICK["causes"], (4, 7, 5)
    lds = {
        **dict.fromkeys(experiment.arms, (0.1, 0.1, 0.1)),
        **{TRACIN: (0.5, 0.75, 0.875), "n-gram": (0.75, 0.5, 0.25)},
    }
    reached: Reached = {
        name: {LDS.name: dict(zip(seeds, own, strict=True)), TV.name: {4: 9.0}}
        for name, own in lds.items()
    }
    results = make_results("causes", *seeds)
    rows = list(make_rows("causes", experiment, results, {"": reached}))
    by_name = {row.subject: row for row in rows}
    assert [*by_name] == [*experiment.arms, TRACIN, "n-gram"]
    assert (by_name["n-gram"].peer, by_name["n-gram"].ours) == ("", 0.5)
    row = by_name[TRACIN]
    compared = row.conditions["compared"]["n-gram"]
    assert (row.case, row.peer) == ("causes: every subset retrained", "n-gram")
    assert (row.ours, row.ratio) == (pytest.approx(2.125 / 3), pytest.approx(2.125 / 1.5))
    assert compared["difference"] == pytest.approx(0.625 / 3)
    assert compared["p"] == 0.75  # 6 of 2^3 choices of signs
    # What a run's own evaluation says counts.
    assert by_name[MEAN].conditions["reached"][TV.name]["seeds"] == (0.45, 0.45, 0.45)
    # 24 channels of two layers: a weight for each layer, and a read-out of two corpora.
    cost = {"parameters": 52, "MACs a document": 32 * 24 * 4, "documents read": 80}
    assert (by_name[MEAN].conditions["cost"], row.conditions["cost"]) == (cost, {})
    (table,) = tabulate("causes", rows)
    assert [*table.columns[-1].cells] == ["80", "80", "80", "", ""]
    (shares,) = experiment.tabulate(rows)
    assert shares.title == "causes: every subset retrained, shares"
    cells = {str(column.header): [*column.cells] for column in shares.columns}
    assert cells["total variation"][2:4] == ["0.450 ± 0.000", "9.000"]
    assert {*cells["difference"], *cells["p"]} == {""}
    assert "MACs a document" not in cells


def test_detectors_have_a_table_for_each_kind_of_foreign_documents(tmp_path: Path) -> None:
    experiment = replace(QUICK["outside"], seeds=(2, 6))
    runs = experiment.make_runs(tmp_path)
    for (_, seed), run in runs.items():
        found = {
            name: {
                kind: {"auroc": low + seed / 100, "aupr": 0.5, "fpr95": 0.25}
                for kind, low in (("unseen", high), ("fresh", high / 2))
            }
            for name, high in (("k-NN", 0.5), ("filter, crops", 0.75))
        }
        run.write("eval.json", {"gap_closed": seed / 10, "outside": found})
    together = experiment.together(runs)
    rows = list(make_rows("outside", experiment, make_results("outside", 2, 6), together))
    assert [(row.case, row.subject, row.peer, row.ours) for row in rows] == [
        ("outside: unseen", "k-NN", "", pytest.approx(0.54)),
        ("outside: unseen", "filter, crops", "k-NN", pytest.approx(0.79)),
        ("outside: fresh", "k-NN", "", pytest.approx(0.29)),
        ("outside: fresh", "filter, crops", "k-NN", pytest.approx(0.415)),
    ]
    assert rows[3].conditions["compared"]["k-NN"]["difference"] == pytest.approx(0.125)
    assert rows[1].conditions["reached"]["gap_closed"]["seeds"] == (0.2, 0.6)
    titles = [table.title for table in tabulate("outside", rows)]
    assert titles == ["outside: unseen", "outside: fresh"]
