"""Damage every file that neuro reads, at random and by seed: what does a reader make of it?

python tests/mutate_inputs.py [--count N] [--seed S] [--reader NAME] [--case I]

A reader may return the same value, or refuse with an error of ours that names the file. Where
a file has a checksum of its content, another value is a finding; elsewhere it is counted.
Findings besides: any other exception, a warning, an error that names no file, and no end within
20 s. Prints a table of outcomes, and for each finding the command that brings it back; exits
with 1 if there are any.
"""

import argparse
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from zlib import crc32

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import numpy as np  # noqa: E402
from damage import SUBJECTS, Subject  # noqa: E402

LIMIT = 20.0  # seconds of computing: those of waiting depend on the machine
OURS = [str(ROOT / package) for package in ("neuro", "drivers", "tasks", "lava_export")]
FINE = ("equal", "refused", "different")


class Hang(BaseException):
    """A reader that does not end."""


@dataclass(frozen=True)
class Finding:
    """A case that a reader does not stand. told: its exception, or what else is wrong."""

    reader: str
    seed: int
    case: int
    what: str
    told: str

    def __str__(self) -> str:
        again = f"--reader {self.reader} --seed {self.seed} --case {self.case}"
        return f"{self.what}: {self.told}\n    python tests/mutate_inputs.py {again}"


def try_case(
    subject: Subject, whole: bytes, folder: Path, rng: np.random.Generator
) -> tuple[str, str]:
    """Damage a file once; return the outcome and what was said."""
    path = subject.make(folder)
    checked = subject.damage(path, rng)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = subject.read(path)
    except Hang:
        return "hang", f"no end after {LIMIT:g} s of computing"
    except Exception as error:
        return _judge(error, str(path.parent) if subject.names_file else "")
    if found == whole:
        return "equal", ""
    return ("silent", "another value without a word") if checked else ("different", "")


def _judge(error: Exception, name: str) -> tuple[str, str]:
    """Say whether an exception is one of ours that names the file (one in the same folder)."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
    ours = isinstance(error, ValueError | RuntimeError | FileNotFoundError) and any(
        last.filename.startswith(place) for place in OURS
    )
    if not ours:
        return "crash", told
    return ("refused" if name in str(error) else "unnamed"), told


def run(reader: str, cases: range, seed: int) -> tuple[Counter[str], list[Finding]]:
    """Try some cases of a reader; return how often each outcome was, and the findings."""
    subject, outcomes, findings = SUBJECTS[reader], Counter[str](), []

    def stop(_: int, __: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    try:
        with tempfile.TemporaryDirectory() as root:
            whole = subject.read(subject.make(Path(root) / "whole"))
            for case in cases:
                rng = np.random.default_rng([seed, crc32(reader.encode()), case])
                signal.setitimer(signal.ITIMER_PROF, LIMIT)
                outcome, told = try_case(subject, whole, Path(root) / "case", rng)
                signal.setitimer(signal.ITIMER_PROF, 0)
                outcomes[outcome] += 1
                if outcome not in FINE:
                    findings.append(Finding(reader, seed, case, outcome, told))
    finally:
        signal.signal(signal.SIGPROF, before)
    return outcomes, findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=SUBJECTS, default=None)
    parser.add_argument("--case", type=int, default=None)
    asked = parser.parse_args()
    cases = range(asked.count) if asked.case is None else range(asked.case, asked.case + 1)
    found: list[Finding] = []
    print(f"{'reader':12} {'cases':>6} " + " ".join(f"{k:>9}" for k in (*FINE, "findings")))
    for reader in [asked.reader] if asked.reader else SUBJECTS:
        some = (
            cases if asked.case is not None else range(-(-asked.count // SUBJECTS[reader].slow))
        )
        outcomes, findings = run(reader, some, asked.seed)
        row = " ".join(f"{outcomes[k]:9}" for k in FINE)
        print(f"{reader:12} {len(some):6} {row} {len(findings):9}", flush=True)
        found += findings
    for one in found:
        print(one)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
