"""What exports, energy and reports know of a program for a chip, whatever its integers.

B samples, T ticks: a run is as long as its stimulus.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lava_export.excess import Excess
from lava_export.parity import Parity
from lava_export.program import take_apart
from neuro.graph import Graph
from neuro.io.store import Arrays, save_arrays
from neuro.spikes import Events
from neuro.spikes.record import Record

Stimulus = Mapping[str, Events]


@dataclass(frozen=True)
class ChipProgram(ABC):
    """A Graph in the integers of a chip: how it is checked, run, compared and written.

    program: the integers themselves. kind: of its file (:data:`neuro.io.store.VERSIONS`).
    """

    program: Any
    kind: ClassVar[str]

    @abstractmethod
    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ValueError unless the program takes a stimulus."""

    @abstractmethod
    def run(self, inputs: Stimulus) -> Record:
        """Return what the reference computes, read-outs in units of the float network."""

    @abstractmethod
    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Run a stimulus, or the beginning of it, on the reference and on Lava.

        Raises:
            LavaMissing, LavaFailed: there is no Lava, or it failed.
        """

    def calibrate(self, graph: Graph, inputs: Stimulus) -> "ChipProgram":  # noqa: ARG002
        """Return the program with ranges of integers that suit a stimulus of its graph."""
        return self

    def run_with_excess(self, inputs: Stimulus) -> tuple[Record, dict[str, Excess]]:
        """Return the run, and where it left the rules of the float network, by population."""
        return self.run(inputs), {}

    @abstractmethod
    def list_breaches(self, chip: Any) -> list[str]:
        """Return why the program does not fit a chip of its kind; none if it does."""

    @abstractmethod
    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return a row a layer: from the floats of its graph to integers."""

    @abstractmethod
    def list_net_problems(self) -> list[str]:
        """Return why netx of lava-dl cannot hold the program; none if it can."""

    @abstractmethod
    def write_net(self, path: Path) -> str:
        """Write the program for netx of lava-dl; return the call that loads it.

        Raises:
            NetxError: see :meth:`list_net_problems`.
        """

    @classmethod
    @abstractmethod
    def decode(cls, arrays: Arrays, plain: dict[str, Any]) -> "ChipProgram":
        """Return the program that a file holds: its arrays, and all else as JSON.

        Raises:
            ValueError: lists what is wrong.
            KeyError: an array is missing.
        """

    def save(self, path: str | Path) -> None:
        """Write the program; :func:`lava_export.load_program` reads it, bit for bit.

        Raises:
            StoreError: the file cannot be written.
        """
        save_arrays(path, self.kind, *take_apart(self.program))


def count_ticks(inputs: Stimulus) -> int:
    """Return the length of a stimulus."""
    return next(iter(inputs.values())).shape[0]


def make_parity(other: Record, found: dict[str, Any], **ticks: int) -> Parity:
    """Return what :func:`lava_export.report.compare` found of the reference and ``other``."""
    return Parity(
        samples=other.samples,
        mismatches=found["mismatches"],
        layers=found["layers"],
        of_one={**ticks, "first": found["first"]},
    )
