"""Files that neuro reads are damaged at random and by seed: what does a reader make of it?

A reader may return the same value, or refuse with an error of ours that names the file. Where
a file has a checksum of its content, another value is a finding, and everywhere any other
exception, a warning, an error that names no file, and no end within 20 s of computing.
"""

import os
import signal
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from zlib import crc32

import numpy as np
import pytest
from damage import SUBJECTS, Subject

LIMIT = 20.0  # seconds of computing: those of waiting depend on the machine
CASES = 2000 if os.environ.get("NEURO_NIGHTLY") == "1" else 6
ROOT = Path(__file__).parents[1]
OURS = tuple(str(ROOT / package) for package in ("neuro", "drivers", "tasks", "lava_export"))


class Hang(BaseException):
    """A reader that does not end."""


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def try_case(subject: Subject, whole: object, folder: Path, rng: np.random.Generator) -> str:
    """Damage a file once; return what is wrong with what is said of it."""
    path = subject.make(folder)
    checked = subject.damage(path, rng)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = subject.read(path)
    except Hang:
        return f"no end after {LIMIT:g} s of computing"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1].filename
        known = isinstance(error, ValueError | RuntimeError | FileNotFoundError)
        named = not subject.names_file or str(path.parent) in str(error)
        return "" if known and place.startswith(OURS) and named else f"{error!r} in {place}"
    return "another value without a word" if checked and found != whole else ""


@pytest.mark.slow
@pytest.mark.parametrize("reader", SUBJECTS)
def test_a_damaged_file_is_refused_by_name_or_means_the_same(
    reader: str, tmp_path: Path
) -> None:
    subject = SUBJECTS[reader]
    whole = subject.read(subject.make(tmp_path / "whole"))
    for case in range(-(-CASES // subject.slow)):
        rng = np.random.default_rng([0, crc32(reader.encode()), case])
        assert try_case(subject, whole, tmp_path / "case", rng) == "", f"case {case}"
