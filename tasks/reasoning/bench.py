"""The experiments of ``neuro bench reasoning``: each part trains several arms, by seed.

The judged metric is the share of exact answers on the test split; it was fixed before any
training. Every latent arm is compared with the same curriculum in which a learned embedding
replaces thoughts, because that control reaches nearly as much in an ablation of Hao et al. 2024
(arXiv 2412.06769, "pause as thought": 96.6 against 97.0 % on ProsQA). Two arms differ if p is
below 5 % in the exact sign-flip test of their pairs, which needs at least six pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table
from torch import nn

from neuro.io.run_folder import RunError
from neuro.training.checkpoint import load_checkpoint
from tasks.bench.experiment import Experiment, Variants
from tasks.bench.rows import Row
from tasks.reasoning.answer import answer_split
from tasks.reasoning.config import (
    LATENT,
    ORDERS,
    ReasoningConfig,
    multiplication,
    reachability,
    sudoku,
    tiny,
    tiny_depth,
)
from tasks.reasoning.cost import count_macs, count_parameters
from tasks.reasoning.data import load
from tasks.reasoning.deployment import explain_only_torch
from tasks.reasoning.evaluate import ITERATIONS, METRICS, measure_depths, measure_said
from tasks.reasoning.fill import recall_questions
from tasks.reasoning.loop import measure_loops, name_loop
from tasks.reasoning.model import build
from tasks.report.tables import make_table
from tasks.runs.task import ACCURACY, Metric, TaskRun
from tasks.runs.trained_run import build_fresh_model, load_trained_model

Change = Mapping[str, Any]  # fields of a configuration
DIFFUSION, LEFT_TO_RIGHT = "diffusion", "autoregressive"
PLAIN, COT, PAUSE = "no chain of thought", "chain of thought", "pauses, same curriculum"
ARMS: Mapping[str, Change] = {
    PLAIN: {"arm": "none"},
    COT: {"arm": "cot"},
    "iCoT": {"arm": "icot"},
    "Coconut": {"arm": "coconut"},
    PAUSE: {"arm": "pause"},
    "CODI": {"arm": "codi"},
}
HYBRID = "DeltaNet, softmax"  # the stack of the configurations
STACKS: Mapping[str, Change] = {
    HYBRID: {},
    "softmax": {"stack": "softmax*2"},
    "RWKV-6": {"stack": "rwkv6*2"},
    "Gated DeltaNet": {"stack": "gdn*2"},
    "spiking MatMul-free": {"stack": "mlgru*2", "linear": "spiking"},
}
# 8 of 16 squares are empty: few enough that some empty square always has only one candidate.
GRIDS = replace(sudoku(), arm="none")
# Validation and test share the 20 pairs that are trained in one direction only.
NAMES = replace(
    GRIDS,
    puzzle="reversal",
    stack="softmax*2",
    size=40,
    train=60,
    val=10,
    test=10,
    batch=20,
    epochs=400,
)
FILLED: Mapping[str, Change] = {LEFT_TO_RIGHT: {}, DIFFUSION: {"arm": "diffusion"}}
WHOLE: Change = {"arm": "diffusion", "mask_question": True}
ONCE, TWICE, UNROLLED = "a core once", "the core twice", "its 2 blocks unrolled to 4"
PAIR = "deltanet+softmax"  # the core
LOOPED: Mapping[str, Change] = {
    ONCE: {},
    TWICE: {"depth": 2, "injection": "membrane"},
    UNROLLED: {"stack": f"{PAIR}+{PAIR}"},
}
STEPPED: Mapping[str, Change] = {**LOOPED, COT: {"arm": "cot"}}
HOP = replace(
    tiny(), arm="icot", train=1600, test=300, first_epochs=3, stage_epochs=3, epochs=8
)
HOPS = replace(HOP, size=2, stages=2, epochs=12)
SUMS = replace(HOPS, puzzle="addition", size=4, train=1500, stages=3, stage_epochs=2, epochs=10)
SPIKING, FLOAT = "spiking core", "the same core of floats"
CORES: Mapping[str, Change] = {SPIKING: {}, FLOAT: {"linear": "float"}}
LOOPED_GRAPHS = replace(
    tiny_depth(),
    puzzle="reachability",
    size=8,
    width=64,
    hidden=128,
    train=3000,
    val=100,
    test=300,
)
SMALL: Change = {
    **{"width": 16, "hidden": 16, "heads": 2, "train": 40, "val": 8, "test": 10, "batch": 20},
    **{"stages": 2, "first_epochs": 1, "stage_epochs": 1, "epochs": 3},
}

STOPPED = Metric(name="without_thoughts", format=".1%")  # answers without any thought
RECALLED = Metric(name="recalled", format=".1%")  # training questions, with the last weights
AT_EXIT = Metric(name="accuracy_at_the_exit", format=".1%")
EXIT_DEPTH = Metric(name="iterations_at_the_exit", format=".2f")
EXIT_KL = 5e-4  # [nat], as published


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: trainings too short to judge."""
    six = {} if quick else {"Coconut": (3, 4, 5), PAUSE: (3, 4, 5)}

    def make(
        title: str,
        config: ReasoningConfig,
        arms: Mapping[str, Change],
        controls: Sequence[str],
        **fields: Any,
    ) -> Experiment:
        small = SMALL if quick else {}
        return Experiment(
            title=title,
            run="reasoning:tiny",
            arms={arm: replace(config, **{**small, **own}) for arm, own in arms.items()},
            seeds=(0,) if quick else (0, 1, 2),
            seed_fields=("seed_of_data",),
            beside={arm: tuple(c for c in controls if c != arm) for arm in arms},
            metrics=(ACCURACY, STOPPED, RECALLED, *METRICS[1:]),
            measures=measure,
            costs=count_cost,
            tabulate=tabulate_further,
            **fields,
        )

    thoughts = (PLAIN, PAUSE)
    return {
        "reachability": make(
            "graphs of 8 nodes, one of two targets", reachability(), ARMS, thoughts, further=six
        ),
        "multiplication": make(
            "products of 2-digit numbers",
            multiplication(),
            {k: v for k, v in ARMS.items() if k != "Coconut"},
            thoughts,
        ),
        "mixers": make(
            "graphs of 8 nodes by chain of thought",
            replace(reachability(), arm="cot", epochs=6),
            STACKS,
            (HYBRID,),
        ),
        "sudoku": make("4 x 4 grids with 8 holes", GRIDS, FILLED, (LEFT_TO_RIGHT,)),
        "reversal": make(
            "40 pairs of names, asked for in the other direction",
            NAMES,
            {**FILLED, "diffusion of whole sentences": WHOLE},
            (LEFT_TO_RIGHT,),
        ),
        "addition": make(
            "sums of 4 digits modulo 10",
            SUMS,
            {arm: own for arm, own in STEPPED.items() if arm != UNROLLED},
            (ONCE,),
        ),
        "hop": make("a letter 1 hop back in 64", HOP, LOOPED, (ONCE, UNROLLED)),
        "hops": make("a letter 2 hops back in 64", HOPS, STEPPED, (ONCE, UNROLLED)),
        "spiking_loop": make(
            "graphs of 8 nodes, one program run again and again", LOOPED_GRAPHS, CORES, (FLOAT,)
        ),
    }


