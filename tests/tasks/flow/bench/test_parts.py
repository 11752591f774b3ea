"""The bench: what is trained and kept, rows beside their baselines, tables, the picture."""

import base64
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.testing import assert_array_equal
from rich.console import Console
from torch import nn

from neuro.base.seeds import seeded
from tasks.bench.options import BenchOptions
from tasks.cli.benches import show
from tasks.flow.bench import parts, train
from tasks.flow.bench.parts import draw, make_rows, tabulate
from tasks.flow.bench.samples import SAMPLES, make_strips, read_strip
from tasks.flow.bench.settings import (
    ARFLOW,
    ARMS,
    FREE_ARFLOW,
    FREE_SIT,
    FULL,
    GROUPED,
    QUICK,
    SIT,
    list_settings,
    make_config,
)
from tasks.flow.bench.train import (
    FILE,
    FLOOR,
    LOSS,
    SECONDS,
    TEST,
    FlowResult,
    FlowResults,
    Found,
    count_cost,
)
from tasks.flow.config import FlowConfig, list_problems
from tasks.flow.evaluate import FEATURE_FD
from tasks.flow.generate import Context, draw_start
from tasks.flow.model import FlowModel, build
from tasks.images.metrics.sheet import draw_sheet

MEANS = {SIT: 4.0, ARFLOW: 3.0, FREE_SIT: 5.0, FREE_ARFLOW: 6.0, GROUPED: 4.5}
SIX = replace(
    QUICK, cases={p: replace(c, seeds=tuple(range(6))) for p, c in QUICK.cases.items()}
)


def make_found(seeds: int = 6) -> Found:
    """Return made-up values: a reset adds 1, a past of another class half as much."""
    found: Found = {}
    for arm, mean in MEANS.items():
        contexts = {"own": 0.0}
        if arm in (ARFLOW, FREE_ARFLOW):
            contexts |= {"reset": 1.0, "other class": 0.5}
        found[arm] = {
            f"{context}: feature_fd": [mean + extra + 0.1 * k for k in range(seeds)]
            for context, extra in contexts.items()
        }
        found[arm] |= {LOSS: [0.2] * seeds, FLOOR: [0.5] * seeds, TEST: [0.6] * seeds}
        found[arm][SECONDS] = [10.0] * seeds
    return found


def make_found_by_epochs() -> Found:
    """Return made-up values of one seed; all grow by 1 an epoch."""
    made = make_found(1)
    return {
        f"{arm}, {epochs} epochs": {
            name: [v + epochs for v in x] for name, x in made[arm].items()
        }
        for epochs in (1, 2)
        for arm in (SIT, ARFLOW)
    }


def make_results(found: Found) -> FlowResults:
    """Return made-up results whose images are noise in each context, another in each arm."""
    samples = {}
    for k, (arm, own) in enumerate(found.items()):
        contexts = {name.partition(": ")[0] for name in own if ": " in name}
        images = torch.rand((SAMPLES, 1, 8, 8), generator=torch.Generator().manual_seed(k))
        strip = base64.b64encode(draw_sheet(2 * images - 1, SAMPLES)).decode()
        samples[arm] = dict.fromkeys(contexts, strip)
    return FlowResults(found=found, samples=samples)


def test_arms_share_all_but_one_field_and_batches_of_all_lengths_have_as_many_images() -> None:
    for part, case in FULL.cases.items():
        settings = list_settings(part, FULL)
        varied = len(case.images) * len(case.epochs)
        assert len(settings) == len(case.arms) * len(case.seeds) * varied
        assert [s.seed for s in settings] == sorted(s.seed for s in settings)
        assert [s.arm for s in settings] == [*case.arms] * (len(case.seeds) * varied)
        for setting in settings:
            config = make_config(setting, FULL)
            assert list_problems(config) == []
            changed = {"arm": config.arm, "seed_of_data": setting.seed}
            changed |= {"images": setting.images, "batch": config.batch}
            changed |= {"epochs": setting.epochs}
            assert asdict(config) == asdict(case.config) | changed
            whole = case.config.batch * case.config.images
            assert whole - 1 <= config.batch * config.images <= whole
    assert len(FULL.cases["digits"].seeds) == 6
    assert len({make_config(s, FULL).arm for s in list_settings("digits", FULL)}) == 5


def test_a_row_is_an_arm_in_a_context_beside_its_baseline() -> None:
    rows = list(make_rows("digits", make_results(make_found()), SIX))
    assert [row.subject for row in rows] == [
        SIT,
        ARFLOW,
        "ARFlow, reset past",
        "ARFlow, other class past",
        FREE_SIT,
        FREE_ARFLOW,
        "ARFlow without labels, reset past",
        "ARFlow without labels, other class past",
        GROUPED,
    ]
    by_name = {row.subject: row for row in rows}
    assert by_name[SIT].theirs is None
    assert by_name[SIT].conditions["compared"] is None
    ours = by_name[ARFLOW]
    assert (ours.peer, ours.ours, ours.theirs) == (
        SIT,
        pytest.approx(3.25),
        pytest.approx(4.25),
    )
    assert ours.ratio == pytest.approx(4.25 / 3.25)
    assert ours.conditions["compared"]["verdict"] == "better"
    assert ours.conditions["compared"]["p"] == 2 / 64
    reset = by_name["ARFlow, reset past"]
    assert (reset.peer, reset.theirs) == ("ARFlow, own past", pytest.approx(3.25))
    assert reset.conditions["compared"]["verdict"] == "worse"
    assert by_name[FREE_ARFLOW].peer == FREE_SIT
    assert by_name[FREE_ARFLOW].conditions["compared"]["verdict"] == "worse"
    assert ours.conditions[SECONDS] == 60.0
    assert reset.conditions[SECONDS] == 0.0  # the training is counted once


