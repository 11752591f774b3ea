"""``neuro verify``: torch = events, reference = Lava, and the distance of integers from floats.

Two pairs must agree exactly: torch's clock and the event engine on one Graph, and the integer
reference and Lava on one LoihiProgram. The difference between the pairs is quantisation, which
is measured layer by layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from lava_export import ChipProgram, LowerError, ProgramError, lower_graph
from lava_export.chip_program import check_parity
from lava_export.excess import Excess, add_excess, describe_excess
from lava_export.parity import Parity, join_parities
from lava_export.run import ON_SAMPLES
from neuro.base.arguments import make_type_error
from neuro.energy.networks import join_layers, join_messages, name_layer
from neuro.events import Grid, simulate
from neuro.graph import Graph
from neuro.nn import replay
from neuro.nn.rounding import (
    bound_rounding,
    compute_margins,
    count_near,
    find_first_differences,
    find_unbounded,
)
from neuro.spikes import Events, to_raster
from neuro.spikes.record import Record
from tasks.runs.provenance import describe_samples, digest_stimuli, write_result
from tasks.runs.results import KEY
from tasks.runs.samples import (
    CLASSIFIER,
    Judge,
    Samples,
    estimate_errors,
    iterate_batches,
    join_batches,
    measure_answers,
    read_answers,
    read_targets,
    require_judge,
)
from tasks.runs.share import report_share, track
from tasks.runs.task import TaskRun, Tree
from tasks.runs.trained_run import open_trained_run

EXECUTORS = ("torch", "events", "integers")
LAVA = 30  # work of a sample on Lava, beside that of all other executors (progress alone)
DOES_NOT_FIT = "the network, or its stimulus, does not fit Loihi's integers"
ROUNDING = 1e-12  # relative error of float64 sums of thousands of numbers in different orders


@dataclass(frozen=True, kw_only=True)
class Verification:
    """``verify.json``; :func:`verify_samples` explains its figures.

    layers, flips: by layer. unexplained: differences that rounding cannot cause.
    errors: standard errors of integers minus events, by metric.
    drawn: how the n samples were drawn from the split; "" if unknown.
    misfits: why there is no integer program; empty if there is one.
    measured_on: digests of graph and stimuli. without_metric: networks that no metric covers.
    excess: one line per way in which the integers left the rules of the float network.
    """

    layers: Mapping[str, Mapping[str, Any]]
    flips: Mapping[str, Mapping[str, Any]]
    unexplained: Sequence[Mapping[str, Any]]
    parity: Parity
    quantisation: Mapping[str, float]
    metrics: Mapping[str, Mapping[str, float]]
    errors: Mapping[str, float]
    n: int
    drawn: str
    ticks: int
    misfits: Sequence[str]
    measured_on: Mapping[str, str]
    without_metric: Sequence[str] = ()
    excess: Sequence[str] = ()

    @property
    def mismatches(self) -> int:
        """Number of differences between torch and the event engine, over all layers."""
        return sum(layer["mismatches"] for layer in self.layers.values())

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a results file."""
        return {
            "torch_events": {
                "layers": dict(self.layers),
                "mismatches": self.mismatches,
                "float32_flips": dict(self.flips),
                "unexplained": list(self.unexplained),
            },
            "reference_lava": self.parity.as_json(),
            "quantisation": dict(self.quantisation),
            "metrics": dict(self.metrics),
            "errors": dict(self.errors),
            "n": self.n,
            "drawn": self.drawn,
            "ticks": self.ticks,
            **({"misfits": list(self.misfits)} if self.misfits else {}),
            **({"excess": list(self.excess)} if self.excess else {}),
            **({"without_metric": list(self.without_metric)} if self.without_metric else {}),
            KEY: dict(self.measured_on),
        }


def join_verifications(networks: Mapping[str, Verification]) -> Verification:
    """Join the verifications of all networks; metrics, n and digests are those of the first."""
    first = next(iter(networks.values()))
    return replace(
        first,
        layers=join_layers({k: v.layers for k, v in networks.items()}),
        flips=join_layers({k: v.flips for k, v in networks.items()}),
        unexplained=[
            {**difference, "name": name_layer(k, difference["name"])}
            for k, v in networks.items()
            for difference in v.unexplained
        ],
        parity=join_parities({k: v.parity for k, v in networks.items()}),
        quantisation=join_layers({k: v.quantisation for k, v in networks.items()}),
        misfits=join_messages({k: v.misfits for k, v in networks.items()}),
        excess=join_messages({k: v.excess for k, v in networks.items()}),
        without_metric=list(networks)[1:],
    )


