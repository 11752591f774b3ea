"""A network from another library or a file, as a Graph that is proved equal to its source.

Importers return an :class:`ImportedNetwork`. :func:`verify_import` runs the source in its own
library and our clock side by side, in float64. It compares spikes, membranes and currents at
every tick, and what the source returns with what our decoding computes from our output.
Axes: T ticks, B samples, ``*N`` the shape of a node.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuro.graph import Graph
from neuro.graph.sparse import unroll_delays
from neuro.interop.decoding import Decoding, DecodingError, sum_ticks
from neuro.nn.net import Net

RETURNED = "(what it returns)"  # stands where a population's name would
ROUNDING = 1e-9  # relative to the largest value: float64 sums in another order, over all ticks


class SourceRun(NamedTuple):
    """What a source computed, by the names of the populations in the Graph (T B *N each).

    outputs: spikes, or the values of an integrator.
    membranes: after the reset, measured from rest, as :class:`neuro.neurons.DiscreteLIF` keeps
        them.
    currents: of populations that have one.
    returned: what the source returned, the first value if there are several; the ticks of a
        list are the first axis. None: not a tensor.
    Populations that the source does not show are left out.
    """

    outputs: Mapping[str, np.ndarray]
    membranes: Mapping[str, np.ndarray]
    currents: Mapping[str, np.ndarray]
    returned: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class OwnPrecision:
    """How a source computes when it is not widened to float64.

    name: precision of its weights, such as "bfloat16".
    casts: casts to less than that, with the line that requests each.
    run: like ``run_source`` of :class:`ImportedNetwork`, but in that precision.
    """

    name: str
    casts: tuple[str, ...]
    run: Callable[[Mapping[str, np.ndarray]], SourceRun]


@dataclass(frozen=True, kw_only=True)
class MappedNode:
    """How an import converted one part of the source.

    node: its name in the Graph.
    source: its description in the source.
    became: its description in the Graph.
    """

    node: str
    source: str
    became: str


@dataclass(frozen=True, kw_only=True)
class ImportedNetwork:
    """A network imported from elsewhere.

    library: name and version of the library or format that describes it.
    mapping: how each part was converted.
    choices: what the source leaves open, such as a discretisation, by name.
    run_source: runs the source in float64 on inputs by Input name (T B *N); each call starts at
        rest.
    ticks: number of ticks that the source always runs; None: the number that its inputs have.
    static: whether it takes one value per sample and shows it at every tick.
    find_decoding: ticks -> how the source forms answers from the output; raises a
        DecodingError.
        None: the source does not define this.
    classes: number of classes of an answer, if there is a decoding.
    own: the source's own precision, if that is not just float64.
    images: if its input takes images of whole numbers, the least and the largest of them.
    """

    graph: Graph
    library: str
    mapping: tuple[MappedNode, ...]
    choices: Mapping[str, str]
    run_source: Callable[[Mapping[str, np.ndarray]], SourceRun]
    ticks: int | None = None
    static: bool = False
    find_decoding: Callable[[int], Decoding] | None = None
    classes: int | None = None
    own: OwnPrecision | None = None
    images: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedPopulation:
    """The comparison of one population under one stimulus.

    stimulus: its name, such as "spikes, 5% of ticks".
    spikes: number of spikes of the source.
    different: spikes that only one of the two has; 0 for an integrator, which is compared by
        error.
    error: largest difference between membranes, currents and values, as far as the source shows
        them; in each sample it ends at the first tick with a different spike.
    largest: largest of these values, without sign.
    """

    population: str
    stimulus: str
    spikes: int
    different: int
    error: float
    largest: float

    @property
    def agrees(self) -> bool:
        """Whether all spikes are equal, and values differ only by the rounding of sums."""
        return not self.different and self.error <= ROUNDING * max(1.0, self.largest)


class DrawnStimulus(NamedTuple):
    """How values of an input are drawn: ``largest`` with probability ``rate``, else 0.

    rate: None draws any value from 0 to ``largest``.
    """

    name: str
    rate: float | None
    largest: float = 1.0


STIMULI: tuple[DrawnStimulus, ...] = (
    DrawnStimulus("spikes, 2% of ticks", 0.02),
    DrawnStimulus("spikes, 10% of ticks", 0.1),
    DrawnStimulus("spikes, 50% of ticks", 0.5),
    DrawnStimulus("values from 0 to 1", None),
)


def verify_import(
    network: ImportedNetwork,
    ticks: int = 64,
    samples: int = 4,
    seed: int = 0,
    given: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    drawn: Sequence[DrawnStimulus] = STIMULI,
) -> tuple[ComparedPopulation, ...]:
    """Compare every population, and what is returned, under every stimulus.

    given: further stimuli by name, as values of each input (T B *N).
    drawn: the random stimuli.

    Raises:
        CaptureError: the source computes another network in a run of ``ticks`` ticks.
    """
    rng, graph = np.random.default_rng(seed), network.graph
    ticks = network.ticks or ticks
    stimuli = {}
    for stimulus in drawn:
        inputs = {}
        for name in graph.inputs:
            times = ticks if network.static else 1  # how often each tick is shown
            x = rng.random((ticks // times, samples, *graph.shapes[name])).repeat(times, 0)
            x = x if stimulus.rate is None else (x < stimulus.rate).astype(x.dtype)
            inputs[name] = stimulus.largest * x
        stimuli[stimulus.name] = inputs
    rows = []
    for what, values in {**stimuli, **(given or {})}.items():
        inputs = {name: np.asarray(x, np.float64) for name, x in values.items()}
        decoding = _find_decoding(network, len(next(iter(inputs.values()))))
        theirs = network.run_source(inputs)
        if not theirs.outputs and theirs.returned is None:  # there is nothing to compare
            continue
        ours = run_clock(graph, inputs)
        rows += [
            _compare(name, what, ours, theirs, fires=name in graph.firing)
            for name in graph.populations
            if name in theirs.outputs
        ]
        if decoding is not None and theirs.returned is not None:
            answers = decoding.answer(ours.outputs[graph.outputs[0]])
            returned = sum_ticks(theirs.returned, decoding.axis)
            rows.append(
                ComparedPopulation(
                    population=RETURNED,
                    stimulus=what,
                    spikes=0,
                    different=0,
                    error=float(np.abs(answers - returned).max()),
                    largest=float(np.abs(returned).max()),
                )
            )
    return tuple(rows)


@torch.no_grad()
def run_clock(graph: Graph, inputs: Mapping[str, np.ndarray]) -> SourceRun:
    """Run a Graph on torch's clock in float64, tick by tick, and keep its states."""
    net = Net(unroll_delays(graph).graph).double()
    ticks = len(next(iter(inputs.values())))
    outputs: dict[str, list[Tensor]] = {name: [] for name in graph.populations}
    membranes: dict[str, list[Tensor]] = {name: [] for name in graph.populations}
    currents: dict[str, list[Tensor]] = {}
    state = None
    for t in range(ticks):
        activity, state = net(
            {k: torch.from_numpy(x[t : t + 1]) for k, x in inputs.items()}, state
        )
        for name in graph.populations:
            outputs[name].append(activity[name][0])
            membranes[name].append(state.populations[name].v)
            current = getattr(state.populations[name], "i", None)
            if current is not None:
                currents.setdefault(name, []).append(current)

    def stack(values: Mapping[str, list[Tensor]]) -> dict[str, np.ndarray]:
        return {name: torch.stack(ticks).numpy() for name, ticks in values.items()}

    return SourceRun(stack(outputs), stack(membranes), stack(currents))


