"""Runs the subjects of a benchmark, each in its own process, and times them in turns.

Separate processes, because libraries disturb each other. Turns, so that other load on the
machine affects all subjects equally.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Timer
from types import MappingProxyType
from typing import IO, Any, NamedTuple

LIMIT = 600.0  # [s] time limit for one build or run
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA")  # prefixes of libraries' thread variables


class RunTiming(NamedTuple):
    """One run: CPU and wall time [s], the number it counted, and synaptic events if known.

    grown: peak memory above the memory in use before the run [bytes]; None: unknown.
    """

    cpu: float
    wall: float
    counted: int
    events: int = 0
    grown: int | None = None


Run = Callable[[], RunTiming]
Build = Callable[[int], Run]  # number of threads -> run; picklable


class Failure(NamedTuple):
    """The answer of a child whose build or run failed."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """All runs of a subject.

    built: wall time of its build [s]. peak: peak memory [bytes].
    problem: why there are no runs, or "".
    """

    runs: Sequence[RunTiming] = ()
    built: float = 0.0
    peak: int = 0
    problem: str = ""

    def best(self, clock: str) -> float:
        """Return the shortest time by "cpu" or "wall" [s]."""
        return float(min(getattr(run, clock) for run in self.runs))

    @property
    def grown(self) -> int | None:
        """Return the largest memory that a run needed [bytes]; None: unknown."""
        sizes = [run.grown for run in self.runs if run.grown is not None]
        return max(sizes, default=None)

    def median(self, clock: str) -> float:
        """Return the median time; of an even number of runs, the longer middle one."""
        return float(sorted(getattr(run, clock) for run in self.runs)[len(self.runs) // 2])


def measure(
    subjects: Mapping[str, Build],
    repeats: int,
    threads: int = 1,
    environments: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> dict[str, Measurement]:
    """Build all subjects at once, then run them in turns, ``repeats`` times each.

    environments: by subject, environment variables of its process besides ours.
    """
    with ExitStack() as stack:
        children = {}
        for name, build in subjects.items():
            child = children[name] = _Child(build, threads, environments.get(name, {}))
            stack.callback(child.close)
        for child in children.values():
            child.await_build()
        for _ in range(repeats):
            for child in children.values():
                child.run()
        return {name: child.measured() for name, child in children.items()}


class _Child:
    """A process with one subject; it ends after a failure."""

    def __init__(self, build: Build, threads: int, environment: Mapping[str, str]) -> None:
        own = {f"{prefix}_NUM_THREADS": str(threads) for prefix in THREADS}
        path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.bench.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **own, **path, **environment},
        )
        self._questions: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self._answers: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        self._runs: list[RunTiming] = []
        self._built, self._peak, self._problem = 0.0, 0, ""
        self._tell((build, threads))

    def await_build(self) -> None:
        answer = self._hear()
        if not isinstance(answer, Failure):
            self._built, self._peak = answer

    def run(self) -> None:
        if not self._problem:
            self._tell(None)
            answer = self._hear()
            if not isinstance(answer, Failure):
                timing, self._peak = answer
                self._runs.append(timing)

    def measured(self) -> Measurement:
        runs = () if self._problem else tuple(self._runs)
        return Measurement(runs=runs, built=self._built, peak=self._peak, problem=self._problem)

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._questions.close()
        self._answers.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _tell(self, question: object) -> None:
        with suppress(BrokenPipeError):  # the process is dead, which its answer will report
            self._questions.write(pickle.dumps(question))
            self._questions.flush()

    def _hear(self) -> Any:
        watch = Timer(LIMIT, self._process.kill)
        watch.start()
        try:
            answer = pickle.load(self._answers)
        except EOFError:
            late = not watch.is_alive()
            answer = Failure(f"took longer than {LIMIT:g} s" if late else self._last_words())
        finally:
            watch.cancel()
        if isinstance(answer, Failure):
            self._problem = answer.reason
        return answer

    def _last_words(self) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"with exit status {status}" if status >= 0 else f"of signal {-status}"
        return f"its process died {how}" + (f": {words[-1]}" if words else "")