def test_arms_stand_beside_sit_of_as_many_epochs(tmp_path: Path) -> None:
    rows = list(make_rows("seen", make_results(make_found_by_epochs()), QUICK))
    beside = {row.subject: (row.peer, row.theirs, row.conditions["line"]) for row in rows}
    assert beside["ARFlow, 1 epochs"] == ("SiT, 1 epochs", 5.0, "ARFlow")
    assert beside["ARFlow, 2 epochs"] == ("SiT, 2 epochs", 6.0, "ARFlow")
    reset = ("ARFlow, 2 epochs, own past", 5.0, "ARFlow, reset past")
    assert beside["ARFlow, 2 epochs, reset past"] == reset
    seen = {row.subject: row.conditions["cost"]["images"] for row in rows}
    assert (seen["SiT, 1 epochs"], seen["SiT, 2 epochs"]) == (200, 400)
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_sheet_has_a_row_of_images_for_each_arm_and_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {arm: own for arm, own in make_found().items() if arm in (SIT, ARFLOW)}
    rows = list(make_rows("digits", make_results(found), SIX))
    figures: list[Figure] = []
    monkeypatch.setattr(
        "tasks.flow.bench.samples.save_png", lambda figure, *_, **__: figures.append(figure)
    )
    (sheet,) = draw(rows, tmp_path / "flow.png")
    assert sheet == tmp_path / "flow_samples.png"
    strips = [read_strip(row.conditions["samples"]) for row in rows]
    assert [strip.shape for strip in strips] == [(8, 8 * SAMPLES)] * 4
    assert not np.array_equal(strips[0], strips[1])
    ((panel,),) = (figure.axes for figure in figures)
    for k, (image, strip) in enumerate(zip(panel.images, strips, strict=True)):
        assert_array_equal(image.get_array(), strip)
        assert image.get_extent() == [-0.5, SAMPLES - 0.5, k + 0.47, k - 0.47]
    assert [text.get_text() for text in panel.get_yticklabels()] == [r.subject for r in rows]


def test_samples_of_all_arms_begin_with_the_same_noise() -> None:
    """An untrained network moves nothing: its images are the noise."""
    strips = []
    for arm in (SIT, ARFLOW):
        (setting,) = (s for s in list_settings("digits", QUICK) if s.arm == arm)
        config = make_config(setting, QUICK)
        strips.append(make_strips(config, build(config), 3, ("own",))["own"])
    assert strips[0] == strips[1]
    noise = draw_start(config, config.samples, 3).noise[:SAMPLES]
    expected = ((noise[:, 0] + 1) * 127.5).round().clip(0, 255).numpy()
    assert np.array_equal(read_strip(strips[0]), np.concatenate(list(expected), 1))


def test_three_seeds_show_no_difference() -> None:
    three = replace(
        QUICK, cases={p: replace(c, seeds=(0, 1, 2)) for p, c in QUICK.cases.items()}
    )
    rows = list(make_rows("digits", make_results(make_found(3)), three))
    assert {r.conditions["compared"]["verdict"] for r in rows if r.peer} == {"not shown"}


def test_tables_show_what_is_reached_and_what_a_sample_costs(tmp_path: Path) -> None:
    rows = list(make_rows("digits", make_results(make_found()), SIX))
    console = Console(file=io.StringIO(), width=240)
    for table in tabulate("digits", rows):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    (line,) = (x for x in text.splitlines() if x.lstrip().startswith("ARFlow, reset"))
    assert "4.250 ± 0.187" in line
    assert "+1.000" in line
    assert "half against half 0.50, test against training part 0.60" in text
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_has_neither_deviation_nor_p() -> None:
    rows = list(make_rows("digits", make_results(make_found(1)), QUICK))
    (table,) = tabulate("digits", rows)
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells[FEATURE_FD.label][:3] == ["4.000", "3.000", "4.000"]
    assert cells["difference"][:3] == ["", "-1.000", "+1.000"]
    assert set(cells["p"]) == {""}