def verify_run(run: TaskRun, lava_samples: int = 8) -> dict[str, Any]:
    """Compare the executors on samples of the test split; write and return ``verify.json``.

    Returns:
        The result of :func:`verify_samples` on all networks that the chip runs. If there are
        several, metrics cover the one that answers; ``without_metric`` names the others. If an
        answer takes several runs, n counts runs, and ``answers`` the answers.
    """
    trained = open_trained_run(run)
    samples = {name: [*net.iterate_samples()] for name, net in trained.networks.items()}
    work = {
        name: [*(some.n for some in own), LAVA * min(own[0].n, lava_samples)]
        for name, own in samples.items()
    }
    every = track("samples", trained.networks.items(), work=[*map(sum, work.values())])
    found = {
        name: compare_executors(
            net.graph, track("samples", samples[name], work=work[name]), net.judge, lava_samples
        )
        for name, net in every
    }
    result = join_verifications(found).as_json()
    if (runs := trained.network.runs) > 1:
        result["answers"] = result["n"] // runs
    write_result(run, "verify", result, trained.measured_on)
    return result


def verify_samples(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    judge: Judge = CLASSIFIER,
    lava_samples: int = 8,
) -> dict[str, Any]:
    """Compare torch, the event engine, the integers and Lava on samples.

    If a network does not fit Loihi, or its stimulus is graded spikes, only torch and the event
    engine are compared.

    Args:
        graph: the network.
        samples: all of the same length; several batches need less memory than one.
        judge: how outputs are judged against the targets.
        lava_samples: the most samples of the first batch that run on Lava; 0: none.

    Returns:
        torch_events: ``layers`` {name: {spikes, mismatches, margins, rounding}} and the sum of
            mismatches, both sides in float64; margins: distance of each from its threshold.
            Values of a read-out may differ by the rounding of sums in different orders;
            rounding: the largest such difference, over the largest value.
            ``float32_flips``: by layer, spikes that float32 rounding alone changes in torch
            (flips) and the largest margin among them; spikes that differ between torch and the
            engine, both in float32 (executors); and float64 membranes so close to their
            threshold that float32 rounding decides (near), None if that is unknown.
            ``unexplained``: the first differences in a sample that rounding cannot cause.
        reference_lava: samples, layers, mismatches (or why Lava was skipped, or failed).
        quantisation: share of ticks x neurons in which events and integers differ; for a
            read-out, the RMS of the difference over the RMS of its values.
        metrics: of the answers that torch, events and integers give: {metric: {executor:
            value}}. errors: by metric, the standard error of integers minus events over these
            samples (:func:`tasks.runs.samples.estimate_errors`). n, drawn, ticks: test
            samples, how they were drawn from the split, and the length of each.
            measured_on: see :func:`describe_samples`.
        misfits: why there is no integer program; missing if there is one. excess: where its
            integers left the rules of the float network; missing if nowhere.

    Raises:
        TypeError, ValueError: samples or judge have the wrong type, or do not fit the graph or
            each other; the message holds the cure.
        GraphError: the graph cannot run on a clock.
    """
    return compare_executors(graph, samples, judge, lava_samples).as_json()


