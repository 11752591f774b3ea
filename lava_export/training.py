"""Training on the integers of a chip: the value of the chip, the gradient of the floats.

Each forward pass lowers the present floats and runs the program in its integers. Torch then
computes the network in floats, with each population on the input for which it stands as far
above its threshold, in every tick, as the chip's. So the network that is trained and validated
is the one that is exported, and the gradient is that of the float network in the chip's states.
Axes: T ticks, B samples, N neurons, ``*N`` a node's shape.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lava_export.integers import trace_membranes
from lava_export.lower import NO_BOUNDS, LowerError, lower
from lava_export.population import LARGEST_WEIGHT
from lava_export.program import LoihiProgram
from lava_export.trajectory import find_inputs
from neuro.graph import Graph, Hosted
from neuro.neurons import FusedContext, has_normal_form
from neuro.nn.net import Net
from neuro.nn.spiking import Spiking
from neuro.spikes import Events, to_events


class ChipRun(NamedTuple):
    """The run of a population, T B N each.

    above: how far v stands above its threshold before a reset; 1 is the least that fires. Of a
        read-out, its value.
    spikes: their number; None: 1 where it fires.
    """

    above: Int[np.ndarray, "T B N"]
    spikes: Int[np.ndarray, "T B N"] | None = None


class IntegerNet(nn.Module):
    """A Net that computes in the integers of a chip and shares the Net's parameters.

    A run starts at rest. The integers are computed on the CPU.

    Args:
        net: the network; its weights, leaks and thresholds are trained.
        chip: its name, for messages.
        lower: (graph, **setting) -> program.
        trace: (program, inputs, ticks) -> the run from rest of every population.

    Raises:
        LowerError: lists everything that cannot be lowered, or not be trained on integers.
    """

    def __init__(
        self,
        net: Net,
        chip: str,
        lower: Callable[..., Any],
        trace: Callable[[Any, Mapping[str, Events], int], Mapping[str, ChipRun]],
        **setting: Any,
    ) -> None:
        super().__init__()
        graph = net.graph()
        if problems := list(_list_untrainable(graph)):
            raise LowerError(problems, f"{chip} for training on integers")
        self.net, self.setting, self._lower, self._trace = Net(graph), setting, lower, trace
        for key, part in net.parts.items():
            if isinstance(part, Spiking):
                name = key.removeprefix("node_")
                part = ChipPopulation(name, graph.shapes[name], part)
            self.net.parts[key] = part
        self._update()

    def lower(self, graph: Graph) -> Any:
        """Return the program of a graph."""
        return self._lower(graph, **self.setting)

    def graph(self) -> Graph:
        """Return the Graph with the current parameters."""
        return self.net.graph()

    def program(self) -> Any:
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
        self._update()
        events = {
            name: to_events(x.detach().cpu().flatten(2).numpy()) for name, x in inputs.items()
        }
        found = self._trace(self._program, events, len(next(iter(inputs.values()))))
        parts = [part for part in self.net.parts.values() if isinstance(part, ChipPopulation)]
        for part in parts:
            part.follow(found[part.name], self._program[part.name].unit)
        try:
            return self.net(inputs)[0], None
        finally:
            for part in parts:
                part.values = None

    def _update(self) -> None:
        """Lower the parameters, unless they are those of the present program."""
        now = [p.detach().cpu().clone() for p in self.net.parameters()]
        # Values, because p.data changes without a new version of the tensor.
        before = getattr(self, "_lowered", None)
        if before is None or not all(map(torch.equal, before, now)):
            self._program, self._lowered = self.lower(self.graph()), now


class ChipNet(IntegerNet):
    """A Net in the integers of Loihi.

    The scales of the integers depend on ``ticks``: train with the length of the runs to come.

    Args:
        net: as of an :class:`IntegerNet`.
        ticks, largest_weight, bounds: see :func:`lava_export.lower.lower`.
    """

    def __init__(
        self,
        net: Net,
        ticks: int,
        largest_weight: int = LARGEST_WEIGHT,
        bounds: Mapping[str, float] = NO_BOUNDS,
    ) -> None:
        setting = {"ticks": ticks, "largest_weight": largest_weight, "bounds": bounds}
        super().__init__(net, "Loihi", lower, _trace, **setting)


def _trace(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int
) -> dict[str, ChipRun]:
    found = trace_membranes(program, inputs, ticks)
    return {name: ChipRun(above) for name, above in found.items()}


class ChipPopulation(Spiking):
    """A population whose values are those of a chip, and whose gradients are its own.

    values: of the next run, set by :class:`ChipNet`: the input with which the floats follow the
        chip (none for a read-out, which is linear), and the output; T B *N each.
    """

    def __init__(self, name: str, shape: tuple[int, ...], part: Spiking) -> None:
        super().__init__(part.model, part.dt)
        for parameter in part.trained:
            self.register_parameter(parameter, getattr(part, parameter))
        self.name, self.shape = name, shape
        self.values: list[Tensor] | None = None
        self.done = 0  # ticks: in a loop every call runs one

    def follow(self, run: ChipRun, unit: float) -> None:
        """Prepare a run. unit: the integer for 1 in the float network."""
        found: list[np.ndarray] = [run.above / unit]
        if self.model.fires:
            form = self.bound().coefficients(self.dt).spread(self.shape)  # type: ignore[attr-defined]
            found = [*find_inputs(form, run.above, unit)]
        if run.spikes is not None:
            found[-1] = run.spikes
        self.values = [torch.from_numpy(x.reshape(*x.shape[:2], *self.shape)) for x in found]
        self.done = 0

    def run_in_context(
        self,
        context: FusedContext,
        x: Float[Tensor, "T B *N"],
        state: Any = None,
    ) -> tuple[Float[Tensor, "T B *N"], Any]:
        """Return outputs of the chip, with the gradients of the floats, and their state."""
        if self.values is None:
            raise RuntimeError("a ChipPopulation has no values; run the ChipNet that holds it")
        now = slice(self.done, self.done + len(x))
        self.done = now.stop
        *drive, out = (values[now].to(x.device) for values in self.values)
        y, state = super().run_in_context(context, place(x, *drive) if drive else x, state)
        # Not in the precision of autocast, which is too coarse for membranes.
        return place(y, out.to(torch.promote_types(x.dtype, torch.float32))), state


def place(x: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` with the gradient of ``x``, which is finite."""
    return value + (x - x.detach())  # adds an exact 0


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
