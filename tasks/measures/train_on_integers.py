"""``neuro train RUN --integers loihi2`` or ``xylo``: continues a training on a chip's integers.

Two trainings begin from the run's best weights and take the same steps: one on integers, and
its control in floats, whose weights are lowered afterwards.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lava_export.calibration import measure_bounds
from lava_export.chip_program import PROGRAMS, lower_graph
from lava_export.contract import ChipProgram
from lava_export.population import LARGEST_WEIGHT
from lava_export.training import ChipNet, IntegerNet
from lava_export.xylo.training import XyloNet
from neuro.energy import OneCoreChip
from neuro.events import simulate
from neuro.graph import Graph
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import save_graph
from neuro.io.pytree import digest
from neuro.io.run_folder import RunError
from neuro.nn.net import Net
from neuro.training import Course, Plan
from tasks.measures.earlier import train_stage
from tasks.measures.train import count_steps, make_plan
from tasks.runs.allocator import keep_freed_memory
from tasks.runs.provenance import digest_file, write_result
from tasks.runs.samples import (
    iterate_batches,
    join_batches,
    measure_answers,
    read_answers,
    read_targets,
)
from tasks.runs.task import EarlierTraining, TaskRun, Tree
from tasks.runs.trained_run import ChipNetwork, open_trained_run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ChipName = Literal["loihi2", "xylo"]
PROGRAM = "program.safetensors"
SHARE = 0.1  # of the run's epochs, and of its learning rate
FLOATS, LOWERED, TUNED, CONTROL = (
    "in floats",
    "lowered",
    "trained on integers, lowered",
    "control in floats, lowered",
)


class TunedRun(NamedTuple):
    """A network before and after training on integers.

    metrics: of the test samples, by state (FLOATS to CONTROL).
    """

    graph: Graph
    program: ChipProgram
    metrics: Mapping[str, Mapping[str, float]]
    epochs: int
    n: int


class NamedOutput(nn.Module):
    """A Net or an IntegerNet as a task's model: maps (x) to (the only output, None)."""

    def __init__(self, net: Net | IntegerNet, graph: Graph) -> None:
        super().__init__()
        self.net = net
        (self.input,), (self.output,) = graph.inputs, graph.outputs

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return (output, None): there is no state."""
        return self.net({self.input: x})[0][self.output], None


def tune_run(
    run: TaskRun,
    fabric: "Fabric",
    out: Path | None = None,
    largest_weight: int = LARGEST_WEIGHT,
    chip: ChipName = "loihi2",
) -> dict[str, Any]:
    """Write the tuned graph, its program and the results file of a run's network.

    out: folder for graph and program, which also keeps the checkpoints. Default: of the run,
        named like the results file, ``integers-LARGEST`` or ``integers-xylo``.

    Returns:
        The contents of the results file.

    Raises:
        RunError: the run has several networks, inputs or outputs, or values that are no whole
            numbers, or its loss takes more than the output of one call of the model.
        LowerError: a part of the network cannot be lowered, or not be trained on integers.
    """
    name = f"integers-{chip if chip == 'xylo' else largest_weight}"
    folder = out or run.folder / name
    tuned, measured_on = tune(run, fabric, folder, largest_weight, chip)
    save_graph(folder / "graph.safetensors", tuned.graph)
    tuned.program.save(folder / PROGRAM)
    result = {
        "chip": chip,
        "largest_weight": largest_weight,
        "epochs": tuned.epochs,
        "metrics": {who: dict(values) for who, values in tuned.metrics.items()},
        "n": tuned.n,
        "folder": str(folder),
        "graph": digest_graph(tuned.graph),
        "program": digest_file(folder / PROGRAM),
    }
    write_result(run, name, result, measured_on)
    return result


def tune(
    run: TaskRun,
    fabric: "Fabric",
    folder: Path,
    largest_weight: int,
    chip: ChipName = "loihi2",
) -> tuple[TunedRun, Mapping[str, str]]:
    """Train a run's network on integers, and its control; return them and the provenance.

    folder: keeps the checkpoints, from which an interrupted training continues.
    """
    keep_freed_memory(of_any_size=True)
    trained = open_trained_run(run)
    _require_tunable(run, trained.networks)
    network = trained.network
    plan = _shorten(make_plan(run))
    first = next(network.iterate_samples())
    net = Net(network.graph)
    on_chip: IntegerNet
    if chip == "xylo":
        plain = lower_graph(network.graph, first.ticks, OneCoreChip)
        start = plain.calibrate(network.graph, first.inputs).program
        on_chip = XyloNet(deepcopy(net), first.ticks, start.shifts)
    else:
        bounds = measure_bounds(network.graph, first.inputs)
        on_chip = ChipNet(deepcopy(net), first.ticks, largest_weight, bounds)

    def train(net: Net | IntegerNet, name: str) -> Graph:
        model = NamedOutput(net, network.graph)
        about = digest([name, chip, largest_weight, trained.measured_on["weights"]])
        course = _make_course(run, about)
        stage = EarlierTraining(
            what=name, model=model, course=course, plan=plan, finish=lambda _: None
        )
        train_stage(stage, fabric, folder / name)
        return net.graph()

    graph = train(on_chip, "integers")
    programs = {LOWERED: network.graph, TUNED: graph, CONTROL: train(net, "control")}
    wrap = PROGRAMS[type(on_chip.program())]
    lowered = {who: wrap(on_chip.lower(own)) for who, own in programs.items()}
    metrics, n = measure_programs(network, lowered)
    return TunedRun(graph, lowered[TUNED], metrics, plan.epochs, n), trained.measured_on


def measure_programs(
    network: ChipNetwork, programs: Mapping[str, ChipProgram]
) -> tuple[dict[str, Mapping[str, float]], int]:
    """Return the metrics of a network in floats and as programs, and the number of samples."""
    answers: dict[str, list[Tree]] = {who: [] for who in (FLOATS, *programs)}
    targets, n, graph = [], 0, network.graph
    for some in iterate_batches(graph, network.iterate_samples()):
        records = {FLOATS: simulate(graph, some.inputs)[0]}
        records |= {who: program.run(some.inputs) for who, program in programs.items()}
        for who, record in records.items():
            answers[who].append(read_answers(network.judge, graph, record))
        targets.append(read_targets(some))
        n += some.n
    known = join_batches(targets)
    return {
        who: measure_answers(network.judge, join_batches(own), known)
        for who, own in answers.items()
    }, n


def _shorten(plan: Plan) -> Plan:
    """Return the plan of the trainings that follow one with this plan."""
    return replace(
        plan,
        epochs=max(1, round(SHARE * plan.epochs)),
        lr=SHARE * plan.lr,
        warm=0.0,
        groups=(),
        stages=(),
    )


def _make_course(run: TaskRun, about: str) -> Course:
    """Return the course of a training on batches that the run's own has not drawn."""
    training, config = run.definition.training, run.config
    seen = make_plan(run).epochs
    return Course(
        batches=lambda epoch: training.batches(config, "train", seen + epoch),
        batch_axis=training.batch_axis,
        sharded=training.sharded,
        steps=count_steps(run),
        loss=partial(training.loss, config),
        validate=torch.no_grad()(partial(training.validate, config)),
        metric=training.validation.name,
        better=training.validation.better,
        seed=run.seed,
        watched=False,  # watching traces the model
        run=about,
    )


def _require_tunable(run: TaskRun, networks: Mapping[str, ChipNetwork]) -> None:
    """Raise a RunError that lists why a run cannot be trained on integers."""
    graph, problems = networks[""].graph, list[str]()
    if run.definition.training.eventprop is None or run.gradient == "eventprop":
        problems.append(
            "its loss must call the model once on the clock, as y, _ = model(x); a task says "
            "so by Training.eventprop, and --gradient surrogate trains on the clock"
        )
    for what, names in (
        ("networks", [name or "the first" for name in networks]),
        ("inputs", graph.inputs),
        ("outputs", graph.outputs),
    ):
        if len(names) > 1:
            problems.append(
                f"it has {len(names)} {what} ({', '.join(names)}); it must have one"
            )
    x, *_ = tree_leaves(next(iter(run.definition.training.batches(run.config, "test", 0))))
    if (x != x.round()).any():
        problems.append(
            f"{graph.inputs[0]} takes values such as {float(x[x != x.round()][0]):.4g}; a chip "
            "takes spikes or whole numbers: use --set code=rate"
        )
    if problems:
        head = f"{run.folder} cannot be trained on integers:"
        raise RunError("\n".join([head, *problems]))
