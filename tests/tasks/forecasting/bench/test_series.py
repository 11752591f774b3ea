"""What is trained on series: settings, arms, seeds; findings and the picture, by hand."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tasks.bench import experiment
from tasks.bench.experiment import Reached, make_rows
from tasks.bench.options import BenchOptions
from tasks.bench.rows import Row
from tasks.cli.benches import PARTS_OF, find
from tasks.forecasting.bench import parts, series
from tasks.forecasting.bench.series import (
    ALONE,
    ARMS_OF,
    AS_WIDE,
    GATED,
    GUIDED,
    POPULATION,
    SHUFFLED,
    SMOOTHED,
    TWIN,
    make_part,
)
from tasks.forecasting.bench.train import LABELS, WIDE
from tasks.forecasting.config import ann, guided
from tasks.runs.configuration import list_problems

FULL, QUICK = ({part: make_part(part, quick) for part in ARMS_OF} for quick in (False, True))
SETTING = "mackey glass, L 1, H 2, 25 bins"


def test_settings_sizes_and_seeds_are_those_of_the_results() -> None:
    names = {part: [*series.list_settings(part, quick=False)] for part in ARMS_OF}
    mackey, paper = "mackey glass, L", (2, 5, 8, 10, 12, 15)
    assert names == {
        "grid": [f"{mackey} {L}, H {H}" for L in (1, 8) for H in (2, 5, 10, 15)],
        "few": [f"{mackey} 12, H {H}, 600 windows" for H in (5, 12)],
        "lorenz": [f"lorenz, L 8, H {H}" for H in (5, 10, 20)],
        "paper": [f"{mackey} 1, H {H}, {bins} bins" for bins in (25, 50) for H in paper],
        "gated": [f"{mackey} {L}, H 5, gated" for L in (1, 8)],
        "spiking": [f"{mackey} 8, H 5, spiking"],
    }
    configs = [c for part in ARMS_OF for c in series.list_settings(part, quick=False).values()]
    assert {(c.points, c.epochs, c.teacher_epochs) for c in configs} == {(10_000, 40, 40)}
    assert {(c.train, c.batch) for c in configs} == {(0, 256), (600, 64)}
    sizes = {(c.cells, c.hidden, c.lr) for c in configs}
    assert sizes == {("tanh", 48, 1e-3), ("lif", 64, 3e-3)}
    assert {part: len(e.seeds) for part, e in FULL.items()} == {
        part: 6 if part == "spiking" else 8 for part in ARMS_OF
    }
    quick = series.list_settings("few", quick=True).values()
    assert {(c.points, c.epochs, c.teacher_epochs, c.train) for c in quick} == {
        (600, 2, 2, 300)
    }
    assert len(QUICK["grid"].arms) == 2 * 9


@pytest.mark.parametrize("part", ARMS_OF)
def test_arms_of_a_setting_are_sound_stand_beside_labels_and_differ_in_the_arm(
    part: str,
) -> None:
    for made in (FULL[part], QUICK[part]):
        settings = dict.fromkeys(arm.partition(": ")[0] for arm in made.arms)
        assert [*made.arms] == [f"{s}: {arm}" for s in settings for arm in ARMS_OF[part]]
        for name, config in made.arms.items():
            plain = f"{name.partition(': ')[0]}: {LABELS}"
            assert list_problems(config) == []
            assert made.beside.get(name, ()) == (() if name == plain else (plain,))
            base = asdict(made.arms[plain])
            changed = {k for k, v in asdict(config).items() if v != base[k]}
            twin = {"cells", "hidden", "lr"} if name.endswith(TWIN) else set()
            assert changed - twin <= {"arm", "temperature", "alpha", "sigma", "surprise"}
        assert len({tuple(asdict(c).items()) for c in made.arms.values()}) == len(made.arms)


def test_arms_are_what_their_names_say() -> None:
    grid, paper, gated, spiking = (
        {arm: made.arms[next(k for k in made.arms if k.endswith(f": {arm}"))] for arm in own}
        for made, own in ((FULL[p], ARMS_OF[p]) for p in ("grid", "paper", "gated", "spiking"))
    )
    assert [config.arm for config in grid.values()] == [
        *("none", "future", "future", "smoothing", "smoothing", "population"),
        *("present", "shuffled", "oracle"),
    ]
    assert grid["future teacher, tau 1"] == replace(grid[GUIDED], temperature=1.0)
    assert grid[AS_WIDE] == replace(grid[SMOOTHED], sigma=WIDE)
    assert paper[ALONE] == replace(paper[GUIDED], alpha=0.0)
    assert [gated[arm].surprise for arm in GATED] == [0.01, 0.03, 0.1, 0.3]
    assert spiking[LABELS] == replace(guided(), arm="none")
    assert spiking[TWIN] == ann(spiking[LABELS])


def test_settings_are_counted_in_sentences() -> None:
    errors = {  # of A, of B, by seed; arg-max is half of it, and 1 by smoothing
        LABELS: ((10, 14), (4, 6)),
        GUIDED: ((8, 10), (5, 6)),
        SMOOTHED: ((11, 7), (5, 7)),  # as large, and larger
        AS_WIDE: ((8, 11), (5, 7)),
        POPULATION: ((1, 2), (2, 1)),
        SHUFFLED: ((30, 42), (16, 19)),
    }
    reached: Reached = {
        f"{name}: {arm}": {
            "mse": {k: float(v) for k, v in enumerate(own)},
            "mse_argmax": {k: 1.0 if arm == SMOOTHED else v / 2 for k, v in enumerate(own)},
        }
        for arm, pair in errors.items()
        for name, own in zip("AB", pair, strict=True)
    }
    rows = list(series.judge_settings("few", ("A", "B"), reached))
    than = "errs no more than Future-Guided Learning"
    counts = {SMOOTHED: (1, 2), AS_WIDE: (0, 0), POPULATION: (2, 2)}
    assert [row.note for row in rows] == [
        *(
            f"few: {arm}, {than}, {how}: in {count} of 2 settings"
            for arm, own in counts.items()
            for how, count in zip(("expectation", "arg-max"), own, strict=True)
        ),
        "few: a shuffled teacher errs more than three times as much: in 1 of 2 settings, by "
        "factors of 3.0 to 3.5",
    ]
    first, *_, last = rows
    assert (first.subject, first.peer, first.ours, first.theirs) == (SMOOTHED, GUIDED, 1, 2)
    assert (last.subject, last.peer, last.unit) == (SHUFFLED, LABELS, "settings")
    number = {
        p: len(list(series.judge_settings(p, "AB", reached))) for p in ("spiking", "paper")
    }
    assert number == {"spiking": 6, "paper": 4}


def test_the_error_is_stated_beside_the_share_of_updates() -> None:
    reached: Reached = {f"A: {GUIDED}": {"mse": {0: 8.0, 1: 12.0}}}
    for k, arm in enumerate(GATED):
        own = {"mse": {0: 10.0 + k, 1: 12.0}, "updates": {0: 0.25, 1: 0.125 * k}}
        reached[f"A: {arm}"] = own
    first, second, *others = series.judge_updates(("A",), reached)
    told = "future teacher, above 0.01 nats: 12.5% of the windows teach, +10 % error beside all"
    assert first.note == f"A: {told}"
    assert (second.ours, second.theirs, second.peer) == (0.1875, 1.0, GUIDED)
    assert len(others) == 2


def make_paper_rows() -> list[Row]:
    """Return rows of the paper's arms: errors by setting, arm, seed, read-out are unequal."""
    made, results = QUICK["paper"], {}
    about = {name: {"better": "lower", "unit": "bins²"} for name in ("mse", "mse_argmax")}
    for k, arm in enumerate(made.arms):
        baseline = {"by ridge": {"mse": 5.0}} if arm.endswith(LABELS) else {}
        for seed in made.seeds:
            own = {"mse": 10.0 + k + seed, "mse_argmax": 20.0 - k + seed, "metrics": about}
            results[arm, seed] = {**own, "variants": {"": {"updates": 0.0}, **baseline}}
    return list(make_rows("paper", made, results))


