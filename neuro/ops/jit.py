"""Functions compiled by Numba at their first call, and kept on disk.

Numba recompiles a function when the file that defines it changes, but not when a function that
it calls in another file does: old code would run on. So the compiled functions of a module are
kept in a folder named by a digest of the sources they are compiled from: the module itself, the
modules from which its compiled functions take names, and so on.

The first compilation in a process is told by the logger "neuro": one line on stderr, unless the
application has set up logging otherwise.
"""

import ast
import hashlib
import inspect
import logging
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
    "neuro: compiling kernels that nothing has needed before on this machine, which may take a "
    "minute; later runs find them on disk"
)
config: Any = numba.config
compiled: set[Callable[..., object]] = set()  # the plain functions of all kernels


def kernel(function: Function) -> Function:
    """Compile a function at its first call, and keep the result on disk.

    Tests wrap every function in a check of its annotations. Numba cannot compile that wrapper,
    so it is removed here.
    """
    return _compiled(function, cache=True, nogil=True)


def bare(function: Function) -> Function:
    """Compile without reference counting a kernel that neither allocates nor returns arrays.

    The counters are atomic: in a short function that is called often they take half the time.
    """
    return _compiled(function, cache=True, nogil=True, _nrt=False)


def inlined(function: Function) -> Function:
    """Inline the function into each kernel that calls it, where a call would cost too much."""
    return _compiled(function, inline="always")


def _compiled(function: Function, **options: Any) -> Function:
    """Compile with NumPy's division by zero (infinite): a check would prevent vectorisation."""
    options |= {"error_model": "numpy"}
    plain = inspect.unwrap(function)
    with _cache_folder(_folder(plain.__module__, config.CACHE_DIR)):
        out: Function = njit(**options)(plain)
    compiled.add(plain)
    return out


class _Teller(event.Listener):
    """Tells once that kernels are compiled; Numba says nothing where it finds one on disk."""

    def on_start(self, event: Any) -> None:
        """Tell it where the function is a kernel of ours."""
        if event.data["dispatcher"].py_func in compiled:
            tell_compiling()

    def on_end(self, event: Any) -> None:
        """Tell nothing."""


@cache
def tell_compiling() -> None:
    """Tell once in a process that kernels are compiled."""
    logging.getLogger("neuro").warning(COMPILING)


event.register("numba:compile", _Teller())  # type: ignore[no-untyped-call]


def view_fields_read_only(arrays: Arrays) -> Arrays:
    """Return a NamedTuple with read-only views of its arrays; other fields stay as they are.

    Numba compiles a kernel anew for an array that cannot be written. What a kernel only reads
    comes from users, files and other kernels, some of it read-only; handed over locked, all of
    it has one type.
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
    """Have Numba cache in ``folder`` the functions that are declared inside the context."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


@cache
def _folder(module: str, given: str) -> Path:
    """Return where the compiled functions of a module are kept; older folders are removed.

    given: the user's $NUMBA_CACHE_DIR. If it is empty: in this package, or if that is
    read-only in ~/.cache/neuro.
    """
    prefix = f"{PREFIX}{module}-"
    name = prefix + digest_of_sources(module)
    own = Path(__file__).parents[1] / "__pycache__"
    for base in (Path(given),) if given else (own, Path.home() / ".cache" / "neuro"):
        try:
            (base / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        for old in base.glob(f"{prefix}*"):
            if base == own and old.name != name:
                shutil.rmtree(old, ignore_errors=True)
        return base / name
    return Path(name)  # Numba finds out whether it can write there


def digest_of_sources(module: str) -> str:
    """Return 16 hex digits that change with any source of a module's compiled functions."""
    sha = hashlib.sha256()
    for name in list_sources(module):
        sha.update(name.encode() + _path(name).read_bytes())
    return sha.hexdigest()[:16]


def list_sources(module: str) -> list[str]:
    """Return the modules that a module's compiled functions are compiled from, itself too."""
    found, waiting = {module}, [module]
    while waiting:
        new = _sources_used(waiting.pop()) - found
        found |= new
        waiting += new
    return sorted(found)


@cache
def _sources_used(module: str) -> frozenset[str]:
    """Return the modules of this project from which a module's compiled functions take names.

    Constants, dtypes and NamedTuples of the module count too: compiled functions read them. A
    package re-exports, so all that it imports counts.
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
