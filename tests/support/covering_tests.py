"""Which tests execute a line, as pytest-cov measures it.

Only the tests of its own package are looked at: the test files that mirror it, and doctests.
build/mutants keeps what was measured until a source or test file changes.
"""

import hashlib
import json
import os
import re
import shlex
import sys
from collections import defaultdict
from pathlib import Path
from subprocess import check_output

from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import TestOutcome
from coverage import CoverageData

ROOT = Path(__file__).parents[2]


def list_files(*paths: str) -> list[str]:
    """Return the files of paths that git does not ignore."""
    kinds = ["git", "ls-files", "-c", "-o", "--exclude-standard"]
    files = check_output([*kinds, "--", *paths], cwd=ROOT, text=True).splitlines()
    return sorted(file for file in files if (ROOT / file).is_file())


def find_room(file: str) -> str:
    """Return the package of a source file, or a module at the top: neuro/energy, tasks/cli."""
    depth = 1 if file.startswith("lava_export") else 2
    return "/".join(Path(file).with_suffix("").parts[:depth])


def list_tests(room: str) -> list[str]:
    """Return the test files that mirror a room, and its own files that have doctests."""
    named = Path("tests", room).with_name(f"test_{Path(room).name}*.py")
    doctests = [file for file in list_sources(room) if ">>> " in (ROOT / file).read_text()]
    return doctests + list_files(f":(glob)tests/{room}/**/test_*.py", f":(glob){named}")


def list_sources(room: str) -> list[str]:
    """Return the source files of a room."""
    return list_files(f"{room}.py", f":(glob){room}/**/*.py")


def run_pytest(tests: list[str], limit: float, *options: str) -> tuple[bool, str]:
    """Say whether tests pass here, and what they print."""
    Path("tests.txt").write_text("\n".join(tests))
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-pno:cacheprovider", *options]
    outcome, output = run_tests(shlex.join([*command, "@tests.txt"]), limit)
    return outcome == TestOutcome.SURVIVED, output


def digest(*files: str) -> str:
    """Return a name for the content of files."""
    content = [(file, (ROOT / file).read_text()) for file in files]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def measure_coverage(room: str) -> dict[str, set[str]]:
    """Return by "FILE:LINE" the passing tests that execute the line ("": at import)."""
    files, tests = list_sources(room), list_tests(room)
    folder = ROOT / "build" / "mutants" / f"{digest(*files)}{os.environ['NUMBA_DISABLE_JIT']}"
    folder.mkdir(parents=True, exist_ok=True)
    now = {test: digest(test) for test in tests}
    reports = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    if new := dict(now.items() - {x for report in reports for x in report["tests"].items()}):
        print(f"{room}: measuring which lines {len(new)} files of tests execute", flush=True)
        options = {f"--cov={os.path.dirname(file)}" for file in files}
        options |= {"--cov-context=test", "--cov-report=", "-rfE"}
        _, output = run_pytest(sorted(new), 7200, *options)
        if not Path(".coverage").exists():
            sys.exit(f"the tests did not run:\n{output}")
        failing = {*re.findall(r"^(?:FAILED|ERROR) ([^ \[]+)", output, re.MULTILINE)}
        print("fail without a mutant and do not count:", *failing or ["no tests"], flush=True)
        coverage, lines = CoverageData(), {}
        coverage.read()
        for file in files:
            # A test is named without its parameters: they may be odd for a command line.
            for line, names in coverage.contexts_by_lineno(file).items():
                found = {re.sub(r"\|\w+$", "", name).split("[")[0] for name in names}
                lines[f"{file}:{line}"] = sorted(found - failing)
        reports.append({"tests": new, "lines": lines})
        (folder / f"{digest(*new)}.json").write_text(json.dumps(reports[-1]))
    by_line: dict[str, set[str]] = defaultdict(set)
    for report in reports:
        valid = {"", *dict(report["tests"].items() & now.items())}
        for place, names in report["lines"].items():
            by_line[place] |= {name for name in names if name.split("::")[0] in valid}
    return by_line


def choose_tests(file: str, line: int, by_line: dict[str, set[str]]) -> list[list[str]]:
    """Return the tests that execute the line; those of a file named like its file run first.

    All of its room where it runs at import, of a test file as well, or in a child process.
    """
    above = (by_line.get(f"{file}:{k}") for k in range(line, 0, -1))
    chosen = next(filter(None, above), {""})
    chosen = {*list_tests(find_room(file))} if "" in chosen else chosen
    near = {test for test in chosen if f"/test_{Path(file).stem}" in test}
    return [sorted(run) for run in (near, chosen - near) if run]
