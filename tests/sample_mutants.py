"""Mutation testing: which small wrong changes to the code does no test notice?

    make mutants PATHS="neuro/energy" N=40 SEED=1     lines of files and folders
    make mutants SINCE=COMMIT N=60 SEED=1             lines changed since a commit

A seed draws N lines that git knows, then one mutant per line from the operators of cosmic-ray.
Each mutant is written into a copy of the project, where the tests of its package run that
execute the line. It is killed if one fails, or if they exceed the time limit only with it.
Mutants that change nothing are listed, with the reason, in tests/equivalent_mutants.toml; they
do not count. Compiled kernels run as plain Python. Exits with 1 if less than 85 % are killed.
"""

import argparse
import ast
import os
import random
import re
import shutil
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor as Pool
from itertools import repeat
from pathlib import Path
from subprocess import check_output
from tempfile import TemporaryDirectory, mkdtemp
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from scipy.stats import binomtest
from support.covering_tests import (
    choose_tests,
    find_room,
    list_files,
    measure_coverage,
    run_pytest,
)

ROOT = Path(__file__).parents[1]
EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # the commit, to git, in which nothing is
WANTED = 0.85
# An operator is replaced by one of its family: nearly all others end in a TypeError.
FAMILIES = [
    {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"},
    {"LShift", "RShift"},
    {"BitOr", "BitAnd", "BitXor"},
    {"Eq", "NotEq"},
    {"Lt", "LtE", "Gt", "GtE"},
    {"Is", "IsNot"},
    *({"Delete", unary} for unary in ("Not", "USub", "Invert")),
]
COMPILED = re.compile(r"from neuro\.ops\.jit import .*\b(bare|inlined|kernel)\b")


class Mutant(NamedTuple):
    """A changed file, and its line before and after."""

    file: str
    line: int
    old: str
    new: str
    code: str


def find_lines(paths: list[str], since: str) -> dict[str, set[int]]:
    """Return the lines that changed since a commit, by source file."""
    diff = ["git", "diff", "-U0", since, "--", *paths]
    lines = {}
    for change in check_output(diff, cwd=ROOT, text=True).split("\n+++ b/")[1:]:
        hunks = re.findall(r"^@@ .*\+(\d+)(?:,(\d+))? @@", change, re.MULTILINE)
        changed = (range(int(at), int(at) + int(n or 1)) for at, n in hunks)
        lines[change.split("\n")[0]] = set[int]().union(*changed)
    return {file: lines[file] for file in sorted(lines) if file.endswith(".py")}


def list_places(file: str, lines: set[int]) -> Iterator[tuple[int, str, int]]:
    """Yield line, operator and occurrence of what can be changed, except in annotations."""
    code = (ROOT / file).read_text()
    walk = list(ast.walk(ast.parse(code)))
    types = [getattr(x, name, None) for x in walk for name in ("annotation", "returns")]
    spans = [((x.lineno, x.col_offset), (x.end_lineno, x.end_col_offset)) for x in types if x]
    nodes = list(ast_nodes(get_ast(code)))
    for name in operator_names():
        swap, operator = set(name.split("_")[-2:]), get_operator(name)
        if operator.arguments() or ("_" in name and not any(swap <= x for x in FAMILIES)):
            continue
        places = (at for node in nodes for at, _ in operator().mutation_positions(node))
        for occurrence, place in enumerate(places):
            if place[0] in lines and not any(start <= place < end for start, end in spans):
                yield place[0], name, occurrence


def make_mutant(file: str, line: int, operator: str, occurrence: int) -> Mutant | None:
    """Change a place; None if the result is no Python or says the same."""
    code = (ROOT / file).read_text()
    changed = mutate_code(code, get_operator(operator)(), occurrence)
    try:
        ast.parse(changed)
    except SyntaxError:
        return None
    before, after = code.splitlines(), changed.splitlines()
    old = before[line - 1].strip()
    new = after[line - 1].strip() if len(after) == len(before) else ""  # without a decorator
    # No behaviour: types, a signature's bare star, and strict zips of what has one length.
    same = (re.sub(r"\*(?=,)", "/", old), old.replace("strict=True", "strict=False"))
    ignored = "TYPE_CHECKING" in old or new in same
    return None if ignored else Mutant(file, line, old, new, changed)


def draw_mutants(lines: dict[str, set[int]], count: int, seed: int) -> list[Mutant]:
    """Draw lines, then one mutant of each."""
    by_line: dict[tuple[str, int], list[tuple[int, str, int]]] = defaultdict(list)
    for file in lines:
        for place in list_places(file, lines[file]):
            by_line[file, place[0]].append(place)
    dice, drawn = random.Random(seed), list[Mutant]()
    for (file, _), places in dice.sample(sorted(by_line.items()), len(by_line)):
        made = (make_mutant(file, *place) for place in dice.sample(places, len(places)))
        if len(drawn) < count:
            drawn += [mutant for mutant in made if mutant][:1]
    print(f"{len(drawn)} mutants of {len(by_line)} lines that have any", flush=True)
    return sorted(drawn)


def enter_copy(folder: str) -> None:
    """Copy the project into a folder and go there."""
    copy = Path(mkdtemp(dir=folder))
    for file in list_files("."):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, copy / file)
    os.chdir(copy)
    os.environ.update(PYTHONPATH=str(copy), CI="true", OMP_NUM_THREADS="1")


