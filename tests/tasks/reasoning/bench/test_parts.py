"""The bench: what is trained and kept, rows, tests of pairs, costs, tables, the picture."""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from neuro.base.seeds import seeded
from neuro.graph import Graph
from neuro.spikes.record import Record
from tasks.bench.options import BenchOptions
from tasks.cli.benches import show
from tasks.reasoning import loop
from tasks.reasoning.answer import Said
from tasks.reasoning.bench import train
from tasks.reasoning.bench.parts import (
    compare_accuracies,
    draw,
    list_depths,
    make_rows,
    tabulate,
)
from tasks.reasoning.bench.settings import (
    ARMS,
    COT,
    DIFFUSION,
    FLOAT,
    FULL,
    LEFT_TO_RIGHT,
    PAUSE,
    PLAIN,
    QUICK,
    SPIKING,
    ReasoningSetting,
    list_settings,
    make_config,
)
from tasks.reasoning.bench.train import (
    EXIT,
    EXIT_DEPTH,
    FILE,
    SECONDS,
    STOPPED,
    Found,
    count_cost,
    name_depth,
)
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.cost import count_macs, count_parameters
from tasks.reasoning.data import load
from tasks.reasoning.loop import CHIP, LOOPS, name_loop
from tasks.reasoning.model import ReasoningModel, build
from tasks.runs.configuration import list_problems

SIX = replace(QUICK, seeds=tuple(range(6)))
MEANS = {PLAIN: 0.6, COT: 0.8, "iCoT": 0.7, "Coconut": 0.9, PAUSE: 0.9, "CODI": 0.5}


def make_found(seeds: int = 6) -> Found:
    """Return made-up values of every arm; Coconut is ahead of pauses by 0 and 2 points."""
    found: Found = {}
    for arm, mean in MEANS.items():
        extra = 0.02 if arm == "Coconut" else 0.0
        found[arm] = {
            "accuracy": {k: mean + 0.01 * k + extra * (k % 2) for k in range(seeds)},
            "said_words": dict.fromkeys(range(seeds), 2.0),
            "network_calls": dict.fromkeys(range(seeds), 6.0),
            SECONDS: dict.fromkeys(range(seeds), 10.0),
        }
        if arm in ("Coconut", PAUSE, "CODI"):
            found[arm][STOPPED] = dict.fromkeys(range(seeds), 0.5)
    return found


def test_arms_share_all_but_their_fields_and_pairs_share_items_and_weights() -> None:
    for part, case in FULL.cases.items():
        settings = list_settings(part, FULL)
        further = sum(len(seeds) for seeds in case.further.values())
        assert len(set(settings)) == len(case.arms) * len(FULL.seeds) + further
        assert set(case.further) <= set(case.arms)
        for setting in settings:
            config = make_config(setting, FULL)
            assert list_problems(config) == []
            changed = {**case.arms[setting.arm], "seed_of_data": setting.seed}
            assert asdict(config) == asdict(case.config) | changed
    assert len({make_config(s, FULL).arm for s in list_settings("reachability", FULL)}) == 6


@pytest.mark.parametrize(
    ("differences", "p", "verdict"),
    [
        ([0.1] * 6, 2 / 64, "better"),
        ([-0.1] * 6, 2 / 64, "worse"),
        ([0.1] * 3, 2 / 8, "not shown"),  # three seeds show nothing
        ([0.1], None, "not shown"),
    ],
)
def test_a_difference_is_shown_by_an_exact_test_of_pairs(
    differences: list[float], p: float | None, verdict: str
) -> None:
    ours = {seed: 0.5 + d for seed, d in enumerate(differences)}
    found = compare_accuracies({99: 1.0, **ours}, {98: 1.0, **dict.fromkeys(ours, 0.5)})
    assert found["pairs"] == len(differences)  # seeds that both have
    assert (found["p"], found["verdict"]) == (p, verdict)
    assert found["points"] == pytest.approx(100 * sum(differences) / len(differences))


def test_arms_whose_difference_matters_have_more_pairs_at_full_size_alone() -> None:
    full = list_settings("reachability", FULL)
    seeds = {arm: [s.seed for s in full if s.arm == arm] for arm in ARMS}
    assert seeds["Coconut"] == seeds[PAUSE] == [0, 1, 2, 3, 4, 5]
    assert seeds[PLAIN] == seeds["CODI"] == [0, 1, 2]
    assert [s.seed for s in full] == sorted(s.seed for s in full)
    assert len(list_settings("reachability", QUICK)) == len(ARMS)


def test_a_row_is_an_arm_beside_none_and_beside_pauses() -> None:
    rows = list(make_rows("reachability", make_found(), SIX))
    assert [row.subject for row in rows] == list(ARMS)
    row = rows[3]
    assert (row.peer, row.unit) == (PLAIN, "exact answers")
    assert row.ours == pytest.approx(0.935)
    assert row.theirs == pytest.approx(0.625)
    assert row.ratio == pytest.approx(0.935 / 0.625)
    compared = row.conditions["compared"]
    assert compared[PLAIN]["verdict"] == "better"
    assert compared[PAUSE]["points"] == pytest.approx(1.0)
    assert compared[PAUSE]["p"] == 0.25  # 3 of 6 pairs differ, all to one side
    assert compared[PAUSE]["verdict"] == "not shown"
    assert set(rows[0].conditions["compared"]) == {PAUSE}
    assert row.conditions[SECONDS] == 60.0