def measure(run: TaskRun) -> Variants:
    """Return the metrics that the evaluation of a run lacks.

    Latent arms are also measured without thoughts; recurrent cores with other numbers of
    iterations, with an exit and in closed loop. Diffusion also fills words in other orders (its
    variants), and recalls questions with its last weights, because validation asks for answers
    and may stay at 0.
    """
    config: ReasoningConfig = run.config
    model = load_trained_model(run)
    values, variants = dict[str, float](), dict[str, dict[str, float]]()
    if config.arm in LATENT and config.thoughts:
        stopped = measure_said(answer_split(config, model, "test", 0))
        values[STOPPED.name] = stopped[ACCURACY.name]
    if config.arm == DIFFUSION:
        variants = {
            f"{order} order": measure_said(
                answer_split(replace(config, order=order), model, "test")
            )
            for order in ORDERS
            if order != config.order
        }
        recalled = recall_questions(config, load_last_model(run))
        values |= {} if recalled is None else {RECALLED.name: recalled}
    if config.depth:
        values |= measure_recurrence(config, model)
    return {"": values, **variants}


def load_last_model(run: TaskRun) -> nn.Module:
    """Return the model of a run with the weights of its last step.

    Raises:
        RunError: the run has no checkpoint any more.
    """
    model, checkpoint = build_fresh_model(run), load_checkpoint(run.folder)
    if checkpoint is None:
        raise RunError(f"{run.folder} has no checkpoint any more; delete the folder")
    model.load_state_dict(checkpoint.weights)
    return model


def measure_recurrence(config: ReasoningConfig, model: nn.Module) -> dict[str, float]:
    """Return accuracies by iterations and with an exit, and closed loops of a spiking core."""
    said = answer_split(config, model, "test")
    by_depth = measure_depths(config, model, said)
    values = {name_depth(depth): found[ACCURACY.name] for depth, found in by_depth.items()}
    exiting = replace(config, exit_kl=EXIT_KL)
    deep = build(exiting)
    deep.load_state_dict(model.state_dict())
    found = measure_said(answer_split(exiting, deep, "test"))
    values |= {AT_EXIT.name: found[ACCURACY.name], EXIT_DEPTH.name: found[ITERATIONS]}
    return values if explain_only_torch(config) else {**values, **measure_loops(exiting, deep)}


def name_depth(depth: int) -> str:
    """Return the name of the accuracy with ``depth`` iterations."""
    return name_loop(ACCURACY.name, depth)


def count_cost(config: ReasoningConfig, means: Mapping[str, float]) -> dict[str, int]:
    """Return parameters, MACs per answer of mean length, and samples seen in training."""
    items = load(config).items
    question = round(sum(len(i.question) for i in items["test"]) / len(items["test"]))
    return {
        "parameters": count_parameters(config),
        "MACs": count_macs(config, question, round(means["said_words"])),
        "samples": config.epochs * len(items["train"]),
    }


def tabulate_further(rows: list[Row]) -> Iterator[Table]:
    """Yield one table per arm with a recurrent core: values over iterations, then others."""
    for row in rows:
        reached = {name: own["mean"] for name, own in row.conditions["reached"].items()}
        over = [name for name in reached if ", r = " in name]
        if not over:
            continue
        whats = list(dict.fromkeys(name.rpartition(", r = ")[0] for name in over))
        depths = sorted({int(name.rpartition(", r = ")[2]) for name in over})
        out = make_table(
            f"{row.case}: {row.subject}, over iterations", "", *(f"r = {r}" for r in depths)
        )
        for what in whats:
            cells = (reached.get(name_loop(what, r)) for r in depths)
            out.add_row(what, *("" if x is None else f"{x:.3g}" for x in cells))
        alone = [AT_EXIT.name, EXIT_DEPTH.name, *(k for k in reached if ": " in k)]
        out.caption = "; ".join(
            f"{k.replace('_', ' ')} {reached[k]:.3g}" for k in alone if k not in over
        )
        yield out
