"""The interface of a program for a chip that exports, energy and reports use for all integers.

B samples, T ticks: a run is as long as its stimulus.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lava_export.decode import decode_program
from lava_export.excess import Excess
from lava_export.netx import NetxError
from lava_export.parity import Parity
from lava_export.program import take_apart
from neuro.graph import Graph
from neuro.io.store import Arrays, save_arrays
from neuro.spikes import Events
from neuro.spikes.record import Record

Stimulus = Mapping[str, Events]


@dataclass(frozen=True)
class ChipProgram(ABC):
    """A Graph in the integers of a chip, with its checks, runs, comparisons and files.

    program: the integers themselves.
    kind: the kind of its file (:data:`neuro.io.store.VERSIONS`).
    integers: the class of the integers.
    """

    program: Any
    kind: ClassVar[str]
    integers: ClassVar[type]

    @abstractmethod
    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ValueError if the program cannot run a stimulus."""

    @abstractmethod
    def run_with_excess(self, inputs: Stimulus) -> tuple[Record, dict[str, Excess]]:
        """Return the run, and by population its excess over the float network's rules."""

    def run(self, inputs: Stimulus) -> Record:
        """Return the run of the reference, with read-outs in units of the float network."""
        return self.run_with_excess(inputs)[0]

    @abstractmethod
    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Return how reference and Lava agree on a stimulus, or on its first ticks.

        Raises:
            LavaMissing: Lava is not installed.
            LavaFailed: Lava ended with an error, or too late.
        """

    def calibrate(self, graph: Graph, inputs: Stimulus) -> "ChipProgram":  # noqa: ARG002
        """Return the program with ranges of integers that suit a stimulus of its graph."""
        return self

    @abstractmethod
    def list_breaches(self, chip: Any) -> list[str]:
        """Return the rules of a chip that the program breaks; empty if it fits."""

    @abstractmethod
    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return one row per layer: the rounding from the floats of its graph to integers."""

    @abstractmethod
    def list_net_problems(self) -> list[str]:
        """Return why netx of lava-dl cannot hold the program; empty if it can."""

    def write_net(self, path: Path) -> str:
        """Write the program for netx of lava-dl; return the Python call that loads it.

        Raises:
            NetxError: netx cannot hold the program, see :meth:`list_net_problems`.
        """
        raise NetxError([f"{path}: {problem}" for problem in self.list_net_problems()])

    @classmethod
    def decode(cls, arrays: Arrays, plain: dict[str, Any]) -> "ChipProgram":
        """Return the program from a file's arrays and its other fields, read from JSON.

        Raises:
            ValueError: lists what is wrong.
            KeyError: an array is missing.
        """
        return cls(decode_program(cls.integers, arrays, plain))

    def save(self, path: str | Path) -> None:
        """Write the program to a file; :func:`lava_export.load_program` reads it bit for bit.

        Raises:
            StoreError: the file cannot be written.
        """
        save_arrays(path, self.kind, *take_apart(self.program))


def count_ticks(inputs: Stimulus) -> int:
    """Return the length of a stimulus [ticks]."""
    return next(iter(inputs.values())).shape[0]


def make_parity(other: Record, found: dict[str, Any], **ticks: int) -> Parity:
    """Return a result of :func:`lava_export.report.compare` as a Parity. other: Lava's run."""
    return Parity(
        samples=other.samples,
        mismatches=found["mismatches"],
        layers=found["layers"],
        of_one={**ticks, "first": found["first"]},
    )
