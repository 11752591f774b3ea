"""Training on the integers of Loihi: the value of the chip, the gradient of the floats.

Each forward pass lowers the present floats and runs the program on the specification
(:mod:`lava_export.reference`). Torch then computes the run in floats, in which every current,
membrane, distance from the threshold and spike is replaced by the chip's value, in units of the
float network; the derivatives stay those of the floats. So the network that is trained and
validated is the one that is exported.
Axes: T ticks, B samples, N neurons, ``*N`` a node's shape.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lava_export.checks import rasterize
from lava_export.lower import NO_BOUNDS, LowerError, lower
from lava_export.population import LARGEST_WEIGHT, Population
from lava_export.program import LoihiProgram
from lava_export.reference import NeuronState, charge, decay, iterate_ticks, make_rest_state
from neuro.graph import Graph, Hosted
from neuro.neurons import FusedContext, has_normal_form, has_tensors
from neuro.neurons.lif import hold_refractory
from neuro.neurons.normal_form import Coefficients, Tensors, convert_like
from neuro.neurons.surrogate import spike
from neuro.nn.net import Net
from neuro.nn.spiking import Spiking
from neuro.spikes import to_events


class ChipValues(NamedTuple):
    """The run of a population on a chip, T B N each, in units of v; arrays, or tensors.

    current: u and the bias. charged: v before the threshold. rise: a before the spike.
    distance: of the charged v from the least v that fires. spikes: 0 or 1.
    v: the membrane after the spike.
    """

    current: Any
    charged: Any
    rise: Any
    distance: Any
    spikes: Any
    v: Any


class ChipNet(nn.Module):
    """A Net that computes in the integers of Loihi and shares the Net's parameters.

    A run starts at rest and has at most ``ticks`` ticks, on which the scales of the integers
    depend: train with the length that the chip will run. The integers are computed on the CPU.

    Args:
        net: the network; its weights, leaks and thresholds are trained.
        ticks, largest_weight, bounds: see :func:`lava_export.lower.lower`.

    Raises:
        LowerError: lists everything that cannot be lowered, or not be trained on integers.
    """

    def __init__(
        self,
        net: Net,
        ticks: int,
        largest_weight: int = LARGEST_WEIGHT,
        bounds: Mapping[str, float] = NO_BOUNDS,
    ) -> None:
        super().__init__()
        graph = net.graph()
        if problems := list(_list_untrainable(graph)):
            raise LowerError(problems, "Loihi for training on integers")
        self.net = Net(graph)
        for key, part in net.parts.items():
            self.net.parts[key] = ChipPopulation(part) if isinstance(part, Spiking) else part
        self.setting: Mapping[str, Any] = {
            "ticks": ticks, "largest_weight": largest_weight, "bounds": bounds,
        }  # fmt: skip
        self._lower()

    def graph(self) -> Graph:
        """Return the Graph with the current parameters."""
        return self.net.graph()

    def program(self) -> LoihiProgram:
        """Return the program of the last forward pass; before the first, that of the start."""
        return self._program

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], None]:
        """Run from rest.

        Args:
            inputs: tensors by Input name, axes T B *N.

        Returns:
            The activity of every node by name (axes T B *N): spikes and read-outs of the chip,
            in the units and the precision of the floats. There is no state to continue from.

        Raises:
            LowerError, GraphError: the present parameters cannot be lowered.
            ProgramError: the stimulus does not fit the program, or is too long for it.
        """
        self._lower()
        found = run_populations(self._program, inputs)
        for key, part in self.net.parts.items():
            if isinstance(part, ChipPopulation):
                name = key.removeprefix("node_")
                part.values, part.p = found[name], self._program[name]
        try:
            return self.net(inputs)[0], None
        finally:
            for part in self.net.parts.values():
                if isinstance(part, ChipPopulation):
                    part.values = None

    def _lower(self) -> None:
        """Lower the parameters, unless they are those of the present program."""
        now = [p.detach().cpu().clone() for p in self.net.parameters()]
        # Values, because p.data changes without a new version of the tensor.
        before = getattr(self, "_lowered", None)
        if before is None or not all(map(torch.equal, before, now)):
            self._program, self._lowered = lower(self.graph(), **self.setting), now


class ChipPopulation(Spiking):
    """A population whose values are those of a chip, and whose gradients are its own.

    values: the chip's run, set by :class:`ChipNet` before each forward pass.
    p: its population in the program.
    """

    def __init__(self, part: Spiking) -> None:
        super().__init__(part.model, part.dt)
        for name in part.trained:
            self.register_parameter(name, getattr(part, name))
        self.values: ChipValues | None = None
        self.p: Any = None

    def run_in_context(
        self,
        context: FusedContext,  # noqa: ARG002
        x: Float[Tensor, "T B *N"],
        state: Any = None,
    ) -> tuple[Float[Tensor, "T B *N"], Any]:
        """Return (outputs of the chip, its last state), with the gradients of the floats."""
        if self.values is None:
            raise RuntimeError("a ChipPopulation has no values; run the ChipNet that holds it")
        if x.dtype in (torch.float16, torch.bfloat16):  # from autocast; too coarse for v
            x = x.float()
        model: Any = self.bound()
        form = model.coefficients(self.dt)
        k = model.tensors(x, self.dt) if has_tensors(model) else _make_constants(form, x)
        chip = _to_floats(self.values, self.p, x)
        state, out = model.initial(x[0]), []
        i = v = a = torch.zeros_like(x[0])
        wait = torch.zeros_like(v) if form.refractory else None
        for t, x_t in enumerate(x):
            now = ChipValues(*(values[t] for values in chip))
            i = place(k.decay_syn * i + x_t, now.current / k.gain.detach())
            charged = place(k.decay * v + k.gain * i, now.charged)
            if not model.fires:
                v = charged
                out.append(v)
                continue
            a = place(k.decay_adapt * a, now.rise)
            s = spike(place(charged - (k.threshold + a), now.distance), model.surrogate)
            if form.strict:  # the chip's spikes count; this serves runs without them
                s = torch.where(charged > k.threshold + a, s, s - s.detach())
            fired = place(s, now.spikes).detach()
            after = _reset(form, k, (charged, a, fired))
            s, after, wait = hold_refractory(s, after, v, wait, form.refractory)
            s, v = place(s, now.spikes), place(after, now.v)
            a = a + k.beta * s.detach()
            out.append(s)
        return torch.stack(out), state._replace(v=v)


def place(x: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` with the gradient of ``x``."""
    apply: Any = _StraightThrough.apply  # torch annotates it in some versions only
    placed: Tensor = apply(x, value)
    return placed


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:  # noqa: ARG004
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        return grad, None


