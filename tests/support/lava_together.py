"""Runs programs on Lava one after the other in one child, which loads Lava once for all."""

import importlib
import importlib.util
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


class Kept(BaseException):
    """A job was kept, not run."""


def run_together(jobs: Sequence[tuple[Any, Mapping[str, Any], int]]) -> list[Any]:
    """Return what ``lava_export.run.run`` does of each (program, inputs, ticks).

    In place of a record stands the LavaFailed of a job that failed.
    """
    import pytest

    lava: Any = importlib.import_module("lava_export.run")
    kept: list[Arrays] = []

    def keep(job: Arrays, *_: object) -> None:
        kept.append(job)
        raise Kept

    def answer(*_: object) -> Arrays:
        found = answers.pop(0)
        if isinstance(found, str):
            raise lava.LavaFailed(found)
        return found

    lava.require_lava()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lava, "require_lava", lambda: None)
        patch.setattr(lava, "run_child", keep)
        for job in jobs:
            with suppress(Kept):
                lava.run(*job)
        answers = run_in_child(kept)
        patch.setattr(lava, "run_child", answer)
        found = []
        for job in jobs:
            try:
                found.append(lava.run(*job))
            except lava.LavaFailed as failed:
                found.append(failed)
        return found


def run_in_child(jobs: Sequence[Arrays]) -> list[Arrays | str]:
    """Return the answer to each job, or why there is none."""
    lava: Any = importlib.import_module("lava_export.run")
    with tempfile.TemporaryDirectory() as folder:
        for k, job in enumerate(jobs):
            np.savez(Path(folder, f"{k}.npz"), **job)
        command = [lava.find_interpreter(), __file__, str(lava.RUNNER), folder, str(len(jobs))]
        child = subprocess.Popen(command, start_new_session=True)
        try:
            assert child.wait(600) == 0
        finally:
            lava._end_child(child)
        return [read_answer(Path(folder), k) for k in range(len(jobs))]


def read_answer(folder: Path, k: int) -> Arrays | str:
    failed = folder / f"{k}.failed"
    if failed.exists():
        return failed.read_text()
    with np.load(folder / f"{k}.out") as npz:
        return dict(npz)


def main(path: str, folder: str, jobs: str) -> None:
    spec: Any = importlib.util.spec_from_file_location("runner", path)
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    for k in range(int(jobs)):
        try:
            runner.main(f"{folder}/{k}.npz", f"{folder}/{k}.out")
        except Exception:
            Path(folder, f"{k}.failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(*sys.argv[1:])
