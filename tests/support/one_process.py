"""Subjects of a benchmark that may share a process: libraries are imported once for all."""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping

from tasks.bench.child import told
from tasks.bench.harness import Build, Measurement


def measure_together(subjects: Mapping[str, Build]) -> dict[str, Measurement]:
    """Return one run of each subject, as ``measure(subjects, 1)`` does, in one process."""
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, __file__],
        input=pickle.dumps(dict(subjects)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
    found: dict[str, Measurement] = pickle.loads(done.stdout)
    return found


def run_one(build: Build) -> Measurement:
    """Return one run on one thread, or why there is none."""
    try:
        return Measurement(runs=(build(1)(),))
    except Exception as error:
        return Measurement(problem=told(error))


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what libraries print
        pickle.dump({k: run_one(b) for k, b in pickle.load(sys.stdin.buffer).items()}, out)
