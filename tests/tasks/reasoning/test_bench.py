"""The bench of reasoning: arms and their baselines, metrics of trained runs, costs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.base.seeds import seeded
from neuro.graph import Graph
from neuro.io.run_folder import RunError
from neuro.spikes.record import Record
from neuro.training.checkpoint import LAST
from tasks.bench.experiment import complete_run, make_rows
from tasks.reasoning import bench, loop
from tasks.reasoning.answer import Said
from tasks.reasoning.bench import (
    ARMS,
    COT,
    DIFFUSION,
    FLOAT,
    HYBRID,
    LEFT_TO_RIGHT,
    ONCE,
    PAUSE,
    PLAIN,
    SPIKING,
    UNROLLED,
    count_cost,
    list_experiments,
    measure,
    measure_recurrence,
    name_depth,
    tabulate_further,
)
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.cost import count_macs, count_parameters
from tasks.reasoning.data import load
from tasks.reasoning.loop import CHIP, LOOPS, name_loop
from tasks.reasoning.model import ReasoningModel, build
from tasks.runs.configuration import list_problems
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import load_trained_model

FULL, QUICK = list_experiments(False), list_experiments(True)


def train(folder: Path, part: str, arm: str) -> TaskRun:
    """Train an arm briefly and evaluate it; return its run."""
    experiment = QUICK[part]
    run = experiment.make_runs(folder)[arm, 0]
    complete_run(run, experiment)
    return run


@pytest.mark.parametrize("part", FULL)
def test_every_configuration_of_the_bench_holds_together(part: str) -> None:
    for experiment in (FULL[part], QUICK[part]):
        assert all(list_problems(config) == [] for config in experiment.arms.values())


def test_parts_have_the_seeds_and_the_controls_that_the_results_name() -> None:
    assert {part: experiment.seeds for part, experiment in FULL.items()} == dict.fromkeys(
        FULL, (0, 1, 2)
    )
    further = {part: dict(e.further) for part, e in FULL.items() if e.further}
    assert further == {"reachability": {"Coconut": (3, 4, 5), PAUSE: (3, 4, 5)}}
    assert {e.seeds for e in QUICK.values()} == {(0,)}
    assert not any(e.further for e in QUICK.values())
    assert FULL["reachability"].beside == {
        **{arm: (PLAIN, PAUSE) for arm in (COT, "iCoT", "Coconut", "CODI")},
        **{PLAIN: (PAUSE,), PAUSE: (PLAIN,)},
    }
    assert [*FULL["multiplication"].arms] == [arm for arm in ARMS if arm != "Coconut"]
    assert FULL["hops"].beside[COT] == (ONCE, UNROLLED)
    assert FULL["hops"].beside[UNROLLED] == (ONCE,)
    assert FULL["mixers"].beside["softmax"] == (HYBRID,)
    assert FULL["spiking_loop"].beside == {SPIKING: (FLOAT,), FLOAT: ()}


def test_the_arms_of_a_part_differ_in_the_fields_that_are_compared() -> None:
    arms: Any = FULL["hops"].arms
    assert (arms[ONCE].depth, arms[UNROLLED].depth) == (0, 0)
    assert arms[UNROLLED].stack == f"{arms[ONCE].stack}+{arms[ONCE].stack}"
    assert (arms["the core twice"].depth, arms["the core twice"].injection) == (2, "membrane")
    assert (arms[COT].arm, arms[ONCE].arm) == ("cot", "icot")
    graphs: Any = FULL["reachability"].arms
    assert {arm: config.arm for arm, config in graphs.items()} == {
        arm: own["arm"] for arm, own in ARMS.items()
    }
    assert (graphs[PLAIN].train, graphs[PLAIN].epochs, graphs[PLAIN].size) == (8000, 11, 8)
    whole: Any = FULL["reversal"].arms["diffusion of whole sentences"]
    assert (whole.arm, whole.mask_question, whole.epochs) == ("diffusion", True, 400)
    runs = FULL["hop"].make_runs(Path("x"))
    assert {(run.seed, run.config.seed_of_data) for run in runs.values()} == {
        *((0, 0), (1, 1), (2, 2))
    }


def test_a_latent_arm_is_stopped_before_its_first_thought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path, "reachability", "Coconut")
    result, measures = run.read("eval.json"), run.read("measures.json")
    assert [*measures] == [""]
    assert [*measures[""]] == ["without_thoughts"]
    assert result["network_calls"] == pytest.approx(result["said_words"] + 2)
    asked, item = list[tuple[str, int | None]](), load(run.config).items["test"][0]

    def answer(
        _: ReasoningConfig, _net: ReasoningModel, split: str, thoughts: int | None = None
    ) -> list[Said]:
        asked.append((split, thoughts))
        return [Said(item, item.answer, right, 1, 1, 0) for right in (True, False, False)]

    monkeypatch.setattr(bench, "answer_split", answer)
    assert measure(run) == {"": {"without_thoughts": pytest.approx(1 / 3)}}
    assert asked == [("test", 0)]


def test_a_diffusion_has_a_row_for_each_other_order_and_recalls_by_its_last_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path, "reversal", DIFFUSION)
    assert run.config.order == "confidence"
    measures = run.read("measures.json")
    assert [*measures] == ["", "random order", "left order"]
    assert set(measures["left order"]) == {"accuracy", "said_words", "network_calls"}
    assert [*measures[""]] == ["recalled"]
    sums = list[float]()

    def recall(_: ReasoningConfig, model: ReasoningModel) -> float:
        sums.append(sum(float(p.detach().double().sum()) for p in model.parameters()))
        return 0.25

    monkeypatch.setattr(bench, "recall_questions", recall)
    assert measure(run)[""] == {"recalled": 0.25}
    for model, is_last in (
        (bench.load_last_model(run), True),
        (load_trained_model(run), False),
    ):
        own = sum(float(p.detach().double().sum()) for p in model.parameters())
        assert (sums == [own]) is is_last  # the best weights come from an earlier epoch
    (run.folder / LAST).unlink()
    with pytest.raises(RunError, match="has no checkpoint any more; delete the folder"):
        measure(run)


def test_rows_of_other_orders_stand_beside_the_order_of_the_training() -> None:
    experiment = replace(QUICK["sudoku"], seeds=(0, 1, 2))
    metrics: dict[str, Any] = {"accuracy": {}, "said_words": {}, "network_calls": {}}
    common = {"said_words": 16.0, "network_calls": 16.0, "metrics": metrics}
    results = {
        (arm, seed): {
            **common,
            "accuracy": share,
            "variants": {
                f"{order} order": {"accuracy": 0.1 * seed + extra, "said_words": 16.0}
                for order, extra in (("random", 0.5), ("left", 0.2))
                if arm == DIFFUSION
            },
        }
        for arm, share in ((LEFT_TO_RIGHT, 0.25), (DIFFUSION, 0.875))
        for seed in range(3)
    }
    rows = list(make_rows("sudoku", experiment, results))
    assert [(row.subject, row.peer, row.ours) for row in rows] == [
        (LEFT_TO_RIGHT, "", 0.25),
        (DIFFUSION, LEFT_TO_RIGHT, 0.875),
        ("diffusion, random order", DIFFUSION, pytest.approx(0.6)),
        ("diffusion, left order", DIFFUSION, pytest.approx(0.3)),
    ]
    assert rows[1].conditions["cost"] == rows[2].conditions["cost"]


def test_a_core_that_recurs_has_a_table_over_its_iterations() -> None:
    reached = {
        "accuracy": 0.8,
        **{name_depth(r): 0.1 * r for r in (1, 2, 4, 8, 16)},
        **{"accuracy_at_the_exit": 0.7, "iterations_at_the_exit": 2.5},
        **{name_loop(f"{CHIP}: joules", r): 1e-6 * r for r in LOOPS},
        "events: runs up to the exit": 3.25,
    }
    results = {
        (SPIKING, 0): {"metrics": {}, "variants": {"": {**reached, "said_words": 2.0}}},
        (FLOAT, 0): {"metrics": {}, "variants": {"": {"accuracy": 0.5, "said_words": 1.0}}},
    }
    (table,) = tabulate_further(list(make_rows("loop", QUICK["spiking_loop"], results)))
    assert str(table.title).endswith("spiking core, over iterations")
    assert [str(column.header) for column in table.columns][1:] == [
        *("r = 1", "r = 2", "r = 4", "r = 8", "r = 16"),
    ]
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("accuracy", "0.1", "0.2", "0.4", "0.8", "1.6"),
        ("loihi2: joules", "1e-06", "2e-06", "4e-06", "8e-06", ""),
    ]
    assert str(table.caption) == (
        "accuracy at the exit 0.7; iterations at the exit 2.5; events: runs up to the exit 3.25"
    )


@pytest.mark.slow
def test_a_spiking_core_is_tried_at_other_depths_and_in_closed_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.reasoning.loop.available", lambda: False)  # Lava takes seconds
    estimate, priced = loop.estimate_chips, list[int]()

    def count_samples(graph: Graph, record: Record, *rest: Any, **options: Any) -> Any:
        priced.append(record.samples)
        return estimate(graph, record, *rest, **options)

    monkeypatch.setattr(loop, "estimate_chips", count_samples)
    run = train(tmp_path, "spiking_loop", SPIKING)
    values = run.read("measures.json")[""]
    assert {name_depth(r) for r in (1, 2, 4, 8, 16)} < set(values)
    assert values[name_depth(run.config.depth)] == run.read("eval.json")["accuracy"]
    for r in LOOPS:
        clock, events = (
            values[name_loop(f"{name}: accuracy", r)] for name in ("torch", "events")
        )
        assert clock == events
        assert values[name_loop("events: logits from torch", r)] < 1e-9
    joules = [values[name_loop(f"{CHIP}: joules", r)] for r in LOOPS]
    assert joules == sorted(joules)
    assert priced == [10 * r for r in LOOPS]  # 10 items; each run is a sample
    assert values["torch: runs up to the exit"] == values["events: runs up to the exit"]
    assert 2 <= values["iterations_at_the_exit"] <= 4


def test_depths_and_the_exit_are_tried_on_the_trained_weights_and_the_test_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = QUICK["spiking_loop"].arms[FLOAT]
    with seeded(1):
        model = build(config)
    item, tried = load(config).items["test"][0], list[tuple[float, int | None]]()

    def answer(
        own: ReasoningConfig, net: ReasoningModel, split: str, depth: int | None = None
    ) -> list[Said]:
        """Answer correctly at a depth of 2 and with an exit only."""
        assert split == "test"
        pairs = zip(net.parameters(), model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        tried.append((own.exit_kl, depth))
        return [Said(item, item.answer, depth == 2 or own.exit_kl > 0, 1, 1, 1.5)]

    monkeypatch.setattr(bench, "answer_split", answer)
    monkeypatch.setattr("tasks.reasoning.evaluate.answer_split", answer)
    values = measure_recurrence(config, model)
    assert tried == [(0.0, None), *((0.0, r) for r in (1, 2, 8, 16)), (bench.EXIT_KL, None)]
    by_depth = {name_depth(r): float(r == 2) for r in (1, 2, 4, 8, 16)}
    assert values == {**by_depth, "accuracy_at_the_exit": 1.0, "iterations_at_the_exit": 1.5}


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
    config = QUICK["reachability"].arms[COT]
    cost = count_cost(config, {"said_words": 4.6})
    assert cost["samples"] == 3 * 40
    assert cost["MACs"] == count_macs(config, 25, 5)
    plain = count_cost(replace(config, arm="none"), {"said_words": 2.0})
    assert plain["parameters"] == cost["parameters"]
    assert plain["MACs"] < cost["MACs"]
