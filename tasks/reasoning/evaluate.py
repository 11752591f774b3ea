"""What reasoning reaches: exact answers, words and network calls; with fewer thoughts, too."""

from collections.abc import Iterator, Sequence

from torch import nn

from neuro.io.run_folder import Run
from tasks.reasoning.answer import Said, answer_split
from tasks.reasoning.config import LATENT, ReasoningConfig
from tasks.reasoning.decode_thoughts import decode_split, draw_thoughts, tabulate_thoughts
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
    """Return the metrics of the test split, by steps and by thoughts, which are decoded."""
    config: ReasoningConfig = run.config
    said = answer_split(config, model, "test")
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
    pictures = list[Picture]()
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
        facts={"arm": config.arm, "thoughts": config.thoughts},
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