def test_tables_show_what_is_reached_and_what_an_answer_costs(tmp_path: Path) -> None:
    rows = list(make_rows("reachability", make_found(), SIX))
    console = Console(file=io.StringIO(), width=200)
    for table in tabulate("reachability", rows):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    (line,) = (x.split() for x in text.splitlines() if x.lstrip().startswith("Coconut"))
    assert line[:8] == ["Coconut", "93.5", "±", "2.4", "50.0", "±", "0.0", "+31.0"]
    assert line[8:14] == ["0.03", "+1.0", "0.25", "2.0", "6.0", line[13]]
    assert "exact sign-flip test" in text
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_depths_and_closed_loops_have_tables_and_a_panel(tmp_path: Path) -> None:
    depths = {name_depth(r): {0: 0.1 * r} for r in (1, 2, 4, 8)}
    common = {name: {0: 2.0} for name in ("said_words", "network_calls", EXIT_DEPTH, SECONDS)}
    loops = {name_loop(f"{CHIP}: joules", r): {0: 1e-6 * r} for r in LOOPS}
    deep = {"accuracy": {0: 0.8}, EXIT: {0: 0.7}, **depths, **common, **loops}
    deep["events: runs up to the exit"] = {0: 3.25}
    plain = {"accuracy": {0: 0.5}, **common}
    rows = list(make_rows("spiking_loop", {SPIKING: deep, FLOAT: plain}, QUICK))
    assert [list_depths(row) for row in rows] == [[1, 2, 4, 8], []]
    console = Console(file=io.StringIO(), width=200)
    for table in tabulate("spiking_loop", rows):
        console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    (own,) = (x.split() for x in lines if x.split()[-1:] == ["2.0"] and "10.0" in x)
    assert own == ["spiking", "core", "10.0", "20.0", "40.0", "80.0", "70.0", "2.0"]
    (joules,) = (x.split() for x in lines if "loihi2: joules" in x)
    assert joules[-4:] == ["1e-06", "2e-06", "4e-06", "8e-06"]
    assert any("events: runs up to the exit 3.25" in x for x in lines)
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_training_of_a_core_is_tried_at_other_depths_and_in_closed_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.reasoning.loop.available", lambda: False)  # Lava takes seconds
    estimate, priced = loop.estimate_chips, list[int]()

    def count_samples(graph: Graph, record: Record, *rest: Any, **options: Any) -> Any:
        priced.append(record.samples)
        return estimate(graph, record, *rest, **options)

    monkeypatch.setattr(loop, "estimate_chips", count_samples)
    setting = ReasoningSetting(part="spiking_loop", arm=SPIKING, seed=0)
    values = train.train_config(make_config(setting, QUICK))
    assert {name_depth(r) for r in (1, 2, 4, 8, 16)} < set(values)
    for r in LOOPS:
        clock, events = (
            values[name_loop(f"{name}: accuracy", r)] for name in ("torch", "events")
        )
        assert clock == events
        assert values[name_loop("events: logits from torch", r)] < 1e-9
    joules = [values[name_loop(f"{CHIP}: joules", r)] for r in LOOPS]
    assert joules == sorted(joules)
    assert priced == [10 * r for r in LOOPS]  # 10 items; a sample is a run
    assert values["torch: runs up to the exit"] == values["events: runs up to the exit"]
    assert 2 <= values[EXIT_DEPTH] <= 4


