"""Evaluation of reasoning: exact answers, words and calls.

Also decoded thoughts, iterations of a recurrent core, and orders of filling.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from torch import nn

from neuro.io.run_folder import Run
from neuro.plot import ACCENT, STYLE
from tasks.reasoning.answer import Said, answer_split, judge_filled
from tasks.reasoning.config import LATENT, ReasoningConfig
from tasks.reasoning.data import ReasoningData, load
from tasks.reasoning.decode_thoughts import (
    decode_test,
    draw_thoughts,
    tabulate_example,
    tabulate_thoughts,
)
from tasks.reasoning.fill import bound_test
from tasks.reasoning.orders import draw_orders, fill_in_orders, tabulate_orders
from tasks.report.figures import save_png
from tasks.runs.task import ACCURACY, Findings, Metric, Picture, Table

ITERATIONS = "core_iterations"  # mean number per word
METRICS = (
    ACCURACY,
    *(
        Metric(name=name, better="lower", format=".2f", meaning=meaning)
        for name, meaning in {
            "said_words": "words that the network says per item, with the end mark",
            "network_calls": "calls of the network per item, one after the other",
            ITERATIONS: "iterations of the recurrent core per word",
        }.items()
    ),
)
TRIED = (1, 2, 4, 8, 16)  # numbers of iterations, in addition to that of the configuration
PICTURE = "accuracy_by_depth.png"


def measure_said(said: Sequence[Said]) -> dict[str, float]:
    """Return the share of exact answers, and the mean words and calls per answer.

    A recurrent core adds its mean iterations per word.
    """
    n = len(said)
    depth = sum(one.depth for one in said) / n
    return {
        ACCURACY.name: sum(one.right for one in said) / n,
        "said_words": sum(one.words for one in said) / n,
        "network_calls": sum(one.calls for one in said) / n,
        **({ITERATIONS: depth} if depth else {}),
    }


def validate(config: ReasoningConfig, model: nn.Module) -> float:
    """Return the share of exact answers on the validation split."""
    return measure_said(answer_split(config, model, "val"))[ACCURACY.name]


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the metrics of the test split, also by steps, decoded thoughts and orders."""
    config: ReasoningConfig = run.config
    filled = fill_in_orders(config, model) if config.arm == "diffusion" else {}
    said = [judge_filled(one) for one in filled.get(config.order, ())] or answer_split(
        config, model, "test"
    )
    facts: dict[str, Any] = {"arm": config.arm, "thoughts": config.thoughts}
    pictures = list[Picture]()
    tables = [
        tabulate_example(config, model, said[0]),
        Table(
            title="By steps of the solution",
            head=("steps", "items", "accuracy"),
            rows=list(_list_steps(said)),
            caption="Exact answers of items whose solution has so many steps.",
        ),
    ]
    if config.arm in LATENT and config.thoughts:
        tables.append(
            Table(
                title="Stopped early",
                head=("thoughts", "accuracy", "network calls"),
                rows=list(_list_stops(config, model, said)),
                caption="The trained network with fewer thoughts than in its training: where "
                "accuracy stays, the thoughts are not needed.",
            )
        )
    if filled:
        tables.append(tabulate_orders(filled))
        pictures.append(draw_orders(config, filled, run.folder))
        facts["bound_nats"] = bound_test(config, model)
    if config.arm in LATENT and config.thoughts and (thoughts := decode_test(config, model)):
        tables.append(tabulate_thoughts(thoughts))
        pictures.append(draw_thoughts(thoughts, run.folder))
    if config.depth:
        found = measure_depths(config, model, said)
        tables.append(
            Table(
                title="Accuracy by depth",
                head=("iterations", "accuracy", "mean depth at the exit"),
                rows=[
                    (str(depth), f"{one[ACCURACY.name]:.1%}", f"{one[ITERATIONS]:.2f}")
                    for depth, one in found.items()
                ],
                caption="The trained network with other numbers of iterations of its core. "
                + explain_exit(config.exit_kl),
            )
        )
        draw_depths({d: one[ACCURACY.name] for d, one in found.items()}, run.folder / PICTURE)
        pictures.append(
            Picture(
                file=PICTURE,
                title="Accuracy by depth",
                caption="Exact answers over the iterations of the core, which was trained with "
                f"{'about ' if config.depth_sampling == 'poisson' else ''}{config.depth}.",
            )
        )
    return Findings(
        values=measure_said(said),
        n=len(said),
        counted="items",
        facts=facts,
        tables=tables,
        pictures=pictures,
        beside=measure_baselines(load(config)),
    )


def measure_baselines(data: ReasoningData) -> dict[str, dict[str, float]]:
    """Return the accuracies of the best fixed answer and place of the question in training."""
    train, test = data.items["train"], data.items["test"]
    common = Counter(item.answer for item in train).most_common(1)[0][0]
    places = range(1, 1 + min(len(item.question) for item in train))
    copied = max(places, key=lambda k: sum(i.question[-k:][:1] == i.answer for i in train))
    right = {
        "the most frequent answer": [i.answer == common for i in test],
        f"copying word {copied} of the question, counted from its end": [
            i.answer == i.question[-copied:][:1] for i in test
        ],
    }
    return {name: {ACCURACY.name: sum(own) / len(test)} for name, own in right.items()}


def _list_steps(said: Sequence[Said]) -> Iterator[tuple[str | float, ...]]:
    for steps in sorted({len(one.item.steps) for one in said}):
        own = [one for one in said if len(one.item.steps) == steps]
        yield str(steps), len(own), f"{measure_said(own)[ACCURACY.name]:.1%}"


def _list_stops(
    config: ReasoningConfig, model: nn.Module, said: Sequence[Said]
) -> Iterator[tuple[str, ...]]:
    for thoughts in range(config.thoughts + 1):
        own = said
        if thoughts < config.thoughts:
            own = answer_split(config, model, "test", thoughts)
        found = measure_said(own)
        yield str(thoughts), f"{found[ACCURACY.name]:.1%}", f"{found['network_calls']:.1f}"


def measure_depths(
    config: ReasoningConfig, model: nn.Module, said: Sequence[Said]
) -> dict[int, dict[str, float]]:
    """Return test metrics by iterations. said: answers with the configured iterations."""
    return {
        depth: measure_said(
            said if depth == config.depth else answer_split(config, model, "test", depth=depth)
        )
        for depth in sorted({*TRIED, config.depth})
    }


def explain_exit(exit_kl: float) -> str:
    """Explain which iteration of a core a word is read from."""
    if not exit_kl:
        return "There is no exit (exit_kl is 0): each word is read off the last iteration."
    return (
        "Each word is read off the first iteration with a divergence of less than "
        f"{exit_kl:g} nat from the one before, or else off the last one."
    )


@mpl.rc_context(STYLE)
def draw_depths(accuracies: Mapping[int, float], path: Path) -> None:
    """Draw the share of exact answers over the iterations of a core."""
    figure = Figure((4.8, 2.6), layout="constrained")
    ax = figure.subplots()
    ax.plot(list(accuracies), [100 * x for x in accuracies.values()], "o-", color=ACCENT)
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(accuracies), [str(depth) for depth in accuracies])
    ax.set(ylim=(0, 102), xlabel="iterations of the core", ylabel="exact answers [%]")
    save_png(figure, path)
