"""A network that another library or a file describes, as a Graph that is proved equal to it.

Importers return an :class:`ImportedNetwork`. :func:`verify_import` runs the source in its own
library beside our clock, in float64, and compares spikes, membranes and currents at every tick,
and what the source returns with what our decoding makes of our output.
Axes: T ticks, B samples, ``*N`` the shape of a node.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuro.graph import Graph
from neuro.interop.decoding import Decoding, DecodingError, sum_ticks
from neuro.nn.net import Net

RETURNED = "(what it returns)"  # in the place of a population
ROUNDING = 1e-9  # of the largest value: sums in float64 in other orders, over all ticks


class SourceRun(NamedTuple):
    """What a source computed, by the names of the populations in the Graph (T B *N each).

    outputs: spikes, or the values of an integrator. membranes: after the reset, measured from
    rest, as :class:`neuro.neurons.DiscreteLIF` keeps them. currents: of populations with one.
    A population that the source does not show is left out. returned: by the source, the first
    of several, the ticks of a list on the first axis; None: no tensor.
    """

    outputs: Mapping[str, np.ndarray]
    membranes: Mapping[str, np.ndarray]
    currents: Mapping[str, np.ndarray]
    returned: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class OwnPrecision:
    """How a source computes when nobody widens it to float64.

    name: of its weights, such as "bfloat16". casts: to less than that, with the line that asks
    for it. run: as ``run_source`` of :class:`ImportedNetwork`, in that precision.
    """

    name: str
    casts: tuple[str, ...]
    run: Callable[[Mapping[str, np.ndarray]], SourceRun]


@dataclass(frozen=True, kw_only=True)
class MappedNode:
    """What an import made of one part of the source.

    node: its name in the Graph. source: what the source says. became: what the Graph says.
    """

    node: str
    source: str
    became: str


@dataclass(frozen=True, kw_only=True)
class ImportedNetwork:
    """A network from elsewhere.

    library: name and version of what describes it. mapping: what became of each part.
    choices: what the source leaves open, such as a discretisation, by name. run_source: runs
    the source in float64 on inputs by Input name (T B *N); every call starts at rest.
    ticks: which the source always runs; None: as many as its inputs have. static: whether it
    takes one value a sample, and shows it in every tick. find_decoding: ticks -> how it makes
    its answers of the output; raises a DecodingError. None: the source says nothing of that.
    classes: of an answer, where it has a decoding.
    own: its own precision, where that is not float64 alone.
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


@dataclass(frozen=True, kw_only=True)
class ComparedPopulation:
    """One population under one stimulus.

    stimulus: such as "spikes, 5% of ticks". spikes: of the source. different: spikes that one
    has and the other lacks; for an integrator 0, and ``error`` tells. error: largest difference
    of membranes, currents and values, as far as the source shows them; it ends at the first
    tick with a different spike in a sample. largest: of these values, without their sign.
    """

    population: str
    stimulus: str
    spikes: int
    different: int
    error: float
    largest: float

    @property
    def agrees(self) -> bool:
        """Whether no spike differs, and values only by the rounding of sums in other orders."""
        return not self.different and self.error <= ROUNDING * max(1.0, self.largest)


class DrawnStimulus(NamedTuple):
    """How values of an input are drawn: ``largest`` with probability ``rate``, else 0.

    rate: None: any value from 0 to ``largest``.
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
    """Return the comparison of every population, and of what is returned, for every stimulus.

    given: further stimuli by name, values of each input (T B *N). drawn: the random ones.

    Raises:
        CaptureError: in so many ticks the source is another network.
    """
    rng, graph = np.random.default_rng(seed), network.graph
    ticks = network.ticks or ticks
    stimuli = {}
    for stimulus in drawn:
        inputs = {}
        for name in graph.inputs:
            times = ticks if network.static else 1  # that each tick is shown
            x = rng.random((ticks // times, samples, *graph.shapes[name])).repeat(times, 0)
            x = x if stimulus.rate is None else (x < stimulus.rate).astype(x.dtype)
            inputs[name] = stimulus.largest * x
        stimuli[stimulus.name] = inputs
    rows = []
    for what, values in {**stimuli, **(given or {})}.items():
        inputs = {name: np.asarray(x, np.float64) for name, x in values.items()}
        decoding = _find_decoding(network, len(next(iter(inputs.values()))))
        theirs, ours = network.run_source(inputs), run_clock(graph, inputs)
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
    """Run a Graph on torch's clock in float64, tick by tick, and keep its state."""
    net = Net(graph).double()
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
    """Return the comparison of one population."""
    own, other = ours.outputs[name], theirs.outputs[name]
    if own.shape != other.shape:
        raise ValueError(
            f"{name}: the source has {other.shape}, the Graph {own.shape}; a module that does "
            f"not run all ticks is told by --set ticks={len(own)}"
        )
    wrong = (own != 0) != (other != 0) if fires else np.zeros(own.shape, bool)
    # Until a sample's first different spike both follow the same equations.
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
        error=float(np.max(errors, initial=0.0)),  # NaN is the largest
        largest=float(np.max(largest, initial=0.0)),
    )


def _find_decoding(network: ImportedNetwork, ticks: int) -> Decoding | None:
    """Return how a source answers after so many ticks, if a decoding can tell."""
    try:
        return None if network.find_decoding is None else network.find_decoding(ticks)
    except DecodingError:
        return None