def test_depths_and_the_exit_are_tried_on_the_trained_weights_and_the_test_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(ReasoningSetting(part="spiking_loop", arm=FLOAT, seed=0), QUICK)
    with seeded(1):
        model = build(config)
    item, tried = load(config).items["test"][0], list[tuple[float, int | None]]()

    def answer(
        own: ReasoningConfig, net: ReasoningModel, split: str, depth: int | None = None
    ) -> list[Said]:
        """Be right at a depth of 2, and with an exit."""
        assert split == "test"
        pairs = zip(net.parameters(), model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        tried.append((own.exit_kl, depth))
        return [Said(item, item.answer, depth == 2 or own.exit_kl > 0, 1, 1, 1.5)]

    monkeypatch.setattr(train, "answer_split", answer)
    monkeypatch.setattr("tasks.reasoning.evaluate.answer_split", answer)
    said = train.answer_split(config, model, "test")
    values = train.measure_recurrence(config, model, said)
    assert tried == [(0.0, None), *((0.0, r) for r in (1, 2, 8, 16)), (train.EXIT_KL, None)]
    by_depth = {name_depth(r): float(r == 2) for r in (1, 2, 4, 8, 16)}
    assert values == {**by_depth, EXIT: 1.0, EXIT_DEPTH: 1.5}


@pytest.mark.parametrize("stack", ["softmax*2", "gdn+mlgru", "rwkv6*2"])
def test_macs_are_those_of_every_token_that_is_read(stack: str) -> None:
    config = ReasoningConfig(
        stack=stack, width=16, hidden=24, heads=2, arm="codi", latents=1, stages=3
    )
    with seeded(0):
        model = build(config)
    # 5 + BEGIN, 3 thoughts, SPEAK, ANSWER, the first of 2 words
    read = 6 + 3 + 2 + 1
    mixers: list[Any] = [block.get_submodule("mixer") for block in model.blocks]
    want = sum(mixer.macs(k) + 3 * 16 * 24 for mixer in mixers for k in range(read))
    want += 2 * 16 * model.vocabulary + 3 * 2 * 16 * 16
    assert count_macs(config, 5, 2) == want
    assert count_parameters(config) == sum(p.numel() for p in model.parameters())


def test_costs_of_an_arm() -> None:
    setting = ReasoningSetting(part="reachability", arm=COT, seed=0)
    config = make_config(setting, QUICK)
    cost = count_cost(config, 4.6)
    assert cost["samples"] == 3 * 40
    assert cost["macs"] == count_macs(config, 25, 5)
    plain = count_cost(replace(config, arm="none"), 2.0)
    assert plain["parameters"] == cost["parameters"]
    assert plain["macs"] < cost["macs"]


def test_a_bench_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def train_one(config: ReasoningConfig) -> dict[str, float]:
        made.append(config.arm)
        if len(made) == 3:
            raise KeyboardInterrupt
        found = {"accuracy": 0.5, "said_words": 2.0, "network_calls": 2.0, SECONDS: 1.0}
        return found | ({STOPPED: 0.5} if config.arm in ("coconut", "pause", "codi") else {})

    monkeypatch.setattr(train, "train_config", train_one)
    options = BenchOptions(out=tmp_path, parts=("reachability",), quick=True)
    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(KeyboardInterrupt):
        show(console, "reasoning", options)
    assert len((tmp_path / FILE).read_text().splitlines()) == 2
    show(console, "reasoning", options)
    assert made == ["none", "cot", "icot", "icot", "coconut", "pause", "codi"]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "6 of 6 trainings are to be made" in text
    assert "4 of 6 trainings are to be made" in text
    rows = json.loads((tmp_path / "reasoning.json").read_text())
    assert [row["subject"] for row in rows] == list(ARMS)


def test_a_training_of_the_bench_is_that_of_the_task() -> None:
    setting = ReasoningSetting(part="reachability", arm="Coconut", seed=0)
    config = make_config(setting, QUICK)
    values = train.train_config(config)
    assert set(values) == {"accuracy", "said_words", "network_calls", STOPPED, SECONDS}
    assert values["network_calls"] == pytest.approx(values["said_words"] + 2)
    again = train.train_config(config)
    assert {**again, SECONDS: 0.0} == {**values, SECONDS: 0.0}


def test_one_training_has_a_row_for_each_order_of_filling() -> None:
    one, zero = dict.fromkeys(range(3), 1.0), dict.fromkeys(range(3), 0.0)
    costs = {"said_words": one, "network_calls": one, SECONDS: one}
    found: Found = {
        LEFT_TO_RIGHT: {"accuracy": zero, **costs},
        DIFFUSION: {
            "accuracy": one,
            "accuracy_random": {0: 0.5, 1: 0.6, 2: 0.7},
            "accuracy_left": zero,
            **costs,
        },
    }
    rows = list(make_rows("sudoku", found, QUICK))
    assert [(row.subject, row.ours) for row in rows] == [
        (LEFT_TO_RIGHT, 0.0),
        (DIFFUSION, 1.0),
        ("diffusion, random order", pytest.approx(0.6)),
        ("diffusion, left order", 0.0),
    ]
    assert [row.conditions[SECONDS] for row in rows] == [3.0, 3.0, 0.0, 0.0]
    assert rows[1].conditions["cost"] == rows[2].conditions["cost"]
    assert "accuracy_left" not in rows[1].conditions["reached"]
    assert [row.subject for row in make_rows("reversal", found, QUICK)] == [
        LEFT_TO_RIGHT,
        DIFFUSION,
    ]


def test_a_training_of_diffusion_is_asked_in_every_order() -> None:
    setting = ReasoningSetting(part="sudoku", arm=DIFFUSION, seed=0)
    values = train.train_config(make_config(setting, QUICK))
    orders = {"accuracy_random", "accuracy_left"}
    assert set(values) == {"accuracy", "said_words", "network_calls", SECONDS, *orders}
    assert values["network_calls"] == 16


def test_a_training_without_diffusion_depends_on_none_of_its_fields() -> None:
    """So that results of other arms remain those of their trainings."""
    for arm, used in ((LEFT_TO_RIGHT, False), (DIFFUSION, True)):
        setting = ReasoningSetting(part="sudoku", arm=arm, seed=0)
        fields = train.describe(setting, FULL)["config"]
        assert ("order" in fields) is ("mask_question" in fields) is used
