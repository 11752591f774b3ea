"""The shape of the repository, as tests."""

import ast
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
PACKAGES = ["neuro", "drivers", "tasks", "lava_export"]
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
LIMIT = 600  # lines; about 300 is usual, one algorithm may take more

every_module = pytest.mark.parametrize(
    "path", MODULES, ids=[str(p.relative_to(ROOT)) for p in MODULES]
)


class Module(NamedTuple):
    """What the tests ask of a module, which is parsed once."""

    source: str
    docstring: str
    asserts: bool
    defaults: list[str]  # of arguments, where they name the environment
    classes: list[str]


@cache
def read_module(path: Path) -> Module:
    source = path.read_text()
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    functions = [n for n in nodes if isinstance(n, ast.arguments)]
    defaults = [d for f in functions for d in (*f.defaults, *f.kw_defaults) if d is not None]
    return Module(
        source,
        ast.get_docstring(tree) or "",
        any(isinstance(n, ast.Assert) for n in nodes),
        [told for d in defaults if "environ" in (told := ast.unparse(d))],
        [n.name for n in nodes if isinstance(n, ast.ClassDef)],
    )


@every_module
def test_a_module_is_one_algorithm_at_most_and_says_its_purpose(path: Path) -> None:
    module = read_module(path)
    assert len(module.source.splitlines()) <= LIMIT
    assert len(module.docstring.partition("\n")[0]) > 20


@every_module
def test_a_module_raises_instead_of_asserting_and_leaves_nothing_to_do(path: Path) -> None:
    module = read_module(path)
    assert not module.asserts
    assert not any(word in module.source for word in ("TODO", "FIXME", "XXX"))


@every_module
def test_help_of_a_function_does_not_print_the_environment(path: Path) -> None:
    assert read_module(path).defaults == []


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.name == "__init__.py"],
    ids=lambda p: str(p.parent.relative_to(ROOT)),
)
def test_a_package_only_re_exports(path: Path) -> None:
    first, *rest = ast.parse(path.read_text()).body
    assert isinstance(first, ast.Expr)  # the docstring
    imported, exported = [], []
    for node in rest:
        if isinstance(node, ast.ImportFrom):
            imported += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.For):  # paths of modules that have moved
            assert path == ROOT / "neuro" / "__init__.py"
        elif isinstance(node, ast.Import):
            assert [alias.name for alias in node.names] == ["sys"]
        else:
            assert isinstance(node, ast.Assign)
            assert [ast.unparse(target) for target in node.targets] == ["__all__"]
            exported += ast.literal_eval(node.value)
    assert sorted(exported) == sorted(imported)


@pytest.mark.slow
def test_no_class_name_stands_twice() -> None:
    classes = [name for path in MODULES for name in read_module(path).classes]
    names = Counter(name for name in classes if not name.startswith("_"))
    assert [name for name, places in names.items() if places > 1] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_modules_to_test(package: str) -> None:
    assert any(package in p.relative_to(ROOT).parts for p in MODULES)


def test_laws_have_no_deadline_which_a_loaded_machine_would_miss() -> None:
    assert settings().deadline is None
    tests = [*(ROOT / "tests").rglob("*.py")]
    setting = "deadline" + "="
    assert [p.name for p in tests if p.name != "conftest.py" and setting in p.read_text()] == []
