"""Try small wrong changes to the code: which of them does no test notice?

python tests/try_mutants.py FILE.toml, from the project's root. The file lists mutants:

    [[mutant]]
    file = "neuro/training/loop.py"
    old = "if score > progress.best:"  # stands in the file once
    new = "if score >= progress.best:"
    tests = ["tests/neuro/training/test_loop.py"]

The tests run on a copy of the project, so that the working tree stays as it is. Changes to
compiled kernels are tried faster with NUMBA_DISABLE_JIT=1 set. Exits with 1 if one survives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LEFT_OUT = {ROOT / name for name in (".git", ".venv", "runs", "build", ".hypothesis")}


def list_left_out(folder: str, names: list[str]) -> list[str]:
    """Return which names of a folder are not copied."""
    return [name for name in names if Path(folder, name) in LEFT_OUT or name == "__pycache__"]


def is_killed(mutant: dict[str, Any], copy: Path) -> bool:
    """Say whether a test of the copy fails with the change in it."""
    path = copy / mutant["file"]
    text = path.read_text()
    if text.count(mutant["old"]) != 1:
        sys.exit(
            f"{mutant['file']}: {mutant['old']!r} stands there {text.count(mutant['old'])}x"
        )
    path.write_text(text.replace(mutant["old"], mutant["new"]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *mutant["tests"]],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "CI": "true"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(text)
    if done.returncode not in (0, 1):
        sys.exit(f"the tests did not run:\n{done.stdout}{done.stderr}")
    return done.returncode == 1


def main() -> None:
    mutants = tomllib.loads(Path(sys.argv[1]).read_text())["mutant"]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=list_left_out)
        for mutant in mutants:
            killed = is_killed(mutant, copy)
            survived += not killed
            verdict = "killed  " if killed else "SURVIVED"
            print(
                f"{verdict} {mutant['file']}: {mutant['old']!r} -> {mutant['new']!r}",
                flush=True,
            )
    print(f"{survived} of {len(mutants)} survived")
    sys.exit(survived > 0)


if __name__ == "__main__":
    main()
