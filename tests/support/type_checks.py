"""Checks annotations of the code under test: beartype, and jaxtyping where arrays have axes.

jaxtyping's own import hook wraps every function, and a nested one anew at each call of the
function around it; at each call it binds the arguments by their signature and checks them
twice. That was half the time of the suite. Here beartype checks a call once, in the context in
which jaxtyping compares axes if an annotation has any; nested functions are not checked.
"""

import ast
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray, jaxtyped

CHECKER = "type_checks_of_tests"  # name of this module inside those that are checked
# Functions that hold values against annotations as they run: jaxtyping's ``isinstance`` then
# looks at the axes of the call that is around it, so that each needs axes of its own.
RUNTIME = {"neuro.io.schema"}


def install(packages: Sequence[str]) -> None:
    """Have all modules of the packages checked that are imported from now on.

    Raises:
        RuntimeError: one of them is imported already.
    """
    known = sorted(set(packages) & set(sys.modules))
    if known:
        raise RuntimeError(f"types cannot be checked in what is imported: {', '.join(known)}")
    sys.modules[CHECKER] = sys.modules[__name__]
    sys.meta_path.insert(0, _Finder(packages))


def check(made: Any) -> Any:
    """Return a function or class that checks its annotations at each call."""
    if inspect.isclass(made):
        if dataclasses.is_dataclass(made) and "__init__" in vars(made):
            made.__init__ = check(made.__init__)  # type: ignore[method-assign]
        return made
    hints = getattr(made, "__annotations__", None)
    if not inspect.isfunction(made) or not hints:
        return made
    parts = [part for hint in hints.values() for part in _list_parts(hint)]
    if any(isinstance(part, str) for part in parts):
        # Text may name an import of type checkers alone, which jaxtyping takes for Any.
        return jaxtyped(typechecker=beartype)(made)
    return _check_calls(made, made.__module__ in RUNTIME or any(map(_has_axes, parts)))


def _check_calls(plain: Callable[..., Any], has_axes: bool) -> Callable[..., Any]:
    @functools.cache
    def make_checked() -> Callable[..., Any]:
        """Check from the first call on: a process calls a few of the functions it imports."""
        return beartype(plain)

    @functools.wraps(plain)
    def check_call(*args: Any, **kwargs: Any) -> Any:
        run = plain if jaxtyping.config.jaxtyping_disable else make_checked()
        return run(*args, **kwargs)

    @functools.wraps(plain)
    def check_call_with_axes(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return plain(*args, **kwargs)
        with jaxtyped("context"):
            return make_checked()(*args, **kwargs)

    return check_call_with_axes if has_axes else check_call


def _list_parts(hint: Any) -> Iterator[Any]:
    """Yield an annotation and all annotations inside it."""
    yield hint
    for part in get_args(hint):
        for inner in part if isinstance(part, list) else [part]:
            yield from _list_parts(inner)


def _has_axes(hint: Any) -> bool:
    """Say whether an annotation is an array with axes."""
    return inspect.isclass(hint) and issubclass(hint, AbstractArray)


def decorate(module: ast.Module) -> ast.Module:
    """Return a module whose classes, methods and functions are checked; it is changed."""
    made: ast.Module = ast.fix_missing_locations(_Decorate().visit(module))
    return made


class _Decorate(ast.NodeTransformer):
    """:func:`check` is the last to be applied to a class, and the first to a function."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        at = next((k for k, x in enumerate(node.body) if not _opens_module(x)), len(node.body))
        node.body.insert(at, ast.Import(names=[ast.alias(CHECKER)]))
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.decorator_list.insert(0, _name_check(node))
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list.append(_name_check(node))
        return node  # what is nested in it stays


def _opens_module(node: ast.stmt) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


def _name_check(node: ast.stmt) -> ast.expr:
    found = ast.parse(f"{CHECKER}.check", mode="eval").body
    for part in ast.walk(found):
        ast.copy_location(part, node)
    return found


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Return the module, compiled here: bytecode on disk is that of users."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def source_to_code(  # type: ignore[override]
        self, data: bytes, path: str, *, _optimize: int = -1
    ) -> CodeType:
        tree = decorate(ast.parse(data, path))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in self._packages:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
