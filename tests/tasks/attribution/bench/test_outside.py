"""The bench of detectors: rows from given values, and what a training depends on."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tasks.attribution.bench import parts
from tasks.attribution.bench.outside import (
    FULL,
    GAP,
    QUICK,
    SECONDS,
    Values,
    announce,
    choose_scale,
    describe,
    draw,
    list_missing,
    list_settings,
    make_config,
    make_rows,
    measure,
    tabulate,
)
from tasks.attribution.evaluate import TV
from tasks.bench.options import BenchOptions
from tasks.runs.configuration import list_problems

KINDS = ("unseen", "fresh")
REACHED = {"reached": {TV.name: {"mean": 0.2, "sd": None, "seeds": (0.2,)}}}


def make_values(k: int, seed: int) -> Values:
    """The filter is 0.1 above k-NN, which rises with the seed."""
    known = 0.7 + 0.01 * seed
    values = {GAP: 0.8, SECONDS: 2.0}
    for kind in KINDS[:k]:
        for name, auroc in (("k-NN", known), ("filter, crops", known + 0.1)):
            of = {"auroc": auroc, "aupr": 0.5, "fpr95": 0.25}
            values |= {f"{kind}: {name}: {m}": x for m, x in of.items()}
    return values


def test_detectors_stand_beside_neighbours_pair_by_pair() -> None:
    rows = list(make_rows([make_values(2, seed) for seed in range(8)], FULL))
    assert [(row.case, row.subject) for row in rows] == [
        ("outside: unseen", "k-NN"),
        ("outside: unseen", "filter, crops"),
        ("outside: fresh", "k-NN"),
        ("outside: fresh", "filter, crops"),
    ]
    alone, one = rows[:2]
    assert (alone.peer, alone.theirs, alone.ratio) == ("", None, None)
    assert alone.ours == pytest.approx(0.735)
    assert one.peer == "k-NN"
    assert one.ratio == pytest.approx(0.835 / 0.735)
    compared = one.conditions["compared"]
    assert compared["difference"] == pytest.approx(0.1)
    assert compared["p"] == 2 / 2**8
    assert compared["verdict"] == "better"
    assert one.conditions[SECONDS] == 16
    assert (one.conditions["foreign"], rows[3].conditions["foreign"]) == (300, 500)


def test_tables_tell_spread_chance_and_the_gap(tmp_path: Path) -> None:
    rows = list(make_rows([make_values(1, seed) for seed in range(8)], FULL))
    out = StringIO()
    console = Console(width=140, file=out)
    for table in tabulate("outside", rows):
        console.print(table)
    text = " ".join(out.getvalue().split())
    assert "filter, crops 0.835 ± 0.024 0.500 ± 0.000 0.250 ± 0.000 +0.100 0.008" in text
    assert "8 seeds" in text
    assert "AUPR by chance 0.38" in text  # 300 of 800
    assert "close 80% of the gap" in text
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_one_seed_judges_nothing() -> None:
    rows = list(make_rows([make_values(1, 0)], replace(FULL, seeds=(0,))))
    assert rows[1].conditions["compared"]["p"] is None
    assert rows[1].conditions["compared"]["verdict"] == "not shown"


def test_a_seed_is_of_data_and_weights_and_trainings_are_listed(tmp_path: Path) -> None:
    assert choose_scale(BenchOptions()) is FULL
    assert choose_scale(BenchOptions(quick=True)) is QUICK
    for scale in (FULL, QUICK):
        settings = list_settings(scale)
        assert list_missing(scale, tmp_path) == settings
        config = make_config(settings[1], scale)
        assert (config.seed_of_data, config.seed_of_lm) == (1, 1)
        assert not list_problems(config)
        assert describe(settings[0], scale) != describe(settings[1], scale)
    assert len(FULL.seeds) >= 8  # a difference of 0.02 needs them


def test_the_bench_holds_the_part_beside_the_others(tmp_path: Path) -> None:
    assert parts.PARTS["outside"] is measure
    rows = list(make_rows([make_values(2, seed) for seed in range(2)], FULL))
    other = replace(rows[0], case="answers: x", unit="total variation", conditions=REACHED)
    parts.draw([other, *rows], tmp_path / "all.png")
    parts.draw(rows, tmp_path / "alone.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "all-outside.png",
        "all.png",
        "alone.png",
    ]
    assert [t.title for t in parts.tabulate("outside", rows)] == [
        t.title for t in tabulate("outside", rows)
    ]


def test_trainings_to_come_are_told_where_the_part_is_chosen(tmp_path: Path) -> None:
    options = BenchOptions(out=tmp_path)
    told = f"outside: 8 of 8, kept in {tmp_path / 'attribution-outside.jsonl'}"
    assert list(announce(options)) == [told]
    assert told in parts.announce(replace(options, parts=("outside",)))
    assert "outside" not in parts.announce(replace(options, parts=("causes",)))
