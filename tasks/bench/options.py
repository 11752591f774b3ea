"""The options of ``neuro bench``."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.bench.rows import Row


@dataclass(frozen=True)
class BenchOptions:
    """The flags of ``neuro bench``.

    out: folder for files. parts: names of parts; (): all parts.
    quick: use networks that are too small for conclusions.
    runs: folders of trained runs, for benchmarks that need them.
    workers: number of processes that share work whose speed is not measured.
    """

    out: Path = Path("bench")
    repeats: int = 3
    parts: tuple[str, ...] = ()
    quick: bool = False
    runs: tuple[Path, ...] = ()
    workers: int = 1

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"--repeats must be >= 1, got {self.repeats}; 3 is usual")
        if self.workers < 1:
            raise ValueError(f"--workers must be >= 1, got {self.workers}; 1 is usual")


MeasurePart = Callable[[BenchOptions], Iterator[Row]]
