"""Functions compiled by Numba, at their first call, and kept on disk.

Numba keeps a compiled function as long as its own file does not change, also where it has
another function inside it that did: after an update old code would run on. So what is kept here
lies in a folder named after all sources with compiled functions.
"""

import hashlib
import inspect
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])

# Where the compiled functions of this package are.
SOURCES = ("*.py", "neurons/*.py", "events/**/*.py", "eventprop/*.py")
PREFIX = "compiled-"
config: Any = numba.config


def kernel(function: Function) -> Function:
    """Compile at the first call, and keep the result on disk.

    Tests wrap every function in a check of its annotations, which no compiler could read:
    unwrapped here.
    """
    return _compiled(function, cache=True, nogil=True)


def bare(function: Function) -> Function:
    """Compile without reference counts a kernel that neither makes an array nor returns one.

    The counters are atomic: where much is called and little computed, they take half the time.
    """
    return _compiled(function, cache=True, nogil=True, _nrt=False)


def inlined(function: Function) -> Function:
    """Paste the function into each kernel that calls it: what a call costs would show."""
    return _compiled(function, inline="always")


def _compiled(function: Function, **options: Any) -> Function:
    """Compile; what is divided by zero is infinite, as in NumPy: to ask costs vector loops."""
    options |= {"error_model": "numpy"}
    with _kept_by_sources():
        out: Function = njit(**options)(inspect.unwrap(function))
    return out


@contextmanager
def _kept_by_sources() -> Iterator[None]:
    """Have Numba look at this package's folder for what is declared meanwhile."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_folder(before))
    try:
        yield
    finally:
        config.CACHE_DIR = before


@lru_cache(maxsize=1)
def _folder(given: str) -> Path:
    """Return where compiled functions of these sources are kept; older ones are removed.

    given: the user's $NUMBA_CACHE_DIR, or nothing: beside the sources, or if that is read-only
    in ~/.cache/neuro.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(p for pattern in SOURCES for p in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    name = PREFIX + digest.hexdigest()[:16]
    beside = root / "__pycache__"
    for base in (Path(given),) if given else (beside, Path.home() / ".cache" / "neuro"):
        try:
            (base / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        for old in base.glob(f"{PREFIX}*"):
            if base == beside and old.name != name:
                shutil.rmtree(old, ignore_errors=True)
        return base / name
    return Path(name)  # Numba finds out whether it can write there
