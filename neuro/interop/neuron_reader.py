"""How another library's neurons are read: the interface between its file and the capture.

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
    """A module cannot become a Graph; ``problems`` lists each part with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the module cannot be imported:", *problems]))
        self.problems = problems


class CannotRunError(CaptureError):
    """A module raises an error of its own, in whichever way it is run."""


class NeuronCall(NamedTuple):
    """What a neuron module is given in one call.

    current: the input of one tick (B *N), or of all ticks (T B *N) if ``all_ticks``.
    states: by the names that :meth:`NeuronReader.read_results` uses; None: not given, so that
        the module starts at rest. States that the module keeps as attributes belong here too.
    """

    current: Tensor
    states: Mapping[str, Tensor | None]
    all_ticks: bool = False


class SourceState(NamedTuple):
    """What one call of a neuron module computed, in the coordinates of our node.

    Shapes are (B *N), or (T B *N) if the call took all ticks.
    output: spikes of 0 and 1, or the values of an integrator.
    membrane, current: the membrane after the reset, measured from rest, as the node keeps it,
        and the current; None: the source does not show it.
    """

    output: Tensor
    membrane: Tensor | None = None
    current: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class NeuronNodes:
    """The nodes that a neuron module becomes.

    node: the population, either an integrator or one that fires.
    emits: which result of :meth:`NeuronReader.read_results` the node outputs.
    recurrent: a connection from its own spikes of the previous tick, such as the ``recurrent``
        of an RLeaky; the node is named NAME_recurrent, and its bias acts at every tick.
    factor: the value of a spike in the source if it is not 1; broadcasts to ``*N``. A node
        NAME_factor after the population multiplies by it.
    before: nodes through which the input reaches the population, in order, each with a suffix
        for its
        name: ``("input", Dense(...))`` for Norse's LIFRecurrentCell, which has its own input
            weights;
        ``("current", LI(...))`` for its LICell.
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
    """How a library's neurons are called, what they compute and where their state is.

    Modules belong to a copy of the network in float64 and evaluation mode. Layers need no
    reader: they are recognised by the torch functions they call (F.linear, F.conv2d, ...), even
    if T is folded into the batch and back. Containers are run like the user's own code.
    """

    @property
    def library(self) -> str:
        """Name and version, such as "snntorch 1.0.0"."""
        ...

    def is_neuron(self, module: nn.Module) -> bool:
        """Say whether a module is called as a whole, as a neuron, even if refused later."""
        ...

    def require_known(self, module: nn.Module) -> str:
        """Return the name of a neuron's class; raise a CaptureError if it has no node."""
        ...

    def running(self, network: nn.Module) -> AbstractContextManager[None]:
        """Return a context for a run of the copy.

        All states that its modules keep start at rest. The context may set flags that make a
        library keep the states of all ticks. At the end, the library's globals are as before.
        """
        ...

    def read_call(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NeuronCall:
        """Return what a neuron is given; called directly before its forward."""
        ...

    def read_results(self, module: nn.Module, result: Any) -> Mapping[str, Tensor]:
        """Return the tensors that a call returned or keeps; called directly after its forward.

        They are the spikes, and each state by its name in ``NeuronCall.states``. Every tensor
        from which the user's code or the module's next call can take a value must be included.
        For a call of all ticks they are (T B *N), or (B *N) for a state of which only the last
        tick is left.
        """
        ...

    def is_at_rest(self, module: nn.Module, states: Mapping[str, Tensor | None]) -> bool:
        """Say whether the states of a first call are those of the node at rest."""
        ...

    def read_state(
        self, module: nn.Module, call: NeuronCall, results: Mapping[str, Tensor]
    ) -> SourceState:
        """Return what a call computed, to be compared with our clock."""
        ...

    def convert(
        self, module: nn.Module, shape: tuple[int, ...], used: frozenset[str], dt: Seconds
    ) -> NeuronNodes:
        """Return the nodes of a neuron.

        shape: shape of one tick of one sample of what the module outputs.
        used: the results that reach another node or the output of the network.

        Raises:
            CaptureError: it has no exact node; lists every reason with its cure. Names and
                places are added by the caller.
            ValueError: one of our nodes refuses a parameter; reported in the same way.
        """
        ...
