"""What reasoning reaches: exact answers, words, calls; by thoughts and by orders of filling."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from neuro.io.run_folder import Run
from tasks.reasoning.answer import Said, answer_split, judge_filled
from tasks.reasoning.config import LATENT, ReasoningConfig
from tasks.reasoning.decode_thoughts import decode_split, draw_thoughts, tabulate_thoughts
from tasks.reasoning.fill import bound_split
from tasks.reasoning.orders import draw_orders, fill_in_orders, tabulate_orders
from tasks.runs.task import ACCURACY, Findings, Metric, Picture, Table

METRICS = (
    ACCURACY,
    Metric(name="said_words", better="lower", format=".2f"),
    Metric(name="network_calls", better="lower", format=".2f"),
)


def measure_said(said: Sequence[Said]) -> dict[str, float]:
    """Return the metrics of answers: exact matches; mean words and calls of an answer."""
    n = len(said)
    return {
        ACCURACY.name: sum(one.right for one in said) / n,
        "said_words": sum(one.words for one in said) / n,
        "network_calls": sum(one.calls for one in said) / n,
    }


def validate(config: ReasoningConfig, model: nn.Module) -> float:
    """Return the share of exact answers on the validation split."""
    return measure_said(answer_split(config, model, "val"))[ACCURACY.name]


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the metrics of the test split, by steps, by decoded thoughts, by orders."""
    config: ReasoningConfig = run.config
    filled = fill_in_orders(config, model) if config.arm == "diffusion" else {}
    said = [judge_filled(one) for one in filled.get(config.order, ())] or answer_split(
        config, model, "test"
    )
    facts: dict[str, Any] = {"arm": config.arm, "thoughts": config.thoughts}
    pictures = list[Picture]()
    tables = [
        Table(
            title="By steps of the solution",
            head=("steps", "items", "accuracy"),
            rows=list(_list_steps(said)),
            caption="Exact answers of items whose solution has so many steps.",
        )
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
        facts["bound_nats"] = bound_split(config, model, "test")
    if (
        config.arm in LATENT
        and config.thoughts
        and (thoughts := decode_split(config, model, "test"))
    ):
        tables.append(tabulate_thoughts(thoughts))
        pictures.append(draw_thoughts(thoughts, run.folder))
    return Findings(
        values=measure_said(said),
        n=len(said),
        counted="items",
        facts=facts,
        tables=tables,
        pictures=pictures,
    )


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
