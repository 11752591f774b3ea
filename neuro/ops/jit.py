"""Functions that Numba compiles at their first call and keeps on disk.

Numba recompiles a function when its own file changes, but not when the file of a function that
it calls changes: it would run old code. So the compiled functions of a module are kept in a
folder named by a digest of their sources: the module itself, the modules from which its
compiled functions take names, and so on.

The logger "neuro" reports the first compilation in a process and those that it starts: one
line on stderr by default.
"""

import ast
import hashlib
import inspect
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba import njit
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., object])
Arrays = TypeVar("Arrays", bound=tuple[Any, ...])

PREFIX = "compiled-"
DECORATORS = {"kernel", "bare", "inlined", "intrinsic"}
COMPILING = (
    "neuro: compiling kernels that this machine has not compiled yet, which may take a minute; "
    "later runs load them from disk"
)
REPORTED = "NEURO_COMPILING_REPORTED"  # environment variable
config: Any = numba.config
compiled: set[Callable[..., object]] = set()  # the Python functions behind all kernels


def kernel(function: Function) -> Function:
    """Compile a function at its first call, and keep the result on disk.

    Tests wrap every function in a check of its annotations. Numba cannot compile that wrapper,
    so it is removed here.
    """
    return _compiled(function, cache=True, nogil=True)


def bare(function: Function) -> Function:
    """Compile, without reference counting, a kernel that neither allocates nor returns arrays.

    Numba's reference counters are atomic; in a short function that is called often they take
    half the time.
    """
    return _compiled(function, cache=True, nogil=True, _nrt=False)


def inlined(function: Function) -> Function:
    """Inline the function into each kernel that calls it, where a call would cost too much."""
    return _compiled(function, inline="always")


def _compiled(function: Function, **options: Any) -> Function:
    """Compile so that x / 0 is infinite, as in NumPy: a check would prevent vectorisation."""
    options |= {"error_model": "numpy"}
    plain = inspect.unwrap(function)
    with _cache_folder(_folder(plain.__module__, config.CACHE_DIR)):
        out: Function = njit(**options)(plain)
    compiled.add(plain)
    return out


class _CompileListener(event.Listener):
    """Reports the first compilation; Numba sends no event for a kernel loaded from disk."""

    def on_start(self, event: Any) -> None:
        """Report the compilation of a kernel of this project."""
        if event.data["dispatcher"].py_func in compiled:
            report_compiling()

    def on_end(self, event: Any) -> None:
        """Do nothing."""


@cache
def report_compiling() -> None:
    """Report, once for a process and those that it starts, that kernels are being compiled."""
    if not os.environ.get(REPORTED):
        os.environ[REPORTED] = "1"  # child processes inherit it
        logging.getLogger("neuro").warning(COMPILING)


event.register("numba:compile", _CompileListener())  # type: ignore[no-untyped-call]


def view_fields_read_only(arrays: Arrays) -> Arrays:
    """Return a NamedTuple whose arrays are read-only views; its other fields stay.

    Numba compiles a kernel again if an array argument becomes read-only. Inputs come from
    users, files and other kernels, and some of them are read-only; as views, all have one type.
    """
    return type(arrays)(
        *(view_read_only(x) if isinstance(x, np.ndarray) else x for x in arrays)
    )


def view_read_only(array: np.ndarray) -> np.ndarray:
    """Return a read-only view of an array."""
    view = array.view()
    view.flags.writeable = False
    return view


@contextmanager
def _cache_folder(folder: Path) -> Iterator[None]:
    """Make Numba cache in ``folder`` the functions that are compiled inside the context."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


@cache
def _folder(module: str, cache_dir: str) -> Path:
    """Return the folder for the compiled functions of a module, and remove older folders.

    cache_dir: the user's $NUMBA_CACHE_DIR; if it is empty, the folder is in this package, or in
    ~/.cache/neuro if the package is read-only.
    """
    prefix = f"{PREFIX}{module}-"
    name = prefix + digest_of_sources(module)
    own = Path(__file__).parents[1] / "__pycache__"
    home = Path.home() / ".cache" / "neuro"
    for base in (Path(cache_dir),) if cache_dir else (own, home):
        try:
            (base / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        for old in base.glob(f"{prefix}*"):
            if base == own and old.name != name:
                shutil.rmtree(old, ignore_errors=True)
        return base / name
    return Path(name)  # Numba checks whether it can write there


def digest_of_sources(module: str) -> str:
    """Return 16 hex digits that change if a source of a module's compiled functions changes."""
    sha = hashlib.sha256()
    for name in list_sources(module):
        sha.update(name.encode() + _path(name).read_bytes())
    return sha.hexdigest()[:16]


def list_sources(module: str) -> list[str]:
    """Return the modules whose sources a module's compiled functions use, itself included."""
    modules, waiting = {module}, [module]
    while waiting:
        new = _sources_used(waiting.pop()) - modules
        modules |= new
        waiting += new
    return sorted(modules)


@cache
def _sources_used(module: str) -> frozenset[str]:
    """Return the modules of this project from which a module's compiled functions take names.

    Constants, dtypes and NamedTuples of the module count too: compiled functions read them. All
    imports of a package count, because it re-exports.
    """
    packages = {"neuro", module.partition(".")[0]}
    origin: dict[str, set[str]] = {}
    used: set[str] = set()
    for node in ast.parse(_path(module).read_bytes()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.partition(".")[0] in packages:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    known = {m for m in (node.module, inner) if m in sys.modules}
                    origin[alias.asname or alias.name] = known
        elif not isinstance(node, ast.FunctionDef) or _is_compiled(node):
            used |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    if hasattr(sys.modules[module], "__path__"):
        used = set(origin)
    return frozenset(m for name in used for m in origin.get(name, ()))


def _is_compiled(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id in DECORATORS for d in function.decorator_list)


def _path(module: str) -> Path:
    return Path(str(sys.modules[module].__file__))