@torch.no_grad()
def compare_executors(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    judge: Judge = CLASSIFIER,
    lava_samples: int = 8,
) -> Verification:
    """Return the result of :func:`verify_samples` before it becomes JSON."""
    require_judge(judge)
    if not isinstance(lava_samples, int) or lava_samples < 0:
        cure = "0 leaves Lava out"
        raise make_type_error("lava_samples", "a whole number >= 0", lava_samples, cure)
    batches = iterate_batches(graph, samples)
    first = next(batches)
    program, misfits = _try_to_lower(graph, first)
    tally = _Tally(graph, program)
    answers: dict[str, list[Tree]] = {who: [] for who in EXECUTORS[: 3 if program else 2]}
    targets, stimuli, n, excess = [], list[str](), 0, dict[str, Excess]()
    for some in chain([first], batches):
        targets.append(read_targets(some))
        records = {"torch": replay(graph, some.inputs)}
        records["events"], _ = simulate(graph, some.inputs)
        if program is not None:
            records["integers"], found = program.run_with_excess(some.inputs)
            excess = add_excess(excess, found)
        tally.add(some.inputs, records["torch"], records["events"], records.get("integers"))
        for who, record in records.items():
            answers[who].append(read_answers(judge, graph, record))
        stimuli += digest_stimuli(some.inputs)
        n += some.n
    known = join_batches(targets)
    joined = {who: join_batches(of_batches) for who, of_batches in answers.items()}
    values = {who: measure_answers(judge, own, known) for who, own in joined.items()}
    errors = {}
    if program is not None:
        errors = estimate_errors(judge, joined["integers"], joined["events"], known)
    parity = Parity(samples=0, skipped=DOES_NOT_FIT)
    if program is not None:
        done = n / (n + LAVA * min(first.n, lava_samples))
        parity = check_samples(program, first, lava_samples, done)
    return Verification(
        layers=tally.layers,
        flips=tally.flips,
        unexplained=tally.unexplained,
        parity=parity,
        quantisation=tally.quantisation(),
        metrics={
            name: {who: by_name[name] for who, by_name in values.items()}
            for name in values["torch"]
        },
        errors=errors,
        n=n,
        drawn=first.drawn,
        ticks=first.ticks,
        misfits=misfits,
        excess=describe_excess(excess),
        measured_on=describe_samples(graph, stimuli),
    )


def has_disagreement(result: Mapping[str, Any]) -> bool:
    """Say whether executors that must agree differ in a result, or Lava failed."""
    both = result["torch_events"]
    wrong = both["mismatches"] or both["unexplained"]
    return bool(wrong) or differs_from_lava(result["reference_lava"])


def differs_from_lava(parity: Mapping[str, Any]) -> bool:
    """Say whether Lava and the reference differ, or Lava failed."""
    return bool(parity.get("mismatches") or parity.get("failed"))


def _try_to_lower(graph: Graph, some: Samples) -> tuple[ChipProgram | None, list[str]]:
    """Return (program, []), or (None, reasons) if there is none for these samples."""
    try:
        program = lower_graph(graph, some.ticks, inputs=some.inputs)
        program.require_run(some.inputs)
    except LowerError as error:
        return None, error.problems
    except ProgramError as error:
        return None, str(error).splitlines()[1:]
    return program, []


def check_samples(
    program: ChipProgram, samples: Samples, most: int, done: float = 0.0
) -> Parity:
    """Compare with Lava on at most ``most`` samples; 0: skip. done: share done before it."""
    if not most:
        return Parity(samples=0, skipped="no samples asked for")
    few = samples.take(most)
    token = ON_SAMPLES.set(lambda k: report_share("samples", done + (1 - done) * k / few.n))
    try:
        return check_parity(program, few.inputs)
    finally:
        ON_SAMPLES.reset(token)


def find_layer_differences(graph: Graph, one: Record, other: Record) -> dict[str, np.ndarray]:
    """Return, for each recorded population, where two records differ: bool, T B N.

    Values differ if their distance exceeds :data:`ROUNDING` times the largest value: smaller
    distances come from sums in another order.
    """
    out = {}
    for name in graph.populations:
        if name in one.spikes:
            out[name] = to_raster(one.spikes[name]) != to_raster(other.spikes[name])
        elif name in one.values:
            a, b = one.values[name], other.values[name]
            near = np.abs(a - b) <= ROUNDING * np.abs(a).max(initial=0)
            out[name] = ~near  # NaN counts as a difference
    return out