def test_panels_stand_in_the_order_of_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(parts, "draw_strips", lambda *_: None)
    monkeypatch.setattr(parts, "save_png", lambda figure, _: figures.append(figure))
    rows = [
        *make_rows("seen", make_results(make_found_by_epochs()), QUICK),
        *make_rows("digits", make_results(make_found(2)), QUICK),
    ]
    draw(rows, Path("a.png"))
    ((lines, bars),) = (figure.axes for figure in figures)
    assert lines.get_title("left") == "seen: digits, by images seen"
    assert bars.get_title("left") == "digits: digits of 8 x 8 pixels"
    drawn = {line.get_label(): line.get_xydata() for line in lines.lines}
    assert np.asarray(drawn["SiT"]).tolist() == [[200, 5], [400, 6]]
    assert np.asarray(drawn["ARFlow, reset past"]).tolist() == [[200, 5], [400, 6]]
    widths = [bar.get_width() for bar in bars.patches]  # type: ignore[attr-defined]
    assert widths[::-1] == [row.ours for row in rows if row.case.startswith("digits: ")]


def test_costs_of_an_arm() -> None:
    setting = list_settings("digits", FULL)[0]
    cost = count_cost(make_config(setting, FULL))
    assert cost["calls"] == 25
    assert cost["images"] == 14 * (3500 // 40) * 40
    assert cost["parameters"] == 104_740


def test_a_bench_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def train_one(config: FlowConfig, skipped: tuple[Context, ...], shown: bool) -> FlowResult:
        assert (skipped, shown) == ((), True)
        made.append(config.arm)
        if len(made) == 3:
            raise KeyboardInterrupt
        values = {"own: feature_fd": 2.0, LOSS: 0.2, FLOOR: 0.5, TEST: 0.6, SECONDS: 1.0}
        return FlowResult(
            values=values, samples=make_strips(config, build(config), 0, ("own",))
        )

    monkeypatch.setattr(train, "train_config", train_one)
    options = BenchOptions(out=tmp_path, parts=("digits",), quick=True)
    console = Console(file=io.StringIO(), width=240)
    with pytest.raises(KeyboardInterrupt):
        show(console, "flow", options)
    assert len((tmp_path / FILE).read_text().splitlines()) == 2
    show(console, "flow", options)
    arms = list(ARMS.values())
    assert made == [*arms[:3], *arms[2:]]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "5 of 5 trainings are to be made" in text
    assert "3 of 5 trainings are to be made" in text
    rows = json.loads((tmp_path / "flow.json").read_text())
    assert [row["subject"] for row in rows] == list(ARMS)
    assert "flow.png and" in " ".join(text.split())
    assert (tmp_path / "flow_samples.png").exists()


def test_images_are_kept_of_the_last_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_one(config: FlowConfig, skipped: tuple[Context, ...], shown: bool) -> FlowResult:  # noqa: ARG001
        samples = {"own": f"seed {config.seed_of_data}"} if shown else {}
        return FlowResult(values={LOSS: float(config.seed_of_data)}, samples=samples)

    monkeypatch.setattr(train, "train_config", train_one)
    for _ in range(2):  # measured, then read
        results = train.train_all("digits", SIX, tmp_path, 1)
        assert results.samples == {arm: {"own": "seed 5"} for arm in ARMS}
        values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        assert results.found == {arm: {LOSS: values} for arm in ARMS}


def test_each_context_has_metrics_and_images_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(*given: Any) -> dict[Context, dict[str, float]]:
        return {
            c: {"feature_fd": 1.0 + k, "class_match": 0.1 * k} for k, c in enumerate(given[-1])
        }

    def train_task(_: object, config: FlowConfig, *__: object) -> FlowModel:
        with seeded(0):
            model = build(config)
            for p in model.parameters():
                nn.init.normal_(p, std=0.2)
        return model

    monkeypatch.setattr(train, "measure_contexts", measure)
    monkeypatch.setattr(train, "train_task", train_task)
    monkeypatch.setattr(train, "make_reference", lambda _: SimpleNamespace(floor=7.0, test=8.0))
    (setting,) = (s for s in list_settings("digits", QUICK) if s.arm == ARFLOW)
    found = train.train_config(make_config(setting, QUICK), ("same class",), shown=True)
    assert {k: v for k, v in found.values.items() if k not in (LOSS, SECONDS)} == {
        "own: feature_fd": 1.0,
        "own: class_match": 0.0,
        "reset: feature_fd": 2.0,
        "reset: class_match": 0.1,
        "other class: feature_fd": 3.0,
        "other class: class_match": 0.2,
        FLOOR: 7.0,
        TEST: 8.0,
    }
    assert len(set(found.samples.values())) == 3


def test_a_training_of_the_bench_is_that_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.flow.features.STEPS", 5)
    (setting,) = (s for s in list_settings("digits", QUICK) if s.arm == ARFLOW)
    config = make_config(setting, QUICK)
    result = train.train_config(config, ("same class",), shown=True)
    values = result.values
    contexts = ("own", "reset", "other class")
    names = {f"{c}: {m}" for c in contexts for m in ("feature_fd", "class_match")}
    assert set(values) == names | {LOSS, FLOOR, TEST, SECONDS}
    assert set(result.samples) == set(contexts)
    hidden = train.train_config(config, ("same class",))
    assert hidden.samples == {}
    again = hidden.values  # keeping images changes no figure
    assert {**again, SECONDS: 0.0} == {**values, SECONDS: 0.0}
