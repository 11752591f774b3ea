"""Runs of a LoihiProgram on real Lava, in a child process: this process never imports lava."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from shlex import quote

import numpy as np

from lava_export.checks import rasterize
from lava_export.program import LoihiProgram, take_apart
from lava_export.runner import DONE
from lava_export.sigma_delta import require_messages
from neuro.base.units import Seconds
from neuro.io.store import name_own, remove_stale
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record

RUNNER = Path(__file__).with_name("runner.py")
FOLDER = "neuro-lava"  # within the temporary directory
PACKAGES = Path(__file__).with_name("lava.txt")
HOME = Path(sys.prefix, "lava")  # the environment that `make` builds for Lava
INSTALL = (
    f"python3.11 -m venv {quote(str(HOME))} && {quote(str(HOME))}/bin/pip install -r "
    f"{quote(str(PACKAGES))} && {quote(str(HOME))}/bin/pip install --no-deps "
    "--ignore-requires-python lava-nc==0.10.0"
)


# Called every second with the number of samples that are done.
ON_SAMPLES: ContextVar[Callable[[int], object] | None] = ContextVar("samples", default=None)


class LavaMissing(RuntimeError):
    """The interpreter of the child lacks Lava."""


class LavaFailed(RuntimeError):
    """The child ended with an error, or did not end in time."""


def find_interpreter() -> str:
    """Return the Python that runs Lava: $NEURO_LAVA_PYTHON, that of HOME, or else this one."""
    own = HOME / "bin" / "python"
    here = str(own) if own.exists() else sys.executable
    return os.environ.get("NEURO_LAVA_PYTHON") or here


def available() -> bool:
    """Return whether the interpreter that runs Lava has lava-nc."""
    look = "import importlib.metadata as m; m.version('lava-nc')"
    try:
        child = subprocess.run(
            [find_interpreter(), "-c", look], capture_output=True, check=False
        )
    except OSError:
        return False
    return child.returncode == 0


def require_lava() -> None:
    """Raise a LavaMissing that states how to install Lava, if Lava is not installed."""
    if not available():
        raise LavaMissing(
            f"{find_interpreter()} has no lava-nc; install it with `make setup`, or with\n"
            f"  {INSTALL}\n"
            "(Python 3.10 to 3.12), or let $NEURO_LAVA_PYTHON name an interpreter that has it"
        )


def run(
    program: LoihiProgram,
    inputs: Mapping[str, Events],
    ticks: int,
    timeout: Seconds = Seconds(600.0),
) -> Record:
    """Return what Lava computes, in ticks of the graph, with the lags removed.

    Args:
        program: the program.
        inputs: the stimulus.
        ticks: number of ticks.
        timeout: time after which the child is ended [s].

    Raises:
        TypeError, ProgramError: the run cannot start, see
            :func:`lava_export.checks.require_run`.
        LavaMissing: Lava is not installed; the message states how to install it.
        LavaFailed: the child failed or hung; the message ends with its last output.
    """
    job = make_job(program, inputs, ticks)
    require_lava()
    answer = run_child(job, timeout)
    spikes, values = {}, {}
    for i, p in enumerate(program.populations):
        aligned = answer[f"p{i}"][p.lag : p.lag + ticks]
        if p.fires:
            spikes[p.name] = to_events(require_messages(p, aligned) if p.signed else aligned)
        else:
            values[p.name] = aligned.astype(np.int64)
    return Record(
        executor="lava",
        ticks=ticks,
        samples=next(iter(inputs.values())).shape[1],
        spikes=spikes,
        values=values,
        digest=program.digest,
    )


def make_job(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int
) -> dict[str, np.ndarray]:
    """Return the arrays that the child needs to run a program.

    Raises:
        TypeError, ProgramError: the run cannot start.
    """
    rasters = rasterize(program, inputs, ticks)
    arrays, rest = take_apart(program)
    job = {**arrays, "meta": np.array(json.dumps(rest)), "job.ticks": np.array(ticks)}
    for i, p in enumerate(program.populations):
        if p.kind == "input":
            job[f"job.p{i}"] = rasters[p.name]
    return job


def measure_steps(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int, warm: int = 10
) -> tuple[Seconds, Seconds]:
    """Return (wall, CPU) time of one step of Lava's simulation of the first sample [s].

    The result is the mean of ``ticks`` steps after ``warm`` others, which compile the network.
    CPU is the time of all processes that Lava starts; nan if the machine does not report it.

    Raises:
        TypeError, ProgramError, LavaMissing, LavaFailed: as in :func:`run`.
    """
    job = make_job(program, inputs, ticks) | {"job.warm": np.array(warm)}
    require_lava()
    wall, cpu = run_child(job, 600.0)["seconds"] / ticks
    return Seconds(float(wall)), Seconds(float(cpu))


def run_child(job: dict[str, np.ndarray], timeout: float) -> dict[str, np.ndarray]:
    """Return the arrays with which the child answers a job.

    Raises:
        LavaFailed: the child failed or did not end in time.
    """
    remove_stale(Path(tempfile.gettempdir()), FOLDER)  # left behind by killed runs
    with tempfile.TemporaryDirectory(prefix=name_own(FOLDER)) as name:
        folder = Path(name)
        sent, answer = folder / "job.npz", folder / "out.npz"
        np.savez(sent, **job)  # type: ignore[arg-type]
        command = [find_interpreter(), str(RUNNER), str(sent), str(answer)]
        with (folder / "output").open("w+b") as output:
            # The child gets its own session, so that Lava's grandchildren end with it.
            child = subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True
            )
            try:
                code = _wait(child, timeout, folder / "output")
            finally:
                _end_child(child)
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
            last = "\n".join([line for line in lines if line != DONE][-15:])
        if code == 0:
            with np.load(answer, allow_pickle=False) as npz:
                return dict(npz)
    what = f"did not end within {timeout:g} s" if code is None else f"ended with code {code}"
    raise LavaFailed(f"Lava {what}; its last output:\n{last}")


def _wait(child: "subprocess.Popen[bytes]", timeout: float, output: Path) -> int | None:
    """Return the child's exit code, or None after ``timeout`` seconds; tell what is done."""
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(min(1.0, left))
        if tell := ON_SAMPLES.get():
            tell(output.read_text(errors="replace").count(DONE))
    return None


def _end_child(child: "subprocess.Popen[bytes]") -> None:
    """End the child and every process that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
