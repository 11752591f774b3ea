"""A GradedProgram: groups of neurons that send whole numbers, in the order in which they run.

A LoihiProgram has one kind of neuron and binary spikes. Here each group is microcode of one
kind, as Loihi 2 runs it, and its spikes are graded. Everything is a whole number; values are
multiples of 2^-16 with 24 bits, one of them the sign, so they stay below 128. x is the input of
a group: the sum of its sources, except for "join". :mod:`lava_export.processes.fixed_point`
holds the arithmetic. The kinds:

    input      x, from outside, rounded once        synapses   weight x, weights -2, 0 and 2
    scale      x mantissa 2^-exponent               add        x
    norm       gain x / sqrt(sum x^2 + eps)         spikes     sign(x) min(ticks, ...)
    silu       x sigma(x)                           join       its sources, one behind the other
    gated      h, the state of a gate               multiply   one half times the other

A tick is a token. On Lava and on a chip synapses take one step: a group with lag n runs n steps
behind the input, so the program is a pipeline of n tokens. Axes: N neurons.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from lava_export.processes.fixed_point import GATE
from neuro.base.arguments import make_type_error

Kind = Literal[
    "input", "synapses", "scale", "add", "norm", "spikes", "silu", "join", "gated", "multiply"
]
NUMBERS: Mapping[Kind, tuple[str, ...]] = {
    "scale": ("mantissa", "exponent"),
    "norm": ("shift", "eps"),
    "spikes": ("ticks", "threshold"),
}  # other kinds have none


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronGroup:
    """N neurons of one kind.

    sources: names of groups that run before this one.
    lag: steps that the group runs behind the input.
    numbers: the numbers that NUMBERS lists for its kind.
    array: "synapses" the weights (N, N of the source) int8; "norm" the gains and "gated" the
        share beside the floor, both (N,) int32; empty for other kinds.
    """

    name: str
    kind: Kind
    size: int
    sources: tuple[str, ...] = ()
    lag: int = 0
    numbers: Mapping[str, int] = field(default_factory=dict)
    array: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(frozen=True, kw_only=True, eq=False)
class GradedProgram:
    """Groups in the order in which they run.

    digest: digest of the Graph that the program was lowered from; "" if there is none.

    Raises:
        ValueError: lists what is inconsistent.
    """

    groups: tuple[NeuronGroup, ...]
    digest: str = ""

    def __post_init__(self) -> None:
        problems, known = [], dict[str, NeuronGroup]()
        for g in self.groups:
            problems += [f"{g.name}: {problem}" for problem in _list_problems(g, known)]
            known[g.name] = g
        if [g.kind for g in self.groups].count("input") != 1:
            problems.append("a program has one input")
        if problems:
            raise ValueError("\n".join(["the program does not hold together:", *problems]))

    def __repr__(self) -> str:
        kinds = Counter(g.kind for g in self.groups)
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        return f"GradedProgram({len(self.groups)} groups: {counted}; latency {self.latency})"

    def __getitem__(self, name: str) -> NeuronGroup:
        for g in self.groups:
            if g.name == name:
                return g
        raise KeyError(name)

    @property
    def input(self) -> NeuronGroup:
        """The group that takes the stimulus."""
        return next(g for g in self.groups if g.kind == "input")

    @property
    def readouts(self) -> tuple[str, ...]:
        """Names of the groups that have no target."""
        fed = {source for g in self.groups for source in g.sources}
        return tuple(g.name for g in self.groups if g.name not in fed)

    @property
    def latency(self) -> int:
        """Steps from a token to its read-out."""
        return max(g.lag for g in self.groups)


def require_graded_program(program: object) -> None:
    """Raise a TypeError unless a value is a GradedProgram."""
    if not isinstance(program, GradedProgram):
        cure = "lava_export.graded.lower_graded(graph) makes one"
        raise make_type_error("program", "a GradedProgram", program, cure)


def _list_problems(g: NeuronGroup, known: Mapping[str, NeuronGroup]) -> list[str]:
    """Return what is wrong with a group. known: the groups before it, by name."""
    if g.kind not in get_args(Kind):
        return [f"no kind {g.kind!r}; there are {', '.join(get_args(Kind))}"]
    unknown = [s for s in g.sources if s not in known]
    if unknown or g.name in known or bool(g.sources) == (g.kind == "input"):
        return [f"its name is used twice, or its sources {g.sources} do not run before it"]
    lag = max((known[s].lag for s in g.sources), default=0) + (g.kind == "synapses")
    problems = [f"lag {g.lag}, and its sources make it {lag}"] if g.lag != lag else []
    return problems + _check_numbers(g) + _check_sizes(g, [known[s] for s in g.sources])


def _check_numbers(g: NeuronGroup) -> list[str]:
    names = NUMBERS.get(g.kind, ())
    if set(g.numbers) != set(names):
        return [f"has {sorted(g.numbers)}, a {g.kind} has {names}"]
    limits = {"exponent": 62, "shift": 30}
    wrong = {
        name: value
        for name, value in g.numbers.items()
        if not (name in ("ticks", "threshold")) <= value <= limits.get(name, 2**31 - 1)
    }
    return [f"numbers out of range: {wrong}; lower the graph again"] if wrong else []


def _check_sizes(g: NeuronGroup, sources: list[NeuronGroup]) -> list[str]:
    """Return what is wrong with the sizes and the array of a group."""
    sizes, problems = [s.size for s in sources], []
    reaching = sum(sizes) if g.kind == "join" else sizes[0] if sizes else g.size
    if g.kind != "join" and len(set(sizes)) > 1:
        problems.append(f"its sources have {sizes} neurons; they add up, give all the same")
    expected = {"multiply": reaching / 2, "gated": reaching / 2, "synapses": g.size}
    if expected.get(g.kind, reaching) != g.size or g.size < 1:
        problems.append(f"has {g.size} neurons, and {reaching} reach it")
    shapes = {"synapses": (g.size, reaching), "norm": (g.size,), "gated": (g.size,)}
    if g.array.shape != shapes.get(g.kind, (0,)) or g.array.dtype.kind != "i":
        return [*problems, f"its array has shape {g.array.shape} of {g.array.dtype}"]
    if g.kind == "gated" and not ((g.array >= 0) & (g.array <= 2**GATE)).all():
        problems.append(f"a share is outside 0 ... 2^{GATE}")
    if g.kind == "synapses":
        most = sources[0].numbers.get("ticks", 0)
        if len(sources) > 1 or not most or 2 * reaching * most >= 2**23:
            problems.append("it reads other than counts of one group whose sums fit 24 bits")
        if not np.isin(g.array, (-2, 0, 2)).all():
            problems.append("its weights are not -2, 0 and 2")
    return problems