def test_a_row_is_an_arm_beside_labels_alone_and_a_baseline_costs_nothing() -> None:
    rows = make_paper_rows()
    own = {row.subject: row for row in rows}
    row, ridge = own[f"{SETTING}: {GUIDED}"], own[f"{SETTING}: {LABELS}, by ridge"]
    assert (row.peer, row.ours, row.theirs) == (f"{SETTING}: {LABELS}", 11.5, 10.5)
    assert row.conditions["cost"]["MACs"] == 48 + 48 * 48 + 48 * 25
    assert (ridge.peer, ridge.ours, ridge.conditions["cost"]) == (row.peer, 5.0, {})
    table, _ = experiment.tabulate("paper", rows)
    calls = next([*column.cells] for column in table.columns if column.header == "calls")
    assert calls[:3] == ["2", "", "6"]  # labels alone, its baseline, the teacher's student


def test_the_picture_has_a_cell_per_arm_and_setting_and_gaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(parts, "save_png", lambda figure, _: figures.append(figure))
    rows, drawn = make_paper_rows(), list[int]()
    arms = experiment.list_arms(rows)
    others = [  # of another part, whose arms have the same names and other errors
        replace(row, case="online: x", conditions=arms[-1].conditions) for row in arms
    ]
    parts.draw([*rows, *others], tmp_path)
    ((left, right, _),) = (figure.axes for figure in figures)
    assert len(left.get_yticklabels()) == 2
    names = [text.get_text() for text in right.get_xticklabels()]
    ours = {left: (11.5, 13.5, 14.5, 10.5), right: (19.5, 17.5, 16.5, 20.5)}
    for ax, (*values, plain) in ours.items():
        table = np.ma.filled(ax.images[0].get_array(), np.nan)
        for arm, value in zip((GUIDED, AS_WIDE, POPULATION), values, strict=True):
            assert table[0, names.index(arm)] == pytest.approx(100 * (value / plain - 1))
        assert np.isnan(table[:, names.index("future teacher, tau 1")]).all()
        assert table[1, 0] != table[0, 0]
    assert "+10" in [text.get_text() for text in left.texts]
    monkeypatch.setattr(experiment, "draw", lambda rows, _: drawn.append(len(rows)))
    parts.draw(others, tmp_path)
    assert (drawn, len(figures)) == ([len(others)], 1)


def test_the_anchor_stands_beside_published_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ", ".join(find("forecasting").parts) == PARTS_OF["forecasting"]
    monkeypatch.setattr(parts, "measure_free_runs", lambda _, n: [8.0, 12.0, *[10.0] * 8][:n])
    (row,) = parts.measure_anchor(BenchOptions(tmp_path, quick=True))
    assert (row.ours, row.theirs, row.unit) == (10.0, 14.79, "% sMAPE")
    assert "echo state network 10.0 ± 2.8 % over 2 offsets; published 14.79 % of" in row.note
    (full,) = parts.measure_anchor(BenchOptions(tmp_path))
    assert ("over 10 offsets" in full.note, "966 neurons" in full.subject) == (True, True)
    parts.draw([row], tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
