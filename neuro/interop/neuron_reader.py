"""How the neurons of another library are read: the contract between its file and the capture.

Axes: T ticks, B samples, ``*N`` the shape of a node.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.graph import Node


class CaptureError(ValueError):
    """A module that cannot become a Graph; ``problems`` lists each part with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the module cannot be imported:", *problems]))
        self.problems = problems


class NeuronCall(NamedTuple):
    """What a neuron module is given in one call.

    current: the input of one tick (B *N), or of all (T B *N) where ``all_ticks``.
    states: by a name that :meth:`NeuronReader.read_results` uses, too; None: not given, and the
        module begins at rest. A state that the module keeps as an attribute belongs here.
    """

    current: Tensor
    states: Mapping[str, Tensor | None]
    all_ticks: bool = False


class SourceState(NamedTuple):
    """What one call of a neuron module computed, in the coordinates of our node.

    (B *N) each, or (T B *N) where the call took all ticks. output: spikes of 0 and 1, or the
    values of an integrator. membrane: after the reset, from rest, as the node keeps it. None:
    the source does not show it.
    """

    output: Tensor
    membrane: Tensor | None = None
    current: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class NeuronNodes:
    """What a neuron module becomes.

    node: the population, an integrator or one that fires.
    emits: which result of :meth:`NeuronReader.read_results` the node puts out.
    recurrent: a connection from its own spikes of the tick before, such as the ``recurrent`` of
        an RLeaky; its node is NAME_recurrent, its bias acts in every tick.
    factor: the value of a spike in the source, where it is not 1; broadcasts to ``*N``. A node
        NAME_factor behind the population multiplies by it.
    before: nodes through which the input reaches the population, in this order, each with the
        end of its name: ``("input", Dense(...))`` of Norse's LIFRecurrentCell, whose input
        weights are its own; ``("current", LI(...))`` of its LICell.
    source: the module in words, with its parameters, for ``ImportedNetwork.mapping``.
    """

    node: Node
    emits: str
    recurrent: Node | None = None
    factor: np.ndarray = field(default_factory=lambda: np.ones(()))
    before: tuple[tuple[str, Node], ...] = ()
    source: str = ""


@runtime_checkable
class NeuronReader(Protocol):
    """How the neurons of one library are called, what they compute and where their state is.

    Modules are those of a copy of the network in float64 and evaluation mode. Layers need no
    reader: they are seen as the functions of torch that they call (F.linear, F.conv2d, ...),
    with T folded into the batch and back, too. Containers are run like the user's own code.
    """

    @property
    def library(self) -> str:
        """Name and version, such as "snntorch 1.0.0"."""
        ...

    def is_neuron(self, module: nn.Module) -> bool:
        """Say whether a module is called whole, as a neuron; one that is refused, too."""
        ...

    def running(self, network: nn.Module) -> AbstractContextManager[None]:
        """Surround a run of the copy.

        Every state that its modules keep begins at rest; flags that make a library keep states
        of all ticks may be set; globals of the library are at the end what they were before.
        """
        ...

    def read_call(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NeuronCall:
        """Return what a neuron is given; called right before its forward."""
        ...

    def read_results(self, module: nn.Module, result: Any) -> Mapping[str, Tensor]:
        """Return the tensors that a call put out or keeps, right after its forward.

        Spikes, and each state by its name in ``NeuronCall.states``. Every tensor by which the
        user's code or the module's next call can take a value must be here. A call of all
        ticks has (T B *N) or, for a state that is left of the last tick only, (B *N).
        """
        ...

    def is_at_rest(self, module: nn.Module, states: Mapping[str, Tensor | None]) -> bool:
        """Say whether the states of a first call are those of the node at rest."""
        ...

    def read_state(
        self, module: nn.Module, call: NeuronCall, results: Mapping[str, Tensor]
    ) -> SourceState:
        """Return what a call computed, for the comparison with our clock."""
        ...

    def convert(
        self, module: nn.Module, shape: tuple[int, ...], used: frozenset[str], dt: Seconds
    ) -> NeuronNodes:
        """Return the node of a neuron.

        shape: of one tick of one sample of what the module puts out. used: the results that
            reach another node or the output of the network.

        Raises:
            CaptureError: it has no exact node; lists every reason with its cure. Names and
                places are put before them.
            ValueError: of a node of ours that refuses a parameter; is reported likewise.
        """
        ...