def try_mutant(mutant: Mutant, runs: list[list[str]], limit: float) -> str:
    """Run tests with a mutant, one run after the other, and return the verdict."""
    path = Path(mutant.file)
    code = path.read_text()
    for tests in runs:
        path.write_text(mutant.code)
        try:
            passed, output = run_pytest(tests, limit, "-x")
        finally:
            path.write_text(code)
        if output == "timeout" and not run_pytest(tests, limit, "-x")[0]:
            return "too slow"
        if not passed:
            return "killed"
    return "SURVIVED"


def print_rates(verdicts: dict[Mutant, str]) -> float:
    """Print a table by room and return the rate over all."""
    print("killed  of  rate  95 % (Wilson)  equivalent  too slow")
    rate = 1.0
    for room in [*sorted({find_room(mutant.file) for mutant in verdicts}), ""]:
        n = Counter(v for m, v in verdicts.items() if room in ("", find_room(m.file)))
        tried = n["killed"] + n["SURVIVED"]
        if tried:
            low, high = binomtest(n["killed"], tried).proportion_ci(method="wilson")
            rate = n["killed"] / tried
            row = f"{n['killed']:6} {tried:3} {rate:5.0%}   {low:4.0%} to {high:4.0%}"
            print(f"{row} {n['equivalent']:11} {n['too slow']:9}  {room or 'all'}")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description="See the head of this file.")
    sources = ["neuro", "drivers", "tasks", "lava_export"]
    parser.add_argument("--paths", nargs="+", default=sources)
    parser.add_argument("--since", default=EMPTY, help="commit: only lines changed since")
    parser.add_argument("-n", type=int, default=60, help="lines to draw")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--limit", type=float, default=300, help="seconds for a run of tests")
    args = parser.parse_args()
    listed = tomllib.loads((ROOT / "tests" / "equivalent_mutants.toml").read_text())["mutant"]
    equivalent = {(entry["file"], entry["old"], entry["new"]) for entry in listed}
    lines = find_lines(args.paths, args.since)
    mutants = draw_mutants(lines, args.n, args.seed)
    verdicts = {m: "equivalent" for m in mutants if (m.file, m.old, m.new) in equivalent}
    rooms: dict[tuple[str, bool], list[Mutant]] = defaultdict(list)
    for m in (mutant for mutant in mutants if mutant not in verdicts):
        compiled = COMPILED.search((ROOT / m.file).read_text()) is not None
        rooms[find_room(m.file), compiled].append(m)
    for (room, compiled), some in rooms.items():
        os.environ["NUMBA_DISABLE_JIT"] = str(int(compiled))
        with (
            TemporaryDirectory() as folder,
            Pool(args.jobs, None, enter_copy, (folder,)) as pool,
        ):
            by_line = pool.submit(measure_coverage, room).result()
            chosen = [choose_tests(m.file, m.line, by_line) for m in some]
            tried = pool.map(try_mutant, some, chosen, repeat(args.limit))
            for m, verdict in zip(some, tried, strict=True):
                verdicts[m] = verdict
                print(f"{verdict:8} {m.file}:{m.line}  {m.old}  ->  {m.new}", flush=True)
    sys.exit(print_rates(verdicts) < WANTED)


if __name__ == "__main__":
    main()
