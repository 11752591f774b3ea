"""Lava for the tests of a process: a server imports it once and forks for each program.

Each program still runs in a process of its own, as ``lava_export.run.run_child`` has it;
importing Lava is most of a small run.
"""

import atexit
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
MODULES = ("binary", "stage", "lava.magma.core.run_configs", "lava.magma.compiler.compiler")
MODULES += ("lava.magma.runtime.runtime", "lava.proc.io.sink", "lava.proc.io.source")
KINDS = ("lif", "sdn", "dense", "sparse", "conv")
MODULES += tuple(f"lava.proc.{kind}.{part}" for kind in KINDS for part in ("process", "models"))


def install() -> None:
    """Let both modules that run Lava ask the server."""
    lava: Any = importlib.import_module("lava_export.run")
    plain = lava.run_child

    def run_child(job: Arrays, timeout: float) -> Arrays:
        here = lava.find_interpreter() == sys.executable
        return ask(job, timeout) if here else plain(job, timeout)

    run_child.plain = plain  # type: ignore[attr-defined]
    graded: Any = importlib.import_module("lava_export.graded.run")
    lava.run_child = graded.run_child = run_child


def ask(job: Arrays, timeout: float) -> Arrays:
    """Return the arrays with which a fork of the server answers a job."""
    lava: Any = sys.modules["lava_export.run"]
    server = start_server(str(lava.RUNNER))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "job.npz", **job)
        server.stdin.write(f"{name} {int(timeout)}\n")  # type: ignore[union-attr]
        server.stdin.flush()  # type: ignore[union-attr]
        code = server.stdout.readline().strip()  # type: ignore[union-attr]
        if code != "0":
            told = (folder / "output").read_text(errors="replace")
            raise lava.LavaFailed(f"Lava ended with code {code}; its last output:\n{told}")
        with np.load(folder / "out.npz", allow_pickle=False) as answer:
            return dict(answer)


@cache
def start_server(runner: str) -> "subprocess.Popen[str]":
    """Return a server that ends with this process: with what it reads."""
    command = [sys.executable, __file__, runner]
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, process_group=0)
    atexit.register(server.communicate)
    return server


def serve(path: str) -> None:
    """Answer each line (a folder, and a limit [s]) with the exit code of its run."""
    spec: Any = importlib.util.spec_from_file_location("runner", path)
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    runner.prepare_imports()
    for module in MODULES:
        importlib.import_module(module)
    for line in sys.stdin:
        folder, limit = line.split()
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.alarm(int(limit))
            output = os.open(f"{folder}/output", os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            runner.main(f"{folder}/job.npz", f"{folder}/out.npz")
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what Lava has left
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