def _reset(form: Coefficients, k: Tensors, cells: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return the membrane after its spikes, through which no gradient passes."""
    v, a, fired = cells
    if form.hard:
        return torch.where(fired > 0, convert_like(form.reset_to, v), v)
    by = k.threshold if form.reset_by is None else convert_like(form.reset_by, v)
    return v - (by + a) * fired


def _make_constants(form: Coefficients, x: Tensor) -> Tensors:
    """Return the normal form of a model without trained parameters, like ``x``."""
    return Tensors(*(convert_like(getattr(form, name), x) for name in Tensors._fields))


def _to_floats(values: ChipValues, p: Population, x: Float[Tensor, "T B *N"]) -> ChipValues:
    """Return a chip's values in units of the float network, as tensors shaped like ``x``."""
    units = [1.0 if name == "spikes" else p.unit for name in ChipValues._fields]
    floats = [
        torch.from_numpy(own).to(x.device, x.dtype).div_(unit)
        for own, unit in zip(values, units, strict=True)
    ]
    return ChipValues(*(own.reshape(x.shape) for own in floats))  # type: ignore[arg-type]


@torch.no_grad()
def run_populations(
    program: LoihiProgram, inputs: Mapping[str, Float[Tensor, "T B *N"]]
) -> dict[str, ChipValues]:
    """Return the run of every population; only inputs are missing.

    Raises:
        ProgramError: the run cannot start, see :func:`lava_export.checks.require_run`.
    """
    flat = {name: x.detach().cpu().flatten(2).numpy() for name, x in inputs.items()}
    ticks = len(next(iter(flat.values())))
    rasters = rasterize(program, {name: to_events(x) for name, x in flat.items()}, ticks)
    samples = next(iter(rasters.values())).shape[1]
    neurons = [p for p in program.populations if p.kind != "input"]
    states: dict[str, Any] = {p.name: make_rest_state(p, samples) for p in neurons}
    rows: dict[str, list[Sequence[np.ndarray]]] = {p.name: [] for p in neurons}
    for t, tick in enumerate(iterate_ticks(program, rasters, ticks)):
        for p in neurons:
            after: Any = tick.states[p.name]
            row = _find_values(p, states[p.name], tick.sums[p.name], t >= p.bias_after)
            rows[p.name].append([*row, tick.out[p.name].astype(np.int64), after.v])
        states = tick.states
    return {
        name: ChipValues(*(np.stack(x) for x in zip(*own, strict=True)))
        for name, own in rows.items()
    }


def _find_values(
    p: Population, before: NeuronState, x: Int[np.ndarray, "B N"], biased: bool
) -> Sequence[Int[np.ndarray, "B N"]]:
    """Return the first four ChipValues of a tick."""
    u, charged = charge(p, before, x, biased)
    a = decay(before.a, 4096 - p.da.astype(np.int64))
    fires_at = (p.vth.astype(np.int64) + 1) << 6
    return u + p.bias * biased, charged, a, charged - (fires_at + a)


def _list_untrainable(graph: Graph) -> Iterator[str]:
    """Yield the parts of a graph that cannot be trained on integers, each with its cure."""
    for name, node in graph.nodes.items():
        if isinstance(node, Hosted):
            yield (
                f"{name}: a host computes it, and no chip; train "
                "Net(neuro.graph.partition.chip_part(graph))"
            )
        elif name in graph.populations and not has_normal_form(node):
            yield (
                f"{name}: a {type(node).__name__} has no gradient on integers yet; use an "
                "ALIF, LIF, DiscreteLIF or LI, or train in floats"
            )
    for group in graph.components:
        if len(group) > 1 or any(e.source == e.target == group[0] for e in graph.edges):
            yield (
                f"{', '.join(group)}: a loop, which cannot be trained on integers yet; train "
                "it in floats and lower it"
            )