class IntegerGap:
    """Differences between floats and integers, summed over batches; by layer in ``sums``."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, Any]] = {}

    def add(self, graph: Graph, floats: Record, integers: Record) -> None:
        """Add the differences in one batch."""
        for name, where in find_layer_differences(graph, floats, integers).items():
            if name in floats.spikes:
                found: dict[str, Any] = {
                    "spikes": len(floats.spikes[name].tick),
                    "integers": len(integers.spikes[name].tick),
                    "differ": int(where.sum()),
                    "of": where.size,
                }
            else:
                value = floats.values[name].astype(np.float64)
                error = float(np.square(integers.values[name] - value).sum())
                found = {"error": error, "of": float(np.square(value).sum())}
            own = self.sums.setdefault(name, dict.fromkeys(found, 0))
            for key, x in found.items():
                own[key] += x

    def share(self, name: str) -> float:
        """Return the share of ticks x neurons that differ; of a read-out, of the RMS."""
        own = self.sums[name]
        if not own["of"]:
            return 0.0
        if "differ" in own:
            return float(own["differ"] / own["of"])
        return float(np.sqrt(own["error"] / own["of"]))


class _Tally:
    """Differences between executors, summed over batches."""

    def __init__(self, graph: Graph, program: ChipProgram | None) -> None:
        self.graph, self.program = graph, program
        self.layers: dict[str, dict[str, Any]] = {
            name: {"spikes": 0, "mismatches": 0, "margins": [], "rounding": 0.0}
            for name in graph.populations
            if name in graph.firing or name in graph.readouts
        }
        self.bounded, self.samples = not find_unbounded(graph), 0
        self.flips: dict[str, dict[str, Any]] = {
            name: {
                "flips": 0,
                "largest_margin": 0.0,
                "executors": 0,
                "near": 0 if self.bounded else None,
            }
            for name in graph.firing
        }
        self.unexplained: list[dict[str, Any]] = []
        self.gap = IntegerGap()

    def add(
        self, inputs: dict[str, Events], clock: Record, events: Record, integers: Record | None
    ) -> None:
        """Add the differences in one batch; integers: record of the program, if any."""
        for name, differ in find_layer_differences(self.graph, clock, events).items():
            layer = self.layers[name]
            layer["spikes"] += len(clock.spikes[name].tick) if name in clock.spikes else 0
            layer["mismatches"] += int(differ.sum())
            if differ.any() and name in self.flips:
                near = np.abs(compute_margins(self.graph, inputs, name)[differ])
                layer["margins"] += near.tolist()
        self._float32(inputs, clock, events)
        for name in self.graph.readouts:
            values, largest = clock.values[name], np.abs(clock.values[name]).max(initial=0)
            apart = np.abs(values - events.values[name]).max(initial=0)
            share = float(apart / largest) if largest else 0.0
            self.layers[name]["rounding"] = max(self.layers[name]["rounding"], share)
        if self.program and integers:
            self.gap.add(self.graph, events, integers)

    def _float32(self, inputs: dict[str, Events], clock: Record, events: Record) -> None:
        rounded = replay(self.graph, inputs, torch.float32)
        engine, _ = simulate(self.graph, inputs, Grid(dtype=np.float32))
        self._explain("torch, events", clock, events, np.float64)
        self._explain("torch, torch in float32", clock, rounded, np.float32)
        self._explain("torch, events in float32", rounded, engine, np.float32)
        self.samples += clock.samples
        near = count_near(bound_rounding(self.graph, clock)) if self.bounded else {}
        changed = find_layer_differences(self.graph, clock, rounded)
        apart = find_layer_differences(self.graph, rounded, engine)
        for name, flip in self.flips.items():
            flip["executors"] += int(apart[name].sum())
            if self.bounded:
                flip["near"] += near[name]
            differ = changed[name]
            if differ.any():
                margin = np.abs(compute_margins(self.graph, inputs, name)[differ]).max()
                flip["flips"] += int(differ.sum())
                flip["largest_margin"] = max(flip["largest_margin"], float(margin))

    def _explain(self, pair: str, one: Record, other: Record, dtype: type) -> None:
        """Keep the first differences that rounding to ``dtype`` does not explain."""
        if not self.bounded:
            return
        for found in find_first_differences(self.graph, one, other, dtype):
            if not found.is_rounding:
                where = found._replace(sample=found.sample + self.samples)
                self.unexplained.append({"pair": pair, **where._asdict()})

    def quantisation(self) -> dict[str, float]:
        """Return the share of differing spikes by layer, and the errors of read-outs."""
        compared = {name for name, sums in self.gap.sums.items() if sums["of"]}
        names = (*self.graph.firing, *self.graph.readouts)
        return {name: self.gap.share(name) for name in names if name in compared}