def _compare(
    name: str, stimulus: str, ours: SourceRun, theirs: SourceRun, *, fires: bool
) -> ComparedPopulation:
    """Compare one population."""
    own, other = ours.outputs[name], theirs.outputs[name]
    if own.shape != other.shape:
        raise ValueError(
            f"{name}: the source has {other.shape}, the Graph {own.shape}; a module that does "
            f"not run all ticks is told by --set ticks={len(own)}"
        )
    wrong = (own != 0) != (other != 0) if fires else np.zeros(own.shape, bool)
    # Up to a sample's first different spike both follow the same equations.
    valid = ~np.logical_or.accumulate(wrong.any(tuple(range(2, wrong.ndim))), 0)
    pairs = [(ours.membranes, theirs.membranes), (ours.currents, theirs.currents)]
    if not fires:
        pairs.append((ours.outputs, theirs.outputs))
    shown = [(a[name][valid], b[name][valid]) for a, b in pairs if name in a and name in b]
    errors = [np.abs(a - b).max(initial=0.0) for a, b in shown]
    largest = [np.abs(b).max(initial=0.0) for _, b in shown]
    return ComparedPopulation(
        population=name,
        stimulus=stimulus,
        spikes=int(np.count_nonzero(other)) if fires else 0,
        different=int(wrong.sum()),
        error=float(np.max(errors, initial=0.0)),  # NaN counts as the largest
        largest=float(np.max(largest, initial=0.0)),
    )


def _find_decoding(network: ImportedNetwork, ticks: int) -> Decoding | None:
    """Return how a source forms answers after ``ticks`` ticks, or None if no decoding fits."""
    try:
        return None if network.find_decoding is None else network.find_decoding(ticks)
    except DecodingError:
        return None
